//! Rates as IPVS estimates them: an exponential average over samples two seconds apart.
//!
//! The arithmetic is that of net/netfilter/ipvs/ip_vs_est.c, whole numbers and rounding
//! included, so that the same traffic lists the same numbers.

use crate::control::api::{Rates, Stats};
use std::time::Duration;

/// Time between two samples. [`Estimator::update`] relies on it.
pub const INTERVAL: Duration = Duration::from_secs(2);

/// Fraction bits of connections and packets per second.
const COUNT_BITS: u32 = 10;
/// Fraction bits of bytes per second: fewer, so that more whole bits fit.
const BYTE_BITS: u32 = 5;

/// The rates of one service or real server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimator {
    last: Stats,
    connections: Average<COUNT_BITS>,
    in_packets: Average<COUNT_BITS>,
    out_packets: Average<COUNT_BITS>,
    in_bytes: Average<BYTE_BITS>,
    out_bytes: Average<BYTE_BITS>,
}

impl Estimator {
    /// Rates of 0, for totals that count from 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Rates of 0, for totals that stand at `totals` already.
    #[must_use]
    pub fn starting_at(totals: Stats) -> Self {
        Self { last: totals, ..Self::default() }
    }

    /// Takes a sample. To be called every [`INTERVAL`].
    ///
    /// A total that went down counts as one that stood still.
    pub fn update(&mut self, totals: Stats) {
        let last = std::mem::replace(&mut self.last, totals);
        self.connections.sample(totals.connections, last.connections);
        self.in_packets.sample(totals.in_packets, last.in_packets);
        self.out_packets.sample(totals.out_packets, last.out_packets);
        self.in_bytes.sample(totals.in_bytes, last.in_bytes);
        self.out_bytes.sample(totals.out_bytes, last.out_bytes);
    }

    /// The averages per second now.
    #[must_use]
    pub fn read(&self) -> Rates {
        Rates {
            connections: self.connections.read(),
            in_packets: self.in_packets.read(),
            out_packets: self.out_packets.read(),
            in_bytes: self.in_bytes.read(),
            out_bytes: self.out_bytes.read(),
        }
    }
}

/// A rate per second with `BITS` binary places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Average<const BITS: u32>(i64);

impl<const BITS: u32> Average<BITS> {
    /// Moves a quarter of the way to the rate of the last two seconds. The shift rounds down, as
    /// the kernel's does.
    fn sample(&mut self, total: u64, last: u64) {
        let rate = i64::try_from(total.saturating_sub(last)).unwrap_or(i64::MAX);
        let halved = rate.saturating_mul(1 << (BITS - 1));
        self.0 += (halved - self.0) >> 2;
    }

    /// To the nearest whole number; exactly one half goes down. Never negative: `sample` moves
    /// towards a rate of at least 0.
    fn read(self) -> u64 {
        let half = (1 << (BITS - 1)) - 1;
        (self.0.saturating_add(half) >> BITS) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn totals(connections: u64, in_packets: u64, in_bytes: u64) -> Stats {
        Stats { connections, in_packets, in_bytes, ..Stats::default() }
    }

    #[test]
    fn a_burst_rises_once_and_fades_by_a_quarter() {
        // 300 connections of 5 packets and 351 bytes in one interval: 150/s, of which a quarter.
        let burst = totals(300, 1500, 105_300);
        let mut estimator = Estimator::new();
        let mut seen = Vec::new();
        for _ in 0..4 {
            estimator.update(burst);
            let rates = estimator.read();
            seen.push((rates.connections, rates.in_packets, rates.in_bytes));
        }
        // 37.5 reads as 37: the kernel adds 0x1ff, not 0x200. 28.125, 21.09, 15.82 follow.
        assert_eq!(seen, [(37, 187, 13_162), (28, 141, 9872), (21, 105, 7404), (16, 79, 5553)]);
        assert_eq!(estimator.read().out_packets, 0);
        assert_eq!(estimator.read().out_bytes, 0);
    }

    #[test]
    fn a_steady_rate_is_reached_and_a_stopped_one_returns_to_zero() {
        let mut estimator = Estimator::new();
        for second in (2..=160).step_by(2) {
            estimator.update(totals(second * 1000, second * 5000, second * 1_000_000));
        }
        let steady = estimator.read();
        assert_eq!((steady.connections, steady.in_packets, steady.in_bytes), (1000, 5000, 1_000_000));
        let stopped = totals(160_000, 800_000, 160_000_000);
        for _ in 0..80 {
            estimator.update(stopped);
        }
        assert_eq!(estimator.read(), Rates::default());
    }

    #[test]
    fn one_connection_in_an_interval_is_below_one_a_second() {
        let mut estimator = Estimator::new();
        estimator.update(totals(1, 1, 1));
        assert_eq!(estimator.read(), Rates::default());
        let mut estimator = Estimator::new();
        estimator.update(totals(8, 5, 9));
        let rates = estimator.read();
        assert_eq!((rates.connections, rates.in_packets, rates.in_bytes), (1, 1, 1));
    }

    #[test]
    fn totals_from_before_do_not_count() {
        let mut estimator = Estimator::starting_at(totals(1_000_000, 0, 0));
        estimator.update(totals(1_000_080, 0, 0));
        assert_eq!(estimator.read().connections, 10);
    }

    #[test]
    fn absurd_totals_neither_overflow_nor_go_negative() {
        let mut estimator = Estimator::new();
        for total in [u64::MAX, 0, u64::MAX, u64::MAX, 0] {
            estimator.update(totals(total, total, total));
            assert!(estimator.read().connections < 1 << 54);
        }
    }

    proptest! {
        /// The whole-number average stays within what the kernel's rounding down can lose: below
        /// one unit a step, a quarter of it forgotten each time, so below 4 units of 2⁻¹⁰ or 2⁻⁵.
        #[test]
        fn follows_the_average_in_floating_point(
            steps in proptest::collection::vec(0_u64..10_000_000, 1..60)
        ) {
            let mut estimator = Estimator::new();
            let (mut total, mut average) = (0, 0.0_f64);
            for step in steps {
                total += step;
                estimator.update(totals(total, total, total));
                average += (step as f64 / 2.0 - average) / 4.0;
                let rates = estimator.read();
                prop_assert!((rates.connections as f64 - average).abs() <= 0.5 + 4.0 / 1024.0);
                prop_assert!((rates.in_packets as f64 - average).abs() <= 0.5 + 4.0 / 1024.0);
                prop_assert!((rates.in_bytes as f64 - average).abs() <= 0.5 + 4.0 / 32.0);
            }
        }
    }
}
