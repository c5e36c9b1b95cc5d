//! A simulated testbed with DUTs of known capacity, for tests.

use super::conditions::Conditions;
use super::experiment;
use super::plan::TrialPlan;
use super::report::{BenchReport, SCHEMA};
use super::trial::{Dut, Offered, PerFrame, Testbed, Traffic, TrafficKind, TrialOutcome};
use crate::lab::Console;
use crate::model::Diagnostic;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) const TRAFFIC: Traffic =
    Traffic { flows: 65_536, servers: 100, frame_len: 60, kind: TrafficKind::Established };

pub(super) fn plan() -> TrialPlan {
    TrialPlan {
        duts: vec![Dut::Xdp, Dut::L2fwd, Dut::Nft],
        rounds: 3,
        curve_rounds: 1,
        seconds: 1.0,
        resolution: 0.05,
        tries: 3,
        confirmations: 3,
        low_rate: 10_000,
    }
}

/// A testbed with DUTs that deliver up to their capacity, and 5 % less in overload.
pub(super) struct Fake {
    /// Full speed of the generator, in frames a second.
    pub(super) generator: u64,
    /// Interval of trials with a small loss, as by a preempted virtual machine; 0 for none.
    pub(super) noise: u32,
    /// All trials, in order.
    pub(super) log: Vec<(Dut, Offered)>,
    pub(super) primed: Vec<Dut>,
}

impl Fake {
    pub(super) fn new() -> Self {
        Self { generator: 1_500_000, noise: 0, log: Vec::new(), primed: Vec::new() }
    }
}

/// Capacity of `dut`, in frames a second.
pub(super) fn capacity(dut: Dut) -> u64 {
    match dut {
        Dut::Xdp => 330_000,
        Dut::Packet => 250_000,
        Dut::L2fwd => 300_000,
        Dut::Hairpin => 900_000,
        Dut::Nft => 600_000,
        Dut::External => 2_000_000,
    }
}

impl Testbed for Fake {
    fn prime(&mut self, dut: Dut) -> Result<(), Diagnostic> {
        self.primed.push(dut);
        Ok(())
    }

    fn trial(&mut self, dut: Dut, offered: Offered, duration: Duration) -> Result<TrialOutcome, Diagnostic> {
        assert!(self.primed.contains(&dut), "{dut:?} has no connections yet");
        self.log.push((dut, offered));
        let rate = match offered {
            Offered::Full => self.generator,
            Offered::PerSecond(rate) => rate.min(self.generator),
        };
        let capacity = capacity(dut);
        let fits = rate <= capacity;
        let mut delivered = if fits { rate } else { capacity * 95 / 100 };
        if self.noise > 0 && (self.log.len() as u32).is_multiple_of(self.noise) {
            delivered -= delivered / 1000;
        }
        let frames = |rate: u64| (rate as f64 * duration.as_secs_f64()) as u64;
        let (sent, delivered) = (frames(rate), frames(delivered));
        let busy = (rate as f64 / capacity as f64).min(1.0);
        Ok(TrialOutcome {
            elapsed: duration,
            sent,
            delivered,
            losses: BTreeMap::from([("ring_full".to_owned(), sent - delivered)]),
            latency: latencies(busy, dut),
            cores: vec![0.6, busy],
            counters: (dut != Dut::Nft)
                .then_some(PerFrame { cycles: 1e9 / capacity as f64, instructions: 1000.0 }),
        })
    }
}

/// Latencies with a tail, rising with load.
fn latencies(busy: f64, dut: Dut) -> Histogram<u64> {
    let mut times = Histogram::new(3).unwrap();
    let base = if dut == Dut::L2fwd { 9_000.0 } else { 9_200.0 };
    for sample in 0..10_000_u32 {
        let place = f64::from(sample) / 10_000.0;
        let time = base * (1.0 + busy * busy) + 1_000.0 * place + 300.0 / (1.0 - place);
        times.record(time as u64).unwrap();
    }
    times
}

/// The report of a run on a [`Fake`].
pub(super) fn report() -> BenchReport {
    let plan = plan();
    let results = experiment::run(&mut Fake::new(), &plan, TRAFFIC, &Console::silent()).unwrap();
    let conditions = Conditions::here("simulated".into());
    BenchReport { schema: SCHEMA, conditions, plan, results: vec![results] }
}
