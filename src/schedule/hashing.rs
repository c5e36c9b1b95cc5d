//! Hashing: source hashing (sh), destination hashing (dh) and Maglev hashing (mh).
//!
//! A table holds the place of a server in every slot. It is built when the list of servers changes and
//! never written afterwards. Hashes and tables are those of IPVS, without a secret: directors with the
//! same servers in the same order pick the same server for a client, also after a failover, without
//! state that they exchange. For mh the registry provides that order.

use super::Loads;
use super::candidate::Candidate;
use super::maglev;
use super::params::{ClientAddr, Params, fold};
use super::servers::Servers;
use crate::model::{Scheduler, SchedulerFlags};
use std::net::IpAddr;

/// Slots for sh and dh, 2⁸ (`IP_VS_SH_TAB_BITS` in net/netfilter/ipvs/ip_vs_sh.c).
const BITS: u32 = 8;
/// No server. Places are below 65535.
const NONE: u16 = u16::MAX;

/// The hash that maps a number to a slot.
#[derive(Clone, Copy, Debug)]
enum Slotting {
    /// Multiplicative (Fibonacci) hashing.
    Multiplied,
    /// The first Maglev hash.
    Maglev,
}

/// A lookup table of servers.
#[derive(Debug)]
pub(super) struct HashTable {
    slotting: Slotting,
    slots: Box<[u16]>,
    flags: SchedulerFlags,
    /// Hashed instead of the client, by dh.
    vip: Option<u32>,
}

impl HashTable {
    /// The table for the scheduler of `params`, `None` if it uses none. `last_weights` are the weights
    /// before servers were quiesced; `addresses` are the servers' addresses as mh hashes them.
    pub(super) fn new(
        params: &Params,
        servers: &Servers,
        last_weights: &[u16],
        addresses: &[u32],
    ) -> Option<Self> {
        let flags = params.flags;
        Some(match params.scheduler {
            Scheduler::Sh => {
                let slots = by_weight(servers.all().iter().map(|of| of.weight));
                Self { slotting: Slotting::Multiplied, slots, flags, vip: None }
            }
            Scheduler::Dh => {
                let slots = by_weight(servers.all().iter().map(|_| 1));
                let flags = SchedulerFlags::default();
                Self { slotting: Slotting::Multiplied, slots, flags, vip: Some(fold(params.vip)) }
            }
            Scheduler::Mh => {
                let slots = maglev::table(last_weights, addresses, NONE);
                Self { slotting: Slotting::Maglev, slots, flags, vip: None }
            }
            _ => return None,
        })
    }

    /// The place of the client's server. If that server is not eligible: with fallback, the first
    /// eligible one in a probe sequence of the client's own; else none.
    #[inline]
    pub(super) fn pick(&self, client: ClientAddr, servers: &Servers, loads: &Loads) -> Option<usize> {
        let port = if self.flags.port { client.port } else { 0 };
        let number = self.vip.unwrap_or_else(|| client.address.wrapping_add(port.into()));
        let home = self.slot(number, 0);
        let place = self.place(home)?;
        if servers.is_eligible(place, loads) {
            return Some(place);
        }
        if self.flags.fallback { self.fall_back(number, home, servers, loads) } else { None }
    }

    /// `ip_vs_sh_get_fallback` and `ip_vs_mh_get_fallback`.
    #[cold]
    fn fall_back(&self, number: u32, home: usize, servers: &Servers, loads: &Loads) -> Option<usize> {
        if !servers.any_eligible(loads) {
            return None; // no use in thousands of hashes
        }
        let offsets = (home..self.slots.len()).chain(0..home);
        let mut places = offsets.map_while(|offset| self.place(self.slot(number, offset as u32)));
        places.find(|place| servers.is_eligible(*place, loads))
    }

    /// A digest of the addresses of all slots in order (FNV-1a, 64 bits; 0 for a slot without a server).
    pub(super) fn digest(&self, candidates: &[Candidate]) -> u64 {
        let address = |place: &u16| candidates.get(usize::from(*place)).map(|of| of.address);
        let bytes = self.slots.iter().flat_map(|place| match address(place).map(|of| (of.ip(), of.port())) {
            Some((IpAddr::V4(ip), port)) => [&ip.octets()[..], &port.to_be_bytes()].concat(),
            Some((IpAddr::V6(ip), port)) => [&ip.octets()[..], &port.to_be_bytes()].concat(),
            None => vec![0],
        });
        bytes.fold(0xcbf2_9ce4_8422_2325, |digest, byte| {
            (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }

    #[inline]
    fn slot(&self, number: u32, offset: u32) -> usize {
        match self.slotting {
            Slotting::Multiplied => (multiplied(number) + offset as usize) % self.slots.len().max(1),
            Slotting::Maglev => maglev::slot(number.wrapping_add(offset)),
        }
    }

    #[inline]
    fn place(&self, slot: usize) -> Option<usize> {
        self.slots.get(slot).filter(|place| **place != NONE).map(|place| usize::from(*place))
    }
}

/// Fills all slots in list order, each server taking as many in a row as its weight, at least one
/// (`ip_vs_sh_reassign`). No slots without a server.
fn by_weight(weights: impl Iterator<Item = u16> + Clone) -> Box<[u16]> {
    let runs = weights.zip(0..NONE).map(|(weight, place)| (usize::from(weight.max(1)), place));
    runs.cycle().flat_map(|(run, place)| std::iter::repeat_n(place, run)).take(1 << BITS).collect()
}

/// The upper bits of the product with 2³² over the golden ratio (`hash_32` in include/linux/hash.h).
#[inline]
fn multiplied(number: u32) -> usize {
    (number.wrapping_mul(0x61c8_8647) >> (32 - BITS)) as usize
}
