//! The director: its state, and the methods that change it.
//!
//! [`run`] leads from start to stop, `event_loop` is the control thread's loop. Every other file has the methods of one
//! concern.

mod apply;
mod audit;
mod entrance;
pub mod error;
mod event_loop;
mod events;
mod handover;
mod health;
mod hooks;
pub mod inspect;
mod interfaces;
mod launch;
mod neighbors;
mod passive;
mod pings;
mod publish;
mod queries;
mod readiness;
mod role;
pub mod run;
mod start;
mod startup;
mod status;
mod symptoms;
mod sync;
mod sync_status;
mod takeover;
mod vip_checks;
mod vips;

use crate::audit::Auditor;
use crate::control::answers::ClientAnswers;
use crate::control::health::{AttachedProber, HealthThread};
use crate::control::hooks::HookRunner;
use crate::control::host::carriers::Carriers;
use crate::control::host::hints::LocalVips;
use crate::control::host::resolve::ResolvedHost;
use crate::control::keeper::Keeper;
use crate::control::log::limit::LogLimiter;
use crate::control::metrics::Meter;
use crate::control::neighbor::sockets::NeighborSockets;
use crate::control::neighbor::vlans::NeighborCommand;
use crate::control::ping::PingResponder;
use crate::control::readiness::ReadyState;
use crate::control::role::RoleState;
use crate::control::state::availability::AvailabilityWatch;
use crate::control::state::events::EventRing;
use crate::control::state::registry::Registry;
use crate::control::sync::SyncState;
use crate::control::workers::ShadowTables;
use crate::control::workers::backend::RunningBackend;
use crate::control::workers::watchdog::Watchdog;
use crate::forward::Snapshot;
use crate::health::HealthReport;
use crate::health::passive::PassiveHealth;
use crate::model::DirectorConfig;
use crate::neighbor::Neighbors;
use crate::schedule::{Loads, Templates};
use crate::shadow::{Digest, ShadowNames};
use crate::time::Tick;
use crate::wire::vlan::Vlans;
use arc_swap::ArcSwap;
use handover::Handover;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;
use symptoms::Symptoms;
use tokio::sync::mpsc;

/// A running director.
struct Director {
    registry: Registry,
    /// Settings of the start; timeouts and policy are the registry's.
    settings: DirectorConfig,
    host: ResolvedHost,
    snapshot: Arc<ArcSwap<Snapshot>>,
    /// Replaced snapshots that a worker may still hold: freed here, never on the data path.
    replaced: Vec<Arc<Snapshot>>,
    /// Time to free replaced snapshots.
    reclaim_at: Option<Instant>,
    /// Names of all numbers and claimed VIPs in the shadow memory.
    names: ShadowNames,
    /// VIPs that the process before had until a moment ago.
    reclaims: BTreeSet<Digest>,
    backend: RunningBackend,
    /// Behind the workers, whose last events it takes at the end.
    keeper: Keeper,
    loads: Arc<Loads>,
    templates: Arc<Templates>,
    /// Readers of the shadow memory.
    shadow: Option<ShadowTables>,
    /// Tick 0.
    epoch: Instant,
    /// The neighbor machine, the auditor and their sockets, until the event loop takes them.
    neighbors: Option<((Neighbors, Auditor), Vec<NeighborSockets>)>,
    /// Channel to the neighbor driver, while it runs.
    neighbor_events: Option<mpsc::UnboundedSender<NeighborCommand>>,
    /// Thread of the health checks, once there is one.
    health: Option<HealthThread>,
    /// Number of the latest configuration that it has been sent.
    health_number: u64,
    /// The probe programs, idle until a check of the VIP needs them.
    vip_prober: AttachedProber,
    /// Channel for its reports.
    health_reports: mpsc::UnboundedSender<HealthReport>,
    /// Its other end, until the event loop takes it.
    health_received: Option<mpsc::UnboundedReceiver<HealthReport>>,
    /// Passive health.
    passive: PassiveHealth,
    meter: Meter,
    answers: ClientAnswers,
    pings: PingResponder,
    /// Rate limit of messages about a VIP or a real server.
    limiter: LogLimiter<IpAddr>,
    local_vips: LocalVips,
    carriers: Carriers,
    watchdog: Watchdog,
    availability: AvailabilityWatch,
    events: EventRing,
    hooks: HookRunner,
    symptoms: Symptoms,
    role: RoleState,
    sync: SyncState,
    /// Claimed VIPs without a service.
    kept_vips: BTreeMap<IpAddr, KeptVip>,
    /// Readiness for traffic, as other daemons are told.
    ready: ReadyState,
    /// For the next process.
    handover: Handover,
    /// Callback of readiness, until the director is ready.
    on_ready: Option<Box<dyn FnMut()>>,
}

/// A claimed VIP without a service.
struct KeptVip {
    vlans: Vlans,
    /// Time of its release.
    until: Instant,
}

impl Director {
    /// Returns true once [`run::RunOptions::on_ready`] has been called.
    fn is_ready(&self) -> bool {
        self.on_ready.is_none()
    }

    /// Sends an event to the neighbor driver.
    fn send_neighbor_event(&self, event: impl Into<NeighborCommand>) {
        if let Some(events) = &self.neighbor_events {
            let _ = events.send(event.into()); // the driver may just have ended
        }
    }

    fn now(&self) -> Tick {
        Tick::from_instant(Instant::now(), self.epoch)
    }
}
