//! Ethernet II header (IEEE 802.3 clause 3).

use super::MacAddr;

/// Length of an untagged Ethernet header in bytes.
pub const HEADER_LEN: usize = 14;
/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
/// EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// EtherType of an IEEE 802.1Q tag. The inner EtherType follows the tag.
pub const TAG: u16 = 0x8100;
/// EtherType of an IEEE 802.1ad tag, the outer one of two.
pub const SERVICE_TAG: u16 = 0x88a8;
/// Length of a tag in bytes.
pub const TAG_LEN: usize = 4;
/// Most tags of a frame that are read.
pub const TAGS_MAX: usize = 2;

/// Destination and source address, the first twelve bytes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses([u8; 12]);

impl Addresses {
    /// Addresses of a frame from `source` to `destination`.
    #[must_use]
    pub fn new(destination: MacAddr, source: MacAddr) -> Self {
        let ([a, b, c, d, e, f], [g, h, i, j, k, l]) = (destination.0, source.0);
        Self([a, b, c, d, e, f, g, h, i, j, k, l])
    }

    /// The destination.
    #[must_use]
    pub fn destination(&self) -> MacAddr {
        let [a, b, c, d, e, f, ..] = self.0;
        MacAddr([a, b, c, d, e, f])
    }

    /// True if the destination ends with these four bytes.
    #[inline]
    #[must_use]
    pub fn ends_with(&self, end: &[u8; 4]) -> bool {
        let [_, _, own @ .., _, _, _, _, _, _] = self.0;
        own == *end
    }

    /// Writes both addresses and no other byte.
    ///
    /// Returns false, and writes nothing, if the frame is shorter than twelve bytes.
    #[inline]
    pub fn write(&self, frame: &mut [u8]) -> bool {
        let addresses = frame.first_chunk_mut::<12>();
        addresses.map(|addresses| *addresses = self.0).is_some()
    }
}

/// View of the header.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a>(&'a [u8; HEADER_LEN]);

impl Header<'_> {
    /// Destination address, as [`MacAddr::bits`].
    #[inline]
    #[must_use]
    pub fn destination_bits(self) -> u64 {
        let [first @ .., _, _, _, _, _, _] = self.0;
        u64::from_le_bytes(*first) << 16
    }

    /// Source address, as [`MacAddr::bits`].
    #[inline]
    #[must_use]
    pub fn source_bits(self) -> u64 {
        let [_, _, _, _, middle @ .., _, _] = self.0;
        u64::from_le_bytes(*middle) & !0xffff
    }

    /// The last four bytes of the source address, the upper half of [`Header::source_bits`].
    #[inline]
    #[must_use]
    pub fn source_end(self) -> u32 {
        u32::from_le_bytes([self.0[8], self.0[9], self.0[10], self.0[11]])
    }

    /// EtherType in host order.
    #[inline]
    #[must_use]
    pub fn ethertype(self) -> u16 {
        u16::from_be_bytes([self.0[12], self.0[13]])
    }
}

/// Splits a frame into header and payload; `None` if it ends within the header.
#[inline]
#[must_use]
pub fn split(frame: &[u8]) -> Option<(Header<'_>, &[u8])> {
    let (header, payload) = frame.split_first_chunk::<HEADER_LEN>()?;
    Some((Header(header), payload))
}

/// True for the EtherType of a tag.
#[must_use]
pub const fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, TAG | SERVICE_TAG)
}

/// Skips the tags, [`TAGS_MAX`] at most, whatever their VLANs. Returns EtherType and payload, which are a tag's if
/// there are more. `None` if a tag is incomplete.
#[must_use]
pub fn untagged(mut ethertype: u16, mut payload: &[u8]) -> Option<(u16, &[u8])> {
    for _ in 0..TAGS_MAX {
        if !is_tag(ethertype) {
            break;
        }
        let ([_, _, inner @ ..], behind) = payload.split_first_chunk::<TAG_LEN>()?;
        (ethertype, payload) = (u16::from_be_bytes(*inner), behind);
    }
    Some((ethertype, payload))
}

/// Destination address; `None` if the frame ends before its end.
#[inline]
#[must_use]
pub fn destination(frame: &[u8]) -> Option<MacAddr> {
    frame.first_chunk().copied().map(MacAddr)
}

/// Source address; `None` if the frame ends before its end.
#[inline]
#[must_use]
pub fn source(frame: &[u8]) -> Option<MacAddr> {
    frame.get(6..)?.first_chunk().copied().map(MacAddr)
}

/// EtherType in host order; `None` if the frame ends before its end.
#[inline]
#[must_use]
pub fn ethertype(frame: &[u8]) -> Option<u16> {
    frame.get(12..)?.first_chunk().copied().map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: [u8; 15] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x08, 0x06, 0xaa];

    #[test]
    fn fields_are_at_the_standard_offsets() {
        let (header, payload) = split(&FRAME).unwrap();
        assert_eq!((header.ethertype(), payload), (ARP, &FRAME[14..]));
        assert_eq!(Some(header.destination_bits()), destination(&FRAME).map(MacAddr::bits));
        assert_eq!(Some(header.source_bits()), source(&FRAME).map(MacAddr::bits));
        assert_eq!(destination(&FRAME), Some(MacAddr([1, 2, 3, 4, 5, 6])));
        assert_eq!(source(&FRAME), Some(MacAddr([7, 8, 9, 10, 11, 12])));
        assert_eq!(ethertype(&FRAME), Some(ARP));
    }

    #[test]
    fn short_frames_have_no_fields() {
        assert_eq!(destination(&FRAME[..5]), None);
        assert_eq!(source(&FRAME[..11]), None);
        assert_eq!(ethertype(&FRAME[..13]), None);
        assert!(split(&FRAME[..13]).is_none());
    }

    #[test]
    fn two_tags_are_skipped() {
        let once = |control: [u8; 2]| [&control[..], &[0x08, 0x00, 0x45]].concat();
        for control in [[0, 0], [0xa0, 0], [0, 1], [0x0f, 0xff]] {
            assert_eq!(untagged(TAG, &once(control)), Some((IPV4, &[0x45][..])));
            let twice = [&[0, 7, 0x81, 0x00], &once(control)[..]].concat();
            assert_eq!(untagged(SERVICE_TAG, &twice), Some((IPV4, &[0x45][..])));
            let thrice = [&[0, 7, 0x81, 0x00], &twice[..]].concat();
            assert_eq!(untagged(TAG, &thrice), Some((TAG, &thrice[8..])));
        }
        assert_eq!(untagged(TAG, &[0, 0, 8]), None);
        assert_eq!(untagged(TAG, &[0, 7, 0x81, 0, 0, 7, 8]), None);
        assert_eq!(untagged(IPV4, &[0x45]), Some((IPV4, &[0x45][..])));
    }

    #[test]
    fn addresses_are_twelve_bytes() {
        let mut frame = FRAME;
        let addresses = Addresses::new(MacAddr([0xd; 6]), MacAddr([0x5; 6]));
        assert!(addresses.write(&mut frame));
        assert_eq!(frame[..12], [0xd, 0xd, 0xd, 0xd, 0xd, 0xd, 5, 5, 5, 5, 5, 5]);
        assert_eq!(frame[12..], FRAME[12..]);
        let before = frame;
        assert!(!addresses.write(&mut frame[..11]));
        assert_eq!(frame, before);
    }
}
