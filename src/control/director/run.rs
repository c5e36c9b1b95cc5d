//! A director from start to stop.

use super::Director;
use super::audit::audit_settings;
use super::error::DirectorError;
use super::hooks::check_programs;
use super::readiness::ReadyState;
use super::startup::{self, StartContext};
use super::symptoms::Symptoms;
use super::vip_checks::open_prober;
use crate::audit::Auditor;
use crate::control::answers::ClientAnswers;
use crate::control::api;
use crate::control::config_file::ReadConfig;
use crate::control::config_file::reloads::ReloadQueue;
use crate::control::hooks::HookRunner;
use crate::control::host::carriers::Carriers;
use crate::control::host::hints::LocalVips;
use crate::control::host::privileges::Privileges;
use crate::control::host::resolve::ResolvedHost;
use crate::control::host::signals::DirectorSignals;
use crate::control::http::exporter::Exporter;
use crate::control::http::server;
use crate::control::http::socket::{self, ControlSocket};
use crate::control::log::limit::LogLimiter;
use crate::control::metrics::Meter;
use crate::control::neighbor::sockets::NeighborSockets;
use crate::control::ping::{PingResponder, PingSocket};
use crate::control::readiness::{ReadyFile, ReadySignals};
use crate::control::role::{KeptRole, RoleState};
use crate::control::state::availability::AvailabilityWatch;
use crate::control::state::events::EventRing;
use crate::control::state::registry::Registry;
use crate::control::state::steered::steered;
use crate::control::workers::watchdog::Watchdog;
use crate::control::workers::{WorkerSettings, backend, random_seed};
use crate::health::passive::PassiveHealth;
use crate::io::CarrierDevice;
use crate::model::{BackendChoice, Config, Diagnostic, DirectorConfig, OnConflict};
use crate::neighbor::{NeighborSettings, Neighbors, Timing};
use crate::schedule::{Loads, Templates};
use crate::time::Tick;
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Capacity of the channel of queries to the event loop.
const QUERIES_MAX: usize = 64;

/// Reason for which the sockets exist after the launch.
const LAUNCHED: &str = "a backend that is launched has called the closure";

/// Time for a read of the configuration file to complete at shutdown.
const GRACE: Duration = Duration::from_secs(1);

/// The environment of a director.
pub struct RunOptions<'a> {
    /// Path of the control socket.
    pub socket: &'a Path,
    /// Reads the configuration file again.
    pub read_config: ReadConfig,
    /// Backend of the command line, which overrides the file's.
    pub backend: Option<BackendChoice>,
    /// Called once the host has what the configuration names, before the director changes anything on it.
    pub on_host: Box<dyn FnOnce(&Config)>,
    /// Called once every VIP is claimed or on standby, and every real server is reachable or unreachable.
    pub on_ready: Box<dyn FnMut()>,
}

/// Runs a director until SIGTERM or SIGINT; SIGHUP reloads its file.
///
/// # Errors
/// [`DirectorError`]. The interface is then in its original state.
pub fn run(config: &Config, options: RunOptions<'_>) -> Result<(), DirectorError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let end = runtime.block_on(start_and_serve(config, options));
    runtime.shutdown_timeout(GRACE);
    end
}

async fn start_and_serve(config: &Config, options: RunOptions<'_>) -> Result<(), DirectorError> {
    let RunOptions { socket: path, read_config, backend, on_host, on_ready } = options;
    // Installed first: a signal during the start, too, leads to an orderly end.
    let mut signals = DirectorSignals::listen()?;
    let ready_file = ready_file(config, None)?; // also before the host is there
    let context = startup::wait_for_host(config.clone(), &read_config, &mut signals, path).await?;
    let Some(StartContext { config, privileges, host, socket }) = context else { return Ok(()) };
    if config.director.on_conflict == OnConflict::Claim {
        tracing::warn!(
            "on_conflict = \"claim\": a VIP that another host has is taken from it, and connections that it directs break"
        );
    }
    let _claims = startup::claim(&host.interfaces).await?;
    let ready_file = self::ready_file(&config, ready_file)?;
    on_host(&config);
    let mut socket = match socket {
        Some(socket) => socket,
        None => socket::bind(path)?,
    };
    socket.set_access(&host.access)?;
    if let Some((user, group)) = privileges.owner() {
        socket.set_owner(user, group)?;
    }
    let exporter = match config.director.metrics {
        Some(address) => Some(Exporter::bind(address).await?),
        None => None,
    };
    let device = config.director.ha.tun.as_deref().map(CarrierDevice::create).transpose();
    let device = device.map_err(|refusal| refusal.at(config.places.director_key("ha.tun")))?;
    let role = RoleState::new(&config.director.ha, KeptRole::beside(path), Tick(0));
    let mut director = Director::start(&config, host, &privileges, (role, on_ready))?;
    director.set_ready_signals(ReadySignals::new(ready_file, device)).map_err(at_ready_file(&config))?;
    check_programs(&config.rules())?; // privileges have been dropped
    let reloads = ReloadQueue::new(read_config, backend);
    director.serve(socket, exporter, signals, reloads).await
}

