//! IPv4 header (RFC 791), as far as a director reads it.

use super::fragment::FragmentFields;
use std::net::Ipv4Addr;

/// Length of a header without options, in bytes.
pub const MIN_HEADER_LEN: usize = 20;

/// Checked view: version 4, header and total length consistent with each other and the frame.
#[derive(Clone, Copy, Debug)]
pub struct Ipv4<'a> {
    /// Header without options.
    fixed: &'a [u8; MIN_HEADER_LEN],
    /// The datagram without Ethernet padding, or its first part.
    datagram: &'a [u8],
    header_len: usize,
    total_len: u16,
}

/// Error for bytes that are not an IPv4 datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipv4Error {
    /// The frame ends before the header or the total length does.
    Truncated,
    /// Version, header length or total length contradict each other.
    Malformed,
}

impl<'a> Ipv4<'a> {
    /// Creates a view of `bytes`, which follow the Ethernet header.
    ///
    /// # Errors
    /// [`Ipv4Error`] for inconsistent lengths. The checksum is not verified, see [`Ipv4::checksum_holds`].
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Result<Self, Ipv4Error> {
        Self::beginning(bytes, 0)
    }

    /// Creates a view of the first part of a datagram, header and options included, of which another `rest`
    /// bytes are elsewhere.
    ///
    /// # Errors
    /// As [`Ipv4::new`].
    #[inline]
    pub fn beginning(bytes: &'a [u8], rest: usize) -> Result<Self, Ipv4Error> {
        let first = *bytes.first().ok_or(Ipv4Error::Truncated)?;
        let header_len = usize::from(first & 0x0f) * 4;
        if bytes.len() >= MIN_HEADER_LEN && (first >> 4 != 4 || header_len < MIN_HEADER_LEN) {
            return Err(Ipv4Error::Malformed);
        }
        let fixed: &[u8; MIN_HEADER_LEN] = bytes.first_chunk().ok_or(Ipv4Error::Truncated)?;
        let total_len = u16::from_be_bytes([fixed[2], fixed[3]]);
        if usize::from(total_len) < header_len {
            return Err(Ipv4Error::Malformed);
        }
        if bytes.len() < header_len || usize::from(total_len) > bytes.len() + rest {
            return Err(Ipv4Error::Truncated);
        }
        let datagram = &bytes[..bytes.len().min(total_len.into())];
        Ok(Self { fixed, datagram, header_len, total_len })
    }

    /// Total length in bytes, header included: IPVS counts these bytes.
    #[inline]
    #[must_use]
    pub fn total_len(&self) -> u16 {
        self.total_len
    }

    /// True if the checksum over header and options is right (RFC 1071).
    #[inline]
    #[must_use]
    pub fn checksum_holds(&self) -> bool {
        let mut sum = words(self.fixed);
        if self.header_len > MIN_HEADER_LEN {
            sum += words(&self.datagram[MIN_HEADER_LEN..self.header_len]);
        }
        // Folding is division by 2¹⁶ − 1, and a sum that folds to all ones leaves no remainder. It is
        // never 0, which leaves none either: the version is part of it.
        sum.is_multiple_of(0xffff)
    }

    /// True for any fragment, the first one included.
    #[inline]
    #[must_use]
    pub fn is_fragment(&self) -> bool {
        // The more-fragments flag and the 13-bit offset, without "don't fragment".
        u16::from_ne_bytes([self.fixed[6], self.fixed[7]]) & 0x3fff_u16.to_be() != 0
    }

    /// Position in the datagram of which this is a fragment.
    #[must_use]
    pub fn fragment(&self) -> FragmentFields {
        let field = u16::from_be_bytes([self.fixed[6], self.fixed[7]]);
        let identification = u16::from_be_bytes([self.fixed[4], self.fixed[5]]).into();
        FragmentFields { offset: field << 3, more: field & 0x2000 != 0, identification }
    }

    /// Time to live.
    #[inline]
    #[must_use]
    pub fn ttl(&self) -> u8 {
        self.fixed[8]
    }

    /// Protocol number of the payload.
    #[inline]
    #[must_use]
    pub fn protocol(&self) -> u8 {
        self.fixed[9]
    }

