//! The failover drill: two directors with keepalived and connection sync, and a client with long-lived connections.
//!
//! ```text
//!   client ── switch ─┬─ dir1   directrix, keepalived: master or backup
//!                     ├─ dir2   likewise
//!                     ├─ rs1    echo server, VIP on lo
//!                     └─ rs2    likewise
//! ```
//! Each event strikes the present master. The client then looks how many of its connections are left, and how long its
//! datagrams stayed without an answer.

mod drill;
pub mod echo;
mod events;
pub mod holder;
mod member;
mod site;
mod topology;

pub use drill::{DrillReport, EventResult, run};
pub use events::DrillEvent;

use super::options::LabBackend;
use std::path::PathBuf;

/// Options of a drill.
#[derive(Clone, Debug)]
pub struct DrillOptions {
    /// Prefix of the network namespaces.
    pub name: String,
    /// Program that is run.
    pub exe: PathBuf,
    /// Backend of both directors.
    pub backend: LabBackend,
    /// Whether the client's connections are of IPv6.
    pub is_ipv6: bool,
    /// Connections that the client holds.
    pub connections: usize,
    /// Number of kills by SIGKILL.
    pub kills: usize,
    /// Number of upgrades.
    pub upgrades: usize,
}
