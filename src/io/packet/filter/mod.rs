//! Socket filter: a classic BPF program generated from the services, which selects the frames that the kernel
//! copies into the ring.
//!
//! The filter saves copy and wake-up for all other frames. It may be coarser than the services where an exact
//! program would exceed the kernel's limit, since the decision checks every frame again.
//!
//! ```text
//! to us, of its VLAN ──▶ IPv4 ──▶ search the VIPs ──▶ protocol ──▶ fragment? ──▶ search the ports ──▶ keep
//!                  └──▶ IPv6 ──▶ search the VIPs ──▶ protocol, or extension header? ──▶ search the ports ──▶ keep
//! ```
//! Jumps of classic BPF reach 255 instructions, so tests jump over an unconditional jump, which
//! reaches everything, and every branch ends in a return of its own.

mod code;
mod control;
mod family;
#[cfg(test)]
mod tests;

use crate::io::SteeredService;
use crate::wire::ethernet;
use crate::wire::vlan::Vlans;
pub use code::Program;
use code::{REJECT, ancillary, jump, load, require, skip, statement};
pub use control::{arp, arp_and_hairpins, echo_requests, neighbor_discovery};
use family::FilterFamily;
use libc::{BPF_ALU, BPF_AND, BPF_H, BPF_JEQ, BPF_K, sock_filter};
use std::collections::BTreeMap;

/// The kernel refuses longer programs.
const LONGEST: usize = libc::BPF_MAXINSNS as usize;
/// Offset of the EtherType in an untagged Ethernet frame.
const ETHERTYPE: u32 = 12;
/// Offset of the control information of an inner tag, when the outer one is no longer in the bytes.
const INNER_TAG: u32 = 14;
/// Offset of the EtherType behind an inner tag.
const BEHIND_INNER: u32 = ETHERTYPE + ethernet::TAG_LEN as u32;
/// The bits of a tag that identify a VLAN.
const VLAN_ID: u32 = 0x0fff;
/// Most VLANs that are told apart: each costs 65 instructions at least.
const VLANS_MAX: usize = 64;
/// EtherType of IPv6 (RFC 2464 section 3).
const IPV6: u32 = 0x86dd;

/// Rejects every frame.
#[must_use]
pub fn reject_all() -> Program {
    vec![REJECT]
}

/// Filters that keep every frame of `services`, the most exact first, each short enough.
///
/// The most exact one keeps frames addressed to this host, with the tags of a service, for that service; the
/// fragments for its VIP and protocol; ICMP errors to its VIP; and of IPv6 all frames for its VIP with an extension header. The next ones keep
/// whatever a VIP gets of its protocols, first in the family of the longer program, then all packets of the protocols in a
/// VLAN. The last ones, and all with more than 64 VLANs, keep the protocols' packets of every VLAN: so the
/// last is short, whatever the services. The kernel may refuse a program for lack of option memory
/// (`net.core.optmem_max`), then the next is to be tried.
pub fn programs(services: &[SteeredService]) -> impl Iterator<Item = Program> {
    std::iter::successors(Some(FrameSelection::new(services)), FrameSelection::coarser)
        .map(|selection| selection.program())
        .filter(|program| program.len() <= LONGEST)
}

/// Goes on only for a frame to this interface's MAC address.
fn to_us() -> [sock_filter; 3] {
    require(ancillary(libc::SKF_AD_PKTTYPE), u32::from(libc::PACKET_HOST))
}

/// Jumps over the next `instructions` for a frame without a VLAN: a tag without one carries a priority only. Otherwise
/// the identifier of the outer VLAN is in the accumulator. The kernel has taken that tag out of the bytes.
fn unless_tagged(instructions: usize) -> [sock_filter; 6] {
    [
        ancillary(libc::SKF_AD_VLAN_TAG_PRESENT),
        jump(BPF_JEQ, 0, 3, 0),
        ancillary(libc::SKF_AD_VLAN_TAG),
        identifier(),
        jump(BPF_JEQ, 0, 0, 1),
        skip(instructions),
    ]
}

