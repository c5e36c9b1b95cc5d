//! The director from start to stop: the control thread's one loop.

pub mod apply;
pub mod error;
mod hints;
pub mod inspect;
pub(in crate::control) mod links;
mod publish;
mod queries;
pub mod reload;
mod startup;
mod status;
mod symptoms;
mod vips;

use crate::control::api;
use crate::control::arp::driver::ArpDriver;
use crate::control::arp::log as arp_log;
use crate::control::director::error::DirectorError;
use crate::control::director::hints::LocalVips;
use crate::control::director::links::Carriers;
use crate::control::director::reload::{ReadConfig, ReloadQueue};
use crate::control::director::startup::StartContext;
use crate::control::director::symptoms::{SymptomContext, Symptoms};
use crate::control::director::vips::KeptVips;
use crate::control::host::privileges::Privileges;
use crate::control::host::resolve::ResolvedHost;
use crate::control::host::signals::{DirectorSignals, SignalAction};
use crate::control::http::exporter::Exporter;
use crate::control::http::server::{self, ControlSocket, Query};
use crate::control::log::audit::Origin;
use crate::control::log::limit::LogLimiter;
use crate::control::metrics::Meter;
use crate::control::state::availability::AvailabilityWatch;
use crate::control::state::rates;
use crate::control::state::registry::{Reachability, Registry, VipState};
use crate::control::workers::backend::{self, RunningBackend};
use crate::control::workers::watchdog::{self, Watchdog};
use crate::control::workers::{WorkerSettings, random_seed};
use crate::forward::Snapshot;
use crate::io::claim::Claim;
use crate::io::{ArpSocket, PortPlan};
use crate::model::{BackendChoice, Config, DirectorConfig, OnConflict, OnServerClaim, WorkerCount};
use crate::neighbor::{ArpEvent, ArpReport, ArpSettings, Neighbors, Timing};
use crate::schedule::{Loads, Templates};
use crate::sys::NetworkWatch;
use crate::time::Tick;
use arc_swap::ArcSwap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Questions that may wait for the loop.
const QUERIES: usize = 64;

/// How long a file that is being read may keep the process from ending.
const GRACE: Duration = Duration::from_secs(1);

/// Where a director's words come from and go to.
pub struct RunOptions<'a, F> {
    /// The control socket's path.
    pub socket: &'a Path,
    /// Reads the configuration file again.
    pub reread: ReadConfig,
    /// What the command line says, whatever a file does.
    pub backend: Option<BackendChoice>,
    /// Called once every VIP is claimed or known to be another host's, and every real server has answered or not.
    pub ready: F,
}

/// Runs a director until SIGTERM or SIGINT; SIGHUP makes it read its file again.
///
/// # Errors
/// [`DirectorError`]. The interface is then as it was found.
pub fn run<F: FnMut()>(config: &Config, surroundings: RunOptions<'_, F>) -> Result<(), DirectorError> {
    let RunOptions { socket, reread, backend, ready } = surroundings;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let end = runtime.block_on(async {
        // First, so that a signal that comes while all the rest is set up ends it in order, too.
        let mut signals = DirectorSignals::listen()?;
        let waited = startup::for_host(config.clone(), &reread, &mut signals, socket).await?;
        let Some(StartContext { config, privileges, host, socket: early }) = waited else { return Ok(()) };
        if config.director.on_conflict == OnConflict::Claim {
            tracing::warn!(
                "on_conflict = \"claim\": a VIP that another host has is taken from it, and connections that it directs break"
            );
        }
        let _claims = host.arms.iter().map(Claim::take).collect::<Result<Vec<_>, _>>()?;
        let mut socket = early.map_or_else(|| server::bind(socket), Ok)?;
        socket.admit(&host.access)?;
        privileges.owner().map_or(Ok(()), |owner| socket.give(owner))?;
        let exporter = match config.director.metrics {
            Some(address) => Some(Exporter::bind(address).await?),
            None => None,
        };
        let director = Director::start(&config, host, &privileges, ready)?;
        director.direct((socket, exporter), signals, ReloadQueue::new(reread, backend)).await
    });
    runtime.shutdown_timeout(GRACE);
    end
}

