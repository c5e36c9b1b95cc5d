//! The seeded hash behind every table whose keys come from the network.

#![forbid(unsafe_code)]

/// The secret of a table's hash: random, fresh at every start, so that nobody outside can choose
/// addresses that meet in one bucket.
#[derive(Clone, Copy, Debug)]
pub struct Seed(pub [u64; 4]);

impl Seed {
    /// A product with an even factor would lose a bit.
    #[must_use]
    pub(crate) fn with_odd_factors(self) -> Self {
        Self(self.0.map(|word| word | 1))
    }

    /// 64 bits that look random to whoever does not know the seed, whose words are odd; the two
    /// halves serve as two independent hashes.
    ///
    /// Two rounds of folded multiplication with secret factors. One round, or multiply-shift, is not
    /// enough: addresses and ports that count upwards then fill some pairs of buckets early.
    #[inline]
    #[must_use]
    pub fn hash(&self, key: u64) -> u64 {
        let [a, b, c, d] = self.0;
        fold(fold(key ^ a, b) ^ c, d)
    }
}

/// The 128-bit product with its halves added bit by bit: one multiplication that mixes upwards
/// and downwards.
#[inline]
fn fold(value: u64, factor: u64) -> u64 {
    let product = u128::from(value) * u128::from(factor);
    product as u64 ^ (product >> 64) as u64
}
