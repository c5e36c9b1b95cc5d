//! Launch of a director: registry and tables, backend, threads.

use super::Director;
use super::audit::audit_settings;
use super::error::DirectorError;
use super::handover::Handover;
use super::symptoms::Symptoms;
use super::vip_checks::open_prober;
use crate::audit::Auditor;
use crate::control::answers::ClientAnswers;
use crate::control::api;
use crate::control::health::AttachedProber;
use crate::control::hooks::HookRunner;
use crate::control::host::carriers::Carriers;
use crate::control::host::hints::LocalVips;
use crate::control::host::privileges::Privileges;
use crate::control::host::resolve::ResolvedHost;
use crate::control::keeper::former::FormerConnections;
use crate::control::keeper::memory::OpenedShadow;
use crate::control::keeper::{self, Keeper, KeeperSettings};
use crate::control::log::limit::LogLimiter;
use crate::control::metrics::Meter;
use crate::control::neighbor::sockets::NeighborSockets;
use crate::control::ping::{PingResponder, PingSocket};
use crate::control::readiness::ReadyState;
use crate::control::role::RoleState;
use crate::control::state::availability::AvailabilityWatch;
use crate::control::state::events::EventRing;
use crate::control::state::ids::NamedIds;
use crate::control::state::registry::{Registry, VipState};
use crate::control::state::steered::steered;
use crate::control::sync::SyncState;
use crate::control::takeover::HandedState;
use crate::control::workers::backend::RunningBackend;
use crate::control::workers::watchdog::Watchdog;
use crate::control::workers::{ShadowTables, WorkerSettings, backend, random_seed};
use crate::flow::{V4Key, WideKey};
use crate::health::passive::PassiveHealth;
use crate::model::{Config, DirectorConfig};
use crate::neighbor::{NeighborSettings, Neighbors, Timing};
use crate::schedule::{Loads, Templates};
use crate::shadow::{Digest, ShadowNames, ShadowParts, ShadowSession, ShadowWriter};
use crate::sys::boot::monotonic;
use arc_swap::ArcSwap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Reason for which the sockets exist after the launch.
const LAUNCHED: &str = "a backend that is launched has called the closure";

/// Longest time since the process before lived after which its VIPs are claimed without probing first. Another director on standby
/// needs as long on average to find that nothing answers for them.
const RECLAIM_MAX: Duration = Duration::from_secs(1);

/// Everything that a director is launched with, besides its configuration.
pub(super) struct LaunchContext<'a> {
    pub(super) host: ResolvedHost,
    pub(super) shadow: OpenedShadow,
    pub(super) privileges: &'a Privileges,
    pub(super) role: RoleState,
    /// State of the process that this one takes over from.
    pub(super) inherited: Option<HandedState>,
    pub(super) handover: Handover,
    pub(super) on_ready: Box<dyn FnMut()>,
}

/// The registry, and everything that workers and keeper share with it.
struct LaunchTables {
    registry: Registry,
    names: ShadowNames,
    reclaims: BTreeSet<Digest>,
    workers: WorkerSettings,
    writers: (ShadowWriter<V4Key>, ShadowWriter<WideKey>),
    session: ShadowSession,
    former: Option<FormerConnections>,
}

/// The open network side: the workers run.
struct Running {
    backend: RunningBackend,
    neighbors: ((Neighbors, Auditor), Vec<NeighborSockets>),
    answers: ClientAnswers,
    pings: PingResponder,
    vip_prober: AttachedProber,
}