/// A running director.
pub(in crate::control) struct Director<F> {
    pub(in crate::control) registry: Registry,
    /// As they were at the start; timeouts and policy are the registry's.
    pub(in crate::control) settings: DirectorConfig,
    pub(in crate::control) host: ResolvedHost,
    pub(in crate::control) snapshot: Arc<ArcSwap<Snapshot>>,
    /// Snapshots that a worker may still hold: freed here, never on the data path.
    pub(in crate::control) retired: Vec<Arc<Snapshot>>,
    /// When it is time to free them.
    pub(in crate::control) release: Option<Instant>,
    pub(in crate::control) backend: RunningBackend,
    pub(in crate::control) loads: Arc<Loads>,
    pub(in crate::control) templates: Arc<Templates>,
    epoch: Instant,
    neighbors: Option<(Neighbors, Vec<ArpSocket>)>,
    /// The way to ARP, while that runs.
    commands: Option<mpsc::UnboundedSender<ArpEvent>>,
    pub(in crate::control) meter: Meter,
    /// What may be logged about each VIP and real server.
    pub(in crate::control) limiter: LogLimiter<Ipv4Addr>,
    pub(in crate::control) own_vips: LocalVips,
    pub(in crate::control) links: Carriers,
    watchdog: Watchdog,
    /// Of services that have no server left.
    pub(in crate::control) availability: AvailabilityWatch,
    pub(in crate::control) symptoms: Symptoms,
    /// Claimed VIPs without a service.
    pub(in crate::control) kept: KeptVips,
    pub(in crate::control) ready: Option<F>,
}

impl<F: FnMut()> Director<F> {
    fn start(
        config: &Config,
        host: ResolvedHost,
        privileges: &Privileges,
        ready: F,
    ) -> Result<Self, DirectorError> {
        let (director, epoch) = (&config.director, Instant::now());
        let own_macs = host.arms.iter().map(|interface| interface.mac).collect();
        let (servers, mut registry) = (usize::from(u16::MAX), Registry::new(own_macs));
        registry.reserved = host.not_clients();
        let rules = config.rules();
        registry.apply(&rules, &|_| api::Stats::default()).map_err(DirectorError::Rules)?;
        let loads = Arc::new(Loads::new(servers));
        let capacity = director.connections as usize;
        let templates = Arc::new(Templates::new(capacity, servers, random_seed()?));
        let snapshot = Arc::new(ArcSwap::from_pointee(registry.snapshot(&loads, epoch)));
        let workers = WorkerSettings {
            snapshot: Arc::clone(&snapshot),
            loads: Arc::clone(&loads),
            templates: Arc::clone(&templates),
            servers,
            connections: capacity,
            wait: director.wait,
            epoch,
        };
        let neighbors = Neighbors::new(arp_settings(config, &host)?);
        let mut sockets = Vec::new();
        let backend = backend::launch(director.backend, &plan(config, &host), &workers, &mut |steering| {
            sockets = host.arms.iter().map(ArpSocket::open).collect::<Result<_, _>>()?;
            privileges.reduce(steering.restores())
        })?;
        Ok(Self {
            registry,
            settings: director.clone(),
            snapshot,
            retired: Vec::new(),
            release: None,
            backend,
            loads,
            templates,
            epoch,
            links: Carriers::new(&host.arms),
            host,
            commands: None,
            meter: Meter::new(&neighbors),
            neighbors: Some((neighbors, sockets)),
            limiter: LogLimiter::default(),
            own_vips: LocalVips::default(),
            symptoms: Symptoms::new(),
            watchdog: Watchdog::new(),
            availability: AvailabilityWatch::default(),
            kept: KeptVips::new(),
            ready: Some(ready),
        })
    }

