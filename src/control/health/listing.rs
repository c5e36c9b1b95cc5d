//! The listing of all health checks, for the control socket and the metrics.

use super::certificate::{days_to, unix_now};
use super::command::HealthOverview;
use crate::control::api::checks;
use crate::health::passive::{PassiveFinding, PassiveServerStatus, PassiveServiceStatus};
use crate::health::{CheckKey, CheckState, CheckStatus, ProbeOutcome, ServerStatus, ServiceStatus};
use crate::model::{HealthMode, ServiceIdentity};
use crate::time::Span;
use std::collections::HashMap;

/// Returns the listing of the services that have checks, or a server whose health the operator holds.
pub(in crate::control) fn of(overview: HealthOverview) -> checks::Checks {
    let HealthOverview { frozen, checks, in_flight, certificate_ends, services, times: _ } = overview;
    let (ends, now) = (certificate_ends, unix_now());
    let has_health = |of: &ServerStatus| !of.checks.is_empty() || of.mode != HealthMode::Auto;
    let is_listed = |of: &ServiceStatus| of.servers.iter().any(has_health);
    let services = services.into_iter().filter(is_listed).map(|of| checks::Service {
        identity: of.service,
        panic: of.panic,
        flood: false,
        flood_reason: None,
        quorum: None,
        sorry_server: None,
        servers: of.servers.into_iter().map(|of| server(of, &ends, now)).collect(),
    });
    checks::Checks { frozen, checks, in_flight, services: services.collect() }
}

/// Adds what the handshakes of clients say.
pub(in crate::control) fn add_passive(checks: &mut checks::Checks, passive: &[PassiveServiceStatus]) {
    for of in passive {
        let service = service_mut(checks, of.service);
        service.flood = of.flood.is_some();
        service.flood_reason = of.flood.map(|finding| finding.sentence());
        of.servers.iter().for_each(|server| add_server(service, server));
    }
}

/// Adds the quorum and the sorry server of a service; to be called after [`add_passive`].
pub(in crate::control) fn add_quorum(
    checks: &mut checks::Checks,
    service: ServiceIdentity,
    quorum: Option<checks::Quorum>,
    sorry_server: Option<checks::SorryServer>,
) {
    let service = service_mut(checks, service);
    (service.quorum, service.sorry_server) = (quorum, sorry_server);
}

/// The service in the listing, at its end if it was not there.
fn service_mut(checks: &mut checks::Checks, identity: ServiceIdentity) -> &mut checks::Service {
    let at = checks.services.iter().position(|service| service.identity == identity);
    let at = at.unwrap_or_else(|| {
        checks.services.push(checks::Service {
            identity,
            panic: false,
            flood: false,
            flood_reason: None,
            quorum: None,
            sorry_server: None,
            servers: Vec::new(),
        });
        checks.services.len() - 1
    });
    &mut checks.services[at]
}

fn add_server(service: &mut checks::Service, of: &PassiveServerStatus) {
    let passive = Some(evidence(of));
    match service.servers.iter_mut().find(|server| server.address == of.server) {
        Some(server) => server.passive = passive,
        None => {
            let address = of.server;
            service.servers.push(checks::Server {
                address,
                down: false,
                out: false,
                dynamic_weight: None,
                mode: HealthMode::Auto,
                checks: Vec::new(),
                passive,
            });
        }
    }
}

fn evidence(of: &PassiveServerStatus) -> checks::Passive {
    let PassiveFinding { figures, others, checks: _ } = of.finding;
    checks::Passive {
        state: of.state.name().into(),
        since_ms: of.since.millis(),
        left_ms: of.left.map(Span::millis),
        opened: figures.opened,
        failed: figures.failed,
        repeated: figures.repeated,
        others_permille: others,
        reason: of.finding.sentence(of.server),
    }
}

fn server(of: ServerStatus, ends: &HashMap<CheckKey, i64>, now: i64) -> checks::Server {
    let ServerStatus { server: address, down, out, dynamic_weight, mode, checks } = of;
    let dynamic_weight = dynamic_weight.map(|weight| weight.0);
    let one =
        |of: CheckStatus| checks::Check { certificate: certificate(ends.get(&of.key), now), ..check(of) };
    let mut checks: Vec<_> = checks.into_iter().map(one).collect();
    number_equal_names(&mut checks);
    checks::Server { address, down, out, dynamic_weight, mode, checks, passive: None }
}

/// Adds a number to the names of checks that differ in no part of the name.
fn number_equal_names(checks: &mut [checks::Check]) {
    let mut seen = HashMap::new();
    for check in checks {
        let count = seen.entry(check.check.clone()).and_modify(|count| *count += 1).or_insert(1);
        if *count > 1 {
            check.check += &format!(" #{count}");
        }
    }
}

fn check(of: CheckStatus) -> checks::Check {
    let last = of.last.as_ref().map(|(last, _)| last);
    checks::Check {
        check: of.key.to_string(),
        decides: of.decides,
        state: state(of.state).into(),
        since_ms: of.since.millis(),
        last_ms: of.last.as_ref().map(|(_, age)| age.millis()),
        took_us: last.map(|last| last.took.as_micros() as u64),
        next_ms: of.next.map(Span::millis),
        paused: of.paused,
        error: last.and_then(|last| error(&last.outcome)),
        weight: of.weight.map(|weight| weight.to_string()),
        cause: of.cause.as_ref().map(|cause| cause.name().into()),
        reason: of.cause.as_ref().map(|cause| cause.sentence(&of.key)),
        downs: of.downs,
        certificate: None,
    }
}

fn certificate(end: Option<&i64>, now: i64) -> Option<checks::Certificate> {
    end.map(|end| checks::Certificate { expires: *end, days: days_to(*end, now) })
}

fn state(state: CheckState) -> &'static str {
    match state {
        CheckState::Unknown => "unknown",
        CheckState::Up => "up",
        CheckState::Down => "down",
    }
}

fn error(outcome: &ProbeOutcome) -> Option<String> {
    match outcome {
        ProbeOutcome::Passed | ProbeOutcome::Weighed(_) => None,
        ProbeOutcome::Failed(failure) => Some(failure.to_string()),
        ProbeOutcome::Unknown(error) => Some(error.to_string()),
    }
}
