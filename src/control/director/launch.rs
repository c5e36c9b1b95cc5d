//! Launch of a director: registry and tables, backend, threads.

use super::Director;
use super::audit::audit_settings;
use super::entrance::{Entered, Entrance};
use super::error::DirectorError;
use super::symptoms::Symptoms;
use super::vip_checks::open_prober;
use crate::audit::Auditor;
use crate::control::answers::ClientAnswers;
use crate::control::api;
use crate::control::hooks::HookRunner;
use crate::control::host::carriers::Carriers;
use crate::control::host::hints::LocalVips;
use crate::control::host::resolve::ResolvedHost;
use crate::control::http::exporter::Exporter;
use crate::control::http::socket::ControlSocket;
use crate::control::keeper::former::FormerConnections;
use crate::control::keeper::memory::OpenedShadow;
use crate::control::keeper::{self, Keeper, KeeperSettings};
use crate::control::log::limit::LogLimiter;
use crate::control::metrics::Meter;
use crate::control::neighbor::sockets::NeighborSockets;
use crate::control::ping::{PingResponder, PingSocket};
use crate::control::readiness::ReadyState;
use crate::control::state::availability::AvailabilityWatch;
use crate::control::state::events::EventRing;
use crate::control::state::ids::NamedIds;
use crate::control::state::registry::{Registry, VipState};
use crate::control::state::steered::steered;
use crate::control::sync::SyncState;
use crate::control::takeover::{HandedState, TakeoverListener};
use crate::control::workers::backend::{BackendSteps, RunningBackend};
use crate::control::workers::spare::SpareTables;
use crate::control::workers::watchdog::Watchdog;
use crate::control::workers::{ShadowTables, WorkerSettings, backend, random_seed};
use crate::flow::{V4Key, WideKey};
use crate::health::passive::PassiveHealth;
use crate::io::{CarrierDevice, HandedRings, Steering};
use crate::model::{Config, Diagnostic, DirectorConfig, VirtualService};
use crate::neighbor::{NeighborSettings, Neighbors, Timing};
use crate::schedule::{Loads, Templates};
use crate::shadow::{Digest, ShadowNames, ShadowParts, ShadowSession, ShadowWriter};
use crate::sys::boot::monotonic;
use arc_swap::ArcSwap;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Reason for which everything exists after the launch.
const LAUNCHED: &str = "a backend that is launched has taken each step";
/// Server ids that counters cover.
const SERVERS: usize = u16::MAX as usize;

/// Longest time since the process before lived after which its VIPs are claimed without probing first. Another director on standby
/// needs as long on average to find that nothing answers for them.
const RECLAIM_MAX: Duration = Duration::from_secs(1);

/// A launched director, and what its event loop needs besides.
pub(super) struct Launched {
    pub(super) director: Director,
    pub(super) socket: ControlSocket,
    pub(super) exporter: Option<Exporter>,
    pub(super) next: TakeoverListener,
    pub(super) device: Option<CarrierDevice>,
    /// Time of the entrance.
    pub(super) since: Instant,
    /// State of the process before.
    pub(super) state: HandedState,
}

/// The registry, and everything that workers and keeper share with it.
struct LaunchTables {
    registry: Registry,
    names: ShadowNames,
    reclaims: BTreeSet<Digest>,
    workers: WorkerSettings,
    writers: (ShadowWriter<V4Key>, ShadowWriter<WideKey>),
    kept_templates: ShadowWriter<WideKey>,
    session: ShadowSession,
    former: Option<FormerConnections>,
}

/// The launched tables with the keeper, which has the shadow memory.
struct KeptTables {
    registry: Registry,
    names: ShadowNames,
    reclaims: BTreeSet<Digest>,
    workers: WorkerSettings,
    keeper: Keeper,
}

/// The memory that takes long to be made.
struct LaunchMemory {
    loads: Arc<Loads>,
    templates: Arc<Templates>,
    spare: SpareTables,
}

/// The steps of a launch, around the opening of the backend.
struct LaunchSteps<'a> {
    entrance: Entrance<'a>,
    entered: Option<Entered>,
    memory: Option<LaunchMemory>,
    tables: Option<LaunchTables>,
    neighbors: Vec<NeighborSockets>,
    answers: Option<ClientAnswers>,
    pings: Option<PingSocket>,
}

