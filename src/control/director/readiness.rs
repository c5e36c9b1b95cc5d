//! The director's readiness: its conditions, and the orderly withdrawal at the end.

use super::Director;
use super::event_loop::is_settled;
use crate::control::api::events::EventSource;
use crate::control::readiness::{ReadyConditions, ReadySignals, TrafficReadiness};
use crate::control::state::availability::Availability;
use crate::control::state::events::EventSubject;
use crate::health::{CheckKey, CheckUse};
use crate::model::{Diagnostic, Role, RoleSource};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Longest time for which a director that has withdrawn goes on forwarding before it ends: other hosts follow meanwhile.
const STOP_MAX: Duration = Duration::from_secs(1);
/// Time for which a director goes on forwarding once it is no longer master: the other one announces the VIPs meanwhile.
const HANDED_OVER: Duration = Duration::from_millis(100);

impl Director {
    /// Takes the signals of readiness, once privileges have been dropped. `carries_on`: of a process that was ready.
    ///
    /// # Errors
    /// [`Diagnostic`] if this user cannot write the file.
    pub(super) fn set_ready_signals(
        &mut self,
        signals: ReadySignals,
        carries_on: bool,
    ) -> Result<(), Diagnostic> {
        self.ready.signals = signals;
        if carries_on {
            self.ready.readiness = TrafficReadiness::carried_on();
            self.ready.signals.tell(true);
        }
        self.ready.signals.settle()
    }

    /// Waits for the first results of the checks of the start.
    pub(super) fn await_first_results(&mut self) {
        let mut keys = Vec::new();
        for service in &self.registry.services {
            let vips: Vec<IpAddr> = service.vips.iter().map(|(vip, _)| *vip).collect();
            let port = service.config.identity.port();
            for server in service.servers.iter().map(|server| &server.config) {
                let checks = service.config.checks_of(server);
                keys.extend(checks.flat_map(|check| CheckUse::of(check, server.address, &vips, port)));
            }
        }
        let keys = keys.into_iter().map(|of| of.key).collect::<Vec<CheckKey>>();
        self.ready.first_results.await_all(keys, Instant::now());
    }

    /// Follows the conditions of readiness, and tells a change.
    pub(super) fn update_readiness(&mut self) {
        let (conditions, before) = (self.ready_conditions(), self.ready.readiness.reason());
        if !self.ready.readiness.update(&conditions) || !self.ready.signals.is_used() {
            return;
        }
        let reason = self.ready.readiness.reason();
        self.ready.signals.tell(reason.is_none());
        match reason {
            None => tracing::info!("ready for traffic"),
            Some(reason) if before.is_none() => tracing::warn!(%reason, "no longer ready for traffic"),
            Some(reason) => tracing::info!(%reason, "not ready for traffic"),
        }
        let text = match reason {
            None => "ready for traffic".to_owned(),
            Some(reason) => format!("not ready for traffic: {reason}"),
        };
        self.events.add(EventSource::Readiness, EventSubject::default(), text);
    }

    /// True if this director can take traffic.
    pub(super) fn is_ready_for_traffic(&self) -> bool {
        self.ready.readiness.reason().is_none()
    }

    /// Restores what others read, should it have been changed.
    pub(super) fn renew_readiness(&mut self) {
        self.ready.signals.renew(self.ready.readiness.reason().is_none());
    }

    /// Returns the reason for which others are told that this director takes no traffic.
    pub(super) fn unready(&self) -> Option<&'static str> {
        self.ready.readiness.reason().filter(|_| self.ready.signals.is_used()).map(|reason| reason.clause())
    }

    /// Withdraws this director. Returns true if it may end at once; a second request ends it in any case.
    pub(super) fn begin_stop(&mut self) -> bool {
        if std::mem::replace(&mut self.ready.stopping, true) || self.handover.is_over {
            return true;
        }
        self.update_readiness();
        let seconds = STOP_MAX.as_secs();
        if self.ready.signals.has_device() {
            self.ready.signals.withdraw();
            tracing::info!(seconds, "withdrawn: frames that still arrive are forwarded until the end");
        } else if self.is_followed_by_keepalived() && self.role.role() == Role::Master {
            self.ready.hands_over = true;
            tracing::info!(seconds, "the end awaits that keepalived makes another director master");
        } else {
            return true;
        }
        self.ready.stop_at = Some(Instant::now() + STOP_MAX);
        false
    }

    /// True if keepalived reads the file of readiness, and tells the role.
    fn is_followed_by_keepalived(&self) -> bool {
        let source = self.role.machine.source();
        self.ready.signals.has_file() && matches!(source, RoleSource::Fifo(_))
    }

    /// Follows a change of the role: the end of a master comes soon after it is none any more.
    pub(super) fn hasten_stop(&mut self) {
        if self.role.role() != Role::Master && std::mem::take(&mut self.ready.hands_over) {
            tracing::info!("handed over: another director is master");
            self.ready.stop_at = Some(Instant::now() + HANDED_OVER);
        }
    }

    fn ready_conditions(&self) -> ReadyConditions {
        let (services, ready) = (&self.registry.services, &self.ready);
        let starting = !ready.readiness.has_started();
        ReadyConditions {
            stopping: ready.stopping,
            stalled: self.watchdog.stalled().is_some(),
            no_carrier: !self.carriers.are_up(),
            steering_refused: self.backend.steering.is_refused(),
            unsettled: starting && !services.iter().all(is_settled),
            awaiting_sync: starting && self.awaits_sync(),
            awaiting_health: starting && ready.first_results.is_awaiting(Instant::now()),
            no_servers: self.settings.ha.ready_needs_servers && !self.has_servers(),
        }
    }

    /// True if a service has a real server for new connections, but for its load.
    fn has_servers(&self) -> bool {
        self.registry.services.iter().any(|service| {
            let counts = Availability::of(service, &self.loads);
            counts.available + counts.overloaded > 0
        })
    }
}
