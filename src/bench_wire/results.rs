//! What the experiment has found, as figures. Rates are frames a second, times are nanoseconds,
//! shares and ratios are 1.0 for the whole.

use super::statistics::Spread;
use super::trial::{Dut, Offered, PerFrame, Traffic};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// All figures of one traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// What the generator sent.
    pub traffic: Traffic,
    /// By DUT, in the order of their turns.
    pub duts: Vec<DutFigures>,
}

/// All figures of one DUT.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DutFigures {
    /// Whose they are.
    pub dut: Dut,
    /// At full speed of the generator.
    pub highest: Highest,
    /// Delivered against offered, by offered rate; the last point is full speed.
    pub curve: Vec<Point>,
    /// Overload beside the peak of the curve.
    pub overload: OverloadFigures,
    /// The highest rate without loss.
    pub ndr: Ndr,
    /// Latency at shares of the NDR; empty if the NDR is 0.
    pub loaded: Vec<Loaded>,
    /// Latency at a low rate that is the same for all DUTs.
    pub low: Low,
}

/// At full speed of the generator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Highest {
    /// What the generator made.
    pub offered: Spread,
    /// What arrived.
    pub delivered: Spread,
    /// What arrived, over what l2fwd delivered in the same round; `None` without l2fwd.
    pub to_l2fwd: Option<Spread>,
    /// Busy share of each core, medians.
    pub cores: Vec<f64>,
    /// What a delivered frame cost, medians; `None` where the machine does not count.
    pub per_frame: Option<PerFrame>,
}

/// A point of the curve, medians.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// What the generator was told.
    pub asked: Offered,
    /// What it made of it.
    pub offered: f64,
    /// What arrived.
    pub delivered: f64,
}

/// Overload beside the peak, in turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OverloadFigures {
    /// The point of the curve where most arrives, as measured in the curve.
    pub peak: Point,
    /// What was offered in overload, median.
    pub offered: f64,
    /// That, as a multiple of what arrives at the peak.
    pub times: f64,
    /// What arrived in overload.
    pub delivered: Spread,
    /// What arrived in overload, over what arrived in the same round at the peak's offered rate.
    pub to_peak: Option<Spread>,
    /// Causes of loss in overload, each as a share of the frames sent.
    pub losses: BTreeMap<String, f64>,
}

/// The highest rate without loss: see [`super::search`] for the rule.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ndr {
    /// The rate, as the generator was told; 0 if every rate that was tried loses.
    pub rate: u64,
    /// Confirming trials without loss.
    pub lossless: u32,
    /// Confirming trials.
    pub confirmations: u32,
    /// Trials in all.
    pub trials: u32,
    /// Width of the last interval, in frames a second.
    pub within: u64,
    /// The highest rate that was sought.
    pub upper: u64,
}

/// Latency at a share of the NDR.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loaded {
    /// The share.
    pub of_ndr: f64,
    /// The latency there.
    pub latency: LatencyQuantiles,
    /// Busy share of each core, medians.
    pub cores: Vec<f64>,
}

/// Latency at the common low rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Low {
    /// The latency.
    pub latency: LatencyQuantiles,
    /// Median latency less that of l2fwd in the same round; `None` without l2fwd.
    pub added_p50: Option<Spread>,
    /// 99th percentile over that of l2fwd in the same round; `None` without l2fwd.
    pub p99_to_l2fwd: Option<Spread>,
}

/// Time from generator to sink.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencyQuantiles {
    /// Offered rate, median.
    pub offered: f64,
    /// Frames that were timed; with none of them the figures below are 0.
    pub samples: u64,
    /// Median.
    pub p50: u64,
    /// 90th percentile.
    pub p90: u64,
    /// 99th percentile.
    pub p99: u64,
    /// 99.9th percentile.
    pub p999: u64,
    /// The longest.
    pub max: u64,
}

impl LatencyQuantiles {
    /// Of the frames in `times`, offered at `offered`.
    #[must_use]
    pub fn of(offered: f64, times: &Histogram<u64>) -> Self {
        let at = |quantile| times.value_at_quantile(quantile);
        let (p50, p90, p99, p999) = (at(0.5), at(0.9), at(0.99), at(0.999));
        Self { offered, samples: times.len(), p50, p90, p99, p999, max: times.max() }
    }

    /// The percentiles with their names, ascending.
    #[must_use]
    pub fn percentiles(&self) -> [(&'static str, u64); 5] {
        [("p50", self.p50), ("p90", self.p90), ("p99", self.p99), ("p99.9", self.p999), ("max", self.max)]
    }
}
