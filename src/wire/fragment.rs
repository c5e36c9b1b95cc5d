//! Fields by which a packet is put together of its fragments, alike in IPv4 (RFC 791) and IPv6 (RFC 8200).

/// Position of a fragment in its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentFields {
    /// Offset in the fragmented part, in bytes: a multiple of 8.
    pub offset: u16,
    /// More fragments follow.
    pub more: bool,
    /// Identification, common to the fragments of a packet: of 16 bits in IPv4, of 32 in IPv6.
    pub identification: u32,
}

impl FragmentFields {
    /// True for a whole packet: IPv4 without fragmentation, or an atomic fragment of IPv6 (RFC 6946).
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.offset == 0 && !self.more
    }

    /// True if `len` bytes of the fragmented part can be in this fragment: some, a multiple of 8 if more follow,
    /// and none beyond 65,535, where the packet behind a header of `header_len` bytes would end.
    #[must_use]
    pub fn fits(self, len: usize, header_len: usize) -> bool {
        let end = header_len + usize::from(self.offset) + len;
        len > 0 && (!self.more || len.is_multiple_of(8)) && end <= usize::from(u16::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fragment_is_not_empty_and_ends_within_its_packet() {
        let fields = |offset, more| FragmentFields { offset, more, identification: 1 };
        assert!(fields(0, true).fits(8, 20) && fields(8, false).fits(1, 20));
        assert!(!fields(0, true).fits(9, 20), "the next offset has to be a multiple of 8");
        assert!(!fields(8, true).fits(0, 20) && !fields(8, false).fits(0, 20));
        assert!(fields(65_512, false).fits(3, 20) && !fields(65_512, false).fits(4, 20));
        assert!(fields(65_528, false).fits(7, 0) && !fields(65_528, false).fits(8, 0));
        assert!(fields(0, false).is_whole() && !fields(8, false).is_whole() && !fields(0, true).is_whole());
    }
}
