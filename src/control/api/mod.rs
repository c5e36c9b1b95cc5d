//! Wire types of the control socket: plain data, shared by the server and the command line.
//!
//! HTTP over a Unix socket, JSON bodies: the paths of [`path`]. Connections come as JSON lines, since there may be a
//! million of them, and the configuration as TOML; every other body is one JSON value, and an error is a [`Problem`].

pub mod audit;
pub mod checks;
pub mod events;
mod handshakes;
pub mod overview;
mod problem;
pub mod reasons;
pub mod request;
pub mod role;
mod stats;
mod strict;
pub mod sync;

pub use handshakes::Handshakes;
pub use problem::{ErrorCode, Problem};
pub use stats::{Rates, Stats};

use crate::model::{Diagnostic, DiagnosticKind, FirewallMark, ServiceIdentity};
use crate::wire::vlan::Vlans;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::Path;

/// Request paths. The version is part of the path: a change that old clients would misread gets a new version.
pub mod path {
    /// [`super::Services`].
    pub const SERVICES: &str = "/v1/services";
    /// A [`super::Connection`] a line.
    pub const CONNECTIONS: &str = "/v1/connections";
    /// A list of [`super::Drops`].
    pub const DROPS: &str = "/v1/drops";
    /// A list of [`super::Worker`].
    pub const WORKERS: &str = "/v1/workers";
    /// Takes a list of [`super::request::ChangeRequest`]s, and answers with [`super::Changed`].
    pub const CHANGES: &str = "/v1/changes";
    /// The running configuration as a file's text.
    pub const CONFIG: &str = "/v1/config";
    /// Reloads the configuration file.
    pub const RELOAD: &str = "/v1/reload";
    /// Takes a [`super::Draft`], evaluates it as a reload would, and answers with a [`super::Plan`].
    ///
    /// A path of its own, so that an older director does not take the request for a reload.
    pub const PLAN: &str = "/v1/plan";
    /// [`super::overview::Status`].
    pub const STATUS: &str = "/v1/status";
    /// [`super::checks::Checks`].
    pub const CHECKS: &str = "/v1/checks";
    /// Takes a [`super::checks::CheckReport`].
    pub const CHECK_REPORT: &str = "/v1/checks/report";
    /// A list of [`super::events::Event`].
    pub const EVENTS: &str = "/v1/events";
    /// A list of [`super::reasons::ServerReasons`].
    pub const REASONS: &str = "/v1/reasons";
    /// [`super::audit::Audit`].
    pub const AUDIT: &str = "/v1/audit";
    /// [`super::role::RoleStatus`]. Takes a [`super::role::RoleRequest`], too.
    pub const ROLE: &str = "/v1/role";
    /// [`super::sync::SyncStatus`]. Takes a [`super::sync::SyncRequest`], too.
    pub const SYNC: &str = "/v1/sync";
    /// "ok" with status 200, or the health problems with status 503.
    pub const HEALTH: &str = "/healthz";
    /// [`super::Timeouts`].
    pub const TIMEOUTS: &str = "/v1/timeouts";
    /// Metrics for Prometheus (see [`crate::control::metrics`]), at the usual path.
    pub const METRICS: &str = "/metrics";
}

/// Largest request body in bytes: enough for 65,535 real servers with every setting.
pub const BODY_MAX: usize = 16 << 20;

/// Longest path of a Unix socket in bytes: `sun_path` less the terminating zero (unix(7)).
pub const SOCKET_PATH_MAX: usize = 107;

/// Error of a path longer than [`SOCKET_PATH_MAX`].
pub(in crate::control) fn path_too_long(socket: &Path) -> Diagnostic {
    let (path, length) = (socket.display(), socket.as_os_str().len());
    let what = format!("the socket path {path} has {length} bytes, the system allows {SOCKET_PATH_MAX}");
    Diagnostic::new(DiagnosticKind::InvalidSocketPath, what)
}

/// Prefix of the `User-Agent` of this program's own commands, before the command's name.
pub(in crate::control) const COMMAND_AGENT: &str = "directrix-";

