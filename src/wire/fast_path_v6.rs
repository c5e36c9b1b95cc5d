//! Fast path of the frame parser for IPv6: untagged, with TCP or UDP directly behind the header.
//!
//! As [`fast_path`](super::fast_path) for IPv4: any other frame, and any error, gives `None`, and the slow
//! path decides.

use super::bytes::{array, word};
use super::packet::IpPacket;
use super::transport::{self, PortPair, TcpFlags};
use super::{Protocol, ethernet, ipv6};
use std::net::Ipv6Addr;

/// Offset of the IPv6 header in bytes.
const IP: usize = ethernet::HEADER_LEN;
/// Offset of the TCP or UDP header.
const TRANSPORT: usize = IP + ipv6::HEADER_LEN;
/// End of a UDP header.
const UDP_REACH: usize = TRANSPORT + transport::UDP_HEADER_LEN;
/// End of a TCP header without options.
const TCP_REACH: usize = TRANSPORT + transport::TCP_MIN_HEADER_LEN;

/// Parses `frame`; `None` if it is not plain or not valid.
#[inline]
#[must_use]
pub fn parse(frame: &[u8]) -> Option<IpPacket<Ipv6Addr>> {
    let bytes: &[u8; UDP_REACH] = frame.first_chunk()?;
    let payload_len = usize::from(word(bytes, IP + 4));
    let len = payload_len + ipv6::HEADER_LEN;
    if !is_plain(bytes) || IP + len > frame.len() || len > usize::from(u16::MAX) {
        return None;
    }
    let (protocol, flags) = transport_of(frame, bytes, payload_len)?;
    let [source, destination] = [IP + 8, IP + 24].map(|at| Ipv6Addr::from(array::<16, _>(bytes, at)));
    let [source_port, destination_port] = [TRANSPORT, TRANSPORT + 2].map(|at| word(bytes, at));
    let ports = PortPair { source: source_port, destination: destination_port };
    let (bytes, ttl) = (len as u16, bytes[IP + 7]); // at most 65,535, as checked
    Some(IpPacket { source, destination, protocol, ports, flags, bytes, ttl })
}

/// True if source and destination address of a parsed frame differ, the source is not IPv4-mapped, and the TCP or UDP
/// checksum is not [unfinished](super::checksum::is_unfinished). False also where only the slow path can decide, as
/// [`fast_path::is_sound`](super::fast_path::is_sound).
#[inline]
#[must_use]
pub fn is_sound(frame: &[u8]) -> bool {
    let Some(bytes) = frame.first_chunk::<UDP_REACH>() else { return false };
    let [source, destination] = [IP + 8, IP + 24].map(|at| u128::from_ne_bytes(array(bytes, at)));
    let checksum = match bytes[IP + 6] {
        Protocol::TCP => frame.get(TRANSPORT + transport::TCP_CHECKSUM..).and_then(|rest| rest.first_chunk()),
        Protocol::UDP => Some(&[bytes[UDP_REACH - 2], bytes[UDP_REACH - 1]]),
        _ => None,
    };
    let is_possible = source != destination && !ipv6::is_ipv4_mapped(Ipv6Addr::from(source.to_ne_bytes()));
    let (true, Some(field)) = (is_plain(bytes) && is_possible, checksum) else { return false };
    let rest = pseudo_header_rest(bytes) + u64::from(!u16::from_ne_bytes(*field));
    !(folded(source) + folded(destination) + rest).is_multiple_of(0xffff)
}

/// Protocol and payload length, the part of the pseudo-header that is not an address (RFC 8200 section 8.1).
#[inline]
fn pseudo_header_rest(bytes: &[u8; UDP_REACH]) -> u64 {
    u64::from(u16::from(bytes[IP + 6]).to_be()) + u64::from(u16::from_ne_bytes(array(bytes, IP + 4)))
}

/// One's-complement sum of an address in 32-bit words, which fold to the same (RFC 1071 section 2).
#[inline]
fn folded(address: u128) -> u64 {
    (0..4).map(|word| (address >> (32 * word)) as u32).map(u64::from).sum()
}

/// True for untagged IPv6. The next header is not looked at.
#[inline]
fn is_plain(bytes: &[u8; UDP_REACH]) -> bool {
    let ethertype = u16::from_ne_bytes(array(bytes, IP - 2));
    ethertype == ethernet::IPV6.to_be() && bytes[IP] >> 4 == 6
}

/// Protocol and control bits. TCP first: most frames are TCP.
#[inline]
fn transport_of(frame: &[u8], bytes: &[u8; UDP_REACH], payload_len: usize) -> Option<(Protocol, TcpFlags)> {
    let protocol = bytes[IP + 6];
    if protocol == Protocol::TCP {
        return tcp_flags(frame.first_chunk()?, payload_len).map(|flags| (Protocol::Tcp, flags));
    }
    (protocol == Protocol::UDP && udp_fits(bytes, payload_len)).then_some((Protocol::Udp, TcpFlags(0)))
}

/// Control bits, if the header fits the payload.
#[inline]
fn tcp_flags(bytes: &[u8; TCP_REACH], payload_len: usize) -> Option<TcpFlags> {
    let len = usize::from(bytes[TRANSPORT + 12] >> 4) * 4;
    let fits = len >= transport::TCP_MIN_HEADER_LEN && len <= payload_len;
    fits.then_some(TcpFlags(bytes[TRANSPORT + 13]))
}

#[inline]
fn udp_fits(bytes: &[u8; UDP_REACH], payload_len: usize) -> bool {
    let len = usize::from(word(bytes, TRANSPORT + 4));
    len >= transport::UDP_HEADER_LEN && len <= payload_len
}
