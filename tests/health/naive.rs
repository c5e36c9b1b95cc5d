//! Naive model: every state is computed anew from the whole history.

use crate::world::Delivered;
use directrix::health::{CheckKey, CheckState, ProbeOutcome, ServiceChecks};
use directrix::model::ServiceIdentity;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

const TEN_MINUTES: u64 = 600_000;

#[derive(Default)]
pub(crate) struct NaiveModel {
    /// Results of each check that is configured, without those of unknown.
    history: BTreeMap<CheckKey, Vec<(u64, bool)>>,
}

impl NaiveModel {
    pub(crate) fn configure(&mut self, config: &[ServiceChecks]) {
        let keys: BTreeSet<_> = uses(config).map(|(_, _, key, _)| key).collect();
        self.history.retain(|key, _| keys.contains(key));
        for key in keys {
            self.history.entry(key.clone()).or_default();
        }
    }

    pub(crate) fn add(&mut self, result: &Delivered) {
        let passed = match result.outcome {
            ProbeOutcome::Passed => true,
            ProbeOutcome::Failed(_) => false,
            ProbeOutcome::Unknown(_) => return,
        };
        self.history.get_mut(&result.key).expect("a check in use").push((result.at, passed));
    }

    pub(crate) fn state(&self, key: &CheckKey) -> CheckState {
        let (mut state, mut run, mut downs) = (CheckState::Unknown, 0, Vec::new());
        for (at, passed) in &self.history[key] {
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
        }
        state
    }

    /// The servers that are out, and the services in panic.
    pub(crate) fn effect(
        &self,
        config: &[ServiceChecks],
    ) -> (BTreeSet<(ServiceIdentity, IpAddr)>, BTreeSet<ServiceIdentity>) {
        let down: BTreeSet<_> = uses(config)
            .filter(|(_, _, key, decides)| *decides && self.state(key) == CheckState::Down)
            .map(|(service, server, _, _)| (service, server))
            .collect();
        let panics = config.iter().filter(|of| {
            let weight = |only_down: bool| -> u64 {
                let counted = of
                    .servers
                    .iter()
                    .filter(|server| !only_down || down.contains(&(of.service, server.server)));
                counted.map(|server| u64::from(server.weight.0)).sum()
            };
            of.panic > 0 && weight(true) * 100 > u64::from(of.panic) * weight(false)
        });
        let panics: BTreeSet<_> = panics.map(|of| of.service).collect();
        (down.into_iter().filter(|(service, _)| !panics.contains(service)).collect(), panics)
    }
}

fn uses(config: &[ServiceChecks]) -> impl Iterator<Item = (ServiceIdentity, IpAddr, &CheckKey, bool)> {
    config.iter().flat_map(|of| {
        of.servers.iter().flat_map(move |server| {
            let (service, rip) = (of.service, server.server);
            server.checks.iter().map(move |check| (service, rip, &check.key, check.decides))
        })
    })
}
