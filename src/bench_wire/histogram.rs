//! Conversion of the sink's latency buckets to an HDR histogram.

use crate::worker::latency_histogram;
use hdrhistogram::Histogram;

/// Binary logarithm of the number of buckets per power of two. Mirrored by sink.bpf.c.
const STEP_BITS: u32 = 7;
/// Number of buckets. Mirrored by sink.bpf.c. The last one starts at 2^38 ns, 4.6 minutes.
pub(super) const BUCKETS: u32 = 4096;

/// Lower bound and width of bucket `bucket`, in ns.
fn span(bucket: u32) -> (u64, u64) {
    let exponent = (bucket >> STEP_BITS).saturating_sub(1);
    let mantissa = bucket - (exponent << STEP_BITS);
    (u64::from(mantissa) << exponent, 1 << exponent)
}

/// Converts counts by bucket to a histogram in ns. Each bucket counts as its midpoint: the error is at most 0.4 %.
pub(super) fn histogram(counts: &[u64]) -> Histogram<u64> {
    let mut histogram = latency_histogram();
    for (bucket, count) in (0..).zip(counts).filter(|(_, count)| **count > 0) {
        let (least, width) = span(bucket);
        histogram.saturating_record_n(least + width / 2, *count);
    }
    histogram
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bucket of a latency, as in sink.bpf.c.
    fn bucket_of(ns: u64) -> u32 {
        let exponent = if ns >> (STEP_BITS + 1) > 0 { ns.ilog2() - STEP_BITS } else { 0 };
        ((exponent << STEP_BITS) + (ns >> exponent) as u32).min(BUCKETS - 1)
    }

    #[test]
    fn every_latency_lies_in_its_bucket() {
        let around =
            (0..38).flat_map(|bits: u32| [(1u64 << bits) - 1, 1 << bits, (1 << bits) + 1, 3 << bits >> 1]);
        for ns in around.chain(0..5000) {
            let (least, width) = span(bucket_of(ns));
            assert!((least..least + width).contains(&ns), "{ns}: {least} and {width} more");
            assert!(ns < 256 || width * 128 <= ns, "{ns}: wider than it may be");
        }
    }

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        for bucket in 0..BUCKETS - 1 {
            let (least, width) = span(bucket);
            assert_eq!(span(bucket + 1).0, least + width);
        }
    }

    #[test]
    fn percentiles_are_preserved() {
        let mut counts = vec![0; BUCKETS as usize];
        for ns in 1..=100_000u64 {
            counts[bucket_of(ns) as usize] += 1;
        }
        let histogram = histogram(&counts);
        assert_eq!(histogram.len(), 100_000);
        for (percentile, expected) in [(50.0, 50_000f64), (99.0, 99_000.0), (99.9, 99_900.0)] {
            let found = histogram.value_at_percentile(percentile) as f64;
            assert!((found / expected - 1.0).abs() < 0.02, "p{percentile}: {found}");
        }
    }

    #[test]
    fn latency_above_the_range_counts_as_the_maximum() {
        let mut counts = vec![0; BUCKETS as usize];
        counts[BUCKETS as usize - 1] = 3;
        assert_eq!(histogram(&counts).len(), 3);
    }
}
