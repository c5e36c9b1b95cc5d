//! `GET /v1/status`: a director at a glance.

use crate::model::ServiceAddress;
use serde::{Deserialize, Serialize};

/// What runs, how well, and what needs attention.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The running program's.
    pub version: String,
    /// Process id, in the director's pid namespace.
    pub pid: u32,
    /// When it started, in seconds since 1970.
    pub started: u64,
    /// Seconds since then.
    pub uptime: u64,
    /// Whether it has claimed or refused each VIP, and each real server has answered or not.
    pub ready: bool,
    /// What carries the frames.
    pub backend: Backend,
    /// Number of workers.
    pub workers: usize,
    /// Connections in the tables of all workers.
    pub connections: u64,
    /// Capacity of the connection tables.
    pub capacity: u64,
    /// The director's interfaces.
    pub interfaces: Vec<Interface>,
    /// Every VIP, in order.
    pub vips: Vec<Vip>,
    /// Every virtual service, in ipvsadm's order.
    pub services: Vec<ServiceSummary>,
    /// Reasons for which frames were dropped, the most frequent first; none without frames.
    pub drops: Vec<DropCount>,
    /// The configuration file beside what runs.
    pub file: FileStatus,
    /// The last reload; `None` if there was none since the start.
    pub reload: Option<Reload>,
    /// What needs attention; empty if all is well.
    pub warnings: Vec<Warning>,
}

/// What carries the frames.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// "xdp" or "packet".
    pub name: String,
    /// Why it was chosen.
    pub reason: String,
}

/// One of the director's interfaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// As in `ip link`.
    pub name: String,
    /// MAC address.
    pub mac: String,
}

/// A VIP and what has become of the claim to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vip {
    /// Its address.
    pub address: std::net::IpAddr,
    /// As [`super::Service::state`].
    pub state: String,
}

/// A virtual service in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSummary {
    /// Protocol, VIP and port.
    #[serde(flatten)]
    pub address: ServiceAddress,
    /// Real servers that take new connections.
    pub available: usize,
    /// All real servers.
    pub servers: usize,
    /// What keeps the others from new connections, in words.
    pub detail: String,
}

/// Dropped frames of one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropCount {
    /// Its name, as `directrix drops` has it.
    pub reason: String,
    /// Frames, all workers together.
    pub frames: u64,
}

/// The configuration file beside what runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStatus {
    /// Why the file cannot be used: a restart would fail.
    pub error: Option<String>,
    /// A line for each difference from the file to what runs: `+` runs and is not in the file. A restart or a reload
    /// would undo them.
    pub unsaved: Vec<String>,
    /// Keys of `[director]` that differ and need a new start.
    pub restarts: Vec<String>,
}

/// How a reload went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reload {
    /// When, in seconds since 1970.
    pub at: u64,
    /// Who asked for it first, in words.
    pub by: String,
    /// Differences that were applied.
    pub changes: usize,
    /// Why nothing was.
    pub error: Option<String>,
}

/// Something that needs attention.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// For programs: "no-server", "vip-taken" and so on.
    pub code: String,
    /// For people.
    pub text: String,
}

impl Warning {
    /// A warning of a kind.
    #[must_use]
    pub fn new(code: &str, text: impl Into<String>) -> Self {
        Self { code: code.into(), text: text.into() }
    }
}
