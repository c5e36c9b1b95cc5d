//! Aggregation of several trials of one DUT.

use super::results::LatencyQuantiles;
use super::statistics::{Spread, median};
use super::trial::{Dut, PerFrame, TrialOutcome};
use hdrhistogram::Histogram;
use std::collections::BTreeMap;

/// Outcomes of each DUT, in order of the trials.
pub(super) type Trials = BTreeMap<Dut, Vec<TrialOutcome>>;

/// Offered rate of each trial.
pub(super) fn offered(outcomes: &[TrialOutcome]) -> Vec<f64> {
    outcomes.iter().map(TrialOutcome::offered_rate).collect()
}

/// Delivered rate of each trial.
pub(super) fn delivered(outcomes: &[TrialOutcome]) -> Vec<f64> {
    outcomes.iter().map(TrialOutcome::delivered_rate).collect()
}

/// Spread of `values`; all zeros without trials.
pub(super) fn spread(values: Vec<f64>) -> Spread {
    Spread::of(values).unwrap_or(Spread { min: 0.0, q1: 0.0, median: 0.0, q3: 0.0, max: 0.0 })
}

/// Median busy share of each core.
pub(super) fn cores(outcomes: &[TrialOutcome]) -> Vec<f64> {
    let count = outcomes.iter().map(|outcome| outcome.cores.len()).max().unwrap_or(0);
    (0..count)
        .map(|core| median(outcomes.iter().filter_map(|trial| trial.cores.get(core).copied())))
        .collect()
}

/// Median cost of a frame; `None` without hardware counters.
pub(super) fn per_frame(outcomes: &[TrialOutcome]) -> Option<PerFrame> {
    let counted: Vec<PerFrame> = outcomes.iter().filter_map(|outcome| outcome.counters).collect();
    let cycles = Spread::of(counted.iter().map(|cost| cost.cycles))?.median;
    let instructions = Spread::of(counted.iter().map(|cost| cost.instructions))?.median;
    Some(PerFrame { cycles, instructions })
}

/// Losses by cause, as shares of all frames sent.
pub(super) fn causes(outcomes: &[TrialOutcome]) -> BTreeMap<String, f64> {
    let sent: u64 = outcomes.iter().map(|outcome| outcome.sent).sum();
    let mut lost: BTreeMap<String, u64> = BTreeMap::new();
    for (cause, frames) in outcomes.iter().flat_map(|outcome| &outcome.losses) {
        *lost.entry(cause.clone()).or_default() += frames;
    }
    lost.retain(|_, frames| *frames > 0);
    lost.into_iter().map(|(cause, frames)| (cause, frames as f64 / sent.max(1) as f64)).collect()
}

/// Latency over the samples of all trials.
pub(super) fn latency(outcomes: &[TrialOutcome]) -> LatencyQuantiles {
    let mut all = Histogram::new(3).expect("three digits are within the crate's bounds");
    for outcome in outcomes {
        all.add(&outcome.latency).expect("a histogram that resizes itself takes any other");
    }
    LatencyQuantiles::of(median(offered(outcomes)), &all)
}

/// Delivered rates of the last round, for the console: "xdp 301.2, l2fwd 310.0 thousand frames/s". Several loads are
/// separated by semicolons.
pub(super) fn format_rates(loads: &[Trials]) -> String {
    format!("{} thousand frames/s", loads.iter().map(last_rates).collect::<Vec<_>>().join("; "))
}

fn last_rates(trials: &Trials) -> String {
    let rates = trials.iter().map(|(dut, outcomes)| {
        let rate = outcomes.last().map_or(0.0, TrialOutcome::delivered_rate);
        format!("{} {:.1}", dut.name(), rate / 1e3)
    });
    rates.collect::<Vec<_>>().join(", ")
}
