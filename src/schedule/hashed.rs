//! Servers by a hash of an address: sh, dh and mh.
//!
//! A table, made when the list of servers changes and never written afterwards, has the place of a
//! server in every slot. Hashes and tables are those of IPVS, without a secret: directors that have
//! the same servers in the same order send a client to the same one, and go on doing so after a
//! failover, without telling each other anything.

use super::Loads;
use super::maglev;
use super::players::Players;
use super::rule::{Client, Rule, fold};
use crate::model::{Scheduler, SchedulerFlags};

/// Slots for sh and dh, 2⁸ (`IP_VS_SH_TAB_BITS` in net/netfilter/ipvs/ip_vs_sh.c).
const BITS: u32 = 8;
/// What no place is: there are at most 65535 servers.
const NOBODY: u16 = u16::MAX;

/// Which slot a number belongs to.
#[derive(Clone, Copy, Debug)]
enum Slotting {
    /// By the number's hash.
    Multiplied,
    /// By its Maglev hash.
    Maglev,
}

/// A table of servers.
#[derive(Debug)]
pub(super) struct Hashed {
    slotting: Slotting,
    slots: Box<[u16]>,
    flags: SchedulerFlags,
    /// What is hashed instead of the client.
    vip: Option<u32>,
}

impl Hashed {
    /// The table of `rule`, if it has one. `lasting` are the weights, as they were before servers
    /// were quiesced; `addresses` the addresses of the servers as mh hashes them.
    pub(super) fn new(rule: &Rule, players: &Players, lasting: &[u16], addresses: &[u32]) -> Option<Self> {
        let flags = rule.flags;
        Some(match rule.scheduler {
            Scheduler::Sh => {
                let slots = by_weight(players.all().iter().map(|of| of.weight));
                Self { slotting: Slotting::Multiplied, slots, flags, vip: None }
            }
            Scheduler::Dh => {
                let slots = by_weight(players.all().iter().map(|_| 1));
                let flags = SchedulerFlags::default();
                Self { slotting: Slotting::Multiplied, slots, flags, vip: Some(fold(rule.vip)) }
            }
            Scheduler::Mh => {
                let slots = maglev::table(lasting, addresses, NOBODY);
                Self { slotting: Slotting::Maglev, slots, flags, vip: None }
            }
            _ => return None,
        })
    }

    /// The place of the client's server. If that one takes no connections: with the fallback, the
    /// first that does, in an order that is this client's own.
    #[inline]
    pub(super) fn pick(&self, client: Client, players: &Players, loads: &Loads) -> Option<usize> {
        let port = if self.flags.port { client.port } else { 0 };
        let number = self.vip.unwrap_or_else(|| client.address.wrapping_add(port.into()));
        let home = self.slot(number, 0);
        let place = self.place(home)?;
        if players.takes(place, loads) {
            return Some(place);
        }
        if self.flags.fallback { self.fall_back(number, home, players, loads) } else { None }
    }

    /// `ip_vs_sh_get_fallback` and `ip_vs_mh_get_fallback`.
    #[cold]
    fn fall_back(&self, number: u32, home: usize, players: &Players, loads: &Loads) -> Option<usize> {
        if !players.any_takes(loads) {
            return None; // thousands of hashes would not find anybody
        }
        let offsets = (home..self.slots.len()).chain(0..home);
        let mut places = offsets.map_while(|offset| self.place(self.slot(number, offset as u32)));
        places.find(|place| players.takes(*place, loads))
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
        self.slots.get(slot).filter(|place| **place != NOBODY).map(|place| usize::from(*place))
    }
}

/// As many slots in turn as each weighs, and one for those of weight 0 (`ip_vs_sh_reassign`), until
/// all slots are given away. None if there is no server.
fn by_weight(weights: impl Iterator<Item = u16> + Clone) -> Box<[u16]> {
    let runs = weights.zip(0..NOBODY).map(|(weight, place)| (usize::from(weight.max(1)), place));
    runs.cycle().flat_map(|(run, place)| std::iter::repeat_n(place, run)).take(1 << BITS).collect()
}

/// The upper bits of the product with 2³² over the golden ratio (`hash_32` in include/linux/hash.h).
#[inline]
fn multiplied(number: u32) -> usize {
    (number.wrapping_mul(0x61c8_8647) >> (32 - BITS)) as usize
}
