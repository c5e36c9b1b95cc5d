//! SCTP checksums that a sender has left to its network card, which writes CRC32c into the field (RFC 9260 section 6.8).
//!
//! Linux leaves 0 there (`sctp_packet_pack` in net/sctp/output.c). A veth has no card, and the frame arrives like that.

use super::crc32c::crc32c;
use super::ipv4::Ipv4;
use super::ipv6::Ipv6;
use super::vlan::Tags;
use super::{Protocol, ethernet, sctp};
use std::ops::Range;

/// Offset of the checksum in an SCTP packet.
pub const FIELD: usize = 8;
/// End of the checksum.
const END: usize = FIELD + 4;

/// True if `frame` has an SCTP packet whose checksum is 0, and 0 is wrong.
#[must_use]
pub fn is_missing(frame: &[u8]) -> bool {
    let packet = position(frame).and_then(|at| frame.get(at));
    packet.is_some_and(|packet| packet[FIELD..END] == [0; 4] && of(packet) != [0; 4])
}

/// Writes the right checksum into the SCTP packet of `frame`. Returns false, and writes nothing, if there is no whole
/// one.
pub fn complete(frame: &mut [u8]) -> bool {
    let Some(packet) = position(frame).and_then(|at| frame.get_mut(at)) else { return false };
    let checksum = of(packet);
    packet[FIELD..END].copy_from_slice(&checksum);
    true
}

/// The checksum of a packet, whatever its field has, as on the wire: the lowest byte first (RFC 9260 appendix A).
fn of(packet: &[u8]) -> [u8; 4] {
    crc32c([&packet[..FIELD], &[0; 4], &packet[END..]]).to_le_bytes()
}

/// Place of a whole SCTP packet, with the common header at least, in a frame with any tags. Padding of the frame is not
/// a part of it.
fn position(frame: &[u8]) -> Option<Range<usize>> {
    let tags = Tags::of(frame)?;
    let at = tags.header_at();
    let (protocol, is_fragment, payload_len, end) = match tags.ethertype {
        ethernet::IPV4 => {
            let ip = Ipv4::new(frame.get(at..)?).ok()?;
            (ip.protocol(), ip.is_fragment(), ip.payload_len(), at + usize::from(ip.total_len()))
        }
        ethernet::IPV6 => {
            let ip = Ipv6::new(frame.get(at..)?).ok()?;
            let upper = ip.upper().ok()?;
            (upper.protocol, upper.is_fragment(), upper.payload_len, at + usize::from(ip.bytes()))
        }
        _ => return None,
    };
    let is_whole = protocol == Protocol::SCTP && !is_fragment && payload_len >= sctp::COMMON_HEADER_LEN;
    is_whole.then_some(end - payload_len..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{IpNumber, PacketBuilder};

    /// An INIT over IP of this version in a padded frame, with its checksum.
    fn frame(version: u8) -> Vec<u8> {
        let mut packet = vec![0x0f, 0xa0, 0x0f, 0x1c, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 4];
        let checksum = crc32c([&packet[..]]);
        packet[FIELD..END].copy_from_slice(&checksum.to_le_bytes());
        let builder = PacketBuilder::ethernet2([1; 6], [2; 6]);
        let builder = match version {
            4 => builder.ipv4([198, 51, 100, 7], [192, 0, 2, 1], 64),
            _ => builder.ipv6([0x20; 16], [0x21; 16], 64),
        };
        let mut frame = Vec::new();
        builder.write(&mut frame, IpNumber::SCTP, &packet).unwrap();
        frame.extend([0xee; 10]);
        frame
    }

    fn at(version: u8) -> usize {
        14 + if version == 4 { 20 } else { 40 } + FIELD
    }

    fn unfinished(version: u8) -> Vec<u8> {
        let mut frame = frame(version);
        frame[at(version)..][..4].fill(0);
        frame
    }

    fn tagged(frame: &[u8]) -> Vec<u8> {
        [&frame[..12], &[0x88, 0xa8, 0, 9, 0x81, 0, 0xa0, 100], &frame[12..]].concat()
    }

    #[test]
    fn a_missing_checksum_is_completed() {
        for version in [4, 6] {
            let (whole, mut completed) = (frame(version), unfinished(version));
            assert!(is_missing(&completed) && !is_missing(&whole));
            assert!(complete(&mut completed));
            assert_eq!(completed, whole);
            let mut behind_tags = tagged(&unfinished(version));
            assert!(is_missing(&behind_tags) && complete(&mut behind_tags));
            assert_eq!(behind_tags, tagged(&whole));
        }
    }

    #[test]
    fn a_wrong_checksum_is_not_missing() {
        for version in [4, 6] {
            let mut wrong = frame(version);
            wrong[at(version)] ^= 1;
            assert!(!is_missing(&wrong));
        }
    }

    #[test]
    fn frames_without_a_whole_packet_stay() {
        let (v4, v6) = (unfinished(4), unfinished(6));
        let edit = |frame: &[u8], at: usize, byte: u8| {
            let mut frame = frame.to_vec();
            frame[at] = byte;
            frame
        };
        let cases = [
            ("UDP", edit(&v4, 23, 17)),
            ("a fragment", edit(&v4, 20, 0x20)),
            ("11 bytes", edit(&v4, 17, 31)),
            ("UDP over IPv6", edit(&v6, 20, 17)),
            ("11 bytes over IPv6", edit(&v6, 19, 11)),
            ("ARP", edit(&v4, 13, 6)),
        ];
        for (what, frame) in cases {
            let mut after = frame.clone();
            assert!(!is_missing(&frame) && !complete(&mut after), "{what}");
            assert_eq!(after, frame, "{what}");
        }
        for frame in [v4, v6].map(|frame| tagged(&frame)) {
            for len in 0..frame.len() - 10 {
                assert!(!complete(&mut frame[..len].to_vec()), "{len}");
            }
        }
    }
}
