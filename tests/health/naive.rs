//! Naive model: every state is computed anew from the whole history.

use crate::world::Delivered;
use directrix::health::{CheckKey, CheckState, ProbeOutcome, ServerChecks, ServiceChecks};
use directrix::model::{HealthMode, ServiceIdentity};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

const TEN_MINUTES: u64 = 600_000;

#[derive(Default)]
pub(crate) struct NaiveModel {
    /// Results of each check that is configured, without those of unknown; `None` for a pause.
    history: BTreeMap<CheckKey, Vec<(u64, Option<bool>)>>,
    paused: BTreeSet<CheckKey>,
    config: Vec<ServiceChecks>,
    /// Verdicts of the servers that are paused.
    held: BTreeMap<(ServiceIdentity, IpAddr), bool>,
}

impl NaiveModel {
    pub(crate) fn configure(&mut self, config: &[ServiceChecks]) {
        let before: BTreeMap<_, _> = servers(&self.config)
            .map(|(place, of, alpha)| (place, (of.mode, self.fails(of, alpha))))
            .collect();
        let keys: BTreeSet<_> = uses(config).map(|(_, _, key, _)| key).collect();
        self.history.retain(|key, _| keys.contains(key));
        let active: BTreeSet<_> = servers(config)
            .filter(|(_, of, _)| of.mode != HealthMode::Paused)
            .flat_map(|(_, of, _)| of.checks.iter().map(|check| &check.key))
            .collect();
        let pauses = keys.iter().filter(|key| !active.contains(*key)).map(|key| (*key).clone());
        let before_pauses = std::mem::replace(&mut self.paused, pauses.collect());
        for key in keys {
            let results = self.history.entry(key.clone()).or_default();
            if self.paused.contains(key) && !before_pauses.contains(key) {
                results.push((0, None));
            }
        }
        let paused = servers(config).filter(|(_, of, _)| of.mode == HealthMode::Paused);
        let verdict = |(place, of, alpha): (Place, &ServerChecks, bool)| match before.get(&place) {
            Some((HealthMode::Paused, _)) => (place, self.held[&place]),
            Some((_, fails)) => (place, *fails),
            None => (place, self.fails(of, alpha)),
        };
        self.held = paused.map(verdict).collect();
        self.config = config.to_vec();
    }

    /// Whether a check that decides is down, or has never been up in a server that alpha keeps out.
    fn fails(&self, server: &ServerChecks, alpha: bool) -> bool {
        let mut deciding = server.checks.iter().filter(|check| check.decides);
        deciding.any(|check| self.state(&check.key) == CheckState::Down) || self.is_new(server, alpha)
    }

    fn is_new(&self, server: &ServerChecks, alpha: bool) -> bool {
        let mut deciding = server.checks.iter().filter(|check| check.decides);
        alpha && server.out && deciding.any(|check| !self.states(&check.key).contains(&CheckState::Up))
    }

    /// Whether a server is out also in panic.
    fn is_apart(&self, server: &ServerChecks, alpha: bool) -> bool {
        let is_new = self.is_new(server, alpha);
        server.mode == HealthMode::ForcedDown || server.mode == HealthMode::Auto && is_new
    }

    fn is_down(&self, place: Place, server: &ServerChecks, alpha: bool) -> bool {
        match server.mode {
            HealthMode::Auto => self.fails(server, alpha),
            HealthMode::Paused => self.held[&place],
            HealthMode::ForcedUp => false,
            HealthMode::ForcedDown => true,
        }
    }

    pub(crate) fn add(&mut self, result: &Delivered) {
        let passed = match result.outcome {
            ProbeOutcome::Passed | ProbeOutcome::Weighed(_) => true,
            ProbeOutcome::Failed(_) => false,
            ProbeOutcome::Unknown(_) => return,
        };
        self.history.get_mut(&result.key).expect("a check in use").push((result.at, Some(passed)));
    }

    pub(crate) fn state(&self, key: &CheckKey) -> CheckState {
        *self.states(key).last().expect("the first one")
    }

    /// The states after each result, from the first one on.
    fn states(&self, key: &CheckKey) -> Vec<CheckState> {
        let (mut state, mut run, mut downs) = (CheckState::Unknown, 0, Vec::new());
        let mut states = vec![state];
        for (at, passed) in &self.history[key] {
            let Some(passed) = passed else {
                run = if state == CheckState::Up { 0 } else { run };
                continue;
            };
            let lately = downs.iter().filter(|down| at - **down < TEN_MINUTES).count() as u32;
            let needed = u64::from(key.timing.rise) * 2_u64.pow(lately.saturating_sub(1).min(4));
            match (state, passed) {
                (CheckState::Unknown, true) => state = CheckState::Up,
                (CheckState::Unknown, false) => state = CheckState::Down,
                (CheckState::Up, true) | (CheckState::Down, false) => run = 0,
                (CheckState::Up, false) => {
                    run += 1;
                    if run == u64::from(key.timing.fall) {
                        (state, run) = (CheckState::Down, 0);
                        downs.push(*at);
                    }
                }
                (CheckState::Down, true) => {
                    run += 1;
                    if run >= needed {
                        (state, run) = (CheckState::Up, 0);
                    }
                }
            }
            states.push(state);
        }
        states
    }

    /// The servers that are out, and the services in panic.
    pub(crate) fn effect(
        &self,
        config: &[ServiceChecks],
    ) -> (BTreeSet<(ServiceIdentity, IpAddr)>, BTreeSet<ServiceIdentity>) {
        let mut panics = BTreeSet::new();
        let mut out = BTreeSet::new();
        for of in config {
            let at = |server: &ServerChecks| (of.service, server.server);
            let down = |server: &&ServerChecks| self.is_down(at(server), server, of.alpha);
            let forced = |server: &&ServerChecks| down(server) && self.is_apart(server, of.alpha);
            let counted = || of.servers.iter().filter(|server| !forced(server));
            let weight = |server: &ServerChecks| u64::from(server.weight.0);
            let total: u64 = counted().map(weight).sum();
            let failing: u64 = counted().filter(down).map(weight).sum();
            let panic = of.panic > 0 && failing * 100 > u64::from(of.panic) * total;
            panics.extend(panic.then_some(of.service));
            out.extend(of.servers.iter().filter(|server| down(server) && (!panic || forced(server))).map(at));
        }
        (out, panics)
    }
}

type Place = (ServiceIdentity, IpAddr);

fn servers(config: &[ServiceChecks]) -> impl Iterator<Item = (Place, &ServerChecks, bool)> {
    config
        .iter()
        .flat_map(|of| of.servers.iter().map(|server| ((of.service, server.server), server, of.alpha)))
}

fn uses(config: &[ServiceChecks]) -> impl Iterator<Item = (ServiceIdentity, IpAddr, &CheckKey, bool)> {
    config.iter().flat_map(|of| {
        of.servers.iter().flat_map(move |server| {
            let (service, rip) = (of.service, server.server);
            server.checks.iter().map(move |check| (service, rip, &check.key, check.decides))
        })
    })
}
