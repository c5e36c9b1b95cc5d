//! Plan of a run: trials, rounds, and estimated time.

use super::search::SearchRules;
use super::trial::{Dut, Traffic};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Plan of the trials.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialPlan {
    /// DUTs, in order of their turns.
    pub duts: Vec<Dut>,
    /// Rounds of each comparison (highest rate, overload, latency at a low rate). A round has one trial of every
    /// DUT. At least 1.
    pub rounds: u32,
    /// Rounds of each point of a curve.
    pub curve_rounds: u32,
    /// Length of one trial, in seconds.
    pub seconds: f64,
    /// Width of the last interval of the search for the NDR: [`SearchRules::resolution`].
    pub resolution: f64,
    /// Trials that must all lose for a rate to have lost.
    pub tries: u32,
    /// Trials that confirm an NDR.
    pub confirmations: u32,
    /// Frames a second at which the latencies of all DUTs are compared.
    pub low_rate: u64,
}

/// Offered rates of the curve, as multiples of the rate delivered at full speed. Dense around 1, where the curve bends.
pub const CURVE: [f64; 11] = [0.25, 0.5, 0.7, 0.85, 0.95, 1.0, 1.1, 1.3, 1.6, 2.0, 3.0];

/// Shares of the NDR at which latencies are measured.
pub const LEVELS: [f64; 3] = [0.1, 0.5, 0.9];

/// Overhead of a trial: switching DUTs, waiting for frames in flight, reading counters.
const OVERHEAD: Duration = Duration::from_millis(300);

/// Rate of opening connections before the first trial, per second.
const PRIMING_RATE: u64 = 100_000;

/// Time to build a port pair and start its DUT.
const BUILD: Duration = Duration::from_secs(2);

impl TrialPlan {
    /// Length of one trial.
    #[must_use]
    pub fn trial(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    /// Rules of the search for the NDR.
    #[must_use]
    pub fn rules(&self) -> SearchRules {
        let Self { resolution, tries, confirmations, .. } = *self;
        SearchRules { resolution, tries, confirmations }
    }

    /// Duration of the run: without repeated trials, and at most.
    #[must_use]
    pub fn estimate(&self, traffics: &[Traffic]) -> (Duration, Duration) {
        let (least, most) = self.rules().trials();
        let priming: Duration = traffics.iter().map(|traffic| self.priming(traffic)).sum();
        let all = |ndr| priming + (self.trial() + OVERHEAD) * self.trials(ndr) * traffics.len() as u32;
        (all(least), all(most))
    }

    fn priming(&self, traffic: &Traffic) -> Duration {
        let opening = Duration::from_secs_f64(f64::from(traffic.flows) / PRIMING_RATE as f64);
        (BUILD + opening) * self.duts.len() as u32
    }

    /// Number of trials of one traffic pattern, with `ndr` in each search.
    fn trials(&self, ndr: u32) -> u32 {
        let curves = (CURVE.len() + LEVELS.len()) as u32 * self.curve_rounds;
        let (highest, overload, low) = (self.rounds, 1 + 2 * self.rounds, self.rounds);
        (curves + highest + overload + low + ndr) * self.duts.len() as u32
    }
}

/// Formats a duration for a message: "45 s", "12 min", "1 h 5 min".
#[must_use]
pub fn format_duration(time: Duration) -> String {
    let minutes = (time.as_secs() + 30) / 60;
    match time.as_secs() {
        seconds @ 0..90 => format!("{seconds} s"),
        _ if minutes < 60 => format!("{minutes} min"),
        _ => format!("{} h {} min", minutes / 60, minutes % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench_wire::fake;

    #[test]
    fn durations_are_rounded_for_messages() {
        let text = |seconds| format_duration(Duration::from_secs(seconds));
        assert_eq!(text(0), "0 s");
        assert_eq!(text(89), "89 s");
        assert_eq!(text(90), "2 min");
        assert_eq!(text(725), "12 min");
        assert_eq!(text(3569), "59 min");
        assert_eq!(text(3570), "1 h 0 min");
        assert_eq!(text(3900), "1 h 5 min");
    }

    #[test]
    fn estimate_counts_every_trial_of_every_traffic() {
        let plan = TrialPlan { duts: vec![Dut::Xdp], ..fake::plan() };
        let traffic = fake::TRAFFIC;
        let (least, most) = plan.estimate(&[traffic]);
        // 3 rounds of 4 kinds, 1 of 11 + 3 points, 1 to see what can be paced; an NDR takes 5 halvings
        // and 3 confirmations.
        let trials = 12.0 + 14.0 + 1.0 + 8.0;
        let priming = 2.0 + f64::from(traffic.flows) / 1e5;
        assert!((least.as_secs_f64() - (priming + trials * 1.3)).abs() < 1e-6, "{least:?}");
        assert!(most > least);
        let (twice, _) = plan.estimate(&[traffic, traffic]);
        assert!((twice.as_secs_f64() - 2.0 * least.as_secs_f64()).abs() < 1e-6);
    }
}