/// The frames that a program selects.
#[derive(Clone)]
struct FrameSelection {
    untagged: Families,
    tagged: Tagged,
}

/// Selection of the frames within VLANs.
#[derive(Clone)]
enum Tagged {
    /// Of each of these VLANs.
    Each(BTreeMap<Vlans, Families>),
    /// Of every VLAN: with one tag, and with two.
    Every(Box<[Families; 2]>),
}

impl FrameSelection {
    fn new(services: &[SteeredService]) -> Self {
        let mut grouped: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for service in services {
            grouped.entry(service.vlan).or_default().push(service);
        }
        let untagged = grouped.remove(&Vlans::NONE).unwrap_or_default();
        let untagged = Families::new(ETHERTYPE, &untagged);
        let each = grouped.into_iter().map(|(vlans, services)| (vlans, Families::within(vlans, &services)));
        let each = Tagged::Each(each.collect());
        let tagged = if each.count() > VLANS_MAX { each.of_every_vlan() } else { each };
        Self { untagged, tagged }
    }

    /// The same with the longest part that can be made coarser made so, or, if no part can, with the VLANs as one; none if
    /// nothing can.
    fn coarser(&self) -> Option<Self> {
        let tagged = self.tagged.coarser().map(|(len, tagged)| (len, Self { tagged, ..self.clone() }));
        let untagged = self.untagged.coarser();
        let untagged =
            untagged.map(|untagged| (self.untagged.program().len(), Self { untagged, ..self.clone() }));
        let longest = tagged.into_iter().chain(untagged).max_by_key(|(len, _)| *len);
        let as_one = || {
            let tagged = Some(self.tagged.of_every_vlan()).filter(|_| self.tagged.count() > 0)?;
            Some(Self { tagged, ..self.clone() })
        };
        longest.map(|(_, coarser)| coarser).or_else(as_one)
    }

    /// The whole program.
    fn program(&self) -> Program {
        let tagged = self.tagged.program();
        let mut program = Program::from(to_us());
        program.extend(unless_tagged(tagged.len()));
        program.extend(tagged);
        program.extend(self.untagged.program());
        program
    }
}

impl Tagged {
    /// Number of VLANs that are told apart.
    fn count(&self) -> usize {
        match self {
            Self::Each(each) => each.len(),
            Self::Every(_) => 0,
        }
    }

    /// The same VLANs as one, each with its packets of the protocols.
    fn of_every_vlan(&self) -> Self {
        let Self::Each(each) = self else { return self.clone() };
        let of = |ethertype| {
            let families = each.values().filter(|families| families.ethertype == ethertype);
            families.fold(Families::new(ethertype, &[]), |all, families| all.with_protocols_of(families))
        };
        Self::Every(Box::new([of(ETHERTYPE), of(BEHIND_INNER)]))
    }

    /// The same with the longest part that can be made coarser made so, and that part's length; none if no part can.
    fn coarser(&self) -> Option<(usize, Self)> {
        let Self::Each(each) = self else { return None };
        let parts = each.iter().filter_map(|(vlans, families)| Some((vlans, families, families.coarser()?)));
        let parts = parts.map(|(vlans, families, coarser)| (families.program().len(), vlans, coarser));
        let (len, vlans, coarser) = parts.max_by_key(|(len, ..)| *len)?;
        let mut each = each.clone();
        each.insert(*vlans, coarser);
        Some((len, Self::Each(each)))
    }

    /// Tests a frame by the identifier of its outer tag, in the accumulator.
    fn program(&self) -> Program {
        match self {
            Self::Each(each) => {
                let vlans: Vec<_> = each.keys().copied().collect();
                let outer = vlans.chunk_by(|a, b| a.outer() == b.outer());
                by_value(outer.map(|group| (group[0].outer(), within(each, group))))
            }
            Self::Every(families) => {
                let [once, twice] = families.each_ref().map(Families::program);
                by_inner_tag(once, twice)
            }
        }
    }
}

