//! Durations of probes, and delays of their starts, counted by size.

use std::time::Duration;

/// Upper bounds of the sizes in microseconds, from a reply on one segment to the longest usual timeout.
const BOUNDS_US: [u64; 14] = [
    100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000,
    5_000_000,
];

/// Durations counted by size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimeCounts {
    counts: [u64; BOUNDS_US.len() + 1],
    sum: Duration,
}

impl TimeCounts {
    pub(super) fn add(&mut self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.counts[BOUNDS_US.partition_point(|bound| *bound < us)] += 1;
        self.sum += time;
    }

    /// Sum of all durations.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// Upper bound in seconds and number of the durations of each size. The last bound is infinite.
    pub fn sizes(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let bounds = BOUNDS_US.iter().map(|us| *us as f64 / 1e6).chain([f64::INFINITY]);
        bounds.zip(self.counts)
    }
}

/// Times of all probes since the start of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProbeTimes {
    /// Durations.
    pub durations: TimeCounts,
    /// Delays of the starts, to the millisecond; a wait for other probes to end is none.
    pub delays: TimeCounts,
    /// Probes that have proved nothing, for reasons of the director's host.
    pub unknown: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_has_one_size() {
        let mut counts = TimeCounts::default();
        for us in [0, 100, 101, 5_000_000, 5_000_001] {
            counts.add(Duration::from_micros(us));
        }
        let filled: Vec<_> = counts.sizes().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(1e-4, 2), (2e-4, 1), (5.0, 1), (f64::INFINITY, 1)]);
        assert_eq!(counts.sum(), Duration::from_micros(10_000_202));
    }
}
