//! Rewrite of a forwarded IP frame, and detection of forwarding loops.
//!
//! The time to live is decremented as routers do (RFC 1812 section 5.3.1) and as IPVS does in direct
//! routing (`decrement_ttl` in net/netfilter/ipvs/ip_vs_xmit.c), and so is IPv6's hop limit. It is also limited
//! to [`TTL_MAX`]: in a loop of directors a frame makes at most this many hops, whatever its initial value.

use super::ethernet::{self, Addresses};
use super::vlan::Tags;

/// Highest time to live or hop limit of a forwarded frame.
pub const TTL_MAX: u8 = 63;
/// Most hops between a client and a real server with the same MAC address: containers on one host, or
/// machines behind a bridge that translates addresses.
const NEAR: u8 = 8;
/// A frame whose source is its next hop is looping if its time to live is lower than this. Senders start at
/// 64 or more.
const LOOP_TTL: u8 = TTL_MAX + 1 - NEAR;

/// Offset of the time to live in an IPv4 header; protocol and header checksum follow.
const TTL: usize = 8;
/// Offset of the hop limit in an IPv6 header.
const HOP_LIMIT: usize = 7;
/// End of IPv4's header checksum in an untagged frame.
const REACH: usize = ethernet::HEADER_LEN + TTL + 4;
/// End of IPv6's hop limit in an untagged frame.
const REACH_V6: usize = ethernet::HEADER_LEN + HOP_LIMIT + 1;

/// Rewrites the MAC addresses, and the time to live and header checksum of IPv4 or the hop limit of IPv6. The
/// time to live or hop limit must be at least 2. Every other byte stays, tags included.
///
/// Writes nothing if the frame is too short, or is not IP.
#[inline]
pub fn forward(frame: &mut [u8], addresses: &Addresses) {
    match ethernet::ethertype(frame) {
        Some(ethernet::IPV4) => {
            if let Some(plain) = frame.first_chunk_mut::<REACH>() {
                rewrite(plain, addresses);
            }
        }
        Some(ethernet::IPV6) => {
            if let Some(plain) = frame.first_chunk_mut::<REACH_V6>() {
                rewrite_v6(plain, addresses);
            }
        }
        _ => forward_tagged(frame, addresses),
    }
}

/// Like [`forward`], for an untagged IPv4 frame that does not [turn back](turns_back). Returns false, and
/// writes nothing, if it does or is too short.
#[inline]
#[must_use]
pub fn forward_plain(frame: &mut [u8], addresses: &Addresses) -> bool {
    let Some(plain) = frame.first_chunk_mut::<REACH>() else { return false };
    if turns_back(plain, addresses) {
        return false;
    }
    rewrite(plain, addresses);
    true
}

/// Like [`forward_plain`], for any frame.
#[inline]
#[must_use]
pub fn forward_onward(frame: &mut [u8], addresses: &Addresses) -> bool {
    if turns_back(frame, addresses) {
        return false;
    }
    match frame.first_chunk_mut::<REACH>() {
        // First what is most frequent, with one check of its length.
        Some([plain @ .., _, _, _, _]) if is_v6(plain) => rewrite_v6(plain, addresses),
        _ => forward(frame, addresses),
    }
    true
}

#[inline]
fn rewrite(plain: &mut [u8; REACH], addresses: &Addresses) {
    addresses.write(plain);
    let [.., ttl, _, high, low] = plain;
    decrement(ttl, [high, low]);
}

#[inline]
fn rewrite_v6(plain: &mut [u8; REACH_V6], addresses: &Addresses) {
    addresses.write(plain);
    let [.., hop_limit] = plain;
    *hop_limit = after_hop(*hop_limit);
}

#[inline]
fn is_v6(plain: &[u8; REACH_V6]) -> bool {
    let [_, _, _, _, _, _, _, _, _, _, _, _, high, low, ..] = *plain;
    [high, low] == ethernet::IPV6.to_be_bytes()
}

/// Time to live or hop limit after a hop.
#[inline]
fn after_hop(ttl: u8) -> u8 {
    ttl.wrapping_sub(1).min(TTL_MAX)
}

/// True if a frame comes from the station that `addresses` would send it to, from farther than any sender
/// behind that MAC address can be.
#[inline]
#[must_use]
pub fn turns_back(frame: &[u8], addresses: &Addresses) -> bool {
    // MAC addresses on one segment rarely have the same last bytes.
    let Some([_, _, _, _, _, _, _, _, end @ ..]) = frame.first_chunk::<12>() else { return false };
    addresses.ends_with(end) && has_looped(frame, addresses)
}