impl Director {
    /// Starts the workers and the keeper. Drops privileges in between.
    pub(super) fn launch(config: &Config, context: LaunchContext<'_>) -> Result<Self, DirectorError> {
        let LaunchContext { host, shadow, privileges, mut role, inherited, mut handover, on_ready } = context;
        handover.keep_shadow(&shadow.parts.session);
        let tables = LaunchTables::new(config, &host, shadow, inherited.as_ref())?;
        let running = Running::open(config, &host, privileges, &tables.workers)?;
        let LaunchTables { registry, names, reclaims, workers, writers, session, former } = tables;
        let settings = KeeperSettings {
            workers: &workers,
            services: registry.services_of_servers(),
            writers,
            session,
            former,
        };
        let keeper = Keeper::start(settings, &running.backend.workers)?;
        let Running { backend, neighbors: (machines, sockets), answers, pings, vip_prober } = running;
        inherited.and_then(|of| of.role).into_iter().for_each(|former| role.machine.carry_on(former));
        let (health_reports, health_received) = mpsc::unbounded_channel();
        let (answered, pinged, kept) = (answers.counters(), pings.counters(), Arc::clone(&keeper.counters));
        Ok(Self {
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
            on_ready: Some(on_ready),
        })
    }
}

impl LaunchTables {
    fn new(
        config: &Config,
        host: &ResolvedHost,
        shadow: OpenedShadow,
        inherited: Option<&HandedState>,
    ) -> Result<Self, DirectorError> {
        let OpenedShadow { parts, ids, claims, lived_at, former } = shadow;
        let ShadowParts { compact, wide, mut names, session, .. } = parts;
        let reclaims = reclaims(claims, lived_at);
        let mut registry = new_registry(config, host, ids)?;
        inherited.into_iter().for_each(|state| restore(&mut registry, state));
        keeper::memory::write_names(&mut names, &registry.names());
        let (epoch, servers) = (Instant::now(), usize::from(u16::MAX));
        let (connections, loads) = (config.director.connections as usize, Arc::new(Loads::new(servers)));
        let workers = WorkerSettings {
            snapshot: Arc::new(ArcSwap::from_pointee(registry.snapshot(&loads, epoch))),
            loads,
            templates: Arc::new(Templates::new(connections, servers, random_seed()?)),
            servers,
            connections,
            wait: config.director.wait,
            epoch,
            shadow: Some(ShadowTables {
                compact: compact.reader(),
                wide: wide.reader(),
                clock: keeper::clock(epoch),
            }),
        };
        Ok(Self { registry, names, reclaims, workers, writers: (compact, wide), session, former })
    }
}

impl Running {
    fn open(
        config: &Config,
        host: &ResolvedHost,
        privileges: &Privileges,
        workers: &WorkerSettings,
    ) -> Result<Self, DirectorError> {
        let settings = &config.director;
        let neighbors = Neighbors::new(neighbor_settings(config, host)?);
        let auditor = Auditor::new(audit_settings(settings, neighbors.own_macs())?);
        let (mut sockets, mut answers, mut pings) = (Vec::new(), None, None);
        let (vip_prober, plan) = (open_prober(config, host)?, backend::plan(settings, &host.interfaces));
        let backend = backend::launch(settings.backend, &plan, workers, &mut |steering| {
            sockets = host.interfaces.iter().map(NeighborSockets::open).collect::<Result<_, _>>()?;
            answers = Some(ClientAnswers::open(&host.interfaces)?);
            pings = Some(PingSocket::open(&host.interfaces[0])?);
            privileges.reduce(steering.restores())
        })?;
        backend.steering.check(&config.services.iter().flat_map(steered).collect::<Vec<_>>())?;
        Ok(Self {
            backend,
            neighbors: ((neighbors, auditor), sockets),
            answers: answers.expect(LAUNCHED),
            pings: PingResponder::new(pings.expect(LAUNCHED))?,
            vip_prober,
        })
    }
}

/// The VIPs that the process before had, if it ended a moment ago.
fn reclaims(claims: BTreeSet<Digest>, lived_at: Duration) -> BTreeSet<Digest> {
    if monotonic().saturating_sub(lived_at) <= RECLAIM_MAX { claims } else { BTreeSet::new() }
}

fn new_registry(config: &Config, host: &ResolvedHost, ids: NamedIds) -> Result<Registry, DirectorError> {
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
