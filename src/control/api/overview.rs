//! `GET /v1/status`: a director at a glance.

use super::role::RoleStatus;
use crate::model::ServiceIdentity;
use crate::wire::vlan::Vlans;
use serde::{Deserialize, Serialize};

/// Status report of the director.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the running program.
    pub version: String,
    /// Process id, in the director's pid namespace.
    pub pid: u32,
    /// When it started, in seconds since 1970.
    pub started: u64,
    /// Seconds since then.
    pub uptime: u64,
    /// True once no VIP is being probed and no real server resolved.
    pub ready: bool,
    /// Backend.
    pub backend: Backend,
    /// Number of workers.
    pub workers: usize,
    /// Connections in the tables of all workers.
    pub connections: u64,
    /// Capacity of the connection tables.
    pub capacity: u64,
    /// The director's interfaces.
    pub interfaces: Vec<Interface>,
    /// The role among several directors; of an older director as without a source.
    #[serde(default)]
    pub role: RoleStatus,
    /// Every VIP, in order.
    pub vips: Vec<Vip>,
    /// Every virtual service, in ipvsadm's order.
    pub services: Vec<ServiceSummary>,
    /// Reasons for which frames were dropped, the most frequent first; none without frames.
    pub drops: Vec<DropCount>,
    /// The configuration file compared with the running configuration.
    pub file: FileStatus,
    /// The last reload; `None` if there was none since the start.
    pub reload: Option<Reload>,
    /// Conditions that need attention; empty if there are none.
    pub warnings: Vec<Warning>,
}

/// Backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// "xdp" or "packet".
    pub name: String,
    /// Reason for the choice.
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

/// A VIP with the state of its claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vip {
    /// Its address.
    pub address: std::net::IpAddr,
    /// As [`super::Service::state`].
    pub state: String,
    /// VLANs of its frames, the outer one first; empty for none.
    #[serde(default)]
    pub vlan: Vlans,
}

/// A virtual service in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSummary {
    /// Protocol, VIP and port, or the mark of a group with its family.
    #[serde(flatten)]
    pub identity: ServiceIdentity,
    /// Real servers that take new connections.
    pub available: usize,
    /// All real servers.
    pub servers: usize,
    /// Reasons for which the other servers take no new connections.
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

/// The configuration file compared with the running configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStatus {
    /// Error of a file that cannot be used: a restart would fail.
    pub error: Option<String>,
    /// A line for each difference from the file to the running configuration; `+` marks an addition to the file. A
    /// restart or a reload would undo them.
    pub unsaved: Vec<String>,
    /// Keys of `[director]` that differ and require a restart.
    pub restarts: Vec<String>,
}

/// The outcome of a reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reload {
    /// Time in seconds since 1970.
    pub at: u64,
    /// Origin of the first request for it.
    pub by: String,
    /// Differences that were applied.
    pub changes: usize,
    /// Error of a refused reload.
    pub error: Option<String>,
}

/// A condition that needs attention.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// Code: "no-server", "vip-taken" and so on.
    pub code: String,
    /// Message.
    pub text: String,
}

impl Warning {
    /// Creates a warning with `code`.
    #[must_use]
    pub fn new(code: &str, text: impl Into<String>) -> Self {
        Self { code: code.into(), text: text.into() }
    }
}