#[cold]
fn has_looped(frame: &[u8], addresses: &Addresses) -> bool {
    ttl(frame).is_some_and(|ttl| ttl < LOOP_TTL) && ethernet::source(frame) == Some(addresses.destination())
}

/// Time to live or hop limit, behind one tag, two or none; `None` for a frame that is too short, or is not IP.
#[must_use]
pub fn ttl(frame: &[u8]) -> Option<u8> {
    let tags = Tags::of(frame)?;
    frame.get(tags.header_at() + ttl_at(tags.ethertype)?).copied()
}

/// Offset of the time to live or hop limit in a header of `ethertype`; `None` if that is not IP.
fn ttl_at(ethertype: u16) -> Option<usize> {
    match ethertype {
        ethernet::IPV4 => Some(TTL),
        ethernet::IPV6 => Some(HOP_LIMIT),
        _ => None,
    }
}

#[cold]
fn forward_tagged(frame: &mut [u8], addresses: &Addresses) {
    let Some(tags) = Tags::of(frame) else { return };
    let fields = ttl_at(tags.ethertype).and_then(|at| frame.get_mut(tags.header_at() + at..));
    let Some(fields) = fields else { return };
    match (tags.ethertype, fields) {
        (ethernet::IPV4, [ttl, _, high, low, ..]) => decrement(ttl, [high, low]),
        (ethernet::IPV6, [hop_limit, ..]) => *hop_limit = after_hop(*hop_limit),
        _ => return,
    }
    addresses.write(frame);
}