    /// Source address.
    #[inline]
    #[must_use]
    pub fn source(&self) -> Ipv4Addr {
        let [.., a, b, c, d, _, _, _, _] = *self.fixed;
        Ipv4Addr::new(a, b, c, d)
    }

    /// Destination address.
    #[inline]
    #[must_use]
    pub fn destination(&self) -> Ipv4Addr {
        let [.., a, b, c, d] = *self.fixed;
        Ipv4Addr::new(a, b, c, d)
    }

    /// Length of header and options in bytes.
    #[inline]
    #[must_use]
    pub fn header_len(&self) -> usize {
        self.header_len
    }

    /// Payload, or its first part.
    #[inline]
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        &self.datagram[self.header_len..]
    }

    /// Length of the whole payload in bytes.
    #[inline]
    #[must_use]
    pub fn payload_len(&self) -> usize {
        usize::from(self.total_len) - self.header_len
    }
}

/// Sum of 32-bit words in native byte order: a one's-complement sum is right in any order, and wider words
/// fold to the same (RFC 1071 section 2).
#[inline]
fn words(header: &[u8]) -> u64 {
    let (words, _) = header.as_chunks::<4>();
    words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 1071's sum over this header is right: 192.0.2.1 → 192.0.2.10, UDP, 28 bytes.
    const DATAGRAM: [u8; 28] = [
        0x45, 0, 0, 28, 0, 1, 0x40, 0, 64, 17, 0xb6, 0xc4, 192, 0, 2, 1, 192, 0, 2, 10, //
        0x9c, 0x40, 0, 53, 0, 8, 0, 0,
    ];

    #[test]
    fn fields_are_read_and_padding_is_cut() {
        let mut padded = DATAGRAM.to_vec();
        padded.extend([0xee; 18]);
        let ip = Ipv4::new(&padded).unwrap();
        assert_eq!(ip.total_len(), 28);
        assert_eq!((ip.ttl(), ip.protocol()), (64, 17));
        assert_eq!(ip.source(), Ipv4Addr::new(192, 0, 2, 1));
        assert_eq!(ip.destination(), Ipv4Addr::new(192, 0, 2, 10));
        assert_eq!(ip.payload(), &DATAGRAM[20..]);
        assert!(ip.checksum_holds());
        assert!(!ip.is_fragment());
    }

    #[test]
    fn a_flipped_bit_breaks_the_checksum() {
        let mut bytes = DATAGRAM;
        bytes[15] ^= 1;
        assert!(!Ipv4::new(&bytes).unwrap().checksum_holds());
    }

    #[test]
    fn first_and_later_fragments_are_fragments() {
        for field in [[0x20, 0], [0, 1], [0x20, 1], [0x1f, 0xff]] {
            let mut bytes = DATAGRAM;
            bytes[6..8].copy_from_slice(&field);
            let ip = Ipv4::new(&bytes).unwrap();
            assert!(ip.is_fragment() && !ip.fragment().is_whole(), "{field:?}");
        }
    }

    #[test]
    fn the_fragment_offset_is_in_bytes() {
        let mut bytes = DATAGRAM;
        bytes[4..8].copy_from_slice(&[0xbe, 0xef, 0x60, 0xb9]);
        let fields = FragmentFields { offset: 1480, more: true, identification: 0xbeef };
        assert_eq!(Ipv4::new(&bytes).unwrap().fragment(), fields);
        bytes[6..8].copy_from_slice(&[0x1f, 0xff]);
        assert_eq!(Ipv4::new(&bytes).unwrap().fragment().offset, 65_528);
    }

    #[test]
    fn inconsistent_lengths_are_refused() {
        let with = |at: usize, value: u8| {
            let mut bytes = DATAGRAM;
            bytes[at] = value;
            Ipv4::new(&bytes).err()
        };
        assert_eq!(Ipv4::new(&DATAGRAM[..19]).err(), Some(Ipv4Error::Truncated));
        assert_eq!(with(3, 29), Some(Ipv4Error::Truncated));
        assert_eq!(with(3, 19), Some(Ipv4Error::Malformed));
        assert_eq!(with(0, 0x44), Some(Ipv4Error::Malformed));
        assert_eq!(with(0, 0x65), Some(Ipv4Error::Malformed));
        assert_eq!(with(0, 0x4f), Some(Ipv4Error::Malformed));
    }
}
