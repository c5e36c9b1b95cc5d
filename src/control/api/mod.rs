//! What the control socket says: plain data, shared by the server and the command line.
//!
//! HTTP over a Unix socket, JSON bodies: the paths of [`path`]. Connections come as JSON lines, since there
//! may be a million of them, and the configuration as TOML; every other body is one JSON value, and an
//! error is a [`Problem`].

pub mod request;

pub mod overview;

use crate::model::{Diagnostic, ServiceAddress};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// What can be asked for. The version is part of the path: a change that old clients would
/// misread gets a new one.
pub mod path {
    /// [`super::Services`].
    pub const SERVICES: &str = "/v1/services";
    /// A [`super::Connection`] a line.
    pub const CONNECTIONS: &str = "/v1/connections";
    /// A list of [`super::Drops`].
    pub const DROPS: &str = "/v1/drops";
    /// A list of [`super::Worker`].
    pub const WORKERS: &str = "/v1/workers";
    /// Takes a list of [`super::super::request::ChangeRequest`]s, and answers with [`super::Changed`].
    pub const CHANGES: &str = "/v1/changes";
    /// The running configuration as a file's text.
    pub const CONFIG: &str = "/v1/config";
    /// Asks the director to read its file again.
    pub const RELOAD: &str = "/v1/reload";
    /// Takes a [`super::Draft`], and has it judged as a reload would judge it: a [`super::Plan`]. A path of
    /// its own: a director that did not know it must not take the question for a reload.
    pub const PLAN: &str = "/v1/plan";
    /// [`crate::control::director::status::Status`].
    pub const STATUS: &str = "/v1/status";
    /// "ok" with status 200, or what ails the director with 503.
    pub const HEALTH: &str = "/healthz";
    /// [`super::Timeouts`].
    pub const TIMEOUTS: &str = "/v1/timeouts";
    /// A page for Prometheus (see [`crate::control::metrics`]), where scrapers look for it.
    pub const METRICS: &str = "/metrics";
}

/// Largest request body in bytes: enough for 65,535 real servers with every setting.
pub const BODY_MAX: usize = 16 << 20;

/// Longest path of a Unix socket in bytes: `sun_path` less the terminating zero (unix(7)).
pub const SOCKET_PATH_MAX: usize = 107;

/// Prefix of the `User-Agent` of this program's own commands, before the command's name.
pub(in crate::control) const COMMAND_AGENT: &str = "directrix-";

/// Returns the `User-Agent` of one of this program's commands.
#[must_use]
pub(in crate::control) fn user_agent(command: &str) -> String {
    format!("{COMMAND_AGENT}{command}/{}", env!("CARGO_PKG_VERSION"))
}

/// What calls itself so in the header `server` of every answer, with its version: "directrix/0.1.0".
pub const SERVER: &str = concat!("directrix/", env!("CARGO_PKG_VERSION"));

/// [`Problem::code`] of an answer 403 to somebody who may read, but not change.
pub const READ_ONLY: &str = "read-only";
/// [`Problem::code`] of an answer 403 to somebody who may do nothing.
pub const NO_ACCESS: &str = "no-access";

/// A configuration file that is not the director's, with those that it includes.
pub type Draft = crate::model::Sources;

/// What a reload would make of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// A line for each difference.
    pub changes: Vec<String>,
    /// Keys of `[director]` that differ and need a new start.
    pub restarts: Vec<String>,
    /// Why all of it would be refused; `None` if it would not be.
    pub refusal: Option<String>,
}

/// The answer to `POST /v1/changes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// A line for each thing that became different, as in [`Plan::changes`].
    pub changes: Vec<String>,
}

/// The body of every answer that is no success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What is wrong, for a person.
    pub error: String,
    /// What is wrong, for a program: [`READ_ONLY`], [`NO_ACCESS`], or [`crate::model::DiagnosticKind::code`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Which request of a list it was, counted from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<usize>,
}

impl From<&Diagnostic> for Problem {
    fn from(diagnostic: &Diagnostic) -> Self {
        let code = diagnostic.kind.code().map(str::to_owned);
        Self { error: diagnostic.to_string(), code, at: None }
    }
}

/// `GET /v1/services`: every virtual service with its real servers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Services {
    /// Capacity of the connection table.
    pub capacity: u64,
    /// The client side first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<Interface>,
    /// In ipvsadm's order: family, protocol, address, port.
    pub services: Vec<Service>,
}

/// An interface that the director serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// As in `ip link`.
    pub name: String,
    /// Whether it has a carrier: without one, no frame comes or goes.
    pub up: bool,
}

