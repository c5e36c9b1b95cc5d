//! Start times of probes: a fixed phase for each check, with a little jitter.

use super::key::CheckKey;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Jitter of a start, one part in so many of the interval.
const JITTER: u64 = 10;

/// Phase of a check in its interval. The same at every start and in every director.
pub(super) fn phase(key: &CheckKey) -> u64 {
    let mut hasher = DefaultHasher::new(); // without a random seed
    key.hash(&mut hasher);
    hasher.finish()
}

/// Start of the first probe: within `spread` from `now`.
pub(super) fn first(phase: u64, spread: u64, now: u64) -> u64 {
    if spread == 0 { now } else { slot(phase, spread, now) }
}

/// Start of the next probe, in steady state: the first slot that is not too close, and up to a tenth of the interval
/// later. `fast` is the shortest interval of the check.
pub(super) fn next(phase: u64, interval: u64, fast: u64, started: u64, random: u64) -> u64 {
    let gap = fast.min(interval - interval / 5);
    slot(phase, interval, started + gap) + jitter(interval, random)
}

/// Start of the next probe during a change: an interval after the last one, and up to a tenth of it later.
pub(super) fn during_change(fast: u64, started: u64, random: u64) -> u64 {
    started + fast + jitter(fast, random)
}

/// The first time from `earliest` on whose remainder is the phase.
fn slot(phase: u64, interval: u64, earliest: u64) -> u64 {
    let (phase, at) = (phase % interval, earliest % interval);
    earliest + (phase + interval - at) % interval
}

fn jitter(interval: u64, random: u64) -> u64 {
    random % (interval / JITTER + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_stay_in_their_slots_whatever_the_jitter() {
        for (fast, phase) in [(1_000, 1_234), (2_000, 0), (100, 1_999)] {
            let mut started = first(phase, 2_000, 77);
            assert!((77..2_077).contains(&started));
            for random in 0..10_000 {
                let before = started;
                started = next(phase, 2_000, fast, started, random * 7);
                assert!((1_800..=2_200).contains(&(started - before)), "{before} {started}");
                let late = (started - phase) % 2_000;
                assert!(late <= 200, "{late} ms behind the slot");
            }
        }
    }

    #[test]
    fn first_probes_are_spread_over_the_warm_up() {
        assert_eq!(first(1_234, 0, 77), 77);
        let firsts: Vec<_> = (0..1_000).map(|check| first(check * 7_919, 30_000, 77)).collect();
        assert!(firsts.iter().all(|at| (77..30_077).contains(at)));
        for third in 0..3 {
            let from = 77 + third * 10_000;
            assert!(firsts.iter().filter(|at| (from..from + 10_000).contains(*at)).count() > 300);
        }
    }

    #[test]
    fn a_start_after_a_change_keeps_its_distance() {
        for started in 0..4_000 {
            let due = next(500, 2_000, 1_000, started, 0);
            assert!((1_000..3_000).contains(&(due - started)));
        }
    }
}