impl Director {
    fn start(
        config: &Config,
        host: ResolvedHost,
        privileges: &Privileges,
        (role, on_ready): (RoleState, Box<dyn FnMut()>),
    ) -> Result<Self, DirectorError> {
        let (settings, epoch, servers) = (&config.director, Instant::now(), usize::from(u16::MAX));
        let mut registry = new_registry(config, &host)?;
        let loads = Arc::new(Loads::new(servers));
        let capacity = settings.connections as usize;
        let templates = Arc::new(Templates::new(capacity, servers, random_seed()?));
        let snapshot = Arc::new(ArcSwap::from_pointee(registry.snapshot(&loads, epoch)));
        let workers = WorkerSettings {
            snapshot: Arc::clone(&snapshot),
            loads: Arc::clone(&loads),
            templates: Arc::clone(&templates),
            servers,
            connections: capacity,
            wait: settings.wait,
            epoch,
        };
        let neighbors = Neighbors::new(neighbor_settings(config, &host)?);
        let auditor = Auditor::new(audit_settings(settings, neighbors.own_macs())?);
        let (mut sockets, mut answers, mut pings) = (Vec::new(), None, None);
        let (vip_prober, plan) = (open_prober(config, &host)?, backend::plan(settings, &host.interfaces));
        let backend = backend::launch(settings.backend, &plan, &workers, &mut |steering| {
            sockets = host.interfaces.iter().map(NeighborSockets::open).collect::<Result<_, _>>()?;
            answers = Some(ClientAnswers::open(&host.interfaces)?);
            pings = Some(PingSocket::open(&host.interfaces[0])?);
            privileges.reduce(steering.restores())
        })?;
        backend.steering.check(&config.services.iter().flat_map(steered).collect::<Vec<_>>())?;
        let (answers, pings) = (answers.expect(LAUNCHED), PingResponder::new(pings.expect(LAUNCHED))?);
        let (health_reports, health_received) = mpsc::unbounded_channel();
        Ok(Self {
            registry,
            settings: settings.clone(),
            snapshot,
            replaced: Vec::new(),
            reclaim_at: None,
            backend,
            loads,
            templates,
            epoch,
            carriers: Carriers::new(&host.interfaces),
            host,
            neighbor_events: None,
            health: None,
            health_number: 0,
            vip_prober,
            health_reports,
            health_received: Some(health_received),
            passive: PassiveHealth::default(),
            meter: Meter::new((&neighbors, &auditor), answers.counters(), pings.counters()),
            answers,
            pings,
            neighbors: Some(((neighbors, auditor), sockets)),
            limiter: LogLimiter::default(),
            local_vips: LocalVips::default(),
            symptoms: Symptoms::new(),
            role,
            watchdog: Watchdog::new(),
            availability: AvailabilityWatch::default(),
            events: EventRing::default(),
            hooks: HookRunner::default(),
            kept_vips: BTreeMap::new(),
            ready: ReadyState::default(),
            on_ready: Some(on_ready),
        })
    }

    /// Runs the event loop and the servers until a signal stops them, then releases everything in order.
    async fn serve(
        mut self,
        socket: ControlSocket,
        exporter: Option<Exporter>,
        signals: DirectorSignals,
        reloads: ReloadQueue,
    ) -> Result<(), DirectorError> {
        let (sender, queries) = mpsc::channel(QUERIES_MAX);
        let (stop, stopped) = oneshot::channel::<()>();
        // The exporter ends with the runtime: it holds no resource and no pending reply.
        let _exporting = exporter.map(|exporter| tokio::spawn(exporter.serve(sender.clone())));
        let serving = tokio::spawn(server::serve(socket, sender, async { drop(stopped.await) }));
        let end = self.run_event_loop(queries, signals, reloads).await;
        self.begin_stop(); // for an end by an error
        self.backend.steering.stop();
        let workers_end =
            self.backend.workers.stop().map_err(|error| DirectorError::worker_ended(error.to_string()));
        drop(stop);
        let _ = serving.await; // a client's error does not fail the director
        workers_end.and(end) // a worker's own error takes precedence over the loop's
    }
}

/// The file that tells readiness: `open`, unless the configuration has been read again and names another.
fn ready_file(config: &Config, open: Option<ReadyFile>) -> Result<Option<ReadyFile>, Diagnostic> {
    let Some(path) = config.director.ha.ready_file.as_ref().map(Path::new) else { return Ok(None) };
    match open {
        Some(file) if file.path() == path => Ok(Some(file)),
        _ => Ok(Some(ReadyFile::open(path).map_err(at_ready_file(config))?)),
    }
}

/// Adds the line that names the file.
fn at_ready_file(config: &Config) -> impl Fn(Diagnostic) -> Diagnostic {
    let place = config.places.director_key("ha.ready_file");
    move |refusal| refusal.at(place.clone())
}

fn new_registry(config: &Config, host: &ResolvedHost) -> Result<Registry, DirectorError> {
    let mut registry = Registry::new(host.interfaces.iter().map(|interface| interface.mac).collect());
    registry.reserved = host.not_clients();
    let rules = config.rules();
    registry.check_ids(&rules)?;
    registry.apply(&rules, &|_| api::Stats::default());
    Ok(registry)
}

fn neighbor_settings(config: &Config, host: &ResolvedHost) -> Result<NeighborSettings, DirectorError> {
    let DirectorConfig { announce_interval, arp_refresh: refresh, arp_attempts: attempts, .. } =
        config.director;
    Ok(NeighborSettings {
        own_macs: host.interfaces.iter().map(|interface| interface.mac).collect(),
        on_conflict: config.director.on_conflict,
        timing: Timing { announce_interval, refresh, attempts, ..Timing::default() },
        seed: getrandom::u64().map_err(std::io::Error::other)?,
    })
}
