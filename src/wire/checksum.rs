//! Detection of unfinished TCP and UDP checksums (RFC 9293 section 3.1, RFC 768), and other checksums.
//!
//! With checksum offload, the sender's kernel writes the sum of the pseudo-header, not inverted, and leaves
//! the rest to the network card (`CHECKSUM_PARTIAL` in Linux). A veth has no card, and the frame arrives
//! like that.

use super::ipv4::Ipv4;
use super::ipv6::Ipv6;
use super::{Protocol, ethernet, transport};
use std::net::Ipv6Addr;

/// True if the TCP or UDP checksum was left to a network card that did not compute it. False for checksums
/// that are wrong in another way, and for UDP without a checksum (0).
#[must_use]
pub fn is_unfinished(frame: &[u8]) -> bool {
    holds_pseudo_header(frame) && !is_right(frame)
}

/// True if the field is the sum of the pseudo-header. One in 65,536 right checksums is, too.
fn holds_pseudo_header(frame: &[u8]) -> bool {
    let Some(segment) = Segment::of(frame) else { return false };
    let Some(field) = segment.field() else { return false };
    // The sum is not 0: the protocol is part of it.
    field != 0 && (segment.pseudo_header + u64::from(!field)).is_multiple_of(0xffff)
}

fn is_right(frame: &[u8]) -> bool {
    let Some(Segment { payload, pseudo_header, .. }) = Segment::of(frame) else { return false };
    (pseudo_header + sum(payload)).is_multiple_of(0xffff)
}

/// True if the checksum over `message` is right, its own field included (RFC 1071).
#[must_use]
pub fn holds(message: &[u8]) -> bool {
    sum(message).is_multiple_of(0xffff)
}

/// Likewise, with the pseudo-header of IPv6 (RFC 8200 section 8.1) from source to destination.
#[must_use]
pub fn holds_v6((source, destination): (Ipv6Addr, Ipv6Addr), protocol: u8, message: &[u8]) -> bool {
    let addresses = sum(&source.octets()) + sum(&destination.octets());
    let Segment { payload, pseudo_header, .. } = Segment::new(protocol, message, addresses);
    (pseudo_header + sum(payload)).is_multiple_of(0xffff)
}

/// TCP segment or UDP datagram.
struct Segment<'a> {
    protocol: u8,
    /// Header and data.
    payload: &'a [u8],
    /// Sum of the pseudo-header, to be folded.
    pseudo_header: u64,
}

impl<'a> Segment<'a> {
    fn of(frame: &'a [u8]) -> Option<Self> {
        let (header, payload) = ethernet::split(frame)?;
        match ethernet::untagged(header.ethertype(), payload)? {
            (ethernet::IPV4, packet) => {
                let ip = Ipv4::new(packet).ok()?;
                let addresses = sum(&ip.source().octets()) + sum(&ip.destination().octets());
                Some(Self::new(ip.protocol(), ip.payload(), addresses))
            }
            (ethernet::IPV6, packet) => {
                let ip = Ipv6::new(packet).ok()?;
                let upper = ip.upper().ok()?;
                let addresses = sum(&ip.source().octets()) + sum(&ip.destination().octets());
                Some(Self::new(upper.protocol, upper.payload, addresses))
            }
            _ => None,
        }
    }

    /// `addresses` is their sum.
    fn new(protocol: u8, payload: &'a [u8], addresses: u64) -> Self {
        let len = payload.len() as u16; // at most IP's 16-bit length
        let others = [u16::from(protocol), len].map(|word| u64::from(word.to_be()));
        Self { protocol, payload, pseudo_header: addresses + others[0] + others[1] }
    }

    /// The checksum field, in network byte order.
    fn field(&self) -> Option<u16> {
        let at = match self.protocol {
            Protocol::TCP => transport::TCP_CHECKSUM,
            Protocol::UDP => transport::UDP_CHECKSUM,
            _ => return None,
        };
        self.payload.get(at..)?.first_chunk().copied().map(u16::from_ne_bytes)
    }
}

/// Folds and inverts a sum: the bytes of the checksum field.
pub(super) fn complement(sum: u64) -> [u8; 2] {
    let folded = (sum % 0xffff) as u16;
    // A multiple of 2¹⁶ − 1 folds to all ones, unless it is 0.
    (!if folded == 0 && sum > 0 { 0xffff } else { folded }).to_ne_bytes()
}

/// Sum of 16-bit words in native byte order, to be folded: a one's-complement sum is right in any order
/// (RFC 1071 section 2). An odd last byte is a word with 0.
pub(super) fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<2>();
    let sum: u64 = words.iter().map(|word| u64::from(u16::from_ne_bytes(*word))).sum();
    sum + rest.first().map_or(0, |last| u64::from(u16::from_ne_bytes([*last, 0])))
}

/// Checksum of a `message` whose field is 0, with the pseudo-header of IPv6, in network byte order.
pub(super) fn v6((source, destination): (Ipv6Addr, Ipv6Addr), protocol: u8, message: &[u8]) -> [u8; 2] {
    let addresses = sum(&source.octets()) + sum(&destination.octets());
    let Segment { payload, pseudo_header, .. } = Segment::new(protocol, message, addresses);
    // The sum is not 0: the protocol is part of it. So the remainder 0 stands for 0xffff.
    let folded = ((pseudo_header + sum(payload)) % 0xffff) as u16;
    (!if folded == 0 { 0xffff } else { folded }).to_ne_bytes()
}

