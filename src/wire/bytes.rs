//! Fields at constant offsets of headers of a known length.

/// 16-bit field in network byte order.
#[inline(always)]
pub(super) fn word<const LEN: usize>(bytes: &[u8; LEN], at: usize) -> u16 {
    u16::from_be_bytes(array(bytes, at))
}

/// `N` bytes at the constant offset `at`, at most `LEN` − `N`.
#[inline(always)]
pub(super) fn array<const N: usize, const LEN: usize>(bytes: &[u8; LEN], at: usize) -> [u8; N] {
    std::array::from_fn(|index| bytes[at + index])
}
