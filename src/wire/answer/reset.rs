//! TCP resets.

use super::refused::RefusedPacket;
use crate::wire::checksum;
use crate::wire::protocol::Protocol;
use crate::wire::transport::{self, PortPair, TcpFlags};

/// Fixed part of a TCP header.
type TcpHeader = [u8; transport::TCP_MIN_HEADER_LEN];

/// Writes a reset; `None` for a segment that is one, or has no whole header.
pub(super) fn write(refused: &RefusedPacket<'_>, packet: &mut [u8]) -> Option<usize> {
    let segment: &TcpHeader = refused.payload.first_chunk()?;
    let flags = TcpFlags(segment[13]);
    if flags.any(TcpFlags::RST) {
        return None;
    }
    let at = refused.header_len();
    let (header, reset) = packet.split_at_mut(at);
    let reset = &mut reset[..transport::TCP_MIN_HEADER_LEN];
    let PortPair { source, destination } = PortPair::of(segment)?;
    let (sequence, acknowledged) = numbers(refused, segment, flags);
    let control = if flags.any(TcpFlags::ACK) { TcpFlags::RST } else { TcpFlags::RST | TcpFlags::ACK };
    reset[..2].copy_from_slice(&destination.to_be_bytes());
    reset[2..4].copy_from_slice(&source.to_be_bytes());
    reset[4..8].copy_from_slice(&sequence.to_be_bytes());
    reset[8..12].copy_from_slice(&acknowledged.to_be_bytes());
    reset[12..].copy_from_slice(&[5 << 4, control, 0, 0, 0, 0, 0, 0]);
    refused.write_header(header, Protocol::TCP, reset.len());
    let sum = checksum::sum(reset) + refused.pseudo_header(Protocol::TCP, reset.len());
    reset[transport::TCP_CHECKSUM..][..2].copy_from_slice(&checksum::complement(sum));
    Some(at + reset.len())
}

/// Sequence and acknowledgment number of the reset.
fn numbers(refused: &RefusedPacket<'_>, segment: &TcpHeader, flags: TcpFlags) -> (u32, u32) {
    let number =
        |at: usize| u32::from_be_bytes([segment[at], segment[at + 1], segment[at + 2], segment[at + 3]]);
    if flags.any(TcpFlags::ACK) {
        return (number(8), 0);
    }
    let data = refused.payload_len.saturating_sub(usize::from(segment[12] >> 4) * 4) as u32; // below 64 KiB
    let controls = u32::from(flags.any(TcpFlags::SYN)) + u32::from(flags.any(TcpFlags::FIN));
    (0, number(4).wrapping_add(data + controls))
}
