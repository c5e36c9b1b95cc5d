//! Keys as words.

use crate::flow::{SLOTS, TableKey};
use crate::hash::Seed;

/// Key of the shadow table: a tag of one word, and a rest of none or two.
pub trait ShadowKey: TableKey<Tag: Into<u64> + From<u64>, Rest: RestWords> {
    /// The key as words.
    fn words(self) -> (u64, Self::Rest) {
        let (tag, rest) = self.parts();
        (stored::<Self>(tag.into()), rest)
    }

    /// The key of words; `None` in a vacant slot.
    fn from_words(tag: u64, rest: Self::Rest) -> Option<Self> {
        (tag != VACANT).then(|| Self::from_parts(stored::<Self>(tag).into(), rest))
    }
}

impl<K: TableKey<Tag: Into<u64> + From<u64>, Rest: RestWords>> ShadowKey for K {}

/// Stored tag of a vacant slot: fresh memory is zero words.
pub(super) const VACANT: u64 = 0;

/// Stored form of a tag, and back: that of a vacant slot becomes 0.
fn stored<K: ShadowKey>(tag: u64) -> u64 {
    tag ^ K::VACANT.into()
}

/// Part of a key beside its tag.
pub trait RestWords: Copy + Eq {
    /// Number of words.
    const WORDS: usize;

    /// The rest whose words `word` gives by number.
    fn read(word: impl FnMut(usize) -> u64) -> Self;

    /// The words.
    fn words(&self) -> &[u64];
}

impl RestWords for () {
    const WORDS: usize = 0;

    #[inline]
    fn read(_: impl FnMut(usize) -> u64) -> Self {}

    #[inline]
    fn words(&self) -> &[u64] {
        &[]
    }
}

impl RestWords for [u64; 2] {
    const WORDS: usize = 2;

    #[inline]
    fn read(word: impl FnMut(usize) -> u64) -> Self {
        [0, 1].map(word)
    }

    #[inline]
    fn words(&self) -> &[u64] {
        self
    }
}

/// Words of a bucket: tags, values, rests.
pub(super) const fn bucket_words<K: ShadowKey>() -> usize {
    SLOTS * (2 + K::Rest::WORDS)
}

/// The seed that a table hashes with.
pub(super) fn hashing(seed: Seed) -> Seed {
    seed.with_odd_factors()
}
