//! Results of the experiment. Rates are frames a second, times are nanoseconds, shares and ratios are fractions of 1.

use super::statistics::Spread;
use super::trial::{Dut, Offered, PerFrame, Traffic};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// All figures of one traffic pattern.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// The traffic pattern.
    pub traffic: Traffic,
    /// Figures by DUT, in the order of the plan.
    pub duts: Vec<DutFigures>,
}

/// All figures of one DUT.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DutFigures {
    /// The DUT.
    pub dut: Dut,
    /// Rates at full speed of the generator.
    pub highest: Highest,
    /// Delivered against offered rate; the last point is at full speed.
    pub curve: Vec<Point>,
    /// Overload compared with the peak of the curve.
    pub overload: OverloadFigures,
    /// No-drop rate (NDR).
    pub ndr: Ndr,
    /// Latency at shares of the NDR; empty if the NDR is 0.
    pub loaded: Vec<Loaded>,
    /// Latency at one low rate, the same for all DUTs.
    pub low: Low,
}

/// Rates at full speed of the generator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Highest {
    /// Offered rate.
    pub offered: Spread,
    /// Delivered rate.
    pub delivered: Spread,
    /// Ratio of the delivered rate to that of l2fwd in the same round; `None` without l2fwd.
    pub to_l2fwd: Option<Spread>,
    /// Busy share of each core, medians.
    pub cores: Vec<f64>,
    /// Cost of a delivered frame, medians; `None` without hardware counters.
    pub per_frame: Option<PerFrame>,
}

/// A point of the curve, medians.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Intended load.
    pub intended: Offered,
    /// Offered rate.
    pub offered: f64,
    /// Delivered rate.
    pub delivered: f64,
}

/// Overload compared with the peak, measured in turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OverloadFigures {
    /// Point of the curve with the highest delivered rate.
    pub peak: Point,
    /// Offered rate in overload, median.
    pub offered: f64,
    /// Offered rate as a multiple of the rate delivered at the peak.
    pub times: f64,
    /// Rate delivered in overload.
    pub delivered: Spread,
    /// Ratio of the rate delivered in overload to that at the peak's offered rate in the same round.
    pub to_peak: Option<Spread>,
    /// Losses in overload by cause, as shares of the frames sent.
    pub losses: BTreeMap<String, f64>,
}

/// No-drop rate (NDR), the throughput of RFC 2544: see [`super::search`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ndr {
    /// The rate, as intended load; 0 if every rate tried loses frames.
    pub rate: u64,
    /// Number of confirming trials without loss.
    pub lossless: u32,
    /// Number of confirming trials.
    pub confirmations: u32,
    /// Total number of trials.
    pub trials: u32,
    /// Width of the last interval, in frames a second.
    pub within: u64,
    /// Upper bound of the search.
    pub upper: u64,
}

/// Latency at a share of the NDR.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loaded {
    /// Offered rate as a share of the NDR.
    pub of_ndr: f64,
    /// Latency at that rate.
    pub latency: LatencyQuantiles,
    /// Busy share of each core, medians.
    pub cores: Vec<f64>,
}

/// Latency at the low rate common to all DUTs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Low {
    /// Latency at that rate.
    pub latency: LatencyQuantiles,
    /// Difference of the median latency to that of l2fwd in the same round; `None` without l2fwd.
    pub added_p50: Option<Spread>,
    /// Ratio of the 99th percentile to that of l2fwd in the same round; `None` without l2fwd.
    pub p99_to_l2fwd: Option<Spread>,
}

/// Latency from generator to sink.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencyQuantiles {
    /// Offered rate, median.
    pub offered: f64,
    /// Number of timestamped frames; if 0, the figures below are 0.
    pub samples: u64,
    /// Median.
    pub p50: u64,
    /// 90th percentile.
    pub p90: u64,
    /// 99th percentile.
    pub p99: u64,
    /// 99.9th percentile.
    pub p999: u64,
    /// Maximum.
    pub max: u64,
}

impl LatencyQuantiles {
    /// Quantiles of `times`, at the offered rate `offered`.
    #[must_use]
    pub fn of(offered: f64, times: &Histogram<u64>) -> Self {
        let at = |quantile| times.value_at_quantile(quantile);
        let (p50, p90, p99, p999) = (at(0.5), at(0.9), at(0.99), at(0.999));
        Self { offered, samples: times.len(), p50, p90, p99, p999, max: times.max() }
    }

    /// Percentiles with their names, ascending.
    #[must_use]
    pub fn percentiles(&self) -> [(&'static str, u64); 5] {
        [("p50", self.p50), ("p90", self.p90), ("p99", self.p99), ("p99.9", self.p999), ("max", self.max)]
    }
}
