//! Seeded hash and two-choice bucket arithmetic of the tables whose keys come from the network.

#![forbid(unsafe_code)]

/// Secret of a table's hash, random and fresh at every start: a sender cannot choose addresses that
/// collide in one bucket.
#[derive(Clone, Copy, Debug)]
pub struct Seed(pub [u64; 4]);

impl Seed {
    /// Makes every word odd: a product with an even factor would lose a bit.
    #[must_use]
    pub(crate) fn with_odd_factors(self) -> Self {
        Self(self.0.map(|word| word | 1))
    }

    /// Hashes `key` to 64 bits that look random without the seed, whose words must be odd. The two
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

    /// Hashes three words like one: a product of two of them, each with a secret word, is added to the third.
    #[inline]
    #[must_use]
    pub fn hash_wide(&self, [high, low]: [u64; 2], key: u64) -> u64 {
        let [_, b, _, d] = self.0;
        self.hash(fold(high ^ b, low ^ d) ^ key)
    }
}

/// Adds the halves of the 128-bit product by XOR: one multiplication that mixes upwards and downwards.
#[inline]
pub(crate) fn fold(value: u64, factor: u64) -> u64 {
    let product = u128::from(value) * u128::from(factor);
    product as u64 ^ (product >> 64) as u64
}

/// The two candidate buckets of a key in a two-choice table, which always differ.
///
/// Holds the number of the first bucket and half a hash. The second bucket is seldom read, and computed
/// from that half where it is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BucketPair {
    first: u32,
    hash: u32,
}

impl BucketPair {
    /// Placeholder before a key is known.
    pub const UNSET: Self = Self { first: 0, hash: 0 };

    /// The buckets for `hash` in a table of `buckets`, at least 2 and below 2³².
    #[inline]
    #[must_use]
    pub(crate) fn new(hash: u64, buckets: usize) -> Self {
        let first = ((hash >> 32) * buckets as u64) >> 32;
        Self { first: first as u32, hash: hash as u32 } // below the number of buckets; the other half
    }

    /// Number of the first bucket.
    #[inline]
    pub(crate) fn first(self) -> usize {
        self.first as usize
    }

    /// Number of the second bucket. It skips the first one.
    #[inline]
    pub(crate) fn second(self, buckets: usize) -> usize {
        let second = (u64::from(self.hash) * (buckets as u64 - 1)) >> 32;
        (second + u64::from(second >= u64::from(self.first))) as usize
    }

    /// Both buckets, the first choice first.
    #[inline]
    pub(crate) fn both(self, buckets: usize) -> [usize; 2] {
        [self.first(), self.second(buckets)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_buckets_are_in_the_table_and_differ() {
        let seed = Seed([3, 5, 7, 9]).with_odd_factors();
        for buckets in [2, 3, 7, 1000] {
            for key in 0..1000 {
                let [first, second] = BucketPair::new(seed.hash(key), buckets).both(buckets);
                assert!(first < buckets && second < buckets && first != second, "{first} {second}");
            }
        }
    }
}
