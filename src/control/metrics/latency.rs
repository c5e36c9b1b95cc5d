//! A worker's latencies in the buckets of a page.

use super::page::Buckets;
use hdrhistogram::Histogram;

/// Upper bounds of the buckets in ns, from below the cost of a frame in memory to above any expected delay.
const BOUNDS_NS: &[u64] = &[
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    100_000_000,
    1_000_000_000,
];
const NS: f64 = 1e9;

/// Returns the counts by bound, in seconds. A bound is exact to the histogram's resolution of 1 %.
pub(super) fn buckets(histogram: &Histogram<u64>) -> Buckets {
    let mut below = 0;
    let mut counts: Vec<_> = BOUNDS_NS
        .iter()
        .map(|bound| {
            let upto = histogram.count_between(0, *bound);
            let count = upto - below;
            below = upto;
            (*bound as f64 / NS, count)
        })
        .collect();
    counts.push((f64::INFINITY, histogram.len() - below));
    Buckets { sum: sum_ns(histogram) / NS, count: histogram.len(), counts }
}

/// Sums the samples by bucket, so that the sum is monotonic as the counts are.
fn sum_ns(histogram: &Histogram<u64>) -> f64 {
    let each = histogram.iter_recorded();
    let value = |value: u64| histogram.median_equivalent(value) as f64;
    each.map(|step| value(step.value_iterated_to()) * step.count_at_value() as f64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::latency_histogram;

    #[test]
    fn each_sample_is_in_one_bucket_and_the_last_is_unbounded() {
        let mut histogram = latency_histogram();
        for (ns, count) in [(1, 2), (499, 3), (700, 5), (3_000_000, 7), (2_000_000_000, 11)] {
            histogram.record_n(ns, count).unwrap();
        }
        let Buckets { sum, count, counts } = buckets(&histogram);
        let filled: Vec<_> = counts.iter().filter(|(_, count)| *count > 0).copied().collect();
        assert_eq!(filled, [(5e-7, 5), (1e-6, 5), (5e-3, 7), (f64::INFINITY, 11)]);
        assert_eq!(count, 28);
        let exact = (2.0 + 3.0 * 499.0 + 5.0 * 700.0 + 7.0 * 3e6 + 11.0 * 2e9) / 1e9;
        assert!((sum / exact - 1.0).abs() < 0.01, "{sum} for {exact}");
    }

    #[test]
    fn a_worker_without_samples_has_all_buckets_at_zero() {
        let Buckets { sum, count, counts } = buckets(&latency_histogram());
        assert_eq!((sum, count), (0.0, 0));
        assert_eq!(counts.len(), BOUNDS_NS.len() + 1);
        assert!(counts.iter().all(|(_, count)| *count == 0));
    }
}
