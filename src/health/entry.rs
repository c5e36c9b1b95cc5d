//! A check in the machine: its users, its record, its probe.

use super::events::ProbeId;
use super::key::CheckKey;
use super::outcome::{LocalError, ProbeOutcome};
use super::record::{ProbeResult, Record};
use super::timetable;
use std::time::Duration;

/// A check in the machine.
#[derive(Debug)]
pub(super) struct CheckEntry {
    pub(super) key: CheckKey,
    pub(super) users: Vec<UserPlace>,
    pub(super) record: Record,
    phase: u64,
    /// Start of the next probe, if none runs.
    pub(super) due: u64,
    /// Whether no probe is sent, as the operator wants it.
    pub(super) paused: bool,
    /// Start of the last probe, or the creation of the check.
    started: u64,
    pub(super) probe: Option<RunningProbe>,
}

/// A user of a check: positions of the service, and of the server in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UserPlace {
    pub(super) service: usize,
    pub(super) server: usize,
    /// See [`super::CheckUse::decides`].
    pub(super) decides: bool,
    /// See [`super::CheckUse::weighs`].
    pub(super) weighs: bool,
}

/// A probe in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunningProbe {
    pub(super) id: ProbeId,
    started: u64,
    late: bool,
}

impl CheckEntry {
    pub(super) fn new(key: CheckKey, now: u64) -> Self {
        let phase = timetable::phase(&key);
        let due = timetable::first(phase, key.timing.warm_up.millis().into(), now);
        Self {
            key,
            users: Vec::new(),
            record: Record::new(now),
            phase,
            due,
            paused: false,
            started: now,
            probe: None,
        }
    }

    /// Starts a probe that was due before. Returns its delay; a wait for other probes to end, until `room_since`, is none.
    pub(super) fn start(&mut self, id: ProbeId, now: u64, room_since: u64) -> Duration {
        let delay = now.saturating_sub(self.due.max(room_since));
        let late = delay > self.tolerance();
        self.probe = Some(RunningProbe { id, started: now, late });
        self.started = now;
        Duration::from_millis(delay)
    }

    /// Ends the probe and counts its outcome.
    pub(super) fn finish(&mut self, probed: ProbeResult, random: u64, now: u64) {
        let Some(probe) = self.probe.take() else { return };
        let end = probe.started + u64::from(self.key.timing.timeout.millis()) + self.tolerance();
        let outcome = match probed.outcome {
            // The host that was late may have been too late for an answer that was there.
            ProbeOutcome::Failed(_) if probe.late || now > end => ProbeOutcome::Unknown(LocalError::Late),
            outcome => outcome,
        };
        self.record.observe(ProbeResult { outcome, ..probed }, now);
        self.schedule(probe.started, random, now);
    }

    /// Pauses or resumes it. Returns the probe to be aborted. What has not led to another state is forgotten.
    pub(super) fn set_paused(&mut self, paused: bool, random: u64, now: u64) -> Option<ProbeId> {
        self.paused = paused;
        if !paused {
            let fast = self.key.timing.fast_interval.millis().into();
            self.due = timetable::first(self.phase, fast, self.due.max(now));
            return None;
        }
        self.record.pardon();
        let probe = self.probe.take()?;
        self.schedule(probe.started, random, now);
        Some(probe.id)
    }

    /// Sets the start of the next probe, by the state after the last one.
    pub(super) fn schedule(&mut self, started: u64, random: u64, now: u64) {
        let fast = u64::from(self.key.timing.fast_interval.millis());
        let due = match self.record.pace(&self.key.timing) {
            (interval, true) => timetable::during_change(interval, started, random),
            (interval, false) => timetable::next(self.phase, interval, fast, started, random),
        };
        self.due = due.max(now);
    }

    /// Brings the start of the next probe forward, as far as the shortest distance of two starts allows.
    pub(super) fn hasten(&mut self, now: u64) {
        let [fast, interval] =
            [self.key.timing.fast_interval, self.key.timing.interval].map(|span| span.millis());
        let least = fast.min(interval - interval / 5);
        self.due = self.due.min(now.max(self.started + u64::from(least)));
    }

    /// Delay from which on a probe is late: half the shortest interval.
    fn tolerance(&self) -> u64 {
        u64::from(self.key.timing.fast_interval.millis()) / 2
    }

    /// The services of its users.
    pub(super) fn services(&self) -> impl Iterator<Item = usize> {
        self.users.iter().map(|user| user.service)
    }
}