/// Returns the `User-Agent` of one of this program's commands.
#[must_use]
pub(in crate::control) fn user_agent(command: &str) -> String {
    format!("{COMMAND_AGENT}{command}/{}", env!("CARGO_PKG_VERSION"))
}

/// The `Server` header of every response: program and version, as in "directrix/0.1.0".
pub const SERVER: &str = concat!("directrix/", env!("CARGO_PKG_VERSION"));

/// A configuration file other than the director's, with its included files.
pub type Draft = crate::model::Sources;

/// Result of a reload of a file, evaluated without applying it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// A line for each difference.
    pub changes: Vec<String>,
    /// Keys of `[director]` that differ and require a restart.
    pub restarts: Vec<String>,
    /// Reason for which the reload would be refused; `None` if it would be applied.
    pub refusal: Option<String>,
}

/// The response to `POST /v1/changes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// A line for each difference, as in [`Plan::changes`].
    pub changes: Vec<String>,
}

/// `GET /v1/services`: every virtual service with its real servers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Services {
    /// Capacity of the flow tables of all workers.
    pub capacity: u64,
    /// Client side first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<Interface>,
    /// In ipvsadm's order: family, protocol, address, port; then groups by mark and family.
    pub services: Vec<Service>,
}

/// An interface that the director serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// As in `ip link`.
    pub name: String,
    /// True with a carrier; without one, frames are neither received nor sent.
    pub up: bool,
}

/// A virtual service with its present state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Protocol, VIP and port, or the mark of a group with its family.
    #[serde(flatten)]
    pub identity: ServiceIdentity,
    /// Matches of a group, as in the configuration file; empty for a service by address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<String>,
    /// VLANs of the VIP, the outer one first; empty for none.
    #[serde(default)]
    pub vlan: Vlans,
    /// Scheduler name.
    pub scheduler: String,
    /// Flags of the scheduler: "sh-fallback", "mh-port" and so on.
    #[serde(default)]
    pub scheduler_flags: Vec<String>,
    /// Binds a client to the server that it got first.
    #[serde(default)]
    pub persistence: Option<Persistence>,
    /// Schedules every datagram by itself.
    #[serde(default)]
    pub one_packet: bool,
    /// Duration of a slow start in seconds; `None` without slow start.
    #[serde(default)]
    pub slow_start: Option<u32>,
    /// State of the VIP: "probing", "claimed", "released", or "standby: " and the station that has it.
    pub state: String,
    /// Servers that take new connections: weight above 0, reachable, below their upper threshold.
    #[serde(default)]
    pub available: usize,
    /// Totals since start.
    pub stats: Stats,
    /// Averages.
    pub rates: Rates,
    /// Sorted by address and port.
    pub servers: Vec<Server>,
}

/// Persistence of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Persistence {
    /// Timeout of a template after the client's last connection, in seconds.
    pub timeout: u32,
    /// Prefix length by which clients share a template; 32 or 128 for one client each.
    pub prefix: u8,
    /// Persistence engine: "sip".
    #[serde(default)]
    pub engine: Option<String>,
}

/// Packet forwarding method, as ipvsadm names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Forwarding {
    /// Direct routing.
    #[default]
    Route,
    /// IP-in-IP encapsulation.
    Tunnel,
    /// Network address translation.
    Masq,
    /// Local delivery on the director.
    Local,
}

