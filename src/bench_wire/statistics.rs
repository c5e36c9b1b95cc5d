//! Medians, quartiles and ratios of few trials on a noisy machine.

use serde::{Deserialize, Serialize};

/// Five-number summary of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Minimum.
    pub min: f64,
    /// Lower quartile.
    pub q1: f64,
    /// Median.
    pub median: f64,
    /// Upper quartile.
    pub q3: f64,
    /// Maximum.
    pub max: f64,
}

impl Spread {
    /// Summarizes `values`, without infinities and NaN (ratios to 0). `None` if no value remains.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let at = |share| quantile(&sorted, share);
        Some(Self { min, q1: at(0.25), median: at(0.5), q3: at(0.75), max })
    }
}

/// Quantile by linear interpolation (type 7 of Hyndman and Fan, 1996). `sorted` must not be empty.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}

/// Median of `values`; 0 without values.
#[must_use]
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    Spread::of(values).map_or(0.0, |spread| spread.median)
}

/// Ratios of `a` to `b`, round by round. A slow round affects both sides alike.
#[must_use]
pub fn ratios(a: &[f64], b: &[f64]) -> Option<Spread> {
    Spread::of(a.iter().zip(b).map(|(a, b)| a / b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quartiles_lie_between_neighbours() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!(spread, Spread { min: 1.0, q1: 1.75, median: 2.5, q3: 3.25, max: 4.0 });
        let odd = Spread::of([5.0, 1.0, 4.0, 2.0, 3.0]).unwrap();
        assert_eq!(odd, Spread { min: 1.0, q1: 2.0, median: 3.0, q3: 4.0, max: 5.0 });
        let one = Spread::of([7.0]).unwrap();
        assert_eq!(one, Spread { min: 7.0, q1: 7.0, median: 7.0, q3: 7.0, max: 7.0 });
    }

    #[test]
    fn nothing_has_no_spread() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([f64::NAN, f64::INFINITY]), None);
        assert_eq!(median([]).to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn slow_round_slows_both_sides_of_a_ratio() {
        let ours = [300.0, 30.0, 330.0];
        let peer = [200.0, 20.0, 220.0];
        let ratio = ratios(&ours, &peer).unwrap();
        assert!((ratio.min - 1.5).abs() < 1e-9 && (ratio.max - 1.5).abs() < 1e-9, "{ratio:?}");
        assert_eq!(ratios(&ours, &[0.0, 0.0, 0.0]), None, "a ratio to nothing is none");
    }

    proptest! {
        #[test]
        fn half_of_a_sample_lies_on_either_side(values in prop::collection::vec(-1e6..1e6, 1..60)) {
            let spread = Spread::of(values.iter().copied()).unwrap();
            let below = values.iter().filter(|value| **value <= spread.median).count();
            let above = values.iter().filter(|value| **value >= spread.median).count();
            prop_assert!(below * 2 >= values.len() && above * 2 >= values.len());
            prop_assert!(spread.min <= spread.q1 && spread.q1 <= spread.median);
            prop_assert!(spread.median <= spread.q3 && spread.q3 <= spread.max);
        }
    }
}
