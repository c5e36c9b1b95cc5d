//! The director's side of the health checks: services to the thread, its reports into the registry.

use super::Director;
use crate::control::api::checks::{self, CheckReport};
use crate::control::health::{HealthCommand, HealthOverview, HealthThread, ServerMac, listing, log};
use crate::control::state::registry::{Reachability, ServerEntry, ServiceEntry};
use crate::health::{CheckUse, HealthConfig, HealthReport, ServerChecks, ServiceChecks};
use crate::model::{CheckKind, Diagnostic, DiagnosticKind, HealthCheck, HealthMode, ServiceIdentity};
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;
use tokio::sync::oneshot;

impl Director {
    /// Gives the thread of the health checks the present services, and starts it with the first check or hold.
    pub(super) fn configure_health(&mut self) {
        self.switch_prober();
        if self.health.is_none() {
            if !self.registry.services.iter().any(needs_health) {
                return;
            }
            match HealthThread::start(self.vip_prober.clone().ok(), self.health_reports.clone()) {
                Ok(thread) => self.health = Some(thread),
                Err(error) => {
                    tracing::error!(%error, "health checks cannot start: every server counts as up");
                    return;
                }
            }
            let interface = &self.host.server_side().name;
            self.set_health_carrier(!self.carriers.down().contains(interface));
        }
        self.health_number += 1;
        self.send_macs();
        let services = self.registry.services.iter().map(checks_of).collect();
        self.send_health(HealthCommand::Configure(HealthConfig { number: self.health_number, services }));
    }

    /// Tells the health checks the MAC addresses of the real servers.
    pub(super) fn send_macs(&self) {
        if self.health.is_none() {
            return;
        }
        let servers = self.registry.services.iter().flat_map(|service| &service.servers);
        let of = |server: &ServerEntry| match server.reachability {
            Reachability::Resolving => None,
            Reachability::Reachable(mac) => Some((server.config.address, Some(mac))),
            Reachability::Unreachable(_) => Some((server.config.address, None)),
        };
        let macs: HashMap<IpAddr, ServerMac> = servers.filter_map(of).collect();
        self.send_health(HealthCommand::Macs(macs));
    }

    /// Tells the health checks that the host's addresses may have changed.
    pub(super) fn renew_health_routes(&self) {
        self.send_health(HealthCommand::Addresses);
    }

    /// Starts the thread of the health checks again if it has ended. Until its first results every server counts as up.
    pub(super) fn restart_health(&mut self) -> bool {
        if !self.health.as_ref().is_some_and(HealthThread::has_ended) {
            return false;
        }
        tracing::error!(
            "the thread of the health checks has ended by a panic: it starts anew, without its states"
        );
        self.health = None;
        let servers = self.registry.services.iter_mut().flat_map(|service| &mut service.servers);
        servers.for_each(|server| (server.failed, server.dynamic_weight) = (false, None));
        self.configure_health();
        true
    }

    /// Tells the health checks whether the interface of the real servers has a carrier.
    pub(super) fn set_health_carrier(&self, up: bool) {
        self.send_health(HealthCommand::Carrier(up));
    }

    /// Logs and records a report, and updates the registry. Returns true if the next snapshot is another one.
    pub(super) fn handle_health_report(&mut self, report: &HealthReport) -> bool {
        if report.is_outdated(self.health_number) {
            return false;
        }
        let now = Instant::now();
        if let HealthReport::Check { key, .. } = report {
            self.ready.first_results.arrived(key);
        }
        match report {
            HealthReport::Check { key, .. } | HealthReport::Blind { key, .. } => {
                self.limiter.log(key.server, now, || log::log_report(report));
            }
            HealthReport::Weight { server, .. } => {
                self.limiter.log(*server, now, || log::log_report(report));
            }
            _ => log::log_report(report),
        }
        self.record_health(report);
        match *report {
            HealthReport::Server { service, server, out, .. } => {
                let server = self.registry.server_mut(service, server);
                server.is_some_and(|server| std::mem::replace(&mut server.failed, out) != out)
            }
            HealthReport::Weight { service, server, weight, .. } => {
                let server = self.registry.server_mut(service, server);
                server.is_some_and(|server| std::mem::replace(&mut server.dynamic_weight, weight) != weight)
            }
            _ => false,
        }
    }