/// A real server of a service with its present state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// RIP and port.
    pub address: SocketAddr,
    /// Forwarding method.
    #[serde(default)]
    pub forwarding: Forwarding,
    /// Configured weight.
    pub weight: u16,
    /// Weight that counts: 0 while it is down, or not in use by the quorum. `None` from an older director.
    #[serde(default)]
    pub effective_weight: Option<u16>,
    /// False for a server that listings as of ipvsadm lack: it is down, and the service has `inhibit_on_failure = false`;
    /// or a sorry server that is not in use.
    #[serde(default = "listed")]
    pub listed: bool,
    /// True for the sorry server of the service.
    #[serde(default)]
    pub sorry_server: bool,
    /// Effective part of its weight during a slow start, in percent.
    #[serde(default)]
    pub slow_start_percent: Option<u8>,
    /// Connections at which it counts as overloaded; 0 for never.
    #[serde(default)]
    pub upper_threshold: u32,
    /// Connections below which it is no longer overloaded; 0 for 3/4 of the upper threshold.
    #[serde(default)]
    pub lower_threshold: u32,
    /// Active connections.
    pub active: u32,
    /// Inactive connections.
    pub inactive: u32,
    /// Templates that name it.
    #[serde(default)]
    pub persistent: u32,
    /// "reachable", "resolving", "unreachable", "draining", "down", "ejected", "claims_vip", "standby" or "no_quorum". The
    /// last five get no new connections: health checks fail, handshakes fail, the server answers for the VIP, it is the
    /// sorry server and the quorum stands, or the sorry server is in use instead.
    pub state: String,
    /// True if handshakes with it fail, and those with the service's other servers do not.
    #[serde(default)]
    pub suspected: bool,
    /// TCP handshakes with it that clients opened lately.
    #[serde(default)]
    pub handshakes: Handshakes,
    /// MAC address, once known.
    pub mac: Option<String>,
    /// Totals since start.
    pub stats: Stats,
    /// Averages.
    pub rates: Rates,
}

fn listed() -> bool {
    true
}

impl Server {
    /// Returns the weight that counts.
    #[must_use]
    pub fn counted_weight(&self) -> u16 {
        let of_older = if matches!(self.state.as_str(), "down" | "ejected") { 0 } else { self.weight };
        self.effective_weight.unwrap_or(of_older)
    }
}

/// One line of `GET /v1/connections`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// Protocol, VIP and port; of the template of a group, its mark.
    #[serde(flatten)]
    pub service: ServiceIdentity,
    /// The group whose match took it; `None` for a service by address, and for templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<FirewallMark>,
    /// Whole seconds until it expires.
    pub expires: u32,
    /// State by IPVS's name: "ESTABLISHED", "FIN_WAIT", "UDP" and so on.
    pub state: String,
    /// Client address and port.
    pub client: SocketAddr,
    /// Real server and port.
    pub server: SocketAddr,
}

/// One entry of `GET /v1/drops`, which has every reason, also with a count of 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drops {
    /// Its name.
    pub reason: String,
    /// Frames, all workers together.
    pub frames: u64,
    /// Explanation.
    pub explanation: String,
}

/// One entry of `GET /v1/workers`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Worker {
    /// Worker number, from 0.
    pub worker: usize,
    /// The core that it is pinned to; `None` if pinning was refused.
    pub core: Option<usize>,
    /// "xdp" or "packet".
    pub backend: String,
    /// The (interface, queue) pairs that it receives from.
    pub ports: Vec<Port>,
    /// Frames received.
    pub received: u64,
    /// Frames forwarded.
    pub forwarded: u64,
    /// Received frames that were dropped, all reasons together.
    pub dropped: u64,
    /// Frames that the kernel lost before they were received.
    #[serde(default)]
    pub lost: u64,
    /// Frames passed to another worker, which may know their connection.
    #[serde(default)]
    pub handed_over: u64,
    /// Batches that held a frame.
    pub batches: u64,
    /// Times it went to sleep.
    pub sleeps: u64,
    /// Connections in its table.
    pub entries: u64,
    /// Connections that expired.
    pub expired: u64,
    /// Unconfirmed connections that were evicted for new ones.
    pub evicted: u64,
    /// Sampled time from receive to transmit.
    pub latency: Latency,
}

/// An (interface, queue) pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Interface name.
    pub interface: String,
    /// Queue number.
    pub queue: u32,
    /// "native, zero-copy" and the like.
    pub mode: String,
    /// Frames waiting to be read.
    pub receive: u64,
    /// Frames waiting to be sent.
    pub transmit: u64,
    /// Empty frames that the kernel holds.
    pub fill: u64,
}

/// Percentiles in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// Number of samples.
    pub samples: u64,
    /// Median.
    pub p50_ns: u64,
    /// 90th percentile.
    pub p90_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// Largest.
    pub max_ns: u64,
}

/// `GET /v1/timeouts`, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// TCP ESTABLISHED.
    pub tcp: u32,
    /// TCP FIN_WAIT.
    pub tcp_fin: u32,
    /// UDP.
    pub udp: u32,
}
