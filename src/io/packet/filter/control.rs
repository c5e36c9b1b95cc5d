//! Filters of the control thread's sockets: ARP, neighbor discovery, and echo requests.

use super::code::{KEEP, Program, REJECT, ancillary, jump, load, load_indexed, require, skip, statement};
use super::{ETHERTYPE, IPV6, identifier, to_us};
use crate::wire::icmp::{self, kind, kind_v6};
use crate::wire::{ethernet, hairpin};
use libc::{BPF_B, BPF_H, BPF_JEQ, BPF_JSET, BPF_LDX, BPF_MSH, BPF_W};
use std::collections::BTreeSet;

/// Length of an IPv6 header without extension headers.
const V6_HEADER: u32 = 40;
/// Most outer VLANs that are told apart: a jump over their comparisons reaches 255 instructions. With more of them, the
/// frames of every VLAN are kept.
const VLANS_MAX: usize = 250;
/// Bits of a fragment in the IPv4 header: more fragments, and the offset.
const FRAGMENT: u32 = 0x3fff;

const ICMP: u32 = icmp::ICMP as u32;
const ICMPV6: u32 = icmp::ICMPV6 as u32;
const ECHO_REQUEST: u32 = kind::ECHO_REQUEST as u32;
const ECHO_REQUEST_V6: u32 = kind_v6::ECHO_REQUEST as u32;
const SOLICITATION: u32 = kind_v6::NEIGHBOR_SOLICITATION as u32;
const ADVERTISEMENT: u32 = kind_v6::NEIGHBOR_ADVERTISEMENT as u32;

/// Keeps ARP (RFC 826) without a VLAN, and of these outer VLANs.
#[must_use]
pub fn arp(vlans: &BTreeSet<u16>) -> Program {
    tagged_or_not(vlans, |ethertype| require(load(BPF_H, ethertype), u32::from(ethernet::ARP)).into())
}

/// Keeps what [`arp`] does, and the frames with `mark` that a router sends back ([`crate::wire::hairpin`]).
#[must_use]
pub fn arp_and_hairpins(vlans: &BTreeSet<u16>, mark: u32) -> Program {
    let mut program = hairpin_frame(mark);
    program.extend(arp(vlans));
    program
}

/// Keeps a frame with this mark, and goes on for any other.
fn hairpin_frame(mark: u32) -> Program {
    const IP: u32 = ETHERTYPE + 2;
    const PLAIN: u32 = 0x45; // version 4, no options
    let ipv4 = u32::from(ethernet::IPV4);
    let message = IP + 20;
    let tests = [
        (load(BPF_H, ETHERTYPE), ipv4),
        (load(BPF_B, IP), PLAIN),
        (load(BPF_B, IP + 9), ICMP),
        (load(BPF_B, message), ECHO_REQUEST),
        (load(BPF_W, hairpin::MARK_AT as u32), mark), // 42
    ];
    let over = (1..2 * tests.len() as u8).rev().step_by(2); // the tests that follow, and the end
    let each = tests.into_iter().zip(over).map(|((load, value), over)| [load, jump(BPF_JEQ, value, 0, over)]);
    let mut program: Program = each.flatten().collect();
    program.push(KEEP);
    program
}

/// Keeps neighbor solicitations and advertisements (RFC 4861) without a VLAN, and of these outer VLANs. One with an
/// extension header is no valid one here, see [`crate::wire::ndp`].
#[must_use]
pub fn neighbor_discovery(vlans: &BTreeSet<u16>) -> Program {
    tagged_or_not(vlans, |ethertype| {
        let ip = ethertype + 2;
        let mut program = Program::from(require(load(BPF_H, ethertype), IPV6));
        program.extend(require(load(BPF_B, ip + 6), ICMPV6));
        program.extend([load(BPF_B, ip + V6_HEADER), jump(BPF_JEQ, SOLICITATION, 2, 0)]);
        program.extend([jump(BPF_JEQ, ADVERTISEMENT, 1, 0), REJECT]);
        program
    })
}

/// Keeps whole echo requests that are addressed to this host (RFC 792, RFC 4443), without a VLAN and of these outer
/// VLANs.
#[must_use]
pub fn echo_requests(vlans: &BTreeSet<u16>) -> Program {
    let mut program = Program::from(to_us());
    program.extend(tagged_or_not(vlans, echo_request));
    program
}

/// Goes on only for an echo request.
fn echo_request(ethertype: u32) -> Program {
    let ip = ethertype + 2;
    let mut v4 = Program::from(require(load(BPF_H, ethertype), u32::from(ethernet::IPV4)));
    v4.extend(require(load(BPF_B, ip + 9), ICMP));
    v4.extend([load(BPF_H, ip + 6), jump(BPF_JSET, FRAGMENT, 0, 1), REJECT]);
    v4.push(statement(BPF_LDX | BPF_B | BPF_MSH, ip));
    v4.extend(require(load_indexed(BPF_B, ip), ECHO_REQUEST));
    let mut v6 = Program::from(require(load(BPF_B, ip + 6), ICMPV6));
    v6.extend(require(load(BPF_B, ip + V6_HEADER), ECHO_REQUEST_V6));
    v6.push(skip(v4.len()));
    let mut program = vec![load(BPF_H, ethertype), jump(BPF_JEQ, IPV6, 0, v6.len() as u8)]; // seven instructions
    program.extend(v6.into_iter().chain(v4));
    program
}

/// Keeps what passes `test` and is without a VLAN, or of these outer VLANs. `test` is made for the offset of the EtherType
/// behind all tags but the outer one, which is not in the bytes; it goes on behind its end, or rejects.
///
/// The number of VLANs adds 250 instructions at most.
fn tagged_or_not(vlans: &BTreeSet<u16>, test: impl Fn(u32) -> Program) -> Program {
    let (once, twice) = (test(ETHERTYPE), test(ETHERTYPE + ethernet::TAG_LEN as u32));
    let mut tagged = vec![load(BPF_H, ETHERTYPE), jump(BPF_JEQ, u32::from(ethernet::TAG), 1, 0)];
    tagged.extend([jump(BPF_JEQ, u32::from(ethernet::SERVICE_TAG), 0, 1), skip(once.len() + 1)]);
    tagged.extend(once.iter().copied().chain([skip(twice.len())]).chain(twice));
    tagged.extend(of_outer(vlans));
    let mut program = super::unless_tagged(tagged.len()).to_vec();
    program.extend(tagged);
    program.extend(once);
    program.push(KEEP);
    program
}

/// Keeps frames whose outer VLAN is one of `vlans`.
fn of_outer(vlans: &BTreeSet<u16>) -> Program {
    if vlans.len() > VLANS_MAX {
        return vec![KEEP];
    }
    let mut program = vec![ancillary(libc::SKF_AD_VLAN_TAG), identifier()];
    let remaining = (1..=vlans.len() as u8).rev(); // at most VLANS_MAX
    program.extend(vlans.iter().zip(remaining).map(|(vlan, over)| jump(BPF_JEQ, u32::from(*vlan), over, 0)));
    program.extend([REJECT, KEEP]);
    program
}
