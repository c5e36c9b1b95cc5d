//! Real servers and a prober around the machine, over virtual time.

use crate::random::Random;
use directrix::health::{
    CheckKey, CheckState, Health, HealthAction, HealthConfig, HealthEvent, HealthReport, HealthSettings,
    LocalError, ProbeFailure, ProbeId, ProbeOutcome, ServerChecks, ServiceChecks,
};
use directrix::model::{HealthMode, ServiceAddress, ServiceIdentity};
use directrix::time::Tick;
use directrix::wire::Protocol;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Tick of the start: the count wraps during the run.
const START: u32 = u32::MAX - 90_000;

/// Behaviour of a real server, or of the director's own host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    Answers,
    Refuses,
    IsSilent,
    /// The probe cannot be sent.
    NoDescriptor,
}

/// A probe on its way.
#[derive(Debug)]
struct Flight {
    probe: ProbeId,
    key: CheckKey,
    started: u64,
    outcome: ProbeOutcome,
}

/// A result as the prober has delivered it.
#[derive(Debug)]
pub(crate) struct Delivered {
    pub(crate) at: u64,
    pub(crate) key: CheckKey,
    pub(crate) outcome: ProbeOutcome,
}

pub(crate) struct World {
    pub(crate) health: Health,
    pub(crate) now: u64,
    pub(crate) random: Random,
    pub(crate) behaviour: BTreeMap<IpAddr, Behaviour>,
    pub(crate) config: Vec<ServiceChecks>,
    pub(crate) reports: Vec<(u64, HealthReport)>,
    /// Starts of all probes.
    pub(crate) starts: BTreeMap<CheckKey, Vec<u64>>,
    /// Servers that are out, by the reports.
    pub(crate) out: BTreeSet<(ServiceIdentity, IpAddr)>,
    number: u64,
    in_flight_max: usize,
    flights: BTreeMap<(u64, u64), Flight>,
    sequence: u64,
}

pub(crate) fn server(n: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, n).into()
}

pub(crate) fn vip() -> IpAddr {
    Ipv4Addr::new(198, 51, 100, 1).into()
}

pub(crate) fn service(port: u16) -> ServiceIdentity {
    ServiceAddress { protocol: Protocol::Tcp, address: (vip(), port).into() }.into()
}

impl World {
    pub(crate) fn new(seed: u64, in_flight_max: usize) -> Self {
        Self {
            health: Health::new(HealthSettings { in_flight_max, seed }),
            now: 0,
            random: Random::new(seed),
            behaviour: BTreeMap::new(),
            config: Vec::new(),
            reports: Vec::new(),
            starts: BTreeMap::new(),
            out: BTreeSet::new(),
            number: 0,
            in_flight_max,
            flights: BTreeMap::new(),
            sequence: 0,
        }
    }

    pub(crate) fn tick(&self) -> Tick {
        Tick(START.wrapping_add(self.now as u32))
    }

    /// Sets which servers are out, as the director does.
    pub(crate) fn with_out(&mut self, mut config: Vec<ServiceChecks>) -> Vec<ServiceChecks> {
        let before: BTreeSet<_> =
            self.config.iter().flat_map(|of| of.servers.iter().map(|one| (of.service, one.server))).collect();
        for service in &mut config {
            for server in &mut service.servers {
                let place = (service.service, server.server);
                // With alpha a server that is added starts out.
                if service.alpha && !server.checks.is_empty() && !before.contains(&place) {
                    self.out.insert(place);
                }
                server.out = self.out.contains(&place);
            }
        }
        config
    }

    pub(crate) fn configure(&mut self, config: Vec<ServiceChecks>) {
        let config = self.with_out(config);
        self.config.clone_from(&config);
        let of = |service: &ServiceChecks| {
            let identity = service.service;
            service.servers.iter().map(move |of: &ServerChecks| (identity, of.server)).collect::<Vec<_>>()
        };
        let present: BTreeSet<_> = config.iter().flat_map(of).collect();
        self.out.retain(|server| present.contains(server));
        self.number += 1;
        self.handle(HealthEvent::Configure(HealthConfig { number: self.number, services: config }));
    }

    pub(crate) fn set(&mut self, servers: impl IntoIterator<Item = u8>, behaviour: Behaviour) {
        self.behaviour.extend(servers.into_iter().map(|n| (server(n), behaviour)));
    }

