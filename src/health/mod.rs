//! State machine of health checks, without I/O and without a clock.
//!
//! [`Health`] turns (event, now) into actions: probes to start and to abort, and reports of changes. A test can
//! simulate days in a moment and replay any failure from its seed.
//!
//! Invariants:
//! - A check is identified by the server's address and its settings ([`CheckKey`]). Equal checks of several services are
//!   one, and a reload that leaves a check as it is changes nothing about it.
//! - The first result decides. After that `fall` failures or `rise` successes in a row change the state; each further
//!   change to down within ten minutes doubles the successes that are needed, up to sixteen times.
//! - An error of the director's own host, and the failure of a probe that started or ended late, are no results: they
//!   change no state and interrupt no run of results.
//! - Probes of a check start in slots of its interval, with a fixed phase. There is one at a time, and two starts are
//!   at least the fast interval, or four fifths of the interval, apart.
//! - A suspicion from the handshakes of clients ([`passive`]) brings the next probe forward, and decides nothing.
//! - A server is down with any of its checks that decide, unless the operator forces its health. While more than the
//!   panic share of a service's configured weight is down, none of its servers is out but the forced ones. Servers that
//!   are forced down are no part of that weight.
//! - A success may change the weight of its server, until the next result says otherwise. Changes of several checks add up,
//!   as for keepalived: each one that sets the weight counts as its distance from the configured one.
//! - While the operator has paused a server, the verdict on it stands still. A check all of whose users are paused is
//!   not probed.
//! - When nine of ten checks that are up fail at once, of ten servers and two services at least, none goes down. Checks
//!   that are not up yet are no part of that: at the start only the panic share protects.
//! - Every change is reported once. A configuration has what the control thread counts as out, so that a report it has
//!   missed or ignored is made again.

#![forbid(unsafe_code)]

mod cause;
mod configure;
mod entry;
mod events;
mod freeze;
mod icmp;
mod key;
mod outcome;
pub mod passive;
mod record;
mod service;
mod status;
mod times;
mod timetable;

pub use cause::FailureCause;
pub use events::{
    HealthAction, HealthConfig, HealthEvent, HealthReport, ProbeId, ServerChecks, ServiceChecks,
};
pub use icmp::ProbeIcmp;
pub use key::{CheckKey, CheckUse};
pub use outcome::{LocalError, ProbeFailure, ProbeOutcome, WeightChange};
pub use record::{CheckState, LastResult};
pub use status::{CheckStatus, ServerStatus, ServiceStatus};
pub use times::{ProbeTimes, TimeCounts};

use crate::deadlines::Deadlines;
use crate::random::SplitMix64;
use crate::time::Tick;
use entry::CheckEntry;
use freeze::{FreezeGuard, GuardShare};
use record::ProbeResult;
use service::ServiceHealth;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Settings of [`Health`].
#[derive(Clone, Copy, Debug)]
pub struct HealthSettings {
    /// Most probes in flight.
    pub in_flight_max: usize,
    /// Seed of the jitter.
    pub seed: u64,
}

/// Number of a check, never reused.
type CheckId = u64;

/// The health machine.
#[derive(Debug)]
pub struct Health {
    in_flight_max: usize,
    random: SplitMix64,
    /// Checks without a probe, by the start of their next one.
    due: Deadlines<CheckId>,
    ids: BTreeMap<CheckKey, CheckId>,
    checks: BTreeMap<CheckId, CheckEntry>,
    probes: BTreeMap<ProbeId, CheckId>,
    services: Vec<ServiceHealth>,
    guard: FreezeGuard,
    next_check: CheckId,
    next_probe: u64,
    times: ProbeTimes,
    /// Latest time at which a probe might start again after all were in flight.
    room_since: u64,
}

impl Health {
    /// Creates a machine without services.
    #[must_use]
    pub fn new(settings: HealthSettings) -> Self {
        Self {
            in_flight_max: settings.in_flight_max.max(1),
            random: SplitMix64::new(settings.seed),
            due: Deadlines::default(),
            ids: BTreeMap::new(),
            checks: BTreeMap::new(),
            probes: BTreeMap::new(),
            services: Vec::new(),
            guard: FreezeGuard::default(),
            next_check: 0,
            next_probe: 0,
            times: ProbeTimes::default(),
            room_since: 0,
        }
    }

