//! `GET /v1/role`: the director's role among several. `POST /v1/role` sets it, if commands are its source.

use crate::model::Role;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The role, its source, and what was heard from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleStatus {
    /// The role.
    pub role: Role,
    /// "standalone", "fifo", "file" or "command".
    pub source: String,
    /// Time of the last change, or of the start, in milliseconds since 1970.
    pub since_ms: u64,
    /// The input that led to the role.
    pub cause: String,
    /// True while keepalived has the FIFO open; false for other sources.
    pub source_lives: bool,
    /// Changes of the role since the start.
    pub transitions: u64,
    /// Lines of the instance.
    pub heard: u64,
    /// Lines of other instances and of health checks.
    pub ignored: u64,
    /// Lines and words without a meaning.
    pub unknown: u64,
    /// Ends of keepalived without a word.
    pub deaths: u64,
    /// Split brains since the start: hosts that answered for a VIP while this director was master.
    pub split_brains: u64,
    /// The present ones.
    pub split_brain: Vec<SplitBrain>,
    /// The latest inputs, the latest last.
    pub recent: Vec<RoleMoment>,
}

/// A host that has a VIP while this director is master.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitBrain {
    /// The VIP.
    pub vip: IpAddr,
    /// MAC address of the host.
    pub mac: String,
}

/// An input with its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleMoment {
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// The line, or the input in words.
    pub text: String,
}

/// The body of `POST /v1/role`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleRequest {
    /// "master", "backup" or "fault".
    pub role: Role,
}
