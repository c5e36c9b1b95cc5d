//! Filters of the control thread's sockets: ARP, neighbor discovery, and echo requests.

use super::code::{KEEP, Program, REJECT, jump, load, load_indexed, require, skip, statement};
use super::{ETHERTYPE, IPV6, by_value, to_us};
use crate::wire::ethernet;
use crate::wire::icmp::{self, kind, kind_v6};
use libc::{BPF_B, BPF_H, BPF_JEQ, BPF_JSET, BPF_LDX, BPF_MSH};
use std::collections::BTreeSet;

/// Length of an IPv6 header without extension headers.
const V6_HEADER: u32 = 40;
/// Most outer VLANs that are told apart: more would make too long a program.
const VLANS_MAX: usize = 100;
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
    tagged_or_not(vlans, |ethertype| {
        let mut program = Program::from(require(load(BPF_H, ethertype), u32::from(ethernet::ARP)));
        program.push(KEEP);
        program
    })
}

/// Keeps neighbor solicitations and advertisements (RFC 4861) without a VLAN, and of these outer VLANs. One with an
/// extension header is no valid one here, see [`crate::wire::ndp`].
#[must_use]
pub fn neighbor_discovery(vlans: &BTreeSet<u16>) -> Program {
    tagged_or_not(vlans, |ethertype| {
        let ip = ethertype + 2;
        let mut program = Program::from(require(load(BPF_H, ethertype), IPV6));
        program.extend(require(load(BPF_B, ip + 6), ICMPV6));
        program.extend([load(BPF_B, ip + V6_HEADER), jump(BPF_JEQ, SOLICITATION, 1, 0)]);
        program.extend([jump(BPF_JEQ, ADVERTISEMENT, 0, 1), KEEP, REJECT]);
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

fn echo_request(ethertype: u32) -> Program {
    let ip = ethertype + 2;
    let mut v6 = Program::from(require(load(BPF_B, ip + 6), ICMPV6));
    v6.extend(require(load(BPF_B, ip + V6_HEADER), ECHO_REQUEST_V6));
    v6.push(KEEP);
    let mut program = vec![load(BPF_H, ethertype), jump(BPF_JEQ, IPV6, 0, v6.len() as u8)]; // seven instructions
    program.extend(v6);
    program.extend(require(load(BPF_H, ethertype), u32::from(ethernet::IPV4)));
    program.extend(require(load(BPF_B, ip + 9), ICMP));
    program.extend([load(BPF_H, ip + 6), jump(BPF_JSET, FRAGMENT, 0, 1), REJECT]);
    program.push(statement(BPF_LDX | BPF_B | BPF_MSH, ip));
    program.extend(require(load_indexed(BPF_B, ip), ECHO_REQUEST));
    program.push(KEEP);
    program
}

/// Runs `test`, made for the offset of the EtherType behind all tags but the outer one, which is not in the bytes.
/// Rejects frames whose outer VLAN is another than `vlans`.
fn tagged_or_not(vlans: &BTreeSet<u16>, test: impl Fn(u32) -> Program) -> Program {
    let (once, twice) = (test(ETHERTYPE), test(ETHERTYPE + ethernet::TAG_LEN as u32));
    let mut within = vec![load(BPF_H, ETHERTYPE), jump(BPF_JEQ, u32::from(ethernet::TAG), 1, 0)];
    within.extend([jump(BPF_JEQ, u32::from(ethernet::SERVICE_TAG), 0, 1), skip(once.len())]);
    within.extend(once.iter().copied().chain(twice));
    let tagged = match vlans.len() {
        0..=VLANS_MAX => by_value(vlans.iter().map(|vlan| (*vlan, within.clone()))),
        _ => within,
    };
    let mut program = super::unless_tagged(tagged.len()).to_vec();
    program.extend(tagged);
    program.extend(once);
    program
}
