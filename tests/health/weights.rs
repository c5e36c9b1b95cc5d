//! Weights that checks give to servers, against a naive sum of the latest results.

use crate::random::Random;
use crate::world::{server, service, vip};
use directrix::health::{
    CheckKey, CheckUse, Health, HealthAction, HealthConfig, HealthEvent, HealthReport, HealthSettings,
    LocalError, ProbeFailure, ProbeOutcome, ServerChecks, ServiceChecks, WeightChange,
};
use directrix::model::{
    CheckKind, CheckTarget, CheckTiming, HealthCheck, ScriptCheck, ServiceIdentity, Weight,
};
use directrix::time::Tick;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

struct Weigher {
    health: Health,
    now: Tick,
    config: Vec<ServiceChecks>,
    number: u64,
    /// By the reports.
    reported: BTreeMap<(ServiceIdentity, IpAddr), Option<Weight>>,
    /// Effect of the latest success of each check.
    changes: BTreeMap<CheckKey, WeightChange>,
}

fn check(port: u16) -> HealthCheck {
    let (kind, target) = (CheckKind::Tcp, CheckTarget::Rip);
    HealthCheck { kind, target, port: Some(port), timing: CheckTiming::default() }
}

/// A server with a check of each port.
fn checked(n: u8, weight: u16, ports: &[u16]) -> ServerChecks {
    let uses = ports.iter().flat_map(|port| CheckUse::of(&check(*port), server(n), &[vip()], *port));
    ServerChecks::new(server(n), Weight(weight), uses.collect())
}

/// A script is told each VIP of a group, and runs for each.
#[test]
fn a_script_of_several_vips_weighs_once() {
    let script = ScriptCheck { command: vec!["/bin/true".into()], dynamic_weight: true };
    let check = HealthCheck { kind: CheckKind::Script(script), ..check(80) };
    let vips = [[198, 51, 100, 1], [198, 51, 100, 2], [198, 51, 100, 3]].map(IpAddr::from);
    let uses = CheckUse::of(&check, server(1), &vips, 80);
    assert_eq!(
        uses.iter().map(|one| (one.decides, one.weighs)).collect::<Vec<_>>(),
        [(true, true), (true, false), (true, false)]
    );
    let mut weigher = Weigher::new();
    let of = ServerChecks::new(server(1), Weight(100), uses);
    weigher.configure(vec![ServiceChecks::new(service(80), 50, vec![of])]);
    for _ in 0..3 {
        weigher.probe(|_| ProbeOutcome::Weighed(WeightChange::To(60)));
    }
    assert_eq!(weigher.reported[&(service(80), server(1))], Some(Weight(60)));
}

impl Weigher {
    fn new() -> Self {
        Self {
            health: Health::new(HealthSettings { in_flight_max: 8, seed: 1 }),
            now: Tick(0),
            config: Vec::new(),
            number: 0,
            reported: BTreeMap::new(),
            changes: BTreeMap::new(),
        }
    }

    fn configure(&mut self, mut config: Vec<ServiceChecks>) {
        let mut reported = BTreeMap::new();
        for of in &mut config {
            for one in &mut of.servers {
                let place = (of.service, one.server);
                one.dynamic_weight = self.reported.get(&place).copied().flatten();
                reported.insert(place, one.dynamic_weight);
            }
        }
        self.reported = reported;
        let uses = config.iter().flat_map(|of| &of.servers).flat_map(|one| &one.checks);
        let keys: BTreeSet<_> = uses.map(|check| check.key.clone()).collect();
        self.changes.retain(|key, _| keys.contains(key));
        self.config.clone_from(&config);
        self.number += 1;
        let _ = self.handle(HealthEvent::Configure(HealthConfig { number: self.number, services: config }));
    }

    /// Lets probes start, and ends each of them with the outcome of `result`.
    fn probe(&mut self, mut result: impl FnMut(&CheckKey) -> ProbeOutcome) {
        self.now = self.health.next_deadline().unwrap();
        for action in self.handle(HealthEvent::Timer) {
            let HealthAction::Start { probe, key } = action else { continue };
            let outcome = result(&key);
            match outcome {
                ProbeOutcome::Passed => drop(self.changes.remove(&key)),
                ProbeOutcome::Weighed(change) => drop(self.changes.insert(key, change)),
                _ => {}
            }
            let _ = self.handle(HealthEvent::Finished { probe, outcome, rip: None, took: Duration::ZERO });
        }
    }

