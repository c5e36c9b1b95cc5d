//! Messages between a running director and the process that takes over from it.
//!
//! They are JSON. Unknown fields are ignored and missing ones have defaults, as the two processes may be of different versions.

use crate::control::api::Stats;
use crate::control::state::registry::Drain;
use crate::control::state::registry::{
    Reachability, Registry, ServerEntry, ServiceEntry, TotalsOf, VipState,
};
use crate::control::sync::SyncDaemon;
use crate::io::handed::RingFacts;
use crate::model::{HealthMode, Role, ServiceIdentity, Weight};
use crate::wire::MacAddr;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Version of the messages. Another one is refused.
pub(super) const PROTOCOL: u32 = 1;

/// Message of the next process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::control) enum NextMessage {
    /// Asks for the configuration.
    Begin {
        protocol: u32,
        /// Version of its program.
        program: String,
    },
    /// Asks for everything else, and for the end of forwarding.
    Commit {
        /// Of the configuration that it was offered.
        generation: u64,
    },
    /// It answers for the VIPs now: the running process may end.
    Done,
}

/// Message of the running process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum FormerMessage {
    /// The configuration: the first descriptor is a text with an [`Offer`].
    Offer,
    /// Everything else: the first descriptor is a text with a [`HandedState`], the others are its [`HandedState::descriptors`].
    State,
    /// Nothing is handed over, for this reason.
    Refused(String),
}

/// The configuration of the running process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::control) struct Offer {
    /// Number of its changes so far.
    pub(in crate::control) generation: u64,
    /// Version of its program.
    pub(in crate::control) program: String,
    /// Number of its workers.
    #[serde(default)]
    pub(in crate::control) workers: usize,
    /// Whether its AF_XDP sockets copy frames.
    #[serde(default)]
    pub(in crate::control) copies: bool,
    /// The running configuration, as a file.
    pub(in crate::control) running: String,
    /// The configuration of its file when that was last read.
    pub(in crate::control) file: String,
}

/// Name of a descriptor that is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::control) enum HandedDescriptor {
    /// The shadow memory, with its lock.
    Shadow,
    /// The listening control socket.
    Control,
    /// The listening socket of the metrics.
    Metrics,
    /// The TUN device.
    Tun,
    /// The program's attachment, packet memory or a socket of the workers, in the order of [`crate::io::HandedRings`].
    Ring,
    /// One that this version does not know.
    #[serde(other)]
    Unknown,
}

/// Everything that the next process goes on with, besides configuration and connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::control) struct HandedState {
    /// Descriptors, in the order of the message.
    pub(in crate::control) descriptors: Vec<HandedDescriptor>,
    /// True if other daemons have been told that it is ready for traffic.
    pub(in crate::control) is_ready: bool,
    /// Its role.
    pub(in crate::control) role: Option<Role>,
    /// VIPs that it has claimed.
    pub(in crate::control) claimed: Vec<IpAddr>,
    pub(in crate::control) services: Vec<HandedService>,
    /// Sync daemons, if commands have made them others than the configuration has.
    pub(in crate::control) daemons: Option<HandedDaemons>,
    /// The workers' sockets, if they go on.
    pub(in crate::control) rings: Option<RingFacts>,
}

/// Sync daemons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::control) struct HandedDaemons {
    pub(in crate::control) master: Option<SyncDaemon>,
    pub(in crate::control) backup: Option<SyncDaemon>,
}

/// State of a virtual service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::control) struct HandedService {
    identity: ServiceIdentity,
    /// Totals of removed servers.
    #[serde(default)]
    past: Stats,
    #[serde(default)]
    health_mode: HealthMode,
    #[serde(default)]
    quorum_up: Option<bool>,
    #[serde(default)]
    servers: Vec<HandedServer>,
}

/// State of a real server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct HandedServer {
    address: IpAddr,
    #[serde(default)]
    stats: Stats,
    /// MAC address, if it is reachable.
    #[serde(default)]
    mac: Option<String>,
    /// True while its health checks fail.
    #[serde(default)]
    failed: bool,
    #[serde(default)]
    dynamic_weight: Option<u16>,
    #[serde(default)]
    health_mode: HealthMode,
    /// A drain with the milliseconds until its deadline, if it has one.
    #[serde(default)]
    drain: Option<Option<u64>>,
}

impl HandedService {
    /// The state of each service of a registry.
    pub(in crate::control) fn all_of(registry: &Registry, totals: TotalsOf<'_>, now: Instant) -> Vec<Self> {
        registry.services.iter().map(|service| Self::of(service, totals, now)).collect()
    }

    fn of(service: &ServiceEntry, totals: TotalsOf<'_>, now: Instant) -> Self {
        Self {
            identity: service.config.identity,
            past: service.past,
            health_mode: service.health_mode,
            quorum_up: service.quorum_up,
            servers: service.servers.iter().map(|server| HandedServer::of(server, totals, now)).collect(),
        }
    }

    /// Gives the service of the same name in a new registry this state.
    pub(in crate::control) fn restore(&self, registry: &mut Registry, now: Instant) {
        let Some(entry) = registry.services.iter_mut().find(|entry| entry.config.identity == self.identity)
        else {
            return;
        };
        (entry.past, entry.health_mode, entry.quorum_up) = (self.past, self.health_mode, self.quorum_up);
        for handed in &self.servers {
            let mut servers = entry.servers.iter_mut();
            if let Some(server) = servers.find(|server| server.config.address == handed.address) {
                handed.restore(server, now);
            }
        }
    }
}

impl HandedServer {
    fn of(server: &ServerEntry, totals: TotalsOf<'_>, now: Instant) -> Self {
        let mac = match server.reachability {
            Reachability::Reachable(mac) => Some(mac.to_string()),
            Reachability::Resolving | Reachability::Unreachable(_) => None,
        };
        let left = |until: Instant| until.saturating_duration_since(now).as_millis() as u64;
        Self {
            address: server.config.address,
            stats: totals(server.id) - server.baseline,
            mac,
            failed: server.failed,
            dynamic_weight: server.dynamic_weight.map(|weight| weight.0),
            health_mode: server.health_mode,
            drain: server.drain.map(|drain| drain.until.map(left)),
        }
    }

    fn restore(&self, server: &mut ServerEntry, now: Instant) {
        // The counters of this process begin at 0, and go on from there.
        server.baseline = Stats::default() - self.stats;
        if let Some(mac) = self.mac.as_ref().and_then(|mac| mac.parse::<MacAddr>().ok()) {
            server.reachability = Reachability::Reachable(mac);
        }
        server.health_mode = self.health_mode;
        (server.failed, server.dynamic_weight) = (self.failed, self.dynamic_weight.map(Weight));
        let until = |left: u64| now + Duration::from_millis(left);
        let drain = self.drain.map(|left| Drain { until: left.map(until) });
        server.drain = drain.filter(|_| server.config.weight.0 == 0);
    }
}

/// The VIPs of a registry that are claimed.
pub(in crate::control) fn claimed(registry: &Registry) -> Vec<IpAddr> {
    let vips = registry.services.iter().flat_map(|service| &service.vips);
    let mut claimed: Vec<_> =
        vips.filter(|(_, state)| *state == VipState::Claimed).map(|(vip, _)| *vip).collect();
    claimed.sort();
    claimed.dedup();
    claimed
}
