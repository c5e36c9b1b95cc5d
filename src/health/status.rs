//! Status of all services, servers and checks, for listings.

use super::cause::FailureCause;
use super::entry::CheckEntry;
use super::key::CheckKey;
use super::outcome::WeightChange;
use super::record::{CheckState, LastResult};
use super::{CheckId, Health};
use crate::model::{HealthMode, ServiceIdentity, Weight};
use crate::time::Span;
use std::net::IpAddr;

/// Status of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceStatus {
    /// The service.
    pub service: ServiceIdentity,
    /// Whether health is ignored: more than the panic share is down.
    pub panic: bool,
    /// Its servers in the order of the configuration.
    pub servers: Vec<ServerStatus>,
}

/// Status of a server of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerStatus {
    /// RIP.
    pub server: IpAddr,
    /// Whether a check that decides is down, unless the operator forces or pauses the health.
    pub down: bool,
    /// Whether it gets no new connections for that.
    pub out: bool,
    /// Weight by its checks; `None`: the configured one.
    pub dynamic_weight: Option<Weight>,
    /// The operator's hold.
    pub mode: HealthMode,
    /// Its checks.
    pub checks: Vec<CheckStatus>,
}

/// Status of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckStatus {
    /// The check.
    pub key: CheckKey,
    /// Whether the server is down with it.
    pub decides: bool,
    /// State.
    pub state: CheckState,
    /// Time since the last change of the state.
    pub since: Span,
    /// The latest result, with its age.
    pub last: Option<(LastResult, Span)>,
    /// Effect on the weight.
    pub weight: Option<WeightChange>,
    /// Cause of the latest failure, while the check is not up or fails.
    pub cause: Option<FailureCause>,
    /// Time to the next probe; none while one is in flight, or the check is paused.
    pub next: Option<Span>,
    /// Whether the operator has paused it: there are no probes.
    pub paused: bool,
    /// Changes to down in the last ten minutes.
    pub downs: usize,
}

impl Health {
    /// Number of checks and of probes in flight.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.checks.len(), self.probes.len())
    }

    /// Times of all probes.
    #[must_use]
    pub fn times(&self) -> &super::ProbeTimes {
        &self.times
    }

    /// Whether states are frozen, as nearly all checks fail at once.
    #[must_use]
    pub fn is_freezing(&self) -> bool {
        self.guard.frozen
    }

    /// Status at the time of the last event.
    #[must_use]
    pub fn status(&self) -> Vec<ServiceStatus> {
        let service = |of: &super::ServiceHealth| ServiceStatus {
            service: of.identity,
            panic: of.panicking,
            servers: of
                .servers
                .iter()
                .map(|server| ServerStatus {
                    server: server.address,
                    down: server.is_down(),
                    out: server.out,
                    dynamic_weight: server.dynamic_weight,
                    mode: server.mode,
                    checks: Vec::new(),
                })
                .collect(),
        };
        let mut services: Vec<_> = self.services.iter().map(service).collect();
        for (id, entry) in &self.checks {
            for user in &entry.users {
                let checks = &mut services[user.service].servers[user.server].checks;
                checks.push(self.check_status(*id, entry, user.decides));
            }
        }
        services
    }

    fn check_status(&self, id: CheckId, entry: &CheckEntry, decides: bool) -> CheckStatus {
        let (now, record) = (self.due.clock(), &entry.record);
        let troubled = record.is_failing() || record.state == CheckState::Down;
        CheckStatus {
            key: entry.key.clone(),
            decides,
            state: record.state,
            since: span(now - record.since),
            last: record.last.clone().map(|last| (last.clone(), span(now - last.at))),
            weight: record.weight.filter(|_| record.state == CheckState::Up),
            cause: self.cause(id).filter(|_| troubled),
            next: (entry.probe.is_none() && !entry.paused).then(|| span(entry.due.saturating_sub(now))),
            paused: entry.paused,
            downs: record.downs_lately(now),
        }
    }
}

fn span(ms: u64) -> Span {
    Span::from_millis(u32::try_from(ms).unwrap_or(u32::MAX))
}
