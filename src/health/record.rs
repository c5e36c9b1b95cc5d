//! State of one check: fall and rise, damping of flaps.

use super::outcome::{LocalError, ProbeFailure, ProbeOutcome, WeightChange};
use crate::model::CheckTiming;
use std::collections::VecDeque;
use std::time::Duration;

/// State of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CheckState {
    /// No probe has had a result. Counts as up.
    Unknown,
    /// Up.
    Up,
    /// Down.
    Down,
}

/// Time within which changes to down are counted as flaps.
pub(super) const FLAP_WINDOW_MS: u64 = 600_000;
/// Changes to down that are remembered; beyond that the damping does not grow.
const DOWNS_MAX: usize = 5;
/// Results without knowledge in a row after which a check is blind.
const BLIND: u16 = 3;

/// State and latest results of a check. Times are in milliseconds of the machine's clock.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) state: CheckState,
    /// Time of the last change of the state.
    pub(super) since: u64,
    /// Results in a row that contradict the state.
    streak: u16,
    /// Results in a row without knowledge.
    unknown: u16,
    /// Whether it has been up.
    proved: bool,
    /// Latest changes to down.
    downs: VecDeque<u64>,
    pub(super) last: Option<LastResult>,
    /// Effect of the latest success on the weight.
    pub(super) weight: Option<WeightChange>,
    /// Evidence of the latest failure.
    pub(super) failure: Option<ProbeFailure>,
    /// Answer of the RIP to the probe of the VIP with that failure, if it was asked.
    pub(super) rip: Option<ProbeOutcome>,
}

/// State of a check as services count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) state: CheckState,
    /// Whether it has been up.
    pub(super) proved: bool,
}

/// Result of a probe.
#[derive(Clone, Debug)]
pub(super) struct ProbeResult {
    pub(super) outcome: ProbeOutcome,
    /// Answer of the RIP to the same probe of the VIP, if it was asked.
    pub(super) rip: Option<ProbeOutcome>,
    pub(super) took: Duration,
}

/// The latest result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastResult {
    /// Time, in milliseconds of the machine's clock.
    pub at: u64,
    /// Outcome.
    pub outcome: ProbeOutcome,
    /// Duration of the probe.
    pub took: Duration,
}

impl Record {
    pub(super) fn new(now: u64) -> Self {
        Self {
            state: CheckState::Unknown,
            since: now,
            streak: 0,
            unknown: 0,
            proved: false,
            downs: VecDeque::new(),
            last: None,
            weight: None,
            failure: None,
            rip: None,
        }
    }

    /// Counts a result, with the answer of the RIP to the same probe, if it was asked.
    pub(super) fn observe(&mut self, ProbeResult { outcome, rip, took }: ProbeResult, now: u64) {
        match &outcome {
            ProbeOutcome::Unknown(_) => self.unknown = self.unknown.saturating_add(1),
            ProbeOutcome::Passed => {
                self.weight = None;
                self.count(self.state == CheckState::Down);
            }
            ProbeOutcome::Weighed(change) => {
                self.weight = Some(*change);
                self.count(self.state == CheckState::Down);
            }
            ProbeOutcome::Failed(failure) => {
                (self.failure, self.rip) = (Some(failure.clone()), rip);
                self.count(self.state != CheckState::Down);
            }
        }
        self.last = Some(LastResult { at: now, outcome, took });
    }

    fn count(&mut self, contradicts: bool) {
        self.unknown = 0;
        self.streak = if contradicts { self.streak.saturating_add(1) } else { 0 };
    }

    /// The state to which the results so far lead, if it is another one. A result without knowledge leads to none.
    pub(super) fn due_state(&self, timing: &CheckTiming, now: u64) -> Option<CheckState> {
        let passed = match self.last.as_ref()?.outcome {
            ProbeOutcome::Unknown(_) => return None,
            ProbeOutcome::Passed | ProbeOutcome::Weighed(_) => true,
            ProbeOutcome::Failed(_) => false,
        };
        match self.state {
            CheckState::Unknown if passed => Some(CheckState::Up),
            CheckState::Unknown => Some(CheckState::Down),
            CheckState::Up => (self.streak >= timing.fall).then_some(CheckState::Down),
            CheckState::Down => (self.streak >= self.rise(timing, now)).then_some(CheckState::Up),
        }
    }

    pub(super) fn enter(&mut self, state: CheckState, now: u64) {
        if (self.state, state) == (CheckState::Up, CheckState::Down) {
            self.downs.truncate(DOWNS_MAX - 1);
            self.downs.push_front(now);
        }
        (self.state, self.since, self.streak) = (state, now, 0);
        self.proved |= state == CheckState::Up;
    }

