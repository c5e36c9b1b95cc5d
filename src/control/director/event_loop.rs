//! The control thread's event loop: signals, neighbor reports, queries, reloads, interfaces, time.

use super::Director;
use super::error::DirectorError;
use super::passive;
use super::symptoms::SymptomContext;
use super::takeover;
use crate::control::config_file::reloads::ReloadQueue;
use crate::control::host::signals::{DirectorSignals, SignalAction};
use crate::control::keeper::memory::write_names;
use crate::control::log::audit::Origin;
use crate::control::neighbor::driver::DriverReport;
use crate::control::query::Query;
use crate::control::role::RoleReader;
use crate::control::state::rates;
use crate::control::state::registry::{Reachability, ServiceEntry, VipState};
use crate::control::takeover::TakeoverListener;
use crate::control::workers::{status, watchdog};
use crate::health::HealthReport;
use crate::sys::NetworkWatch;
use crate::worker::refused::RefusedReceiver;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;

/// Inputs of the event loop, besides reports of the director's own threads.
pub(super) struct LoopInputs {
    pub(super) queries: mpsc::Receiver<Query>,
    pub(super) signals: DirectorSignals,
    pub(super) reloads: ReloadQueue,
    /// The next process.
    pub(super) next: TakeoverListener,
}

impl Director {
    /// Handles events until a signal stops the director, or another process has taken over.
    pub(super) async fn run_event_loop(&mut self, inputs: LoopInputs) -> Result<(), DirectorError> {
        let LoopInputs { mut queries, mut signals, mut reloads, mut next } = inputs;
        // Opened before the carriers are first checked, so that no change is missed.
        let mut watch = NetworkWatch::open()?;
        let (driver, mut reports) = self.start_neighbors()?;
        let mut health = self.health_received.take().expect("it is taken once");
        self.configure_health();
        self.await_first_results();
        let mut clock = tokio::time::interval(rates::INTERVAL);
        let (mut handshakes, mut role) = (passive::clock(), RoleReader::new(&self.settings.ha.role));
        let mut driver = std::pin::pin!(driver);
        let mut refused = RefusedReceiver::new(Arc::clone(&self.backend.workers.refused))?;
        loop {
            self.report_ready();
            self.update_readiness();
            tokio::select! {
                action = signals.next() => match action {
                    SignalAction::Stop if self.begin_stop() => break,
                    SignalAction::Stop => {}
                    SignalAction::Reload => reloads.request(Origin::hangup(), None),
                    SignalAction::Dump => self.dump(&reloads),
                    SignalAction::Ignore(signal) => {
                        tracing::warn!(signal, "signal ignored: it has no meaning here");
                    }
                },
                ended = &mut driver => { ended?; break; }
                request = next.request() => if self.answer_takeover(&request, &mut next) {
                    self.hand_over(&mut next)?;
                    tokio::select! {
                        ended = &mut driver => ended?,
                        end = takeover::finished(&mut next) => end?,
                    }
                    break;
                },
                signal = role.next() => self.handle_role_signal(&signal),
                Some(report) = reports.recv() => self.handle_reports(&report, &mut reports)?,
                Some(report) = health.recv() => self.handle_health_reports(&report, &mut health)?,
                Some(query) = queries.recv() => self.handle_query(query, &mut reloads),
                read = reloads.read() => {
                    let outcome = read.and_then(|config| self.reload(&config));
                    reloads.complete(&outcome);
                }
                () = watch.changed() => {
                    self.check_carriers()?;
                    self.check_local_vips();
                    self.update_addresses()?;
                    self.renew_health_routes();
                }
                () = refused.ready() => self.answer_refused(&mut refused),
                () = self.pings.readable() => self.answer_pings(),
                _ = clock.tick() => self.tick()?,
                _ = handshakes.tick() => self.sample_handshakes()?,
                () = reached(self.registry.next_step()) => self.publish()?,
                () = reached(self.reclaim_at) => drop(self.reclaim()),
                () = reached(self.ready.first_results.deadline(Instant::now())) => {}
                () = reached(self.sync_look_at()) => {}
                () = reached(self.ready.stop_at) => break,
            }
        }
        (self.neighbor_events, self.health) = (None, None);
        tracing::info!("stopping");
        Ok(())
    }

