//! The checked configuration.

use super::{
    Diagnostic, DiagnosticKind, Diagnostics, FirewallMark, HaConfig, KnownGroup, Places, Policy, Rules,
    SyncConfig, Timeouts, VirtualService,
};
use crate::time::Span;
use crate::wire::MacAddr;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// A checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The `[director]` table.
    pub director: DirectorConfig,
    /// The `[[service]]` tables in file order; no service twice. There may be none: they can be added later.
    pub services: Vec<VirtualService>,
    /// The `[[mark]]` tables; none with the mark of a service.
    pub marks: BTreeMap<FirewallMark, KnownGroup>,
    /// Lines of the values that are validated on the host.
    pub places: Places,
}

impl Config {
    /// Checks that the file needs no restart of a director that runs by `running`.
    ///
    /// # Errors
    /// Each key that differs and that only a restart applies, with its line.
    pub fn check_restarts(&self, running: &DirectorConfig) -> Result<(), Diagnostics> {
        let refused = |key: &'static str| {
            let remedy = "restart the director, or undo this change: until then a reload changes nothing";
            restart_required(key).remedy(remedy).at(self.places.director_key(key))
        };
        let errors: Vec<_> = running.restarts(&self.director).into_iter().map(refused).collect();
        if errors.is_empty() { Ok(()) } else { Err(Diagnostics(errors)) }
    }

    /// The part that can change while the director runs.
    #[must_use]
    pub fn rules(&self) -> Rules {
        let DirectorConfig { timeouts, policy, .. } = self.director;
        Rules { services: self.services.clone(), timeouts, policy, marks: self.marks.clone() }
    }
}

/// The `[director]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectorConfig {
    /// Client-side interface: receives VIP traffic.
    pub interface: String,
    /// Server-side interface, if it is another one (two-armed director).
    pub server_interface: Option<String>,
    /// The backend.
    pub backend: BackendChoice,
    /// Number of workers.
    pub workers: WorkerCount,
    /// Capacity of the connection table, all workers together.
    pub connections: u32,
    /// Idle behaviour of a worker.
    pub wait: Wait,
    /// AF_XDP packet memory in huge pages, which the host must have reserved.
    pub huge_pages: bool,
    /// Group whose members may make changes over the control socket, besides root and the director's own user.
    pub control_group: Option<String>,
    /// Access of all other users.
    pub control_others: ControlOthers,
    /// Time between announcements of each VIP.
    pub announce_interval: Span,
    /// Silence of a real server after which it is solicited.
    pub arp_refresh: Span,
    /// Number of solicitations, half a second apart, before a real server is unreachable.
    pub arp_attempts: u8,
    /// Policy for a VIP that another host answers for.
    pub on_conflict: OnConflict,
    /// Policy for a real server that answers for a VIP.
    pub on_server_claim: OnServerClaim,
    /// Time of a round of the address auditor's questions; zero: none are asked.
    pub audit_interval: Span,
    /// Stations that may have the VIPs: other directors.
    pub peers: Vec<PeerAddress>,
    /// TCP address of the metrics listener, which has no access control.
    pub metrics: Option<SocketAddr>,
    /// IPVS's switches for connections.
    pub policy: Policy,
    /// Connection timeouts.
    pub timeouts: Timeouts,
    /// User to change to after the start. `None`: no change.
    pub user: Option<String>,
    /// The `[ha]` table.
    pub ha: HaConfig,
    /// The `[sync]` table.
    pub sync: Option<SyncConfig>,
}

impl DirectorConfig {
    /// Keys that differ in `new` and need a restart: all but those of [`Policy`] and [`Timeouts`].
    #[must_use]
    pub fn restarts(&self, new: &Self) -> Vec<&'static str> {
        let keys = [
            ("interface", self.interface == new.interface),
            ("server_interface", self.server_interface == new.server_interface),
            ("backend", self.backend == new.backend),
            ("workers", self.workers == new.workers),
            ("connections", self.connections == new.connections),
            ("wait", self.wait == new.wait),
            ("huge_pages", self.huge_pages == new.huge_pages),
            ("control_group", self.control_group == new.control_group),
            ("control_others", self.control_others == new.control_others),
            ("announce_interval", self.announce_interval == new.announce_interval),
            ("arp_refresh", self.arp_refresh == new.arp_refresh),
            ("arp_attempts", self.arp_attempts == new.arp_attempts),
            ("on_conflict", self.on_conflict == new.on_conflict),
            ("on_server_claim", self.on_server_claim == new.on_server_claim),
            ("audit_interval", self.audit_interval == new.audit_interval),
            ("peers", self.peers == new.peers),
            ("metrics", self.metrics == new.metrics),
            ("user", self.user == new.user),
        ];
        keys.into_iter()
            .chain(self.ha.compare(&new.ha))
            .chain(SyncConfig::compare(self.sync.as_ref(), new.sync.as_ref()))
            .filter(|(_, same)| !same)
            .map(|(key, _)| key)
            .collect()
    }
}

/// Error about a key that a reload cannot change.
#[must_use]
pub fn restart_required(key: &str) -> Diagnostic {
    Diagnostic::new(DiagnosticKind::RestartRequired, key).cause("restart required")
}

/// Address of a station that may have the VIPs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerAddress {
    /// MAC address.
    Mac(MacAddr),
    /// IP address.
    Ip(IpAddr),
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mac(mac) => mac.fmt(f),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

/// Choice of the backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendChoice {
    /// AF_XDP where it works, else AF_PACKET.
    #[default]
    Auto,
    /// AF_XDP, or fail.
    Xdp,
    /// AF_PACKET.
    Packet,
}

/// Number of worker threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WorkerCount {
    /// One per queue of the interface, at most one per core.
    #[default]
    Auto,
    /// Exactly so many, at least 1.
    Count(u16),
}

/// Idle behaviour of a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wait {
    /// Spin while there is traffic, sleep in poll(2) when there is none.
    #[default]
    Adaptive,
    /// Never sleep.
    Busy,
}

/// Access to the control socket for users without the right to change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ControlOthers {
    /// None: they cannot connect, and a request gets no answer.
    #[default]
    Nothing,
    /// Read everything.
    Read,
}

/// Policy for a VIP that another host answers for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnConflict {
    /// Leave the VIP to its holder, and claim it when the holder does not answer any more.
    #[default]
    Standby,
    /// Log it and claim the VIP all the same.
    Claim,
}

/// Policy for a real server that answers for a VIP that this director has claimed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnServerClaim {
    /// Exclude it from new connections of that VIP's services until it stops answering.
    #[default]
    Exclude,
    /// Log it only.
    Ignore,
}
