//! The director's side of passive health: samples of the workers' counters, and the effects on servers.

use super::Director;
use super::error::DirectorError;
use crate::control::api::events::EventSource;
use crate::control::health::{HealthCommand, log};
use crate::control::state::entry::{Reachability, ServerEntry, ServiceEntry};
use crate::control::state::events::EventSubject;
use crate::control::workers::{Workers, status};
use crate::health::passive::{
    PassingChecks, PassiveFinding, PassiveReport, PassiveView, ServerSample, ServiceSample,
};
use crate::model::{CheckTarget, HealthCheck, HealthMode, PassiveMode};
use crate::wire::Protocol;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use tokio::time::{Interval, MissedTickBehavior};

/// Time between two samples. [`crate::health::passive::PassiveHealth::sample`] relies on it.
const INTERVAL: Duration = Duration::from_secs(1);

/// The clock of the samples. After a delay it goes on from there.
pub(super) fn clock() -> Interval {
    let mut clock = tokio::time::interval(INTERVAL);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    clock
}

impl Director {
    /// Takes a sample of the handshakes with all servers, every [`INTERVAL`].
    pub(super) fn sample_handshakes(&mut self) -> Result<(), DirectorError> {
        let watched = self.registry.services.iter().filter(|service| is_watched(service));
        let samples: Vec<_> = watched.map(|service| sample_of(service, &self.backend.workers)).collect();
        let (now, mut reports) = (self.now(), Vec::new());
        self.passive.sample(&samples, now, &mut reports);
        reports.iter().for_each(|report| self.handle_passive_report(report));
        if self.update_views() { self.publish() } else { Ok(()) }
    }

    /// Logs and records a report, and has a suspect probed.
    fn handle_passive_report(&mut self, report: &PassiveReport) {
        let subject = match *report {
            PassiveReport::Suspected { service, server, .. }
            | PassiveReport::Warned { service, server, .. }
            | PassiveReport::Cleared { service, server }
            | PassiveReport::Ejected { service, server, .. }
            | PassiveReport::Returned { service, server } => {
                self.limiter.log(server, Instant::now(), || log::log_passive(report));
                EventSubject::both(service, server)
            }
            PassiveReport::Flood { service, .. } => {
                log::log_passive(report);
                EventSubject::service(service)
            }
        };
        self.events.add(EventSource::Passive, subject, text(report));
        if let PassiveReport::Suspected { server, .. } = *report {
            self.send_health(HealthCommand::Suspect(server));
        }
    }

    /// Gives the registry the views of the last sample. Returns true if an effect has changed.
    fn update_views(&mut self) -> bool {
        let mut changed = false;
        for service in &mut self.registry.services {
            let mut views = self.passive.views(service.config.identity);
            for server in service.servers.iter_mut().filter(|server| is_judged(server)) {
                let view = views.next().map_or(PassiveView::default(), |(_, view)| view);
                changed |= server.passive.effect != view.effect;
                server.passive = view;
            }
        }
        changed
    }
}

/// Returns true if the service has handshakes that are watched.
fn is_watched(service: &ServiceEntry) -> bool {
    let has_handshakes = || service.config.matches().any(|of| of.protocol == Protocol::Tcp);
    service.config.passive != PassiveMode::Off && has_handshakes()
}

/// Returns true for the servers that share connections: the sorry server has none to be compared with.
fn is_judged(server: &ServerEntry) -> bool {
    !server.is_sorry()
}

fn sample_of(service: &ServiceEntry, workers: &Workers) -> ServiceSample {
    let of = |server: &ServerEntry| ServerSample {
        server: server.config.address,
        id: server.id,
        weight: server.config.weight,
        out: server.failed || server.excluded || !matches!(server.reachability, Reachability::Reachable(_)),
        held: server.health_mode != HealthMode::Auto,
        checks: passing_checks(service, server),
        handshakes: status::handshakes(workers, server.id),
    };
    let config = &service.config;
    let servers = service.servers.iter().filter(|server| is_judged(server)).map(of).collect();
    ServiceSample { service: config.identity, mode: config.passive, panic: config.panic, servers }
}

/// The checks over the network that pass: of a server that is down, none.
fn passing_checks(service: &ServiceEntry, server: &ServerEntry) -> PassingChecks {
    let each = || service.config.checks_of(&server.config).filter(|check| !check.kind.is_local());
    let of_vip = |check: &HealthCheck| check.target != CheckTarget::Rip;
    match each().next() {
        Some(_) if server.failed => PassingChecks::None,
        Some(_) if each().any(of_vip) => PassingChecks::OfVip,
        Some(_) => PassingChecks::OfRip,
        None => PassingChecks::None,
    }
}

/// The report as the text of an event.
fn text(report: &PassiveReport) -> String {
    let reason = |server: &IpAddr, finding: &PassiveFinding| finding.sentence(*server);
    match report {
        PassiveReport::Suspected { server, finding, .. } => format!("suspected: {}", reason(server, finding)),
        PassiveReport::Warned { server, finding, .. } => reason(server, finding),
        PassiveReport::Cleared { .. } => "handshakes no longer fail".into(),
        PassiveReport::Ejected { server, finding, span, .. } => {
            format!("no new connections for it for {} s: {}", span.secs(), reason(server, finding))
        }
        PassiveReport::Returned { .. } => "tried again with a small share".into(),
        PassiveReport::Flood { on: true, finding, .. } => finding.sentence(),
        PassiveReport::Flood { .. } => "handshakes with most servers no longer fail".into(),
    }
}