    fn handle(&mut self, event: HealthEvent) -> Vec<HealthAction> {
        let mut actions = Vec::new();
        self.health.handle(event, self.now, &mut actions);
        for action in &actions {
            if let HealthAction::Report(HealthReport::Weight { service, server, weight, configuration }) =
                action
            {
                assert_eq!(*configuration, self.number);
                let before = self.reported.insert((*service, *server), *weight);
                assert_ne!(before, Some(*weight), "a change is reported once");
            }
        }
        actions
    }

    /// As keepalived adds the weights of its checkers up.
    fn expected(&self) -> BTreeMap<(ServiceIdentity, IpAddr), Option<Weight>> {
        let mut all = BTreeMap::new();
        for of in &self.config {
            for one in &of.servers {
                let configured = i64::from(one.weight.0);
                let changes = one.checks.iter().filter_map(|check| self.changes.get(&check.key));
                let changes: Vec<_> = changes
                    .map(|change| match change {
                        WeightChange::To(weight) => i64::from(*weight) - configured,
                        WeightChange::By(more) => i64::from(*more),
                    })
                    .collect();
                let sum = (configured + changes.iter().sum::<i64>()).clamp(0, 65_535) as u16;
                all.insert((of.service, one.server), (!changes.is_empty()).then_some(Weight(sum)));
            }
        }
        all
    }
}

#[test]
fn a_check_sets_the_weight_until_its_next_success() {
    let mut weigher = Weigher::new();
    weigher.configure(vec![ServiceChecks::new(service(80), 0, vec![checked(1, 5, &[80])])]);
    let place = (service(80), server(1));
    let failed = || ProbeOutcome::Failed(ProbeFailure::Refused);
    for (outcome, weight) in [
        (ProbeOutcome::Passed, None),
        (ProbeOutcome::Weighed(WeightChange::To(253)), Some(253)),
        (failed(), Some(253)),
        (ProbeOutcome::Unknown(LocalError::Late), Some(253)),
        (ProbeOutcome::Weighed(WeightChange::To(0)), Some(0)),
        (ProbeOutcome::Weighed(WeightChange::By(-2)), Some(3)),
        (ProbeOutcome::Weighed(WeightChange::By(-9)), Some(0)),
        (ProbeOutcome::Passed, None),
    ] {
        weigher.probe(|_| outcome.clone());
        assert_eq!(weigher.reported[&place], weight.map(Weight), "{outcome:?}");
        weigher.configure(weigher.config.clone());
        assert_eq!(weigher.reported[&place], weight.map(Weight), "a reload changes nothing");
    }
}

#[test]
fn weights_are_sums_over_random_results_and_reloads() {
    let mut seen = BTreeSet::new();
    for seed in 1..=200 {
        let mut random = Random::new(seed);
        let mut weigher = Weigher::new();
        for step in 0..120 {
            if step == 0 || random.below(12) == 0 {
                // The services share the checks, and have other weights.
                let mut draw = |port: u16| {
                    let mut one = |n| {
                        let ports = [&[80][..], &[80, 81], &[], &[81, 82]][random.below(4) as usize];
                        checked(n, random.below(9) as u16, ports)
                    };
                    ServiceChecks::new(service(port), 0, vec![one(1), one(2)])
                };
                weigher.configure(vec![draw(80), draw(81)]);
            } else if weigher.health.counts().0 > 0 {
                weigher.probe(|_| match random.below(6) {
                    0 => ProbeOutcome::Passed,
                    1 | 2 => ProbeOutcome::Weighed(WeightChange::To(random.below(12) as u16)),
                    3 => ProbeOutcome::Weighed(WeightChange::By(random.below(20) as i32 - 10)),
                    4 => ProbeOutcome::Failed(ProbeFailure::Silent),
                    _ => ProbeOutcome::Unknown(LocalError::NoResources),
                });
            }
            assert_eq!(weigher.reported, weigher.expected(), "seed {seed}, step {step}");
            seen.extend(weigher.reported.values().flatten().copied());
        }
    }
    assert!(seen.len() > 15, "{seen:?}");
}
