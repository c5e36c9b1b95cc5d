//! ICMP errors that quote the refused packet.

use super::refused::RefusedPacket;
use crate::wire::checksum;
use crate::wire::icmp::{HEADER_LEN, ICMP, ICMPV6, kind, kind_v6};

/// Length of the longest packet in bytes: the IPv4 minimum datagram (RFC 1812 section 4.3.2.3).
pub(super) const PACKET_MAX: usize = 576;

/// Type and code, by family, and the word behind the checksum.
pub(super) struct IcmpError {
    v4: [u8; 2],
    v6: [u8; 2],
    word: u32,
}

pub(super) const PORT_UNREACHABLE: IcmpError =
    IcmpError { v4: [kind::DESTINATION_UNREACHABLE, 3], v6: [kind_v6::DESTINATION_UNREACHABLE, 4], word: 0 };
pub(super) const TIME_EXCEEDED: IcmpError =
    IcmpError { v4: [kind::TIME_EXCEEDED, 0], v6: [kind_v6::TIME_EXCEEDED, 0], word: 0 };

/// The error for an MTU in bytes. A longer one than a packet of IPv4 may have is none.
pub(super) fn too_big(mtu: u32) -> IcmpError {
    let mtu = mtu.min(u16::MAX.into());
    IcmpError { v4: [kind::DESTINATION_UNREACHABLE, 4], v6: [kind_v6::PACKET_TOO_BIG, 0], word: mtu }
}

/// Writes the error with its IP header. Returns the length in bytes.
pub(super) fn write(refused: &RefusedPacket<'_>, error: &IcmpError, packet: &mut [u8]) -> usize {
    let at = refused.header_len();
    let quoted = refused.packet.len().min(PACKET_MAX - at - HEADER_LEN);
    let (header, message) = packet.split_at_mut(at);
    let message = &mut message[..HEADER_LEN + quoted];
    let (protocol, [kind, code]) = if refused.is_v4() { (ICMP, error.v4) } else { (ICMPV6, error.v6) };
    message[..4].copy_from_slice(&[kind, code, 0, 0]);
    message[4..HEADER_LEN].copy_from_slice(&error.word.to_be_bytes());
    message[HEADER_LEN..].copy_from_slice(&refused.packet[..quoted]);
    refused.write_header(header, protocol, message.len());
    let pseudo_header = if refused.is_v4() { 0 } else { refused.pseudo_header(ICMPV6, message.len()) };
    let sum = checksum::complement(checksum::sum(message) + pseudo_header);
    message[2..4].copy_from_slice(&sum);
    at + message.len()
}