    /// Runs everything until told to stop, then takes it all down in order.
    async fn direct(
        mut self,
        (socket, exporter): (ControlSocket, Option<Exporter>),
        signals: DirectorSignals,
        reloads: ReloadQueue,
    ) -> Result<(), DirectorError> {
        let (queries, inbox) = mpsc::channel(QUERIES);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        // Ends with the runtime: it leaves nothing behind, and owes nobody an answer.
        let _exporting = exporter.map(|exporter| tokio::spawn(exporter.serve(queries.clone())));
        let serving = tokio::spawn(server::serve(socket, queries, async { drop(stopped.await) }));
        let end = self.attend(inbox, signals, reloads).await;
        self.backend.steering.stop();
        let worked = self.backend.workers.stop().map_err(DirectorError::Worker);
        drop(stop);
        let _ = serving.await; // what a client did is no failure of ours
        worked.and(end) // that a worker has ended is known here; why, by the worker
    }

    /// The loop: reports of ARP, questions, time, signals.
    async fn attend(
        &mut self,
        mut queries: mpsc::Receiver<Query>,
        mut signals: DirectorSignals,
        mut reloads: ReloadQueue,
    ) -> Result<(), DirectorError> {
        // Before the first look at the links, which is the responder's.
        let mut watch = NetworkWatch::open()?;
        let (responder, mut reports) = self.responder()?;
        let mut clock = tokio::time::interval(rates::INTERVAL);
        let mut arp = std::pin::pin!(responder);
        loop {
            self.tell_if_ready();
            tokio::select! {
                wish = signals.next() => match wish {
                    SignalAction::Stop => break,
                    SignalAction::Reload => reloads.ask(Origin::hangup(), None),
                    SignalAction::Dump => self.dump(&reloads),
                    SignalAction::Ignore(signal) => tracing::warn!(signal, "signal ignored: it has no meaning here"),
                },
                ended = &mut arp => { ended?; break; }
                Some(report) = reports.recv() => {
                    self.note(&report);
                    // Many at once, as at start, make one snapshot.
                    while let Ok(report) = reports.try_recv() {
                        self.note(&report);
                    }
                    self.publish()?;
                }
                Some(query) = queries.recv() => self.answer(query, &mut reloads),
                read = reloads.read() => reloads.answer(&self.go_by(read)),
                () = watch.changed() => {
                    self.look_at_links()?;
                    self.look_at_addresses();
                    self.follow_addresses()?;
                }
                _ = clock.tick() => self.tick()?,
                () = reached(self.registry.next_step()) => self.publish()?,
                () = reached(self.release) => drop(self.settle()),
            }
        }
        self.commands = None;
        tracing::info!("stopping");
        Ok(())
    }

