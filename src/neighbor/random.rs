//! A little randomness from a seed, so that directors started together do not stay in step.

use crate::time::Span;

/// SplitMix64 (Steele, Lea and Flood, 2014): every seed is good, and no state is bad.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A span between `least` and `most`, both included; `least` if they are the wrong way round.
    pub(super) fn between(&mut self, least: Span, most: Span) -> Span {
        let width = u64::from(most.millis().saturating_sub(least.millis())) + 1;
        // The bias of a remainder of 64 random bits by at most 31 is below one in a billion.
        Span::from_millis(least.millis() + (self.next() % width) as u32)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_fill_their_range_and_depend_on_the_seed() {
        let (least, most) = (Span::from_millis(3), Span::from_millis(7));
        let draw = |seed| {
            let mut random = Random::new(seed);
            (0..200).map(|_| random.between(least, most).millis()).collect::<Vec<_>>()
        };
        let drawn = draw(1);
        assert!((3..=7).all(|ms| drawn.contains(&ms)));
        assert!(drawn.iter().all(|ms| (3..=7).contains(ms)));
        assert_eq!(drawn, draw(1));
        assert_ne!(drawn, draw(2));
    }

    #[test]
    fn odd_ranges_give_their_lower_end() {
        let mut random = Random::new(9);
        assert_eq!(random.between(Span::from_millis(5), Span::from_millis(5)), Span::from_millis(5));
        assert_eq!(random.between(Span::from_millis(5), Span::from_millis(1)), Span::from_millis(5));
        assert!(random.between(Span::default(), Span::MAX) <= Span::MAX);
    }
}
