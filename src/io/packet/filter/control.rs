//! Filters of the control thread's sockets: neighbor discovery, and echo requests.

use super::code::{KEEP, Program, REJECT, jump, load, load_indexed, require, statement};
use super::{ETHERTYPE, IPV6, of_no_vlan};
use crate::wire::ethernet;
use crate::wire::icmp::{self, kind, kind_v6};
use libc::{BPF_B, BPF_H, BPF_JEQ, BPF_JSET, BPF_LDX, BPF_MSH};

/// Offset of the IP header.
const IP: u32 = ethernet::HEADER_LEN as u32;
/// Offset of the message behind an IPv6 header without extension headers.
const V6_MESSAGE: u32 = IP + 40;
/// Bits of a fragment in the IPv4 header: more fragments, and the offset.
const FRAGMENT: u32 = 0x3fff;

const ICMP: u32 = icmp::ICMP as u32;
const ICMPV6: u32 = icmp::ICMPV6 as u32;
const ECHO_REQUEST: u32 = kind::ECHO_REQUEST as u32;
const ECHO_REQUEST_V6: u32 = kind_v6::ECHO_REQUEST as u32;
const SOLICITATION: u32 = kind_v6::NEIGHBOR_SOLICITATION as u32;
const ADVERTISEMENT: u32 = kind_v6::NEIGHBOR_ADVERTISEMENT as u32;

/// Keeps neighbor solicitations and advertisements without a VLAN (RFC 4861). One with an extension header is no valid
/// one here, see [`crate::wire::ndp`].
#[must_use]
pub fn neighbor_discovery() -> Program {
    let mut program = Program::from(of_no_vlan());
    program.extend(require(load(BPF_H, ETHERTYPE), IPV6));
    program.extend(require(load(BPF_B, IP + 6), ICMPV6));
    program.extend([load(BPF_B, V6_MESSAGE), jump(BPF_JEQ, SOLICITATION, 1, 0)]);
    program.extend([jump(BPF_JEQ, ADVERTISEMENT, 0, 1), KEEP, REJECT]);
    program
}

/// Keeps whole echo requests that are addressed to this host and have no VLAN (RFC 792, RFC 4443).
#[must_use]
pub fn echo_requests() -> Program {
    let mut program = Program::from(super::to_us_of_no_vlan());
    let mut v6 = Program::from(require(load(BPF_B, IP + 6), ICMPV6));
    v6.extend(require(load(BPF_B, V6_MESSAGE), ECHO_REQUEST_V6));
    v6.push(KEEP);
    program.extend([load(BPF_H, ETHERTYPE), jump(BPF_JEQ, IPV6, 0, v6.len() as u8)]); // seven instructions
    program.extend(v6);
    program.extend(require(load(BPF_H, ETHERTYPE), u32::from(ethernet::IPV4)));
    program.extend(require(load(BPF_B, IP + 9), ICMP));
    program.extend([load(BPF_H, IP + 6), jump(BPF_JSET, FRAGMENT, 0, 1), REJECT]);
    program.push(statement(BPF_LDX | BPF_B | BPF_MSH, IP));
    program.extend(require(load_indexed(BPF_B, IP), ECHO_REQUEST));
    program.push(KEEP);
    program
}
