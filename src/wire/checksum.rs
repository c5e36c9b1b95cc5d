//! Detection of unfinished TCP and UDP checksums (RFC 9293 section 3.1, RFC 768).
//!
//! With checksum offload, the sender's kernel writes the sum of the pseudo-header, not inverted, and leaves
//! the rest to the network card (`CHECKSUM_PARTIAL` in Linux). A veth has no card, and the frame arrives
//! like that.

use super::ipv4::Ipv4;
use super::packet::Protocol;
use super::{ethernet, transport};

/// True if the TCP or UDP checksum was left to a network card that did not compute it. False for checksums
/// that are wrong in another way, and for UDP without a checksum (0).
#[must_use]
pub fn is_unfinished(frame: &[u8]) -> bool {
    holds_pseudo_header(frame) && !is_right(frame)
}

/// True if the field is the sum of the pseudo-header. One in 65,536 right checksums is, too.
fn holds_pseudo_header(frame: &[u8]) -> bool {
    let Some(ip) = datagram(frame) else { return false };
    let Some(field) = field(&ip) else { return false };
    // The sum is not 0: the protocol is part of it.
    field != 0 && (pseudo_header(&ip) + u64::from(!field)).is_multiple_of(0xffff)
}

fn is_right(frame: &[u8]) -> bool {
    let Some(ip) = datagram(frame) else { return false };
    let (words, rest) = ip.payload().as_chunks::<2>();
    let sum: u64 = words.iter().map(|word| u64::from(u16::from_ne_bytes(*word))).sum();
    let rest = rest.first().map_or(0, |last| u64::from(u16::from_ne_bytes([*last, 0])));
    (pseudo_header(&ip) + sum + rest).is_multiple_of(0xffff)
}

fn datagram(frame: &[u8]) -> Option<Ipv4<'_>> {
    let (header, payload) = ethernet::split(frame)?;
    let (ethertype, payload) = ethernet::untagged(header.ethertype(), payload)?;
    (ethertype == ethernet::IPV4).then(|| Ipv4::new(payload).ok())?
}

/// The checksum field, in network byte order.
fn field(ip: &Ipv4<'_>) -> Option<u16> {
    let at = match ip.protocol() {
        Protocol::TCP => transport::TCP_CHECKSUM,
        Protocol::UDP => transport::UDP_CHECKSUM,
        _ => return None,
    };
    ip.payload().get(at..)?.first_chunk().copied().map(u16::from_ne_bytes)
}

/// Sum of the pseudo-header in native byte order: a one's-complement sum is right in any order.
fn pseudo_header(ip: &Ipv4<'_>) -> u64 {
    let address = |address: std::net::Ipv4Addr| u64::from(u32::from_ne_bytes(address.octets()));
    let len = ip.payload().len() as u16; // at most the 16-bit total length
    let others = [u16::from(ip.protocol()), len].map(|word| u64::from(word.to_be()));
    address(ip.source()) + address(ip.destination()) + others[0] + others[1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::fast_path::is_sound;
    use etherparse::PacketBuilder;

    fn frame(tcp: bool, payload: &[u8]) -> Vec<u8> {
        let builder = PacketBuilder::ethernet2([1; 6], [2; 6]).ipv4([198, 51, 100, 7], [192, 0, 2, 1], 64);
        let mut frame = Vec::new();
        if tcp {
            builder.tcp(40_000, 80, 1, 65_535).syn().write(&mut frame, payload).unwrap();
        } else {
            builder.udp(40_000, 53).write(&mut frame, payload).unwrap();
        }
        frame.resize(frame.len().max(60), 0xee);
        frame
    }

    /// As Linux leaves it for checksum offload: `skb_partial_csum_set`, `tcp_v4_send_check`.
    fn unfinished(tcp: bool, payload: &[u8]) -> Vec<u8> {
        let mut frame = frame(tcp, payload);
        let len = if tcp { 20 } else { 8 } + payload.len() as u32;
        let addresses = frame[26..34].chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
        let sum = addresses.sum::<u32>() + if tcp { 6 } else { 17 } + len;
        let sum = ((sum & 0xffff) + (sum >> 16)) as u16;
        let at = if tcp { 50 } else { 40 };
        frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    fn tagged(frame: &[u8]) -> Vec<u8> {
        [&frame[..12], &[0x81, 0, 0xa0, 0], &frame[12..]].concat()
    }

    #[test]
    fn the_sum_of_the_pseudo_header_is_unfinished() {
        for (tcp, payload) in [(true, &[][..]), (true, b"odd"), (false, b"query"), (false, b"even")] {
            let (finished, unfinished) = (frame(tcp, payload), unfinished(tcp, payload));
            assert!(!is_unfinished(&finished) && is_sound(&finished));
            assert!(is_unfinished(&unfinished) && !is_sound(&unfinished));
            assert!(!is_unfinished(&tagged(&finished)));
            assert!(is_unfinished(&tagged(&unfinished)));
            assert!(!is_sound(&tagged(&finished)), "only the slow path decides");
            let mut wrong = finished;
            wrong[if tcp { 50 } else { 40 }] ^= 0x40;
            assert!(!is_unfinished(&wrong), "wrong, but not unfinished");
        }
    }

    #[test]
    fn a_datagram_without_a_checksum_is_finished() {
        let mut datagram = frame(false, b"query");
        datagram[40..42].fill(0);
        assert!(!is_unfinished(&datagram));
    }

    /// A payload that makes the right checksum equal to the sum of the pseudo-header.
    #[test]
    fn a_right_checksum_may_equal_the_pseudo_header_sum() {
        let by_chance =
            (0..=u16::MAX).map(|word| frame(false, &word.to_be_bytes())).find(|frame| !is_sound(frame));
        assert!(!is_unfinished(&by_chance.expect("one of 65,536")));
    }
}
