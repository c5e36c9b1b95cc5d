//! Report of a measurement with an external generator, as figures and as text. Rates are frames a second. Shares and
//! ratios are fractions of 1.

use super::plan::DevicePlan;
use super::trial::DeviceOutcome;
use crate::bench_wire::conditions::Conditions;
use crate::bench_wire::statistics::{Spread, median, ratios};
use crate::bench_wire::tables::{causes, conditions, ratio, table, thousands};
use crate::bench_wire::trial::Dut;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the schema. Changed when a field changes its meaning or is removed; new fields keep it.
pub const SCHEMA: u32 = 2;

/// Explanation of [`DeviceReport::not_measured`].
const NOT_HERE: &str =
    "Neither rate without loss (NDR) nor latency: both need the generator's own counts and clock.";

/// All figures of a run, with its conditions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceReport {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Machine, system and testbed.
    pub conditions: Conditions,
    /// Plan of the trials.
    pub plan: DevicePlan,
    /// Figures by DUT, in the order of the plan.
    pub results: Vec<DeviceFigures>,
    /// Measures that need the generator's counts and clock: "ndr" and "latency".
    pub not_measured: Vec<String>,
}

/// All figures of one DUT.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceFigures {
    /// The DUT.
    pub dut: Dut,
    /// Rate of frames received by the interface.
    pub received: Spread,
    /// Rate of frames sent by the interface.
    pub forwarded: Spread,
    /// Ratio of `forwarded` to that of l2fwd in the same round; `None` without l2fwd.
    pub to_l2fwd: Option<Spread>,
    /// Losses by cause, as shares of the frames received.
    pub losses: BTreeMap<String, f64>,
    /// Frames that the interface had no room for, by cause, as shares of the frames received. A driver may include
    /// frames for which the DUT's socket had no room.
    pub before: BTreeMap<String, f64>,
    /// Busy share of each core, medians.
    pub cores: Vec<f64>,
}

/// Figures of the DUTs of `plan` that have had a trial.
#[must_use]
pub fn figures(plan: &DevicePlan, trials: &BTreeMap<Dut, Vec<DeviceOutcome>>) -> Vec<DeviceFigures> {
    let peer = trials.get(&Dut::L2fwd).map(|trials| forwarded(trials));
    plan.duts.iter().filter_map(|dut| of_dut(*dut, trials.get(dut)?, peer.as_deref())).collect()
}

/// Figures of `dut`, with ratios to the forwarded rates of `peer`.
fn of_dut(dut: Dut, trials: &[DeviceOutcome], peer: Option<&[f64]>) -> Option<DeviceFigures> {
    Some(DeviceFigures {
        dut,
        received: Spread::of(trials.iter().map(DeviceOutcome::received_rate))?,
        forwarded: Spread::of(forwarded(trials))?,
        to_l2fwd: peer.and_then(|peer| ratios(&forwarded(trials), peer)),
        losses: shares(trials, |trial| &trial.losses),
        before: shares(trials, |trial| &trial.before),
        cores: cores(trials),
    })
}

fn forwarded(trials: &[DeviceOutcome]) -> Vec<f64> {
    trials.iter().map(DeviceOutcome::forwarded_rate).collect()
}

/// Counts by cause, as shares of all frames received.
fn shares(
    trials: &[DeviceOutcome],
    counts: impl Fn(&DeviceOutcome) -> &BTreeMap<String, u64>,
) -> BTreeMap<String, f64> {
    let received: u64 = trials.iter().map(|trial| trial.received).sum();
    let mut shares: BTreeMap<String, f64> = BTreeMap::new();
    for (cause, frames) in trials.iter().flat_map(counts) {
        *shares.entry(cause.clone()).or_default() += *frames as f64 / received.max(1) as f64;
    }
    shares
}

fn cores(trials: &[DeviceOutcome]) -> Vec<f64> {
    let count = trials.iter().map(|trial| trial.cores.len()).max().unwrap_or(0);
    (0..count).map(|core| median(trials.iter().filter_map(|trial| trial.cores.get(core).copied()))).collect()
}

impl DeviceReport {
    /// A report without results.
    pub(super) fn empty(conditions: Conditions, plan: DevicePlan) -> Self {
        let not_measured = ["ndr", "latency"].map(str::to_owned).to_vec();
        Self { schema: SCHEMA, conditions, plan, results: Vec::new(), not_measured }
    }