    /// Handles a report of the neighbor driver, and all that wait behind it: a burst, as at the start, makes one snapshot.
    fn handle_reports(
        &mut self,
        first: &DriverReport,
        others: &mut mpsc::UnboundedReceiver<DriverReport>,
    ) -> Result<(), DirectorError> {
        self.handle_report(first);
        while let Ok(report) = others.try_recv() {
            self.handle_report(&report);
        }
        self.send_macs();
        self.publish()
    }

    /// Likewise for reports of the health checks.
    fn handle_health_reports(
        &mut self,
        first: &HealthReport,
        others: &mut mpsc::UnboundedReceiver<HealthReport>,
    ) -> Result<(), DirectorError> {
        let mut changed = self.handle_health_report(first);
        while let Ok(report) = others.try_recv() {
            changed |= self.handle_health_report(&report);
        }
        if changed { self.publish() } else { Ok(()) }
    }

    /// Calls the readiness callback once no VIP is being probed, no server resolved, and every carrier is up.
    ///
    /// A director with all VIPs on standby is ready, too.
    fn report_ready(&mut self) {
        let services = &self.registry.services;
        if self.is_ready() || !self.carriers.are_up() || !services.iter().all(is_settled) {
            return;
        }
        if let Some(mut on_ready) = self.on_ready.take() {
            let standby = services.iter().filter(|service| !is_served(service)).count();
            let (served, workers) = (services.len() - standby, self.backend.workers.handles().len());
            tracing::info!(services = served, standby, workers, backend = self.backend.name, "ready");
            on_ready();
        }
    }

    /// Answers the frames that the workers have refused.
    fn answer_refused(&mut self, refused: &mut RefusedReceiver) {
        let (reject, now) = (self.registry.policy.reject, Instant::now());
        for frame in refused.take(now) {
            self.answers.answer(&frame, reject, now);
        }
    }

    /// Does the periodic work, every [`rates::INTERVAL`].
    fn tick(&mut self) -> Result<(), DirectorError> {
        self.check_carriers()?;
        if self.restart_health() {
            self.publish()?;
        }
        if !self.is_ready() && !self.carriers.are_up() {
            watchdog::notify_waiting(&format!("no carrier on {}", self.carriers.down().join(", ")));
        }
        let adopted = self.reclaim();
        self.templates.sweep(self.now(), self.registry.keeps_templates());
        self.finish_drains(adopted);
        if self.keeper.is_recovered() && self.registry.has_unused_ids() {
            self.registry.release_unused_ids();
            write_names(&mut self.names, &self.registry.names());
        }
        self.release_kept_vips();
        self.look_for_stale_frames();
        self.hooks.retry();
        self.retry_sync();
        self.update_reserved()?;
        self.send_gateway();
        self.ensure_tables();
        self.sync_steering()?;
        self.availability.check(&self.registry.services, &self.loads, Instant::now());
        if self.check_quorums() {
            self.publish()?;
        }
        status::update_rates(&mut self.registry, &self.backend.workers);
        self.limiter.report_suppressed(Instant::now());
        let (interface, registry) = (&self.host.interfaces[0].name, &self.registry);
        let context = SymptomContext { interface, registry, workers: &self.backend.workers };
        self.symptoms.check(&context, Instant::now());
        if self.backend.workers.all_running() {
            self.watchdog.check(&self.backend.workers);
            self.renew_readiness();
            return Ok(());
        }
        Err(DirectorError::worker_ended("see the log above"))
    }
}

/// True if all VIPs of the service are claimed.
fn is_served(service: &ServiceEntry) -> bool {
    service.vips.iter().all(|(_, state)| *state == VipState::Claimed)
}

/// Returns true once no VIP is being probed and no server is being resolved.
pub(super) fn is_settled(service: &ServiceEntry) -> bool {
    let resolving = service.servers.iter().any(|server| server.reachability == Reachability::Resolving);
    service.vips.iter().all(|(_, state)| *state != VipState::Probing) && !resolving
}

/// Waits until a time; without one, without end.
async fn reached(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
