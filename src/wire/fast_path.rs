//! Fast path of the frame parser: untagged IPv4 without options, with TCP or UDP.
//!
//! All fields are at fixed offsets. Any other frame, and any error, gives `None`; the slow path
//! [`Packet::parse`](super::Packet::parse) then decides. The two never disagree (the tests compare them).

use super::bytes::{array, word};
use super::packet::IpPacket;
use super::transport::{self, PortPair, TcpFlags};
use super::{Protocol, ethernet, ipv4};
use std::net::Ipv4Addr;

/// Offset of the IPv4 header in bytes.
const IP: usize = ethernet::HEADER_LEN;
/// Offset of the TCP or UDP header.
const TRANSPORT: usize = IP + ipv4::MIN_HEADER_LEN;
/// Length of all three headers, which every frame has: the wire pads shorter ones.
const REACH: usize = TRANSPORT + transport::TCP_MIN_HEADER_LEN;
/// Version 4 and a header length of five words.
const PLAIN: u8 = 0x45;

/// Parses `frame`; `None` if it is not plain or not valid.
#[inline]
#[must_use]
pub fn parse(frame: &[u8]) -> Option<IpPacket<Ipv4Addr>> {
    let bytes: &[u8; REACH] = frame.first_chunk()?;
    let len = total_len(bytes);
    if !is_plain(bytes) || IP + len > frame.len() || !checksum_holds(bytes) {
        return None;
    }
    let (protocol, flags) = transport_of(bytes, len)?;
    let [source, destination] = [IP + 12, IP + 16].map(|at| Ipv4Addr::from(array::<4, _>(bytes, at)));
    let [source_port, destination_port] = [TRANSPORT, TRANSPORT + 2].map(|at| word(bytes, at));
    let ports = PortPair { source: source_port, destination: destination_port };
    let (bytes, ttl) = (len as u16, bytes[IP + 8]); // the length as it was read
    Some(IpPacket { source, destination, protocol, ports, flags, bytes, ttl })
}

/// True if source and destination address of a parsed frame differ and its TCP or UDP checksum is not
/// [unfinished](super::checksum::is_unfinished). False also where only the slow path can decide: for tags
/// and options, and for one in 65,536 right checksums.
#[inline]
#[must_use]
pub fn is_sound(frame: &[u8]) -> bool {
    let Some(bytes) = frame.first_chunk::<REACH>() else { return false };
    let ethertype = u16::from_ne_bytes(array(bytes, IP - 2));
    let [source, destination] = [IP + 12, IP + 16].map(|at| u32::from_ne_bytes(array(bytes, at)));
    let plain = ethertype == ethernet::IPV4.to_be() && bytes[IP] == PLAIN;
    plain && source != destination && !holds_pseudo_header(bytes, u64::from(source) + u64::from(destination))
}

/// True if the TCP or UDP checksum is the sum of the pseudo-header. `addresses` is a part of that.
#[inline]
fn holds_pseudo_header(bytes: &[u8; REACH], addresses: u64) -> bool {
    // In a one's-complement sum this subtracts the header from the total length.
    const WITHOUT_HEADER: u64 = !(ipv4::MIN_HEADER_LEN as u16).to_be() as u64;
    let protocol = bytes[IP + 9];
    let tcp = protocol == Protocol::TCP;
    let at = TRANSPORT + if tcp { transport::TCP_CHECKSUM } else { transport::UDP_CHECKSUM };
    let field = !u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
    let len = u64::from(u16::from_ne_bytes(array(bytes, IP + 2))) + WITHOUT_HEADER;
    let others = u64::from(u16::from(protocol).to_be()) + len;
    (addresses + others + u64::from(field)).is_multiple_of(0xffff)
}

/// True for untagged IPv4 without options that is not a fragment.
#[inline]
fn is_plain(bytes: &[u8; REACH]) -> bool {
    let ethertype = u16::from_ne_bytes(array(bytes, IP - 2));
    let fragment = u16::from_ne_bytes(array(bytes, IP + 6)) & 0x3fff_u16.to_be();
    ethertype == ethernet::IPV4.to_be() && bytes[IP] == PLAIN && fragment == 0
}

/// Verifies the header checksum (RFC 1071) in 64-bit words, with end-around carry.
#[inline]
fn checksum_holds(bytes: &[u8; REACH]) -> bool {
    let [first, second] = [IP, IP + 8].map(|at| u64::from_ne_bytes(array(bytes, at)));
    let third = u32::from_ne_bytes(array(bytes, IP + 16));
    let (sum, carry) = first.overflowing_add(second);
    let (sum, carry) = sum.overflowing_add(u64::from(third) + u64::from(carry));
    // Folding is division by 2¹⁶ − 1. A header begins with 0x45, so its sum is never 0.
    sum.wrapping_add(u64::from(carry)).is_multiple_of(0xffff)
}

/// Protocol and control bits. TCP first: most frames are TCP.
#[inline]
fn transport_of(bytes: &[u8; REACH], len: usize) -> Option<(Protocol, TcpFlags)> {
    let protocol = bytes[IP + 9];
    if protocol == Protocol::TCP {
        return tcp_fits(bytes, len).then_some((Protocol::Tcp, TcpFlags(bytes[TRANSPORT + 13])));
    }
    (protocol == Protocol::UDP && udp_fits(bytes, len)).then_some((Protocol::Udp, TcpFlags(0)))
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
