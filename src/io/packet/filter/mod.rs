//! Socket filter: a classic BPF program generated from the services, which selects the frames that the kernel
//! copies into the ring.
//!
//! The filter saves copy and wake-up for all other frames. It may be coarser than the services where an exact
//! program would exceed the kernel's limit, since the decision checks every frame again.
//!
//! ```text
//! to us, of no VLAN ──▶ IPv4 ──▶ search the VIPs ──▶ protocol ──▶ fragment? ──▶ search the ports ──▶ keep
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
pub use code::Program;
use code::{REJECT, ancillary, jump, load, require, skip};
pub use control::{echo_requests, neighbor_discovery};
use family::FilterFamily;
use libc::{BPF_H, BPF_JEQ, BPF_JSET, sock_filter};

/// The kernel refuses longer programs.
const LONGEST: usize = libc::BPF_MAXINSNS as usize;
/// Offset of the EtherType in an untagged Ethernet frame.
const ETHERTYPE: u32 = 12;
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
/// The most exact one keeps frames addressed to this host, of no VLAN, for one of the services; the
/// fragments for its VIP and protocol; ICMP errors to its VIP; and of IPv6 all frames for its VIP with an extension header. The next ones keep
/// whatever a VIP gets of its protocols, first in the family of the longer program; the last keeps all
/// packets of the protocols. The kernel may refuse a program for lack of option memory
/// (`net.core.optmem_max`), then the next is to be tried.
pub fn programs(services: &[SteeredService]) -> impl Iterator<Item = Program> {
    let most_exact = Families { v4: FilterFamily::v4(services), v6: FilterFamily::v6(services) };
    std::iter::successors(Some(most_exact), Families::coarser)
        .map(|families| families.program())
        .filter(|program| program.len() <= LONGEST)
}

/// Goes on only for a frame to this interface's MAC address, of no VLAN.
fn to_us_of_no_vlan() -> [sock_filter; 8] {
    let [load, test, reject] = require(ancillary(libc::SKF_AD_PKTTYPE), u32::from(libc::PACKET_HOST));
    let [a, b, c, d, e] = of_no_vlan();
    [load, test, reject, a, b, c, d, e]
}

/// Goes on only for a frame of no VLAN.
///
/// A tagged frame belongs to a VLAN's interface, though its tag is no longer in its bytes; unless the tag names no
/// VLAN: it carries a priority only then.
fn of_no_vlan() -> [sock_filter; 5] {
    [
        ancillary(libc::SKF_AD_VLAN_TAG_PRESENT),
        jump(BPF_JEQ, 0, 3, 0),
        ancillary(libc::SKF_AD_VLAN_TAG),
        jump(BPF_JSET, VLAN_ID, 0, 1),
        REJECT,
    ]
}

/// The parts of a program that test packets of one family.
#[derive(Clone)]
struct Families {
    v4: FilterFamily,
    v6: FilterFamily,
}

impl Families {
    /// The same with the longer part made coarser, if it can be; none if neither can.
    fn coarser(&self) -> Option<Self> {
        let v4 = self.v4.coarser().map(|v4| Self { v4, ..self.clone() });
        let v6 = self.v6.coarser().map(|v6| Self { v6, ..self.clone() });
        if self.v4.program().len() < self.v6.program().len() { v6.or(v4) } else { v4.or(v6) }
    }

    /// The whole program: the tests that hold for every wanted frame, then the part of its family.
    fn program(&self) -> Program {
        let (v4, v6) = (self.v4.program(), self.v6.program());
        let mut program = Vec::with_capacity(v4.len() + v6.len() + 13);
        program.extend(to_us_of_no_vlan());
        program.extend([load(BPF_H, ETHERTYPE), jump(BPF_JEQ, u32::from(ethernet::IPV4), 3, 0)]);
        program.extend([jump(BPF_JEQ, IPV6, 1, 0), REJECT, skip(v4.len())]);
        program.extend(v4);
        program.extend(v6);
        program
    }
}