    /// The state as services count it.
    pub(super) fn standing(&self) -> Standing {
        Standing { state: self.state, proved: self.proved }
    }

    /// Forgets the failures of a check that is up.
    pub(super) fn pardon(&mut self) {
        if self.state == CheckState::Up {
            self.streak = 0;
        }
    }

    /// Successes in a row that are needed: doubled with each change to down but the first within the window.
    pub(super) fn rise(&self, timing: &CheckTiming, now: u64) -> u16 {
        timing.rise << self.downs_lately(now).saturating_sub(1)
    }

    /// Changes to down within the window, at most [`DOWNS_MAX`].
    pub(super) fn downs_lately(&self, now: u64) -> usize {
        self.downs.iter().filter(|at| now - **at < FLAP_WINDOW_MS).count()
    }

    pub(super) fn is_up(&self) -> bool {
        self.state == CheckState::Up
    }

    /// True if it is up, and its last results were failures.
    pub(super) fn is_failing(&self) -> bool {
        self.is_up() && self.streak > 0
    }

    /// Interval to the next probe, in milliseconds, and whether a change is in progress.
    pub(super) fn pace(&self, timing: &CheckTiming) -> (u64, bool) {
        let span = match self.state {
            _ if self.streak > 0 => return (timing.fast_interval.millis().into(), true),
            CheckState::Down => timing.down_interval,
            CheckState::Unknown | CheckState::Up => timing.interval,
        };
        (span.millis().into(), false)
    }

    /// The error with which the check has just become blind.
    pub(super) fn became_blind(&self) -> Option<LocalError> {
        match self.last.as_ref()?.outcome {
            ProbeOutcome::Unknown(error) if self.unknown == BLIND => Some(error),
            _ => None,
        }
    }

    /// True if the latest result is without knowledge.
    pub(super) fn is_unknown(&self) -> bool {
        self.last.as_ref().is_some_and(|last| matches!(last.outcome, ProbeOutcome::Unknown(_)))
    }

    pub(super) fn is_blind(&self) -> bool {
        self.unknown >= BLIND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSED: ProbeOutcome = ProbeOutcome::Passed;
    const FAILED: ProbeOutcome = ProbeOutcome::Failed(ProbeFailure::Refused);
    const UNKNOWN: ProbeOutcome = ProbeOutcome::Unknown(LocalError::Late);

    /// Feeds results a second apart; returns the states, as letters.
    fn run(record: &mut Record, results: &str, clock: &mut u64) -> String {
        let timing = CheckTiming::default();
        let state = |result| {
            *clock += 1_000;
            let outcome = match result {
                '+' => PASSED,
                '-' => FAILED,
                _ => UNKNOWN,
            };
            record.observe(ProbeResult { outcome, rip: None, took: Duration::ZERO }, *clock);
            if let Some(state) = record.due_state(&timing, *clock) {
                record.enter(state, *clock);
            }
            match record.state {
                CheckState::Unknown => '?',
                CheckState::Up => 'U',
                CheckState::Down => 'D',
            }
        };
        results.chars().map(state).collect()
    }

    #[test]
    fn results_in_a_row_change_the_state() {
        for (results, states) in [
            ("+", "U"),
            ("-", "D"),
            ("???", "???"),
            ("?-", "?D"),
            ("+--+---", "UUUUUUD"),
            ("+--?-", "UUUUD"),
            ("-+-++", "DDDDU"),
            ("-+?+", "DDDU"),
            ("+---+?+", "UUUDDDU"),
        ] {
            assert_eq!(run(&mut Record::new(0), results, &mut 0), states, "{results}");
        }
    }

    #[test]
    fn each_further_down_doubles_the_way_back_up_to_sixteen_times() {
        let (mut record, mut clock) = (Record::new(0), 0);
        run(&mut record, "+", &mut clock);
        for needed in [2, 4, 8, 16, 32, 32, 32] {
            run(&mut record, "---", &mut clock);
            assert_eq!(record.rise(&CheckTiming::default(), clock), needed);
            let states = run(&mut record, &"+".repeat(needed.into()), &mut clock);
            assert_eq!(states.find('U'), Some(usize::from(needed) - 1));
        }
        clock += FLAP_WINDOW_MS;
        run(&mut record, "---", &mut clock);
        assert_eq!(record.rise(&CheckTiming::default(), clock), 2, "old flaps are forgotten");
    }
}
