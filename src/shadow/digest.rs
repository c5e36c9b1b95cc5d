//! Digest of a name, the same in all versions.

/// 128-bit digest of a name in its canonical text: FNV-1a (draft-eastlake-fnv, §2). Names come from the configuration, so
/// it needs no secret. Neither half is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u64; 2]);

const OFFSET_BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = (1 << 88) + 0x13b;

impl Digest {
    /// The digest of `text`.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let hash =
            text.bytes().fold(OFFSET_BASIS, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME));
        Self([(hash >> 64) as u64, hash as u64].map(|half| half.max(1)))
    }

    /// The lower half.
    #[must_use]
    pub fn lower(self) -> u64 {
        self.0[1]
    }

    /// The halves, the upper one first.
    pub(super) fn words(self) -> [u64; 2] {
        self.0
    }

    /// The digest of two halves; `None` if one is 0.
    pub(super) fn from_words(words: [u64; 2]) -> Option<Self> {
        (!words.contains(&0)).then_some(Self(words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors of draft-eastlake-fnv, and of names as they are: a change would cost every connection at an upgrade.
    #[test]
    fn digests_never_change() {
        for (text, digest) in [
            ("", 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128),
            ("a", 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964),
            ("foobar", 0x343e_1662_793c_64bf_6f0d_3597_ba44_6f18),
        ] {
            assert_eq!(Digest::of(text).words(), [(digest >> 64) as u64, digest as u64], "{text}");
        }
    }

    #[test]
    fn a_half_of_zero_is_no_digest() {
        assert_eq!(Digest::from_words([0, 7]), None);
        assert_eq!(Digest::from_words([7, 0]), None);
        let digest = Digest::of("tcp 192.0.2.1:80");
        assert_eq!(Digest::from_words(digest.words()), Some(digest));
    }
}
