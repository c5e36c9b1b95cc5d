//! The Ethernet II header (IEEE 802.3 clause 3).

use super::MacAddr;

/// Length of an untagged Ethernet header in bytes.
pub const HEADER_LEN: usize = 14;
/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ARP: u16 = 0x0806;

/// Destination address; `None` if the frame ends before it does.
#[inline]
#[must_use]
pub fn destination(frame: &[u8]) -> Option<MacAddr> {
    frame.first_chunk().copied().map(MacAddr)
}

/// Source address; `None` if the frame ends before it does.
#[inline]
#[must_use]
pub fn source(frame: &[u8]) -> Option<MacAddr> {
    frame.get(6..)?.first_chunk().copied().map(MacAddr)
}

/// EtherType in host order; `None` if the frame ends before it does.
#[inline]
#[must_use]
pub fn ethertype(frame: &[u8]) -> Option<u16> {
    frame.get(12..)?.first_chunk().copied().map(u16::from_be_bytes)
}

/// Writes both addresses and leaves every other byte alone.
///
/// Returns false, and writes nothing, if the frame is shorter than twelve bytes.
#[inline]
pub fn readdress(frame: &mut [u8], destination: MacAddr, source: MacAddr) -> bool {
    let Some(addresses) = frame.first_chunk_mut::<12>() else { return false };
    addresses[..6].copy_from_slice(&destination.0);
    addresses[6..].copy_from_slice(&source.0);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: [u8; 15] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x08, 0x06, 0xaa];

    #[test]
    fn fields_are_where_the_standard_puts_them() {
        assert_eq!(destination(&FRAME), Some(MacAddr([1, 2, 3, 4, 5, 6])));
        assert_eq!(source(&FRAME), Some(MacAddr([7, 8, 9, 10, 11, 12])));
        assert_eq!(ethertype(&FRAME), Some(ARP));
    }

    #[test]
    fn short_frames_have_no_fields() {
        assert_eq!(destination(&FRAME[..5]), None);
        assert_eq!(source(&FRAME[..11]), None);
        assert_eq!(ethertype(&FRAME[..13]), None);
    }

    #[test]
    fn readdressing_touches_twelve_bytes() {
        let mut frame = FRAME;
        assert!(readdress(&mut frame, MacAddr([0xd; 6]), MacAddr([0x5; 6])));
        assert_eq!(frame[..12], [0xd, 0xd, 0xd, 0xd, 0xd, 0xd, 5, 5, 5, 5, 5, 5]);
        assert_eq!(frame[12..], FRAME[12..]);
        assert!(!readdress(&mut frame[..11], MacAddr::ZERO, MacAddr::ZERO));
    }
}
