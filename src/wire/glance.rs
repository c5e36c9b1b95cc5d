//! What nearly every frame is, read at a glance: an IPv4 header without options, and behind it a TCP
//! segment or a UDP datagram.
//!
//! Everything lies at a fixed offset there, and whatever is not as it should be has one answer: look
//! closer. The closer look is [`Packet::parse`](super::Packet::parse), with which this never disagrees
//! (the tests hold them against each other).

use super::packet::{Protocol, V4Packet};
use super::transport::{self, Ports, TcpFlags};
use super::{ethernet, ipv4};
use std::net::Ipv4Addr;

/// Where the IPv4 header begins, in bytes.
const IP: usize = ethernet::HEADER_LEN;
/// Where TCP or UDP begins.
const TRANSPORT: usize = IP + ipv4::MIN_HEADER_LEN;
/// Bytes that have to be there: all three headers. The wire pads what is shorter to more.
const REACH: usize = TRANSPORT + transport::TCP_MIN_HEADER_LEN;
/// EtherType, then version 4 and a header of five words; the type of service may be any.
const PLAIN: u32 = u32::from_ne_bytes([0x08, 0x00, 0x45, 0]);
const PLAIN_MASK: u32 = u32::from_ne_bytes([0xff, 0xff, 0xff, 0]);

/// The packet in `frame`; `None` if there is none, or only a closer look can tell.
#[inline]
#[must_use]
pub fn packet(frame: &[u8]) -> Option<V4Packet> {
    let bytes: &[u8; REACH] = frame.first_chunk()?;
    let len = total_len(bytes);
    if !is_plain(bytes) || len > frame.len() - IP || !checksum_holds(bytes) {
        return None;
    }
    let (protocol, flags) = match bytes[IP + 9] {
        Protocol::TCP if tcp_fits(bytes, len) => (Protocol::Tcp, TcpFlags(bytes[TRANSPORT + 13])),
        Protocol::UDP if udp_fits(bytes, len) => (Protocol::Udp, TcpFlags(0)),
        _ => return None,
    };
    let [source, destination] = [IP + 12, IP + 16].map(|at| Ipv4Addr::from(array::<4>(bytes, at)));
    let [source_port, destination_port] = [TRANSPORT, TRANSPORT + 2].map(|at| word(bytes, at));
    let ports = Ports { source: source_port, destination: destination_port };
    Some(V4Packet { source, destination, protocol, ports, flags, bytes: len as u16 }) // as it was read
}

/// IPv4 without options, and not a piece of a datagram.
#[inline]
fn is_plain(bytes: &[u8; REACH]) -> bool {
    let fragment = u16::from_ne_bytes(array(bytes, IP + 6)) & 0x3fff_u16.to_be();
    u32::from_ne_bytes(array(bytes, IP - 2)) & PLAIN_MASK == PLAIN && fragment == 0
}

/// RFC 1071, 64 bits at a time: a carry out of the top is a one at the bottom.
#[inline]
fn checksum_holds(bytes: &[u8; REACH]) -> bool {
    let [first, second] = [IP, IP + 8].map(|at| u64::from_ne_bytes(array(bytes, at)));
    let third = u32::from_ne_bytes(array(bytes, IP + 16));
    let (sum, carry) = first.overflowing_add(second);
    let (sum, carry) = sum.overflowing_add(u64::from(third) + u64::from(carry));
    // Folding is division by 2¹⁶ − 1. A header begins with 0x45, so its sum is never 0.
    sum.wrapping_add(u64::from(carry)).is_multiple_of(0xffff)
}

#[inline]
fn tcp_fits(bytes: &[u8; REACH], total_len: usize) -> bool {
    let len = usize::from(bytes[TRANSPORT + 12] >> 4) * 4;
    len >= transport::TCP_MIN_HEADER_LEN && ipv4::MIN_HEADER_LEN + len <= total_len
}

#[inline]
fn udp_fits(bytes: &[u8; REACH], total_len: usize) -> bool {
    let len = usize::from(word(bytes, TRANSPORT + 4));
    len >= transport::UDP_HEADER_LEN && ipv4::MIN_HEADER_LEN + len <= total_len
}

/// IP total length, in bytes.
#[inline]
fn total_len(bytes: &[u8; REACH]) -> usize {
    usize::from(word(bytes, IP + 2))
}

/// Sixteen bits in network order.
#[inline]
fn word(bytes: &[u8; REACH], at: usize) -> u16 {
    u16::from_be_bytes(array(bytes, at))
}

/// So many bytes from `at` on, which is a constant below [`REACH`] − `N` for every caller.
#[inline(always)]
fn array<const N: usize>(bytes: &[u8; REACH], at: usize) -> [u8; N] {
    std::array::from_fn(|index| bytes[at + index])
}
