//! The checked configuration.

use super::{Rules, VirtualService};
use crate::time::Span;
use std::net::SocketAddr;
use std::sync::Arc;

/// Everything that a configuration file says, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The `[director]` table.
    pub director: DirectorConfig,
    /// The `[[service]]` tables in file order; no service twice. There may be none: they can be added later.
    pub services: Vec<VirtualService>,
    /// Lines of the values that are validated on the host.
    pub places: Places,
}

impl Config {
    /// The part that can change while the director runs.
    #[must_use]
    pub fn rules(&self) -> Rules {
        let DirectorConfig { timeouts, policy, .. } = self.director;
        Rules { services: self.services.clone(), timeouts, policy }
    }
}

/// A line of one of the files that make a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file as errors call it.
    pub file: Arc<str>,
    /// 1-based.
    pub line: usize,
}

/// Lines of a configuration file, 1-based, for diagnostics of values that are invalid on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The file as named by the user.
    pub file: String,
    /// `interface` of the director.
    pub interface: usize,
    /// `control_group`, if it is there.
    pub control_group: usize,
    /// `server_interface`, or the `[director]` table if there is none.
    pub server_interface: usize,
    /// The address of each service, in file order.
    pub services: Vec<Place>,
    /// The address of each real server, of all services in file order.
    pub servers: Vec<Place>,
    /// The files that it includes, as errors call them.
    pub included: Vec<String>,
    /// `user`, or the `[director]` table if there is none.
    pub user: usize,
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
    /// Time between gratuitous ARPs for each VIP.
    pub announce_interval: Span,
    /// Silence of a real server after which it is probed by ARP.
    pub arp_refresh: Span,
    /// Number of ARP requests, half a second apart, before a real server is unreachable.
    pub arp_attempts: u8,
    /// Policy for a VIP that another host answers for.
    pub on_conflict: OnConflict,
    /// Policy for a real server that answers for a VIP.
    pub on_server_claim: OnServerClaim,
    /// TCP address of the metrics listener, which has no access control.
    pub metrics: Option<SocketAddr>,
    /// IPVS's switches for connections.
    pub policy: Policy,
    /// Connection timeouts.
    pub timeouts: Timeouts,
    /// User to change to after the start. `None`: no change.
    pub user: Option<String>,
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
            ("metrics", self.metrics == new.metrics),
            ("user", self.user == new.user),
        ];
        keys.into_iter().filter(|(_, same)| !same).map(|(key, _)| key).collect()
    }
}

/// Message about keys that a reload cannot change.
#[must_use]
pub fn restart_needed(keys: &str) -> String {
    format!("{keys}: only a new start changes that")
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

/// Policy for a real server that answers ARP for a VIP that this director has claimed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnServerClaim {
    /// Exclude it from new connections of that VIP's services until it stops answering.
    #[default]
    Exclude,
    /// Log it only.
    Ignore,
}

/// IPVS's switches for connections, named as the kernel names them under net.ipv4.vs (see
/// Documentation/networking/ipvs-sysctl.rst), with the kernel's defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// When a SYN is scheduled anew although its addresses and ports have a connection.
    pub conn_reuse_mode: ConnReuseMode,
    /// Whether a frame whose real server has been removed ends its connection at once, and is scheduled
    /// anew if it may open one; else it is dropped, and the connection ends in its time. A SYN is scheduled
    /// anew, too, if the server has weight 0.
    pub expire_nodest_conn: bool,
    /// Whether clients of a persistent service leave a server of weight 0 with their next connection.
    pub expire_quiescent_template: bool,
}

/// `conn_reuse_mode`: 0 never; else on TIME_WAIT and CLOSE; with bit 2 (value 2 or 3) on FIN_WAIT as well.
/// Never for a connection that is bound to a persistence template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnReuseMode(pub u8);

impl ConnReuseMode {
    /// The largest value that differs in meaning from those below.
    pub const MAX: Self = Self(3);

    /// Whether a SYN on a connection that is over is scheduled anew.
    #[inline]
    #[must_use]
    pub const fn reuses_closed(self) -> bool {
        self.0 != 0
    }

    /// Whether a SYN on a connection that the client has closed is.
    #[inline]
    #[must_use]
    pub const fn reuses_fin_wait(self) -> bool {
        self.0 & 2 != 0
    }
}

impl Default for ConnReuseMode {
    fn default() -> Self {
        Self(1)
    }
}

/// The three timeouts of `ipvsadm --set`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP ESTABLISHED.
    pub tcp: Span,
    /// TCP FIN_WAIT.
    pub tcp_fin: Span,
    /// UDP.
    pub udp: Span,
}

impl Default for Timeouts {
    /// IPVS's defaults: 900 s, 120 s, 300 s.
    fn default() -> Self {
        Self { tcp: Span::from_secs(900), tcp_fin: Span::from_secs(120), udp: Span::from_secs(300) }
    }
}