/// Updates a checksum for a word of the message that changes from `before` to `after` (RFC 1624 section 3).
pub(super) fn update([high, low]: [&mut u8; 2], before: [u8; 2], after: [u8; 2]) {
    let others = u32::from(!u16::from_be_bytes([*high, *low])) + u32::from(!u16::from_be_bytes(before));
    let sum = others + u32::from(u16::from_be_bytes(after));
    let folded = (sum & 0xffff) + (sum >> 16); // at most 0x1_0001, as there are three words
    let folded = ((folded & 0xffff) + (folded >> 16)) as u16;
    [*high, *low] = (!folded).to_be_bytes();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{fast_path, fast_path_v6};
    use etherparse::PacketBuilder;

    /// IP version, and TCP or UDP.
    const KINDS: [(u8, bool); 4] = [(4, true), (4, false), (6, true), (6, false)];

    fn frame(version: u8, tcp: bool, payload: &[u8]) -> Vec<u8> {
        let builder = PacketBuilder::ethernet2([1; 6], [2; 6]);
        let builder = match version {
            4 => builder.ipv4([198, 51, 100, 7], [192, 0, 2, 1], 64),
            _ => builder.ipv6([0x20; 16], [0x21; 16], 64),
        };
        let mut frame = Vec::new();
        if tcp {
            builder.tcp(40_000, 80, 1, 65_535).syn().write(&mut frame, payload).unwrap();
        } else {
            builder.udp(40_000, 53).write(&mut frame, payload).unwrap();
        }
        frame.resize(frame.len().max(60), 0xee);
        frame
    }

    fn is_sound(frame: &[u8]) -> bool {
        fast_path::is_sound(frame) || fast_path_v6::is_sound(frame)
    }

    /// Offset of the checksum.
    fn checksum_at(version: u8, tcp: bool) -> usize {
        14 + if version == 4 { 20 } else { 40 } + if tcp { 16 } else { 6 }
    }

    /// As Linux leaves it for checksum offload: `skb_partial_csum_set`, `tcp_v4_send_check`.
    fn unfinished(version: u8, tcp: bool, payload: &[u8]) -> Vec<u8> {
        let mut frame = frame(version, tcp, payload);
        let len = if tcp { 20 } else { 8 } + payload.len() as u32;
        let addresses = if version == 4 { &frame[26..34] } else { &frame[22..54] };
        let addresses = addresses.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
        let sum = addresses.sum::<u32>() + if tcp { 6 } else { 17 } + len;
        let sum = ((sum & 0xffff) + (sum >> 16)) as u16;
        let at = checksum_at(version, tcp);
        frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    fn tagged(frame: &[u8]) -> Vec<u8> {
        [&frame[..12], &[0x81, 0, 0xa0, 0], &frame[12..]].concat()
    }

    /// The same IPv6 packet with destination options of eight bytes.
    fn extended(frame: &[u8]) -> Vec<u8> {
        let mut frame = [&frame[..54], &[frame[20], 0, 1, 4, 0, 0, 0, 0], &frame[54..]].concat();
        (frame[19], frame[20]) = (frame[19] + 8, 60);
        frame
    }

    #[test]
    fn the_sum_of_the_pseudo_header_is_unfinished() {
        for ((version, tcp), payload) in
            KINDS.iter().flat_map(|kind| [(*kind, &b"odd"[..]), (*kind, b"even")])
        {
            let (finished, unfinished) = (frame(version, tcp, payload), unfinished(version, tcp, payload));
            assert!(!is_unfinished(&finished) && is_sound(&finished));
            assert!(is_unfinished(&unfinished) && !is_sound(&unfinished));
            assert!(!is_unfinished(&tagged(&finished)));
            assert!(is_unfinished(&tagged(&unfinished)));
            assert!(!is_sound(&tagged(&finished)), "only the slow path decides");
            let mut wrong = finished;
            wrong[checksum_at(version, tcp)] ^= 0x40;
            assert!(!is_unfinished(&wrong), "wrong, but not unfinished");
        }
    }

    #[test]
    fn extension_headers_are_no_part_of_the_checksum() {
        for tcp in [true, false] {
            let finished = extended(&frame(6, tcp, b"query"));
            assert!(!is_unfinished(&finished) && !is_sound(&finished), "only the slow path decides");
            assert!(is_unfinished(&extended(&unfinished(6, tcp, b"query"))));
        }
    }

    #[test]
    fn a_datagram_without_a_checksum_is_finished() {
        for version in [4, 6] {
            let mut datagram = frame(version, false, b"query");
            let at = checksum_at(version, false);
            datagram[at..at + 2].fill(0);
            assert!(!is_unfinished(&datagram));
        }
    }

    #[test]
    fn frames_between_equal_addresses_are_not_sound() {
        let mut frame = frame(6, true, b"");
        frame.copy_within(22..38, 38);
        assert!(!is_sound(&frame));
    }

    /// A payload that makes the right checksum equal to the sum of the pseudo-header.
    #[test]
    fn a_right_checksum_may_equal_the_pseudo_header_sum() {
        for version in [4, 6] {
            let mut frames = (0..=u16::MAX).map(|word| frame(version, false, &word.to_be_bytes()));
            let by_chance = frames.find(|frame| !is_sound(frame));
            assert!(!is_unfinished(&by_chance.expect("one of 65,536")));
        }
    }
}