/// A virtual service as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Protocol, VIP and port.
    #[serde(flatten)]
    pub address: ServiceAddress,
    /// Scheduler name.
    pub scheduler: String,
    /// Flags of the scheduler: "sh-fallback", "mh-port" and so on.
    #[serde(default)]
    pub scheduler_flags: Vec<String>,
    /// Binds a client to the server that it got first.
    #[serde(default)]
    pub persistence: Option<Persistence>,
    /// Every datagram is scheduled by itself.
    #[serde(default)]
    pub one_packet: bool,
    /// Seconds until the whole weight of a server that comes counts; `None` if it does at once.
    #[serde(default)]
    pub slow_start: Option<u32>,
    /// "serving", "probing", or "standby: " and the station that has the VIP.
    pub state: String,
    /// Servers that take new connections: weight above 0, reachable, below their upper threshold.
    #[serde(default)]
    pub available: usize,
    /// Totals since start.
    pub stats: Stats,
    /// Averages.
    pub rates: Rates,
    /// By address and port.
    pub servers: Vec<Server>,
}

/// How a service binds clients to servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Persistence {
    /// How long a client stays bound after its last connection, in seconds.
    pub timeout: u32,
    /// Clients that share so many leading address bits count as one: 32 or 128 for each by itself.
    pub prefix: u8,
    /// What else tells clients apart: "sip".
    #[serde(default)]
    pub engine: Option<String>,
}

/// How packets reach a real server.
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
    /// The director itself answers.
    Local,
}

/// A real server of a service as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// RIP and port.
    pub address: SocketAddr,
    /// How packets reach it.
    #[serde(default)]
    pub forwarding: Forwarding,
    /// Configured weight.
    pub weight: u16,
    /// While it starts slowly: how much of its weight counts, in percent.
    #[serde(default)]
    pub ramp: Option<u8>,
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
    /// Bindings of clients to it.
    #[serde(default)]
    pub persistent: u32,
    /// "reachable", "resolving", "unreachable", "draining", or "claims_vip" for one that answers ARP for
    /// the VIP and gets no new connections therefore.
    pub state: String,
    /// MAC address, once known.
    pub mac: Option<String>,
    /// Totals since start.
    pub stats: Stats,
    /// Averages.
    pub rates: Rates,
}

/// Totals as `ipvsadm --stats` has them. Out is 0: replies bypass the director.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Connections opened.
    pub connections: u64,
    /// Packets in.
    pub in_packets: u64,
    /// Packets out.
    pub out_packets: u64,
    /// IP bytes in.
    pub in_bytes: u64,
    /// IP bytes out.
    pub out_bytes: u64,
}

impl std::ops::Add for Stats {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            connections: self.connections + other.connections,
            in_packets: self.in_packets + other.in_packets,
            out_packets: self.out_packets + other.out_packets,
            in_bytes: self.in_bytes + other.in_bytes,
            out_bytes: self.out_bytes + other.out_bytes,
        }
    }
}

impl std::ops::Sub for Stats {
    type Output = Self;

    /// What has been counted since `earlier`, of counts that never fall.
    fn sub(self, earlier: Self) -> Self {
        Self {
            connections: self.connections - earlier.connections,
            in_packets: self.in_packets - earlier.in_packets,
            out_packets: self.out_packets - earlier.out_packets,
            in_bytes: self.in_bytes - earlier.in_bytes,
            out_bytes: self.out_bytes - earlier.out_bytes,
        }
    }
}

/// Averages per second as `ipvsadm --rate` has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    /// Connections.
    pub connections: u64,
    /// Packets in.
    pub in_packets: u64,
    /// Packets out.
    pub out_packets: u64,
    /// IP bytes in.
    pub in_bytes: u64,
    /// IP bytes out.
    pub out_bytes: u64,
}

/// One line of `GET /v1/connections`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// The service's protocol and address.
    #[serde(flatten)]
    pub service: ServiceAddress,
    /// Whole seconds until it expires.
    pub expires: u32,
    /// State by IPVS's name: "ESTABLISHED", "FIN_WAIT", "UDP" and so on.
    pub state: String,
    /// Client address and port.
    pub client: SocketAddr,
    /// Real server and port.
    pub server: SocketAddr,
}

/// One entry of `GET /v1/drops`: every reason, also those with none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drops {
    /// Its name.
    pub reason: String,
    /// Frames, all workers together.
    pub frames: u64,
    /// What it means.
    pub explanation: String,
}

/// One entry of `GET /v1/workers`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Worker {
    /// Counted from 0.
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