    /// Gives the result of an external check to the thread of the health checks.
    ///
    /// # Errors
    /// If the server has no such check.
    pub(super) fn take_report(&self, report: CheckReport) -> Result<(), Diagnostic> {
        let is_named =
            |check: &HealthCheck| matches!(&check.kind, CheckKind::External(of) if of.name == report.name);
        let has = |service: &ServiceEntry| {
            let mut servers = service.servers.iter().filter(|server| server.config.address == report.server);
            servers.any(|server| service.config.checks_of(&server.config).any(is_named))
        };
        if !self.registry.services.iter().any(has) {
            let CheckReport { server, name, .. } = report;
            let what = format!("real server {server} has no check of type external with the name {name:?}");
            let refusal = Diagnostic::new(DiagnosticKind::NoSuchServer, what);
            return Err(refusal.remedy("`directrix health` lists the checks"));
        }
        self.send_health(HealthCommand::Report(report));
        Ok(())
    }

    /// Sends the status of the health checks to `reply`.
    pub(super) fn report_checks(&self, reply: oneshot::Sender<checks::Checks>) {
        let (overview, passive) = (self.health_overview(), self.passive.status());
        let quorums: Vec<_> = self.registry.services.iter().filter_map(quorum_of).collect();
        tokio::spawn(async move {
            let overview = overview.await.unwrap_or_default(); // without a thread there are no checks
            let mut checks = listing::of(overview);
            listing::add_passive(&mut checks, &passive);
            for (service, quorum, sorry_server) in quorums {
                listing::add_quorum(&mut checks, service, quorum, sorry_server);
            }
            let _ = reply.send(checks); // the client may have disconnected
        });
    }

    /// Requests the status of the health checks. Nothing comes without a thread.
    pub(super) fn health_overview(&self) -> oneshot::Receiver<HealthOverview> {
        let (reply, overview) = oneshot::channel();
        self.send_health(HealthCommand::Status(reply));
        overview
    }

    pub(super) fn send_health(&self, command: HealthCommand) {
        if let Some(thread) = &self.health {
            thread.send(command);
        }
    }
}

/// The quorum and the sorry server of a service that has one of them.
fn quorum_of(
    service: &ServiceEntry,
) -> Option<(ServiceIdentity, Option<checks::Quorum>, Option<checks::SorryServer>)> {
    let weight = service.quorum()?.weight;
    let quorum = service.quorum_up.map(|up| checks::Quorum { weight, live: service.live_weight(), up });
    let sorry = service.sorry_server();
    let sorry =
        sorry.map(|server| checks::SorryServer { address: server.config.address, in_use: !server.idle });
    Some((service.config.identity, quorum, sorry))
}

/// True with a health check, or with a server whose health the operator holds.
fn needs_health(service: &ServiceEntry) -> bool {
    let own =
        |server: &ServerEntry| !server.config.checks.is_empty() || server.health_mode != HealthMode::Auto;
    !service.config.checks.is_empty() || service.servers.iter().any(own)
}

/// Returns the checks of a service and of its servers.
fn checks_of(service: &ServiceEntry) -> ServiceChecks {
    let vips: Vec<_> = service.vips.iter().map(|(vip, _)| *vip).collect();
    let port = service.config.identity.port();
    let of = |server: &ServerEntry| ServerChecks {
        server: server.config.address,
        weight: server.config.weight,
        out: server.failed,
        dynamic_weight: server.dynamic_weight,
        mode: server.health_mode,
        checks: service
            .config
            .checks_of(&server.config)
            .flat_map(|check| CheckUse::of(check, server.config.address, &vips, port))
            .collect(),
    };
    let (panic, servers) = (service.config.panic, service.servers.iter().map(of).collect());
    let alpha = service.config.effects.alpha;
    ServiceChecks { alpha, ..ServiceChecks::new(service.config.identity, panic, servers) }
}