impl Director {
    /// Starts the workers and the keeper. Drops privileges in between.
    pub(super) fn launch(
        entrance: Entrance<'_>,
        on_host: &dyn Fn(&Config),
    ) -> Result<Launched, DirectorError> {
        let (config, host) = (entrance.config, entrance.host.clone());
        let mut steps = LaunchSteps::begin(entrance, on_host)?;
        let neighbors = Neighbors::new(neighbor_settings(config, &host)?);
        let auditor = Auditor::new(audit_settings(&config.director, neighbors.own_macs())?);
        let (vip_prober, plan) =
            (open_prober(config, &host)?, backend::plan(&config.director, &host.interfaces));
        let backend = backend::launch(config.director.backend, &plan, &mut steps)?;
        backend.steering.check(&config.services.iter().flat_map(steered).collect::<Vec<_>>())?;
        let LaunchSteps { entrance, entered, tables, neighbors: sockets, answers, pings, .. } = steps;
        let entered = entered.expect(LAUNCHED);
        let KeptTables { registry, names, reclaims, workers, keeper } =
            tables.expect(LAUNCHED).keep(&backend)?;
        let (answers, pings) = (answers.expect(LAUNCHED), PingResponder::new(pings.expect(LAUNCHED))?);
        let (machines, Entered { socket, exporter, next, handover, device, role, state, .. }) =
            ((neighbors, auditor), entered);
        let (health_reports, health_received) = mpsc::unbounded_channel();
        let (answered, pinged, kept) = (answers.counters(), pings.counters(), Arc::clone(&keeper.counters));
        let director = Self {
            registry,
            settings: config.director.clone(),
            snapshot: workers.snapshot,
            replaced: Vec::new(),
            names,
            reclaims,
            reclaim_at: None,
            backend,
            keeper,
            loads: workers.loads,
            templates: workers.templates,
            shadow: workers.shadow,
            epoch: workers.epoch,
            carriers: Carriers::new(&host.interfaces),
            host,
            neighbor_events: None,
            health: None,
            health_number: 0,
            vip_prober,
            health_reports,
            health_received: Some(health_received),
            passive: PassiveHealth::default(),
            meter: Meter::new((&machines.0, &machines.1), answered, pinged, kept),
            answers,
            pings,
            neighbors: Some((machines, sockets)),
            limiter: LogLimiter::default(),
            local_vips: LocalVips::default(),
            symptoms: Symptoms::new(),
            role,
            sync: SyncState::none(),
            watchdog: Watchdog::new(),
            availability: AvailabilityWatch::default(),
            events: EventRing::default(),
            hooks: HookRunner::default(),
            kept_vips: BTreeMap::new(),
            ready: ReadyState::default(),
            handover,
            on_ready: None,
        };
        let since = entrance.since.unwrap_or_else(Instant::now);
        let state = state.unwrap_or_default();
        Ok(Launched { director, socket, exporter, next, device, since, state })
    }
}

impl<'a> LaunchSteps<'a> {
    /// Enters at once, unless there is a process to take over from: then memory is made first.
    fn begin(entrance: Entrance<'a>, on_host: &dyn Fn(&Config)) -> Result<Self, DirectorError> {
        let (takes_over, config) = (entrance.former.is_some(), entrance.config);
        let (entered, memory, tables, neighbors, answers, pings) = (None, None, None, Vec::new(), None, None);
        let mut steps = Self { entrance, entered, memory, tables, neighbors, answers, pings };
        if !takes_over {
            steps.enter()?;
        }
        on_host(config);
        steps.memory = Some(LaunchMemory::new(config, if takes_over { steps.workers_before() } else { 0 })?);
        Ok(steps)
    }

    /// Workers of the process before.
    fn workers_before(&self) -> usize {
        self.entrance.former.as_ref().map_or(0, |(_, offer)| offer.workers)
    }
}

