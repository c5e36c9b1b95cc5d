//! `GET /v1/checks`: every health check with its state. Times are in milliseconds before or after the answer.

use crate::model::{HealthMode, ServiceIdentity};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// All health checks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checks {
    /// True while nearly all checks fail at once: no server goes down then.
    pub frozen: bool,
    /// Checks, each counted once however many services use it.
    pub checks: usize,
    /// Probes on their way.
    pub in_flight: usize,
    /// Services with checks, in the order of the configuration; then others whose handshakes say something.
    pub services: Vec<Service>,
}

/// A service with checks, with a server whose health the operator holds, with a quorum, or whose handshakes say
/// something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Protocol, VIP and port, or the mark of a group with its family.
    #[serde(flatten)]
    pub identity: ServiceIdentity,
    /// True while health is ignored: more than the panic share of the weight is down.
    pub panic: bool,
    /// True while TCP handshakes fail with most of its servers: nothing is said about one of them then.
    #[serde(default)]
    pub flood: bool,
    /// The numbers of that, the cause and the remedy in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flood_reason: Option<String>,
    /// Its quorum; `None` without one, and before it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<Quorum>,
    /// Its sorry server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sorry_server: Option<SorryServer>,
    /// Its real servers.
    pub servers: Vec<Server>,
}

/// The quorum of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quorum {
    /// Weight that it needs; 1 for a sorry server without a configured quorum.
    pub weight: u32,
    /// Weight that is there.
    pub live: u32,
    /// Whether it stands.
    pub up: bool,
}

/// The sorry server of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SorryServer {
    /// RIP.
    pub address: IpAddr,
    /// True while it gets all new connections.
    pub in_use: bool,
}

/// A real server of such a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// RIP.
    pub address: IpAddr,
    /// True if one of its checks is down, unless the operator holds its health.
    pub down: bool,
    /// True if it counts with weight 0 for that.
    pub out: bool,
    /// Weight by its checks in place of the configured one; `None` without a check that changes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dynamic_weight: Option<u16>,
    /// The operator's hold: "auto" for none, "paused", "forced-up" or "forced-down".
    #[serde(default)]
    pub mode: HealthMode,
    /// Its checks.
    pub checks: Vec<Check>,
    /// Evidence of the handshakes of clients against it; `None` without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passive: Option<Passive>,
}

/// Evidence against a real server in the handshakes of clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passive {
    /// "warned": there is no other server to compare it with; "suspected"; "ejected": it gets no new connections; "probation":
    /// it gets a small share after an ejection.
    pub state: String,
    /// Time in this state.
    pub since_ms: u32,
    /// Time to the end of the ejection.
    pub left_ms: Option<u32>,
    /// Handshakes that were opened in ten seconds.
    pub opened: u32,
    /// Of these, the ones not completed.
    pub failed: u32,
    /// Of the failed ones, those whose SYN was repeated, at most.
    pub repeated: u32,
    /// Median of the failed parts of the service's other servers, in thousandths.
    pub others_permille: Option<u16>,
    /// The numbers, the cause and the remedy in a sentence.
    pub reason: String,
}

/// A check of a real server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Protocol and port in words: "http /alive port 80".
    pub check: String,
    /// False for a check that only explains the failure of another.
    pub decides: bool,
    /// "unknown", "up" or "down".
    pub state: String,
    /// Time since the last change of the state.
    pub since_ms: u32,
    /// Time since the last result; `None` before the first.
    pub last_ms: Option<u32>,
    /// Duration of the last probe, in microseconds.
    pub took_us: Option<u64>,
    /// Time to the next probe; `None` while one is on its way, or while the check is paused.
    pub next_ms: Option<u32>,
    /// True while the operator has paused it.
    #[serde(default)]
    pub paused: bool,
    /// Last result in words; `None` if it was good, or there was none.
    pub error: Option<String>,
    /// Effect on the weight in words: "weight 7", "weight -3"; `None` without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<String>,
    /// Cause by its name, while the check is down or fails.
    pub cause: Option<String>,
    /// Cause with the remedy, in a sentence.
    pub reason: Option<String>,
    /// Times that it went down in the last ten minutes.
    pub downs: usize,
    /// Certificate of the server, once a check of type https has seen one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
}

/// The end of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Unix time, in seconds.
    pub expires: i64,
    /// Whole days to it; negative once it has passed.
    pub days: i64,
}

/// `POST /v1/checks/report`: the result of a check of type external.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckReport {
    /// RIP.
    pub server: IpAddr,
    /// Name of the check.
    pub name: String,
    /// Result.
    pub up: bool,
    /// Reason in words, shown while the result is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
