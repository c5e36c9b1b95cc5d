//! `GET /v1/events`: the latest changes that decide which servers get new connections, the oldest first.

use crate::model::ServiceIdentity;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// A change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Number since the start of the director, from 0. A gap means that older events have been dropped.
    pub number: u64,
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// Origin.
    pub by: EventSource,
    /// The service; `None` for an event of a real server in all its services, or of the director.
    pub service: Option<ServiceIdentity>,
    /// RIP; `None` for an event of the service, or of the director.
    pub server: Option<IpAddr>,
    /// The health check in words, for one of a check.
    pub check: Option<String>,
    /// The change in a sentence, with cause and remedy.
    pub text: String,
}

/// Origin of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventSource {
    /// A health check.
    Check,
    /// Health as a whole: what follows from checks, panic and the operator.
    Health,
    /// ARP or neighbor discovery.
    Arp,
    /// A command, or a reload.
    Operator,
    /// The end of a drain.
    Drain,
    /// The handshakes that workers see.
    Passive,
    /// The panic share of a service.
    Panic,
    /// The freeze of all checks.
    Freeze,
    /// The quorum of a service.
    Quorum,
    /// The role of this director among several.
    Role,
    /// Its readiness for traffic.
    Readiness,
}

impl EventSource {
    /// Name as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Health => "health",
            Self::Arp => "arp",
            Self::Operator => "operator",
            Self::Drain => "drain",
            Self::Passive => "passive",
            Self::Panic => "panic",
            Self::Freeze => "freeze",
            Self::Quorum => "quorum",
            Self::Role => "role",
            Self::Readiness => "readiness",
        }
    }
}

impl fmt::Display for EventSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Event {
    /// Returns true if the event is about the server `rip` in `service`, or about more than that.
    #[must_use]
    pub fn concerns(&self, service: ServiceIdentity, rip: IpAddr) -> bool {
        self.service.is_none_or(|of| of == service) && self.server.is_none_or(|of| of == rip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_in_json() {
        use EventSource::{Arp, Check, Drain, Freeze, Health, Operator, Panic, Passive, Quorum, Role};
        for source in [Check, Health, Arp, Operator, Drain, Passive, Panic, Freeze, Quorum, Role] {
            assert_eq!(serde_json::to_string(&source).unwrap(), format!("\"{source}\""));
        }
    }
}
