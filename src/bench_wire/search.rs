//! The search for the highest rate without loss, the "throughput" of RFC 2544 section 26.1.
//!
//! A binary search between nothing and an upper bound, acceptable loss zero. On a machine that
//! others share, a frame may be lost because the machine was away for a moment, so a loss is
//! verified (as ETSI GS NFV-TST 009 does in its "binary search with loss verification"):
//!
//! 1. A rate passes if one of up to [`SearchRules::tries`] trials loses nothing, and fails if all lose.
//! 2. The search ends when the highest rate that passed is within [`SearchRules::resolution`] of the
//!    lowest that failed, as a share of the latter; far below the upper bound, where that would be
//!    endless, within a tenth of it as a share of the upper bound.
//! 3. The rate found must then pass [`SearchRules::confirmations`] further trials, more than half of
//!    them without loss; otherwise it goes down, by one step, then two, then four, until it does.
//!    How many of them lost nothing is reported with the rate.
//!
//! RFC 2544 section 24 asks for trials of 60 seconds; shorter ones are the caller's decision, and
//! to be stated with the result.

/// How a rate is judged, and how precisely it is sought.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SearchRules {
    /// Width of the last interval, as a share of its upper end.
    pub resolution: f64,
    /// Trials that must all lose for a rate to fail, at least 1.
    pub tries: u32,
    /// Trials that confirm the result, at least 1.
    pub confirmations: u32,
}

/// What the search has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SearchResult {
    /// Frames a second; 0 if even the slowest rate tried loses.
    pub rate: u64,
    /// Frames a second by which a higher rate might have passed, had the search gone on.
    pub within: u64,
    /// How many of the confirming trials lost nothing.
    pub lossless: u32,
    /// Trials made in all.
    pub trials: u32,
}

impl SearchRules {
    /// The least difference that matters just below `rate`, in frames a second.
    #[must_use]
    pub fn step(&self, rate: u64, upper: u64) -> u64 {
        let (step, floor) = (rate as f64 * self.resolution, upper as f64 * self.resolution / FLOOR);
        (step.max(floor) as u64).max(1)
    }

    /// Trials at least needed, and at most.
    #[must_use]
    pub fn trials(&self) -> (u32, u32) {
        let halvings = |finer: f64| (1.0 + finer / self.resolution).log2().ceil() as u32;
        let (least, most) = (halvings(1.0), halvings(FLOOR) + 1);
        (least + self.confirmations, most * self.tries + (most + 1) * self.confirmations)
    }
}

/// How many times finer the search gets far below its upper bound.
const FLOOR: f64 = 10.0;

/// Finds the highest rate up to `upper` at which `is_lossless`, which makes one trial, holds.
///
/// # Errors
/// What `is_lossless` fails with.
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
    /// The highest rate that passes, and how precisely that is known. Everything up to `passes` is
    /// taken to pass, everything from `fails` on to fail.
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

    /// The first rate from `rate` downwards that passes most of its trials, and how many.
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

    /// A device that loses nothing up to `capacity`, but where `noise` says so.
    fn search(upper: u64, capacity: u64, mut noise: impl FnMut() -> bool) -> SearchResult {
        let probe = |rate| Ok::<_, Infallible>(rate <= capacity && !noise());
        let Ok(found) = highest_lossless(upper, &RULES, probe);
        found
    }

    #[test]
    fn a_device_faster_than_the_bound_is_found_to_reach_it() {
        let found = search(1_000_000, u64::MAX, || false);
        assert_eq!(found.rate, 1_000_000);
        assert_eq!(found.lossless, 5);
    }

    #[test]
    fn a_device_that_always_loses_is_given_nothing() {
        assert_eq!(search(1_000_000, 0, || false).rate, 0);
        assert_eq!(search(0, 100, || false).rate, 0, "no bound, no rate");
    }

    #[test]
    fn a_failure_of_a_trial_ends_the_search() {
        assert_eq!(highest_lossless(100, &RULES, |_| Err("gone")), Err("gone"));
    }

    #[test]
    fn a_rate_that_only_passed_by_luck_is_taken_back() {
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
        fn the_result_is_within_the_resolution_below_the_capacity(
            upper in 1u64..50_000_000, share in 0.0..1.2,
        ) {
            let capacity = (upper as f64 * share) as u64;
            let found = search(upper, capacity, || false);
            prop_assert!(found.rate <= capacity);
            prop_assert!(found.within <= (RULES.step(capacity.min(upper), upper).max(2) * 102).div_ceil(100), "{found:?}");
            prop_assert!(capacity.min(upper) - found.rate <= found.within, "{found:?} of {capacity}");
        }

        #[test]
        fn losses_that_the_device_is_not_to_blame_for_change_nothing(
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
        fn no_device_takes_more_trials_than_were_announced(
            upper in 1u64..50_000_000, verdicts in prop::collection::vec(any::<bool>(), 600),
        ) {
            let mut verdicts = verdicts.into_iter();
            let probe = |_| Ok::<_, Infallible>(verdicts.next().unwrap());
            let Ok(found) = highest_lossless(upper, &RULES, probe);
            prop_assert!(found.trials <= RULES.trials().1, "{found:?}");
        }
    }
}
