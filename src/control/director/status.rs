//! The status report: `GET /v1/status`, `/healthz` and the dump on SIGUSR1.

use super::Director;
use crate::audit::{AuditFinding, AuditLevel};
use crate::control::api::overview::{Backend, DropCount, Interface, ServiceSummary, Status, Vip, Warning};
use crate::control::config_file::reloads::ReloadQueue;
use crate::control::config_file::{self, METRICS_AGE, RunningConfig};
use crate::control::state::availability::Availability;
use crate::control::state::registry::VipState;
use crate::control::workers::status::{self, RuntimeView};
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;

/// Largest number of events of one kind in a dump.
const DUMP_MAX: usize = 500;

impl Director {
    /// Sends the status to `reply`, once the configuration file has been read.
    pub(super) fn report_status(&self, reloads: &ReloadQueue, reply: oneshot::Sender<Status>) {
        let (mut status, file, running) = (self.overview(reloads), reloads.file(), self.running());
        let found = self.audit_findings();
        tokio::task::spawn_blocking(move || {
            let file = file.compare(&running, Duration::ZERO);
            let found = found.blocking_recv().unwrap_or_default(); // the driver may just have ended
            status.warnings.extend(audit_warning(&found));
            let _ = reply.send(with_file(status, file)); // the client may have disconnected
        });
    }

    /// Logs the state, one event per object.
    pub(super) fn dump(&self, reloads: &ReloadQueue) {
        let (status, file, running) = (self.overview(reloads), reloads.file(), self.running());
        let services = self.view().services().services;
        tokio::task::spawn_blocking(move || {
            dump(&with_file(status, file.compare(&running, METRICS_AGE)), &services);
        });
    }

    /// Returns the problems that fail a health check; none if healthy.
    pub(super) fn health_problems(&self) -> Vec<String> {
        let starting = (!self.is_ready()).then(|| "not ready yet".to_owned());
        let stalled = self.watchdog.stalled().map(|worker| format!("worker {worker} is stalled"));
        let down = self.carriers.down().into_iter().map(|name| format!("{name} has no carrier"));
        starting.into_iter().chain(stalled).chain(down).collect()
    }

    /// Returns the running configuration, to be compared with the file.
    pub(super) fn running(&self) -> RunningConfig {
        RunningConfig { rules: self.registry.rules(), settings: self.settings.clone() }
    }

    fn overview(&self, reloads: &ReloadQueue) -> Status {
        let started = self.meter.started();
        let workers = self.backend.workers.handles();
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            started: started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            uptime: SystemTime::now().duration_since(started).unwrap_or_default().as_secs(),
            ready: self.is_ready(),
            backend: Backend { name: self.backend.name.into(), reason: self.backend.reason.clone() },
            workers: workers.len(),
            connections: workers.iter().map(|worker| worker.counters.entries.get()).sum(),
            capacity: self.settings.connections.into(),
            interfaces: self.interfaces(),
            role: self.role_status(),
            vips: self.vips(),
            services: self.summaries(),
            drops: drops(&self.view()),
            reload: reloads.history().last.clone(),
            warnings: self.warnings(),
            ..Status::default()
        }
    }

    fn interfaces(&self) -> Vec<Interface> {
        let interfaces = self.host.interfaces.iter();
        interfaces.map(|one| Interface { name: one.name.clone(), mac: one.mac.to_string() }).collect()
    }

    fn vips(&self) -> Vec<Vip> {
        let each = self.host.vips.iter().filter_map(|vip| {
            let (state, vlan) = (status::vip_state(self.registry.vip(*vip)?), self.registry.vlan(*vip));
            Some(Vip { address: *vip, state, vlan })
        });
        each.collect()
    }

    fn summaries(&self) -> Vec<ServiceSummary> {
        let mut summaries: Vec<_> = self
            .registry
            .services
            .iter()
            .map(|service| {
                let counts = Availability::of(service, &self.loads);
                ServiceSummary {
                    identity: service.config.identity,
                    available: counts.available,
                    servers: counts.total(),
                    detail: counts.to_string(),
                }
            })
            .collect();
        summaries.sort_by_key(|summary| summary.identity);
        summaries
    }

    /// Returns the warnings of every source.
    fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        if !self.is_ready() {
            warnings.push(Warning::new("starting", "not ready yet"));
        }
        if let Some(reason) = self.unready() {
            let text =
                format!("keepalived or routers are told that this director takes no traffic: {reason}");
            warnings.push(Warning::new("not-ready-for-traffic", text));
        }
        if let Some(worker) = self.watchdog.stalled() {
            let text = format!("worker {worker} is stalled: it forwards nothing");
            warnings.push(Warning::new("worker-stalled", text));
        }
        for name in self.carriers.down() {
            let text = format!("{name} has no carrier: no frame is received or sent there");
            warnings.push(Warning::new("link-down", text));
        }
        for vip in self.local_vips.list() {
            let text = format!("the VIP {vip} is an address of this host: see the log for the line to type");
            warnings.push(Warning::new("vip-own-address", text));
        }
        for (vip, mac) in self.role.rivals() {
            let text =
                format!("split brain: {mac} answers for the VIP {vip}, too, and this director is master");
            warnings.push(Warning::new("split-brain", text));
        }
        warnings.extend(self.sync_warnings());
        warnings.extend(self.stale_warning().map(|text| Warning::new("stale-frames", text)));
        warnings.extend(self.host.vips.iter().filter_map(|vip| self.vip_warning(*vip)));
        for service in self.summaries().iter().filter(|service| service.available == 0) {
            let text = format!("{} has no available real server: {}", service.identity, service.detail);
            warnings.push(Warning::new("no-server", text));
        }
        warnings.extend(self.symptoms.warnings(&self.host.interfaces[0].name, Instant::now()));
        if self.backend.steering.is_refused() {
            let text = "the kernel refuses the present services: the previous steering set stays active";
            warnings.push(Warning::new("steering-refused", text));
        }
        warnings
    }

    /// Returns a warning if a real server has the VIP. Standby for another director is intended.
    fn vip_warning(&self, vip: IpAddr) -> Option<Warning> {
        let state = self.registry.vip(vip)?;
        let VipState::Standby(mac) = state else { return None };
        let mut servers = self.registry.services.iter().flat_map(|service| &service.servers);
        let is_server = servers.any(|server| server.reachability.mac() == Some(mac));
        let text = format!("a real server has the VIP {vip}: {}", status::vip_state(state));
        is_server.then(|| Warning::new("vip-taken", text))
    }
}