impl BackendSteps for LaunchSteps<'_> {
    fn takes_over(&self) -> bool {
        self.entered.is_none()
    }

    fn former_copies(&self) -> bool {
        self.entrance.former.as_ref().is_some_and(|(_, offer)| offer.copies)
    }

    fn enter(&mut self) -> Result<(), Diagnostic> {
        if self.entered.is_none() {
            self.entered = Some(self.entrance.enter()?);
        }
        Ok(())
    }

    fn rings(&mut self) -> Option<HandedRings> {
        self.entered.as_mut().and_then(|entered| entered.rings.take())
    }

    fn settings(&mut self, steering: &dyn Steering) -> Result<&WorkerSettings, Diagnostic> {
        let Entrance { config, host, privileges, .. } = self.entrance;
        self.neighbors = host.interfaces.iter().map(NeighborSockets::open).collect::<Result<_, _>>()?;
        self.answers = Some(ClientAnswers::open(&host.interfaces)?);
        self.pings = Some(PingSocket::open(&host.interfaces[0])?);
        privileges.reduce(steering.restores())?;
        let (entered, memory) = (self.entered.as_mut().expect(LAUNCHED), self.memory.take().expect(LAUNCHED));
        Ok(&self.tables.insert(LaunchTables::new(config, host, entered, memory)?).workers)
    }
}

impl LaunchMemory {
    /// Makes the memory, with the tables of so many workers.
    fn new(config: &Config, workers: usize) -> io::Result<Self> {
        let (connections, servers) = (config.director.connections as usize, SERVERS);
        let has_wide =
            config.services.iter().flat_map(VirtualService::all_matches).any(|of| !of.is_compact());
        Ok(Self {
            loads: Arc::new(Loads::new(servers)),
            templates: Arc::new(Templates::new(connections, servers, random_seed()?)),
            spare: SpareTables::new(connections, workers, has_wide)?,
        })
    }
}

impl LaunchTables {
    fn new(
        config: &Config,
        host: &ResolvedHost,
        entered: &mut Entered,
        memory: LaunchMemory,
    ) -> Result<Self, Diagnostic> {
        let LaunchMemory { loads, templates, spare } = memory;
        let shadow = entered.shadow.take().expect(LAUNCHED);
        let OpenedShadow { parts, ids, claims, lived_at, former } = shadow;
        let ShadowParts { compact, wide, templates: kept_templates, mut names, session } = parts;
        let mut registry = new_registry(config, host, ids)?;
        entered.state.iter().for_each(|state| restore(&mut registry, state));
        keeper::memory::write_names(&mut names, &registry.names());
        let epoch = Instant::now();
        let workers = WorkerSettings {
            snapshot: Arc::new(ArcSwap::from_pointee(registry.snapshot(&loads, epoch))),
            loads,
            templates,
            servers: SERVERS,
            connections: config.director.connections as usize,
            wait: config.director.wait,
            epoch,
            shadow: Some(ShadowTables {
                compact: compact.reader(),
                wide: wide.reader(),
                clock: keeper::clock(epoch),
            }),
            spare,
        };
        let reclaims = reclaims(claims, lived_at);
        Ok(Self {
            registry,
            names,
            reclaims,
            workers,
            writers: (compact, wide),
            kept_templates,
            session,
            former,
        })
    }

    /// Starts the keeper of these tables.
    fn keep(self, backend: &RunningBackend) -> io::Result<KeptTables> {
        let Self { registry, names, reclaims, workers, writers, kept_templates, session, former } = self;
        let settings = KeeperSettings {
            workers: &workers,
            services: registry.services_of_servers(),
            writers,
            templates: kept_templates,
            session,
            former,
        };
        let keeper = Keeper::start(settings, &backend.workers)?;
        Ok(KeptTables { registry, names, reclaims, workers, keeper })
    }
}

/// The VIPs that the process before had, if it ended a moment ago.
fn reclaims(claims: BTreeSet<Digest>, lived_at: Duration) -> BTreeSet<Digest> {
    if monotonic().saturating_sub(lived_at) <= RECLAIM_MAX { claims } else { BTreeSet::new() }
}

fn new_registry(config: &Config, host: &ResolvedHost, ids: NamedIds) -> Result<Registry, Diagnostic> {
    let mut registry = Registry::new(host.interfaces.iter().map(|interface| interface.mac).collect());
    registry.reserved = host.not_clients();
    let rules = config.rules();
    registry.recover(ids, &rules);
    registry.check_ids(&rules)?;
    registry.apply(&rules, &|_| api::Stats::default());
    Ok(registry)
}

/// Gives a new registry the state of the process before.
fn restore(registry: &mut Registry, state: &HandedState) {
    let now = Instant::now();
    state.services.iter().for_each(|service| service.restore(registry, now));
    state.claimed.iter().for_each(|vip| registry.set_vip(*vip, VipState::Claimed));
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
