//! Search for the no-drop rate (NDR), the "throughput" of RFC 2544 section 26.1.
//!
//! A binary search between 0 and an upper bound, with an acceptable frame loss rate of 0. On a shared machine,
//! preemption may cause a loss. Losses are therefore verified ("binary search with loss verification" of
//! ETSI GS NFV-TST 009):
//!
//! 1. A rate passes if one of up to [`SearchRules::tries`] trials loses no frame. It fails if all lose frames.
//! 2. The search ends when the highest rate that passed is within [`SearchRules::resolution`] of the
//!    lowest that failed, as a share of the latter. Far below the upper bound, the interval is a tenth of the
//!    resolution as a share of the upper bound, so that the search ends.
//! 3. The rate must then pass more than half of [`SearchRules::confirmations`] further trials. Otherwise it is
//!    lowered, by one step, then two, then four, until it does. The number of lossless confirmations is reported.
//!
//! RFC 2544 section 24 requires trials of 60 seconds. Shorter trials are the caller's decision and are stated with the
//! result.

/// Rules of the search: resolution and number of trials.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SearchRules {
    /// Width of the last interval, as a share of its upper end.
    pub resolution: f64,
    /// Trials that must all lose frames for a rate to fail, at least 1.
    pub tries: u32,
    /// Trials that confirm the result, at least 1.
    pub confirmations: u32,
}

/// Result of the search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SearchResult {
    /// Frames a second; 0 if the lowest rate tried loses frames.
    pub rate: u64,
    /// Width of the last interval, in frames a second.
    pub within: u64,
    /// Confirming trials without loss.
    pub lossless: u32,
    /// Total number of trials.
    pub trials: u32,
}

impl SearchRules {
    /// Width at which the search ends just below `rate`, in frames a second.
    #[must_use]
    pub fn step(&self, rate: u64, upper: u64) -> u64 {
        let (step, floor) = (rate as f64 * self.resolution, upper as f64 * self.resolution / FLOOR);
        (step.max(floor) as u64).max(1)
    }

    /// Minimum and maximum number of trials.
    #[must_use]
    pub fn trials(&self) -> (u32, u32) {
        let halvings = |finer: f64| (1.0 + finer / self.resolution).log2().ceil() as u32;
        let (least, most) = (halvings(1.0), halvings(FLOOR) + 1);
        (least + self.confirmations, most * self.tries + (most + 1) * self.confirmations)
    }
}

/// Refinement of the resolution far below the upper bound.
const FLOOR: f64 = 10.0;

/// Finds the highest rate up to `upper` at which `is_lossless`, one trial, returns true.
///
/// # Errors
/// Errors of `is_lossless`.
pub fn highest_lossless<E>(
    upper: u64,
    rules: &SearchRules,
    is_lossless: impl FnMut(u64) -> Result<bool, E>,
) -> Result<SearchResult, E> {
    let mut search = Search { rules, is_lossless, trials: 0 };
    let (candidate, within) = search.bisect(upper)?;
    let (rate, lossless) = search.confirm(candidate, within)?;
    Ok(SearchResult { rate, within, lossless, trials: search.trials })
}

struct Search<'a, F> {
    rules: &'a SearchRules,
    is_lossless: F,
    trials: u32,
}