/// Decrements `ttl`, limits it to [`TTL_MAX`], and updates the header checksum (RFC 1624).
#[inline]
fn decrement(ttl: &mut u8, [high, low]: [&mut u8; 2]) {
    let before = u32::from(*ttl);
    let left = before.wrapping_sub(1).min(TTL_MAX.into());
    // One's-complement sums are right in any byte order. In network byte order, the time to live is the
    // first byte of its word. The 1 makes all ones carry, and become 0: no header has all ones for a checksum
    // (RFC 1624 section 3).
    let added = (before - left + 1) as u16; // at most 256
    let (sum, carry) = u16::from_le_bytes([*high, *low]).overflowing_add(added);
    [*high, *low] = sum.wrapping_sub(u16::from(!carry)).to_le_bytes();
    *ttl = left as u8; // at most TTL_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::MacAddr;
    use crate::wire::ipv4::Ipv4;

    const SERVER: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
    const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xd]);

    /// A frame with this checksum, made right by another header field.
    fn frame(ttl: u8, checksum: u16, tagged: bool) -> Vec<u8> {
        let mut header = [0x45, 0, 0, 20, 0, 0, 0, 0, ttl, 17, 0, 0, 192, 0, 2, 1, 198, 51, 100, 1];
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        let sum: u32 = header.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
        let identification = 0xffff - ((sum % 0xffff) as u16);
        header[4..6].copy_from_slice(&identification.to_be_bytes());
        assert!(Ipv4::new(&header).unwrap().checksum_holds());
        let tag: &[u8] = if tagged { &[0x81, 0, 0xa0, 0] } else { &[] };
        [&[0xd; 6], &[1, 2, 3, 4, 5, 6], tag, &[8, 0], &header].concat()
    }

    /// An IPv6 frame without payload.
    fn frame_v6(hop_limit: u8, tagged: bool) -> Vec<u8> {
        let mut header = [0x5a; 40];
        (header[0], header[7]) = (0x60, hop_limit);
        let tag: &[u8] = if tagged { &[0x81, 0, 0xa0, 0] } else { &[] };
        [&[0xd; 6], &[1, 2, 3, 4, 5, 6], tag, &[0x86, 0xdd], &header].concat()
    }

    #[test]
    fn ttl_is_decremented_and_limited_to_63() {
        for (before, after) in [(255, 63), (128, 63), (65, 63), (64, 63), (63, 62), (3, 2), (2, 1)] {
            for tagged in [false, true] {
                for mut frame in [frame(before, 0x1234, tagged), frame_v6(before, tagged)] {
                    forward(&mut frame, &Addresses::new(SERVER, OWN));
                    assert_eq!(ttl(&frame), Some(after));
                }
            }
        }
    }

    #[test]
    fn plain_frames_are_rewritten_alike() {
        let addresses = Addresses::new(SERVER, OWN);
        for ttl in 2..=255 {
            let mut frames = [frame(ttl, 0x1234, false), frame_v6(ttl, false)];
            let mut alike = frames.clone();
            assert!(forward_plain(&mut alike[0], &addresses) && forward_onward(&mut alike[1], &addresses));
            frames.iter_mut().for_each(|frame| forward(frame, &addresses));
            assert_eq!(frames, alike);
        }
    }

    #[test]
    fn headers_behind_two_tags_are_rewritten() {
        for tagged in [frame(64, 0x1234, true), frame_v6(64, true)] {
            let before = [&tagged[..12], &[0x88, 0xa8, 0, 7], &tagged[12..]].concat();
            let (mut after, mut once) = (before.clone(), tagged);
            forward(&mut after, &Addresses::new(SERVER, OWN));
            forward(&mut once, &Addresses::new(SERVER, OWN));
            assert_eq!((ttl(&after), &after[16..]), (Some(63), &once[12..]));
            assert_eq!(after[12..16], before[12..16]);
        }
    }

    #[test]
    fn frames_that_are_not_ip_stay() {
        for ethertype in [[0x08, 0x06], [0x86, 0xde]] {
            let mut arp = frame_v6(64, false);
            arp[12..14].copy_from_slice(&ethertype);
            let mut tagged = frame_v6(64, true);
            tagged[16..18].copy_from_slice(&ethertype);
            for before in [arp, tagged] {
                let mut after = before.clone();
                forward(&mut after, &Addresses::new(SERVER, OWN));
                assert_eq!((ttl(&after), after), (None, before));
            }
        }
    }

    #[test]
    fn the_checksum_stays_right() {
        let addresses = Addresses::new(SERVER, OWN);
        for checksum in 0..=u16::MAX {
            for ttl in [2, 64, 65, 128, 255] {
                let mut frame = frame(ttl, checksum, false);
                assert!(forward_plain(&mut frame, &addresses));
                assert!(Ipv4::new(&frame[14..]).unwrap().checksum_holds(), "{ttl} {checksum:#x}");
                assert_ne!(frame[24..26], [0xff, 0xff], "{ttl} {checksum:#x}");
            }
        }
    }

    #[test]
    fn no_other_byte_changes() {
        for tagged in [false, true] {
            let before = frame(64, 0xabcd, tagged);
            let mut after = before.clone();
            forward(&mut after, &Addresses::new(SERVER, OWN));
            assert_eq!((&after[..6], &after[6..12]), (&SERVER.0[..], &OWN.0[..]));
            let header = if tagged { 18 } else { 14 };
            for at in (12..before.len()).filter(|at| ![8, 10, 11].contains(&at.wrapping_sub(header))) {
                assert_eq!(after[at], before[at], "byte {at}");
            }
            let mut short = before[..header + 11].to_vec();
            forward(&mut short, &Addresses::new(SERVER, OWN));
            assert_eq!(short, before[..header + 11]);
        }
    }

    #[test]
    fn no_other_byte_of_ipv6_changes() {
        for tagged in [false, true] {
            let before = frame_v6(64, tagged);
            let mut after = before.clone();
            forward(&mut after, &Addresses::new(SERVER, OWN));
            let hop_limit = if tagged { 25 } else { 21 };
            let expected =
                [&SERVER.0, &OWN.0, &before[12..hop_limit], &[63], &before[hop_limit + 1..]].concat();
            assert_eq!(after, expected);
            let mut short = before[..hop_limit].to_vec();
            forward(&mut short, &Addresses::new(SERVER, OWN));
            assert_eq!(short, before[..hop_limit]);
        }
    }

    #[test]
    fn a_frame_from_its_server_turns_back_unless_near() {
        let addresses = Addresses::new(SERVER, OWN);
        let from = |source: [u8; 6], ttl| {
            let turn_back =
                [frame(ttl, 0, false), frame_v6(ttl, false), frame_v6(ttl, true)].map(|mut frame| {
                    frame[6..12].copy_from_slice(&source);
                    turns_back(&frame, &addresses)
                });
            assert!(turn_back.iter().all(|turns_back| *turns_back == turn_back[0]));
            turn_back[0]
        };
        assert_eq!(
            [255, 128, 64, 60, 56, 55, 2].map(|ttl| from(SERVER.0, ttl)),
            [false, false, false, false, false, true, true]
        );
        assert!(!from([2, 1, 0, 0, 0, 9], 2), "another station with the same last bytes");
        assert!(!from([2, 0, 0, 0, 0, 8], 2));
        assert!(!turns_back(&[0; 11], &addresses));
    }
}