    pub(crate) fn suspect(&mut self, n: u8) {
        self.handle(HealthEvent::Suspect(server(n)));
    }

    /// Runs until the next result is delivered, `until` at the latest.
    pub(crate) fn step(&mut self, until: u64) -> Option<Delivered> {
        while self.now < until {
            let ends = self.flights.first_key_value().map(|((at, _), _)| *at);
            let timer = self.health.next_deadline();
            let timer = timer.map(|at| self.now + u64::from(at.since(self.tick()).millis()));
            let next = ends.into_iter().chain(timer).min().unwrap_or(until).min(until);
            self.now = self.now.max(next);
            match ends.filter(|at| *at <= self.now) {
                Some(_) => return Some(self.deliver()),
                None => self.handle(HealthEvent::Timer),
            }
        }
        None
    }

    pub(crate) fn run(&mut self, span: u64) {
        let until = self.now + span;
        while self.step(until).is_some() {}
    }

    /// Lets time pass during which nothing is handled, as if the process were stopped. Probes that end by then come to
    /// their end afterwards; those whose timeout is over by then fail.
    pub(crate) fn stall(&mut self, span: u64) {
        self.now += span;
        let now = self.now;
        for flight in self.flights.values_mut() {
            if now - flight.started >= u64::from(flight.key.timing.timeout.millis()) {
                flight.outcome = ProbeOutcome::Failed(ProbeFailure::Silent);
            }
        }
    }

    fn deliver(&mut self) -> Delivered {
        let (_, Flight { probe, key, started, outcome }) = self.flights.pop_first().expect("one has ended");
        let took = Duration::from_millis(self.now - started);
        self.handle(HealthEvent::Finished { probe, outcome: outcome.clone(), rip: None, took });
        Delivered { at: self.now, key, outcome }
    }

    fn handle(&mut self, event: HealthEvent) {
        let mut actions = Vec::new();
        self.health.handle(event, self.tick(), &mut actions);
        for action in actions {
            match action {
                HealthAction::Start { probe, key } => self.start(probe, key),
                HealthAction::Abort(probe) => self.flights.retain(|_, flight| flight.probe != probe),
                HealthAction::Report(report) => self.record(report),
            }
        }
        assert!(self.flights.len() <= self.in_flight_max, "{} probes in flight", self.flights.len());
    }

    fn start(&mut self, probe: ProbeId, key: CheckKey) {
        assert!(self.flights.values().all(|flight| flight.key != key), "two probes of {key:?}");
        let users = self.config.iter().flat_map(|of| &of.servers);
        let mut users = users.filter(|of| of.checks.iter().any(|check| check.key == key));
        assert!(users.any(|of| of.mode != HealthMode::Paused), "a probe of {key:?}, which is paused");
        let timeout = u64::from(key.timing.timeout.millis());
        let behaviour = self.behaviour.get(&key.server).copied().unwrap_or(Behaviour::Answers);
        let latency = 1 + self.random.below(timeout / 2);
        let (outcome, span) = match behaviour {
            Behaviour::Answers => (ProbeOutcome::Passed, latency),
            Behaviour::Refuses => (ProbeOutcome::Failed(ProbeFailure::Refused), latency),
            Behaviour::IsSilent => (ProbeOutcome::Failed(ProbeFailure::Silent), timeout),
            Behaviour::NoDescriptor => (ProbeOutcome::Unknown(LocalError::NoResources), 0),
        };
        self.starts.entry(key.clone()).or_default().push(self.now);
        self.sequence += 1;
        let flight = Flight { probe, key, started: self.now, outcome };
        self.flights.insert((self.now + span, self.sequence), flight);
    }

    fn record(&mut self, report: HealthReport) {
        if let HealthReport::Server { service, server, out, configuration } = &report {
            assert_eq!(*configuration, self.number);
            let changed = if *out {
                self.out.insert((*service, *server))
            } else {
                self.out.remove(&(*service, *server))
            };
            assert!(changed, "reported twice: {report:?}");
        }
        self.reports.push((self.now, report));
    }

    /// Number of changes of checks to `state`.
    pub(crate) fn changes(&self, to: CheckState) -> usize {
        let is = |report: &HealthReport| matches!(report, HealthReport::Check { state, .. } if *state == to);
        self.reports.iter().filter(|(_, report)| is(report)).count()
    }
}
