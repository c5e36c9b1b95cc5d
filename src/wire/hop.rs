//! Rewrite of a forwarded IPv4 frame, and detection of forwarding loops.
//!
//! The time to live is decremented as routers do (RFC 1812 section 5.3.1) and as IPVS does in direct
//! routing (`decrement_ttl` in net/netfilter/ipvs/ip_vs_xmit.c). It is also limited to [`TTL_MAX`]: in a
//! loop of directors a frame makes at most this many hops, whatever its initial value.

use super::ethernet::{self, Addresses};

/// Highest time to live of a forwarded frame.
pub const TTL_MAX: u8 = 63;
/// Most hops between a client and a real server with the same MAC address: containers on one host, or
/// machines behind a bridge that translates addresses.
const NEAR: u8 = 8;
/// A frame whose source is its next hop is looping if its time to live is lower than this. Senders start at
/// 64 or more.
const LOOP_TTL: u8 = TTL_MAX + 1 - NEAR;

/// Offset of the time to live in an untagged frame; protocol and header checksum follow.
const TTL: usize = ethernet::HEADER_LEN + 8;
const CHECKSUM: usize = TTL + 2;
/// End of the header checksum.
const REACH: usize = CHECKSUM + 2;

/// Rewrites the MAC addresses, the time to live and the header checksum of an IPv4 frame. The time to live
/// must be at least 2. Every other byte stays, a priority tag included.
///
/// Writes nothing if the frame is too short.
#[inline]
pub fn forward(frame: &mut [u8], addresses: &Addresses) {
    if is_tagged(frame) {
        forward_tagged(frame, addresses);
    } else if let Some(plain) = frame.first_chunk_mut::<REACH>() {
        rewrite(plain, addresses);
    }
}

/// Like [`forward`], for an untagged frame that does not [turn back](turns_back). Returns false, and writes
/// nothing, if it does or is too short.
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
    let onward = !turns_back(frame, addresses);
    if onward {
        forward(frame, addresses);
    }
    onward
}

#[inline]
fn rewrite(plain: &mut [u8; REACH], addresses: &Addresses) {
    addresses.write(plain);
    let [.., ttl, _, high, low] = plain;
    decrement(ttl, [high, low]);
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

/// Time to live of the IPv4 header, behind a priority tag or not.
#[must_use]
pub fn ttl(frame: &[u8]) -> Option<u8> {
    let tag = if is_tagged(frame) { ethernet::TAG_LEN } else { 0 };
    frame.get(TTL + tag).copied()
}

#[inline]
fn is_tagged(frame: &[u8]) -> bool {
    ethernet::split(frame).is_some_and(|(header, _)| header.ethertype() == ethernet::TAG)
}

#[cold]
fn forward_tagged(frame: &mut [u8], addresses: &Addresses) {
    let header = frame.get_mut(TTL + ethernet::TAG_LEN..).and_then(|rest| rest.first_chunk_mut());
    if let Some([ttl, _, high, low]) = header {
        decrement(ttl, [high, low]);
        addresses.write(frame);
    }
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

    #[test]
    fn ttl_is_decremented_and_limited_to_63() {
        for (before, after) in [(255, 63), (128, 63), (65, 63), (64, 63), (63, 62), (3, 2), (2, 1)] {
            for tagged in [false, true] {
                let mut frame = frame(before, 0x1234, tagged);
                forward(&mut frame, &Addresses::new(SERVER, OWN));
                assert_eq!(ttl(&frame), Some(after));
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
    fn a_frame_from_its_server_turns_back_unless_near() {
        let addresses = Addresses::new(SERVER, OWN);
        let from = |source: [u8; 6], ttl| {
            let mut frame = frame(ttl, 0, false);
            frame[6..12].copy_from_slice(&source);
            turns_back(&frame, &addresses)
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