    /// Time of the next [`HealthEvent::Timer`] unless another event comes first. None while all probes are in flight
    /// that may be: the end of one is the next event.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        self.has_room().then(|| self.due.next()).flatten()
    }

    /// Handles an event, and all deadlines up to `now`. Appends to `actions`.
    pub fn handle(&mut self, event: HealthEvent, now: Tick, actions: &mut Vec<HealthAction>) {
        self.due.advance(now);
        let had_room = self.has_room();
        match event {
            HealthEvent::Configure(config) => self.configure(&config, actions),
            HealthEvent::Finished { probe, outcome, rip, took } => {
                self.finish(probe, ProbeResult { outcome, rip, took }, actions);
            }
            HealthEvent::Suspect(server) => self.hasten(server),
            HealthEvent::Timer => {}
        }
        if !had_room {
            self.room_since = self.due.clock();
        }
        self.start_due(actions);
    }

    fn hasten(&mut self, server: IpAddr) {
        let now = self.due.clock();
        let waiting =
            |entry: &&mut CheckEntry| entry.key.server == server && entry.probe.is_none() && !entry.paused;
        for entry in self.checks.values_mut().filter(waiting) {
            entry.hasten(now);
            if let Some(id) = self.ids.get(&entry.key) {
                self.due.set_at(*id, Some(entry.due));
            }
        }
    }

    fn has_room(&self) -> bool {
        self.probes.len() < self.in_flight_max
    }

    fn start_due(&mut self, actions: &mut Vec<HealthAction>) {
        while self.has_room()
            && let Some(id) = self.due.pop_due()
        {
            let Some(entry) = self.checks.get_mut(&id) else { continue };
            let probe = ProbeId(self.next_probe);
            self.next_probe += 1;
            let delay = entry.start(probe, self.due.clock(), self.room_since);
            self.times.delays.add(delay);
            self.probes.insert(probe, id);
            actions.push(HealthAction::Start { probe, key: entry.key.clone() });
        }
    }

    fn finish(&mut self, probe: ProbeId, probed: ProbeResult, actions: &mut Vec<HealthAction>) {
        let Some(id) = self.probes.remove(&probe) else { return };
        let (now, random) = (self.due.clock(), self.random.next());
        let Some(entry) = self.checks.get_mut(&id) else { return };
        let (before, blind, weight) = (GuardShare::of(entry), entry.record.is_blind(), entry.record.weight);
        self.times.durations.add(probed.took);
        entry.finish(probed, random, now);
        self.times.unknown += u64::from(entry.record.is_unknown());
        report_sight(entry, blind, actions);
        self.guard.replace(before, GuardShare::of(entry), entry.key.server, entry.services());
        if let Some(state) = entry.record.due_state(&entry.key.timing, now) {
            self.change(id, state, random, actions);
        }
        self.weigh(id, weight, actions);
        self.thaw(actions);
        self.due.set_at(id, self.checks.get(&id).map(|entry| entry.due));
    }

    /// Gives the servers of a check the weight of its last result, if it was another `before`.
    fn weigh(&mut self, id: CheckId, before: Option<WeightChange>, actions: &mut Vec<HealthAction>) {
        let Some(entry) = self.checks.get(&id).filter(|entry| entry.record.weight != before) else { return };
        for user in entry.users.iter().filter(|user| user.weighs) {
            let service = &mut self.services[user.service];
            service.weigh(user.server, before, -1);
            service.weigh(user.server, entry.record.weight, 1);
            service.settle(user.server, actions);
        }
    }

    /// Changes the state of a check, unless it would go down while states are frozen.
    fn change(&mut self, id: CheckId, state: CheckState, random: u64, actions: &mut Vec<HealthAction>) {
        if state == CheckState::Down && self.is_frozen(actions) {
            return;
        }
        let cause = self.cause(id).filter(|_| state == CheckState::Down);
        let now = self.due.clock();
        let Some(entry) = self.checks.get_mut(&id) else { return };
        let (before, from) = (GuardShare::of(entry), entry.record.standing());
        entry.record.enter(state, now);
        let to = entry.record.standing();
        entry.schedule(now, random, now);
        self.guard.replace(before, GuardShare::of(entry), entry.key.server, entry.services());
        let (key, downs) = (entry.key.clone(), entry.record.downs_lately(now));
        actions.push(HealthAction::Report(HealthReport::Check { key, state, cause, downs }));
        for user in entry.users.iter().filter(|user| user.decides) {
            let service = &mut self.services[user.service];
            if service.change(user.server, from, to) {
                service.settle(user.server, actions);
            }
        }
    }

    /// Returns true if no check may go down, from now on if nearly all fail.
    fn is_frozen(&mut self, actions: &mut Vec<HealthAction>) -> bool {
        if !self.guard.frozen && self.guard.is_mass_failure() {
            self.set_frozen(true, actions);
        }
        self.guard.frozen
    }

    /// Ends a freeze when enough checks pass. Failures until then are forgotten: they say nothing about the servers.
    fn thaw(&mut self, actions: &mut Vec<HealthAction>) {
        if self.guard.frozen && !self.guard.is_mass_failure() {
            self.set_frozen(false, actions);
            self.checks.values_mut().for_each(|entry| entry.record.pardon());
            self.guard.pardon();
        }
    }

    fn set_frozen(&mut self, on: bool, actions: &mut Vec<HealthAction>) {
        self.guard.frozen = on;
        let FreezeGuard { failing, up, .. } = self.guard;
        actions.push(HealthAction::Report(HealthReport::Freeze { on, failing, up }));
    }

    /// The cause of the latest failure of a check. What the RIP answers comes from the same probe, or else from its own check.
    fn cause(&self, id: CheckId) -> Option<FailureCause> {
        let entry = self.checks.get(&id)?;
        let of_rip = entry.key.vip.and_then(|_| self.ids.get(&entry.key.of_rip()));
        let last = of_rip.and_then(|id| self.checks.get(id)?.record.last.as_ref());
        let has_result = |outcome: &&ProbeOutcome| !matches!(outcome, ProbeOutcome::Unknown(_));
        let same = entry.record.rip.as_ref().filter(has_result);
        let rip = same.or(last.map(|last| &last.outcome).filter(has_result));
        let failure = entry.record.failure.as_ref()?;
        Some(FailureCause::of(&entry.key, failure, rip))
    }
}

/// Reports that a check has become blind, or is no longer.
fn report_sight(entry: &CheckEntry, was_blind: bool, actions: &mut Vec<HealthAction>) {
    let error = entry.record.became_blind();
    if error.is_some() || was_blind && !entry.record.is_blind() {
        actions.push(HealthAction::Report(HealthReport::Blind { key: entry.key.clone(), error }));
    }
}
