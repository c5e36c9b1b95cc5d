//! `GET /v1/sync`: connection sync with other directors. `POST /v1/sync` starts or stops one of its two daemons.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Connection sync: its daemons, and what they have sent and heard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncStatus {
    /// The daemons, as IPVS has them: the one that sends is first.
    pub daemons: Vec<SyncDaemonStatus>,
    /// The reason for which they do not run; null if they do.
    pub failure: Option<String>,
    /// True once all connections of a peer have come, or none could be asked within 5 s.
    pub complete: bool,
    /// Connections in the shadow table.
    pub connections: u32,
    /// Persistence templates.
    pub templates: u32,
    /// Records sent since the daemons were started.
    pub records_sent: u64,
    /// Datagrams sent, a copy to each unicast peer counted.
    pub datagrams_sent: u64,
    /// Datagrams that the kernel did not take.
    pub send_failures: u64,
    /// The directors that were heard.
    pub peers: Vec<SyncPeerStatus>,
    /// Configured peers that were not heard.
    pub unheard: Vec<IpAddr>,
    /// Refused messages and records by reason, without reasons that did not occur.
    pub refusals: Vec<SyncRefusalCount>,
}

/// Word of a daemon, as ipvsadm has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SyncDaemonKind {
    /// It sends.
    Master,
    /// It receives.
    Backup,
}

impl SyncDaemonKind {
    /// The word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Backup => "backup",
        }
    }
}

/// A daemon with its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncDaemonStatus {
    /// Whether it sends or receives.
    pub daemon: SyncDaemonKind,
    /// Interface of the messages.
    pub interface: String,
    /// Number of the group of directors.
    pub syncid: u8,
    /// Longest message in bytes.
    pub maxlen: u16,
    /// Multicast group.
    pub group: IpAddr,
    /// UDP port.
    pub port: u16,
    /// Time to live.
    pub ttl: u8,
}

/// A director that was heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncPeerStatus {
    /// Source address of its messages.
    pub address: IpAddr,
    /// "directrix" if it says hello, else "kernel".
    pub kind: String,
    /// Milliseconds since its last message.
    pub heard_ms: u32,
    /// Messages with a right header.
    pub messages: u64,
    /// Records with right fields.
    pub records: u64,
    /// Messages and parts of them whose form was refused.
    pub refused: u64,
    /// Records that have not arrived; of a directrix.
    pub lost: u64,
    /// State of a directrix, by its last hello.
    pub hello: Option<SyncHelloStatus>,
}

/// State of a directrix by its last hello.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncHelloStatus {
    /// Milliseconds since it came.
    pub age_ms: u32,
    /// Milliseconds by which it came later than the fastest one of the last minutes.
    pub lag_ms: u32,
    /// Starts of the peer that were seen.
    pub starts: u32,
    /// Its role.
    pub role: String,
    /// True once it has the connections of its own peers.
    pub complete: bool,
    /// Its connections.
    pub connections: u32,
    /// Its templates.
    pub templates: u32,
    /// Least number of connections that one of the two has and the other has not; null if its messages are too short for a digest.
    pub difference: Option<u64>,
    /// True if it has the same services and real servers.
    pub same_services: bool,
    /// True if scheduler mh sends a client to the same server there.
    pub same_mh: bool,
}

/// Refusals for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncRefusalCount {
    /// Name of the reason.
    pub reason: String,
    /// Number of messages, rests of messages or records.
    pub count: u64,
    /// Explanation of the reason.
    pub explanation: String,
}

/// The body of `POST /v1/sync`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncRequest {
    /// The daemon.
    pub daemon: SyncDaemonKind,
    /// Parameters of its start; null or absent to stop it.
    #[serde(default)]
    pub start: Option<SyncDaemonSettings>,
}

/// Parameters of a daemon's start. What is not given has IPVS's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncDaemonSettings {
    /// Interface of the messages.
    pub interface: String,
    /// Number of the group of directors.
    #[serde(default)]
    pub syncid: u8,
    /// Longest message in bytes.
    #[serde(default)]
    pub maxlen: Option<u16>,
    /// Multicast group.
    #[serde(default)]
    pub group: Option<IpAddr>,
    /// UDP port.
    #[serde(default)]
    pub port: Option<u16>,
    /// Time to live.
    #[serde(default)]
    pub ttl: Option<u8>,
}
