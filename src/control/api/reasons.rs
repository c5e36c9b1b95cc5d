//! `GET /v1/reasons`: whether each real server gets new connections, and if not, why.

use crate::model::ServiceIdentity;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A real server of a service, with the reasons for which it gets no new connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerReasons {
    /// The service.
    pub service: ServiceIdentity,
    /// RIP.
    pub server: IpAddr,
    /// True if it gets new connections: there is no reason against it.
    pub takes_connections: bool,
    /// All reasons, those by the operator first.
    pub reasons: Vec<Reason>,
    /// Conditions that change its share, or that are ignored at present, in sentences.
    pub notes: Vec<String>,
}

/// A reason for which a server gets no new connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Stable name: "weight-0", "draining", "resolving", "unreachable", "claims-vip", "down", "ejected",
    /// "forced-down", "unchecked", "standby", "no-quorum", "overloaded", "vip-probing", "vip-released", "vip-standby", "link-down".
    pub code: String,
    /// The reason in a sentence, with the remedy.
    pub text: String,
}

impl ServerReasons {
    /// Adds that the interface `name` has no carrier.
    pub(in crate::control) fn link_down(&mut self, name: &str) {
        let text =
            format!("the director's interface {name} has no carrier: see to its cable and its switch port");
        self.reasons.push(Reason::new("link-down", text));
        self.takes_connections = false;
    }
}

impl Reason {
    /// Creates a reason.
    #[must_use]
    pub fn new(code: &str, text: impl Into<String>) -> Self {
        Self { code: code.into(), text: text.into() }
    }
}