    /// The ARP machine with every VIP and server told to it.
    #[allow(clippy::type_complexity)] // one future, and what it tells
    fn responder(
        &mut self,
    ) -> Result<
        (impl Future<Output = std::io::Result<()>> + use<F>, mpsc::UnboundedReceiver<ArpReport>),
        DirectorError,
    > {
        let (machine, sockets) = self.neighbors.take().expect("it is taken once");
        let responder = ArpDriver::new(machine, sockets, self.epoch)?;
        let ((commands, orders), (news, reports)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        self.commands = Some(commands);
        self.look_at_links()?;
        self.look_at_addresses();
        hints::tell_foreign(&self.host.vips, &self.host.arms[0]);
        let servers = self.host.servers.iter().map(|server| ArpEvent::AddServer(*server));
        for command in servers.chain(self.host.vips.iter().map(|vip| ArpEvent::AddVip(*vip))) {
            self.command(command);
        }
        let run = responder.run(orders, move |report| {
            let _ = news.send(report); // the loop may have ended
        });
        Ok((run, reports))
    }

    /// Ready once nothing is open any more, and every interface has a carrier. A director that stands by is
    /// ready, too.
    fn tell_if_ready(&mut self) {
        let services = &self.registry.services;
        let settled = |service: &crate::control::state::registry::ServiceEntry| {
            let resolving =
                service.servers.iter().any(|server| server.reachability == Reachability::Resolving);
            service.vip != VipState::Probing && !resolving
        };
        if self.ready.is_none() || !self.links.are_up() || !services.iter().all(settled) {
            return;
        }
        if let Some(mut ready) = self.ready.take() {
            let (served, workers) = (self.registry.served().len(), self.backend.workers.handles().len());
            let standby = self.registry.services.len() - served;
            tracing::info!(services = served, standby, workers, backend = self.backend.name, "ready");
            ready();
        }
    }

    fn note(&mut self, report: &ArpReport) {
        let now = Instant::now();
        self.limiter.log(report.about(), now, || arp_log::log(report, &self.registry, &self.settings));
        match *report {
            ArpReport::Claimed { vip } => self.registry.set_vip(vip.into(), VipState::Claimed),
            ArpReport::Standby { vip, mac } => {
                self.registry.set_vip(vip.into(), VipState::Standby(mac));
                self.lose_kept_vip(vip);
            }
            ArpReport::Held { vip, mac, .. } => {
                if self.settings.on_server_claim == OnServerClaim::Exclude {
                    self.registry.set_holder(vip.into(), mac, true);
                }
            }
            ArpReport::ConflictOver { vip, mac, .. } => self.registry.set_holder(vip.into(), mac, false),
            ArpReport::Conflict { .. } | ArpReport::Disputed { .. } | ArpReport::DisputeOver { .. } => {}
            ArpReport::Resolved { rip, mac, .. } | ArpReport::Moved { rip, new: mac, .. } => {
                self.registry.set_reachable(rip.into(), mac);
            }
            ArpReport::Lost { rip, .. } => self.registry.set_unreachable(rip.into()),
        }
    }

    /// What is looked after now and then, whatever happens.
    fn tick(&mut self) -> Result<(), DirectorError> {
        self.look_at_links()?;
        if self.ready.is_some() && !self.links.are_up() {
            watchdog::tell_waiting(&format!("no carrier on {}", self.links.down().join(", ")));
        }
        let settled = self.settle();
        self.templates.sweep(self.now(), self.registry.keeps_templates());
        self.finish_drains(settled);
        self.release_kept_vips();
        self.note_addresses()?;
        self.provide();
        self.hand_over()?;
        self.availability.look(&self.registry.services, &self.loads, Instant::now());
        crate::control::workers::status::estimate(&mut self.registry, &self.backend.workers);
        self.limiter.report_suppressed(Instant::now());
        let (interface, registry) = (&self.host.arms[0].name, &self.registry);
        self.symptoms
            .look(&SymptomContext { interface, registry, workers: &self.backend.workers }, Instant::now());
        if self.backend.workers.all_running() {
            self.watchdog.look(&self.backend.workers);
            return Ok(());
        }
        Err(DirectorError::Worker(std::io::Error::other("see the log above")))
    }

    /// A worker that makes no rounds.
    pub(in crate::control) fn stalled(&self) -> Option<usize> {
        self.watchdog.stalled()
    }

    /// Tells the workers of addresses that this host has been given or has lost.
    pub(in crate::control) fn note_addresses(&mut self) -> Result<(), DirectorError> {
        let reserved = self.host.not_clients();
        if reserved == self.registry.reserved {
            return Ok(());
        }
        self.registry.reserved = reserved;
        self.publish()
    }

    /// Sends ARP on a command.
    pub(in crate::control) fn command(&self, event: ArpEvent) {
        if let Some(commands) = &self.commands {
            let _ = commands.send(event); // it may just have ended
        }
    }

    pub(in crate::control) fn now(&self) -> Tick {
        Tick::from_instant(Instant::now(), self.epoch)
    }
}

/// Waits for a moment; without one, for ever.
async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

pub(in crate::control) fn plan(config: &Config, host: &ResolvedHost) -> PortPlan {
    let workers = match config.director.workers {
        WorkerCount::Auto => None,
        WorkerCount::Count(count) => Some(count.into()),
    };
    PortPlan { interfaces: host.arms.clone(), workers, huge_pages: config.director.huge_pages }
}

fn arp_settings(config: &Config, host: &ResolvedHost) -> Result<ArpSettings, DirectorError> {
    let DirectorConfig { announce_interval, arp_refresh: refresh, arp_attempts: attempts, .. } =
        config.director;
    Ok(ArpSettings {
        own_macs: host.arms.iter().map(|interface| interface.mac).collect(),
        on_conflict: config.director.on_conflict,
        timing: Timing { announce_interval, refresh, attempts, ..Timing::default() },
        seed: getrandom::u64().map_err(std::io::Error::other)?,
    })
}