/// Tests a frame by its tags but the identifier of the outer one. `group` has one outer VLAN.
fn within(each: &BTreeMap<Vlans, Families>, group: &[Vlans]) -> Program {
    let by_protocol = |group: &[&Vlans]| {
        let mut program = vec![ancillary(libc::SKF_AD_VLAN_TPID)];
        program.extend(by_value(group.iter().map(|vlans| (vlans.outer_protocol(), each[vlans].program()))));
        program
    };
    let once: Vec<_> = group.iter().filter(|vlans| vlans.inner() == 0).collect();
    let mut inner: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for vlans in group.iter().filter(|vlans| vlans.inner() > 0) {
        inner.entry(vlans.inner()).or_default().push(vlans);
    }
    let mut twice = vec![load(BPF_H, INNER_TAG), identifier()];
    twice.extend(by_value(inner.iter().map(|(id, group)| (*id, by_protocol(group)))));
    by_inner_tag(by_protocol(&once), twice)
}

/// Runs `twice` for a frame with an inner tag of IEEE 802.1Q, rejects one with another inner tag, and runs `once` for
/// the others. Both end in a return.
fn by_inner_tag(once: Program, twice: Program) -> Program {
    let mut program = vec![load(BPF_H, ETHERTYPE), jump(BPF_JEQ, u32::from(ethernet::TAG), 0, 1)];
    program.extend([skip(once.len() + 2), jump(BPF_JEQ, u32::from(ethernet::SERVICE_TAG), 0, 1), REJECT]);
    program.extend(once.into_iter().chain(twice));
    program
}

/// Leaves the VLAN identifier of a tag in the accumulator.
fn identifier() -> sock_filter {
    statement(BPF_ALU | BPF_AND | BPF_K, VLAN_ID)
}

/// Runs the section of the accumulator's value, and rejects any other. Every section ends in a return.
fn by_value(sections: impl Iterator<Item = (u16, Program)>) -> Program {
    let mut program = Program::new();
    for (value, section) in sections {
        program.extend([jump(BPF_JEQ, u32::from(value), 1, 0), skip(section.len())]);
        program.extend(section);
    }
    program.push(REJECT);
    program
}

/// The parts of a program that test packets of one VLAN by their family.
#[derive(Clone)]
struct Families {
    /// Offset of the EtherType.
    ethertype: u32,
    v4: FilterFamily,
    v6: FilterFamily,
}

impl Families {
    /// For packets in these VLANs.
    fn within(vlans: Vlans, services: &[&SteeredService]) -> Self {
        Self::new(if vlans.inner() > 0 { BEHIND_INNER } else { ETHERTYPE }, services)
    }

    /// For packets behind an EtherType at this offset.
    fn new(ethertype: u32, services: &[&SteeredService]) -> Self {
        let (v4, v6) = (FilterFamily::v4(ethertype + 2, services), FilterFamily::v6(ethertype + 2, services));
        Self { ethertype, v4, v6 }
    }

    /// All packets of the protocols of both.
    fn with_protocols_of(&self, other: &Self) -> Self {
        let (v4, v6) = (self.v4.with_protocols_of(&other.v4), self.v6.with_protocols_of(&other.v6));
        Self { v4, v6, ..*self }
    }

    /// The same with the longer part made coarser, if it can be; none if neither can.
    fn coarser(&self) -> Option<Self> {
        let v4 = self.v4.coarser().map(|v4| Self { v4, ..self.clone() });
        let v6 = self.v6.coarser().map(|v6| Self { v6, ..self.clone() });
        if self.v4.program().len() < self.v6.program().len() { v6.or(v4) } else { v4.or(v6) }
    }

    /// Tests a packet by its EtherType.
    fn program(&self) -> Program {
        let (v4, v6) = (self.v4.program(), self.v6.program());
        let mut program = Vec::with_capacity(v4.len() + v6.len() + 5);
        program.extend([load(BPF_H, self.ethertype), jump(BPF_JEQ, u32::from(ethernet::IPV4), 3, 0)]);
        program.extend([jump(BPF_JEQ, IPV6, 1, 0), REJECT, skip(v4.len())]);
        program.extend(v4);
        program.extend(v6);
        program
    }
}
