//! SplitMix64 (Steele, Lea and Flood, 2014), the pseudorandom generator of timers and of twos.

#![forbid(unsafe_code)]

/// SplitMix64's increment: 2⁶⁴ over the golden ratio.
///
/// Its multiples modulo 2⁶⁴ are also the golden-ratio low-discrepancy sequence, and it is the multiplier
/// of Fibonacci hashing.
pub(crate) const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The SplitMix64 generator. Every seed is good, and no state is bad.
#[derive(Clone, Debug)]
pub(crate) struct SplitMix64(u64);

impl SplitMix64 {
    /// A generator that starts at `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 random bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }
}

/// SplitMix64's output function.
#[inline]
pub(crate) fn mix(state: u64) -> u64 {
    let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reference output for seed 1234567 (Vigna's splitmix64.c).
    #[test]
    fn numbers_are_those_of_the_reference() {
        let mut random = SplitMix64::new(1_234_567);
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!([(); 3].map(|()| random.next()), expected);
    }
}