    /// Report as text, for the terminal and `report.txt`.
    #[must_use]
    pub fn text(&self) -> String {
        let DevicePlan { rounds, seconds, flows, servers, .. } = &self.plan;
        let head = conditions(&self.conditions, format!("{seconds} s each; {rounds} rounds"));
        let sections = [rates, losses, cores_table].map(|section| section(&self.results));
        format!(
            "{head}\n# Room for {flows} flows, {servers} servers\n\n{}\n{NOT_HERE}\n",
            sections.join("\n")
        )
    }
}

fn rates(results: &[DeviceFigures]) -> String {
    let title = "Forwarded, thousand frames/s, by the interface's counters; ratio to l2fwd round by round";
    let heads = ["", "received", "forwarded", "min", "q1", "q3", "max", "x l2fwd", "q1", "q3"];
    let row = |figures: &DeviceFigures| {
        let forwarded = &figures.forwarded;
        let mut row = vec![figures.dut.name().to_owned(), thousands(figures.received.median)];
        row.push(thousands(forwarded.median));
        row.extend([forwarded.min, forwarded.q1, forwarded.q3, forwarded.max].map(thousands));
        row.extend(ratio(figures.to_l2fwd));
        row
    };
    table(title, &heads, results.iter().map(row))
}

fn losses(results: &[DeviceFigures]) -> String {
    let title = "Lost; before it was received, by the interface's counters";
    let heads = ["", "before, % of received", "lost, % of received"];
    let row = |figures: &DeviceFigures| {
        vec![figures.dut.name().to_owned(), causes(&figures.before), causes(&figures.losses)]
    };
    table(title, &heads, results.iter().map(row))
}

fn cores_table(results: &[DeviceFigures]) -> String {
    let count = results.iter().map(|figures| figures.cores.len()).max().unwrap_or(0);
    let names: Vec<String> = (0..count).map(|core| format!("core {core}")).collect();
    let heads: Vec<&str> = std::iter::once("").chain(names.iter().map(String::as_str)).collect();
    let row = |figures: &DeviceFigures| {
        let shares = figures.cores.iter().map(|busy| format!("{:.0}", busy * 100.0));
        let mut row: Vec<String> = std::iter::once(figures.dut.name().to_owned()).chain(shares).collect();
        row.resize(count + 1, "-".to_owned());
        row
    };
    table("Cores, % busy", &heads, results.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn trial(received: u64, forwarded: u64) -> DeviceOutcome {
        let losses = BTreeMap::from([("ring_full".to_owned(), received - forwarded)]);
        let (elapsed, before) =
            (Duration::from_secs(2), BTreeMap::from([("missed".to_owned(), received / 10)]));
        DeviceOutcome { elapsed, received, forwarded, losses, before, cores: vec![0.25, 1.0] }
    }

    fn report() -> DeviceReport {
        let duts = vec![Dut::Xdp, Dut::L2fwd];
        let plan = DevicePlan { duts, rounds: 2, seconds: 2.0, flows: 1000, servers: 7 };
        let trials = BTreeMap::from([
            (Dut::L2fwd, vec![trial(2000, 1000), trial(2000, 500)]),
            (Dut::Xdp, vec![trial(2000, 1200), trial(2000, 600)]),
        ]);
        let results = figures(&plan, &trials);
        DeviceReport { results, ..DeviceReport::empty(Conditions::here("simulated".into()), plan) }
    }

    #[test]
    fn slow_round_slows_both_sides_of_a_ratio() {
        let report = report();
        let [xdp, l2fwd] = &report.results[..] else { panic!("{report:?}") };
        assert_eq!((xdp.dut, l2fwd.dut), (Dut::Xdp, Dut::L2fwd));
        let ratio = xdp.to_l2fwd.unwrap();
        assert!((ratio.min - 1.2).abs() < 1e-9 && (ratio.max - 1.2).abs() < 1e-9, "{ratio:?}");
        assert!((xdp.forwarded.median - 450.0).abs() < 1e-9, "{xdp:?}");
        assert!((xdp.losses["ring_full"] - 0.55).abs() < 1e-9, "{xdp:?}");
        assert!((xdp.before["missed"] - 0.1).abs() < 1e-9, "{xdp:?}");
    }

    #[test]
    fn text_names_measured_and_missing_figures() {
        let text = report().text();
        for part in
            ["# Room for 1000 flows, 7 servers", "  xdp   ", "ring_full 55.00", "missed 10.00", NOT_HERE]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn report_round_trips_through_json() {
        let report = report();
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<DeviceReport>(&text).unwrap(), report);
    }
}