/// The warning of open findings of the auditor, the gravest of which is the first.
fn audit_warning(found: &[AuditFinding]) -> Option<Warning> {
    let faults = || found.iter().filter(|finding| finding.level > AuditLevel::Info);
    let first = faults().next()?;
    let text = match faults().count() {
        1 => format!("an audit finding is open: {first}: see directrix audit"),
        count => format!("{count} audit findings are open, the gravest: {first}: see directrix audit"),
    };
    Some(Warning::new("audit", text))
}

fn with_file(mut status: Status, file: crate::control::api::overview::FileStatus) -> Status {
    status.warnings.extend(config_file::warnings(&file, status.reload.as_ref()));
    Status { file, ..status }
}

/// Returns the drop reasons with frames, the most frequent first.
fn drops(view: &RuntimeView<'_>) -> Vec<DropCount> {
    let counted = view.drops().into_iter().filter(|drops| drops.frames > 0);
    let mut counts: Vec<_> =
        counted.map(|drops| DropCount { reason: drops.reason, frames: drops.frames }).collect();
    counts.sort_by_key(|count| std::cmp::Reverse(count.frames));
    counts
}

fn dump(status: &Status, services: &[crate::control::api::Service]) {
    let Status { version, uptime, ready, backend, connections, capacity, workers, .. } = status;
    let unsaved = status.file.unsaved.len();
    tracing::info!(
        version,
        uptime,
        ready,
        backend = backend.name,
        reason = backend.reason,
        workers,
        connections,
        capacity,
        unsaved,
        "state dump: director"
    );
    for interface in &status.interfaces {
        tracing::info!(interface = interface.name, mac = interface.mac, "state dump: interface");
    }
    for vip in status.vips.iter().take(DUMP_MAX) {
        tracing::info!(vip = %vip.address, state = vip.state, "state dump: VIP");
    }
    for service in status.services.iter().take(DUMP_MAX) {
        let (available, servers) = (service.available, service.servers);
        tracing::info!(service = %service.identity, available, servers, "state dump: service");
    }
    let servers =
        services.iter().flat_map(|service| service.servers.iter().map(move |server| (service, server)));
    for (service, server) in servers.take(DUMP_MAX) {
        let (weight, active, inactive, state) =
            (server.weight, server.active, server.inactive, &server.state);
        tracing::info!(
            service = %service.identity, rip = %server.address.ip(), weight, active, inactive, state,
            mac = server.mac, "state dump: real server"
        );
    }
    for drop in &status.drops {
        tracing::info!(reason = drop.reason, frames = drop.frames, "state dump: dropped frames");
    }
    for warning in status.warnings.iter().take(DUMP_MAX) {
        tracing::info!(code = warning.code, warning = warning.text, "state dump: warning");
    }
    tracing::info!(events_per_kind = DUMP_MAX, "state dump: end");
}
