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
pub use control::{arp, echo_requests, neighbor_discovery};
use family::FilterFamily;
use libc::{BPF_ALU, BPF_AND, BPF_H, BPF_JEQ, BPF_K, sock_filter};
use std::collections::BTreeMap;

/// The kernel refuses longer programs.
const LONGEST: usize = libc::BPF_MAXINSNS as usize;
/// Offset of the EtherType in an untagged Ethernet frame.
const ETHERTYPE: u32 = 12;
/// Offset of the control information of an inner tag, when the outer one is no longer in the bytes.
const INNER_TAG: u32 = 14;
/// The bits of a tag that identify a VLAN.
const VLAN_ID: u32 = 0x0fff;
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
/// whatever a VIP gets of its protocols, first in the family of the longer program; the last keeps all
/// packets of the protocols. The kernel may refuse a program for lack of option memory
/// (`net.core.optmem_max`), then the next is to be tried.
pub fn programs(services: &[SteeredService]) -> impl Iterator<Item = Program> {
    std::iter::successors(Some(VlanFamilies::new(services)), VlanFamilies::coarser)
        .map(|vlans| vlans.program())
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

/// The parts of a program that test packets of each VLAN.
#[derive(Clone)]
struct VlanFamilies(BTreeMap<Vlans, Families>);

impl VlanFamilies {
    fn new(services: &[SteeredService]) -> Self {
        let mut grouped: BTreeMap<_, Vec<_>> = BTreeMap::from([(Vlans::NONE, Vec::new())]);
        for service in services {
            grouped.entry(service.vlan).or_default().push(service);
        }
        Self(grouped.into_iter().map(|(vlans, services)| (vlans, Families::new(vlans, &services))).collect())
    }

    /// The same with the longest part that can be made coarser made so; none if no part can.
    fn coarser(&self) -> Option<Self> {
        let each = self.0.iter().filter_map(|(vlans, families)| Some((vlans, families, families.coarser()?)));
        let (vlans, _, coarser) = each.max_by_key(|(_, families, _)| families.program().len())?;
        let mut all = self.clone();
        all.0.insert(*vlans, coarser);
        Some(all)
    }

    /// The whole program.
    fn program(&self) -> Program {
        let tagged = self.tagged();
        let mut program = Program::from(to_us());
        program.extend(unless_tagged(tagged.len()));
        program.extend(tagged);
        program.extend(self.0.get(&Vlans::NONE).map(Families::program).unwrap_or_default());
        program
    }

    /// Tests a frame by the identifier of its outer tag, in the accumulator.
    fn tagged(&self) -> Program {
        let vlans: Vec<_> = self.0.keys().filter(|vlans| !vlans.is_none()).copied().collect();
        let outer = vlans.chunk_by(|a, b| a.outer() == b.outer());
        by_value(outer.map(|group| (group[0].outer(), self.within(group))))
    }

    /// Tests a frame by its inner tag, if there is one. `group` has one outer VLAN.
    fn within(&self, group: &[Vlans]) -> Program {
        let of = |vlans: &Vlans| self.0[vlans].program();
        let once = group.iter().find(|vlans| vlans.inner() == 0).map_or(vec![REJECT], of);
        let twice = group.iter().filter(|vlans| vlans.inner() > 0);
        let mut program = vec![load(BPF_H, ETHERTYPE)];
        for tag in [ethernet::TAG, ethernet::SERVICE_TAG] {
            program.push(jump(BPF_JEQ, u32::from(tag), 0, 1));
            program.push(skip(once.len() + if tag == ethernet::TAG { 2 } else { 0 }));
        }
        program.extend(once);
        program.extend([load(BPF_H, INNER_TAG), identifier()]);
        program.extend(by_value(twice.map(|vlans| (vlans.inner(), of(vlans)))));
        program
    }
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
    fn new(vlans: Vlans, services: &[&SteeredService]) -> Self {
        let ethertype = if vlans.inner() > 0 { ETHERTYPE + ethernet::TAG_LEN as u32 } else { ETHERTYPE };
        let (v4, v6) = (FilterFamily::v4(ethertype + 2, services), FilterFamily::v6(ethertype + 2, services));
        Self { ethertype, v4, v6 }
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