impl<E, F: FnMut(u64) -> Result<bool, E>> Search<'_, F> {
    /// Bisects. Returns the highest rate that passed and the width of the last interval.
    fn bisect(&mut self, upper: u64) -> Result<(u64, u64), E> {
        let mut step = self.rules.step(upper, upper);
        let (mut passes, mut fails) = (0, upper + step);
        while passes < upper && fails - passes > step {
            let middle = (passes + (fails - passes) / 2).min(upper);
            if self.passes(middle)? {
                passes = middle
            } else {
                fails = middle
            }
            step = self.rules.step(fails, upper);
        }
        Ok((passes, step))
    }

    fn passes(&mut self, rate: u64) -> Result<bool, E> {
        for _ in 0..self.rules.tries {
            if self.trial(rate)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Lowers `rate` until it passes most confirming trials. Returns the rate and the number of lossless trials.
    fn confirm(&mut self, mut rate: u64, mut back: u64) -> Result<(u64, u32), E> {
        while rate > 0 {
            let lossless = self.count_lossless(rate)?;
            if 2 * lossless > self.rules.confirmations {
                return Ok((rate, lossless));
            }
            rate = rate.saturating_sub(back);
            back *= 2;
        }
        Ok((0, 0))
    }

    fn count_lossless(&mut self, rate: u64) -> Result<u32, E> {
        let mut lossless = 0;
        for _ in 0..self.rules.confirmations {
            lossless += u32::from(self.trial(rate)?);
        }
        Ok(lossless)
    }

    fn trial(&mut self, rate: u64) -> Result<bool, E> {
        self.trials += 1;
        (self.is_lossless)(rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::convert::Infallible;

    const RULES: SearchRules = SearchRules { resolution: 0.01, tries: 3, confirmations: 5 };

    /// Searches on a device without loss up to `capacity`, unless `noise` returns true.
    fn search(upper: u64, capacity: u64, mut noise: impl FnMut() -> bool) -> SearchResult {
        let probe = |rate| Ok::<_, Infallible>(rate <= capacity && !noise());
        let Ok(found) = highest_lossless(upper, &RULES, probe);
        found
    }

    #[test]
    fn fast_device_reaches_the_bound() {
        let found = search(1_000_000, u64::MAX, || false);
        assert_eq!(found.rate, 1_000_000);
        assert_eq!(found.lossless, 5);
    }

    #[test]
    fn lossy_device_gets_rate_zero() {
        assert_eq!(search(1_000_000, 0, || false).rate, 0);
        assert_eq!(search(0, 100, || false).rate, 0, "no bound, no rate");
    }

    #[test]
    fn failed_trial_ends_the_search() {
        assert_eq!(highest_lossless(100, &RULES, |_| Err("gone")), Err("gone"));
    }

    #[test]
    fn rate_that_passed_by_chance_is_lowered() {
        // Between 500 and 800 every third trial is lucky: enough to pass, too few to be confirmed.
        let mut trials = 0;
        let probe = |rate| {
            trials += 1;
            Ok::<_, Infallible>(rate <= 500 || rate <= 800 && trials % 3 == 0)
        };
        let Ok(found) = highest_lossless(1000, &RULES, probe);
        assert!((1..=500).contains(&found.rate), "{found:?}");
        assert_eq!(found.lossless, 5);
    }

    proptest! {
        #[test]
        fn result_is_within_resolution_below_capacity(
            upper in 1u64..50_000_000, share in 0.0..1.2,
        ) {
            let capacity = (upper as f64 * share) as u64;
            let found = search(upper, capacity, || false);
            prop_assert!(found.rate <= capacity);
            prop_assert!(found.within <= (RULES.step(capacity.min(upper), upper).max(2) * 102).div_ceil(100), "{found:?}");
            prop_assert!(capacity.min(upper) - found.rate <= found.within, "{found:?} of {capacity}");
        }

        #[test]
        fn isolated_losses_do_not_change_the_result(
            upper in 1u64..50_000_000, share in 0.0..1.2, phase in 0u32..3,
        ) {
            // Two in three trials are quiet: never three losses in a row, and most of five are quiet.
            let capacity = (upper as f64 * share) as u64;
            let mut trials = phase;
            let found = search(upper, capacity, || { trials += 1; trials % 3 == 0 });
            prop_assert!(found.rate <= capacity);
            prop_assert!(capacity.min(upper) - found.rate <= found.within, "{found:?} of {capacity}");
        }

        #[test]
        fn number_of_trials_is_bounded(
            upper in 1u64..50_000_000, verdicts in prop::collection::vec(any::<bool>(), 600),
        ) {
            let mut verdicts = verdicts.into_iter();
            let probe = |_| Ok::<_, Infallible>(verdicts.next().unwrap());
            let Ok(found) = highest_lossless(upper, &RULES, probe);
            prop_assert!(found.trials <= RULES.trials().1, "{found:?}");
        }
    }
}
