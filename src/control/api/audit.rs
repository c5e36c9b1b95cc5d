//! `GET /v1/audit`: every host that misuses a VIP or a real server's address. Times are in milliseconds before the answer.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// All findings of the address auditor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// Seconds in which each question is asked once; 0 for none.
    pub interval: u32,
    /// Findings, the gravest first.
    pub findings: Vec<Finding>,
}

/// A host that misuses an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Name of the misuse: a section of docs/audit.md.
    pub misuse: String,
    /// "error", "warning" or "info".
    pub level: String,
    /// The VIP, or the address that two hosts have.
    pub address: IpAddr,
    /// MAC address of the host.
    pub mac: String,
    /// RIP of the host, if it is a configured real server.
    pub server: Option<IpAddr>,
    /// True if the MAC address is that of another interface of the real server than the RIP's.
    pub other_interface: bool,
    /// "asked" if an answer to the director showed it, else "heard".
    pub seen: String,
    /// Time since the first message that showed it.
    pub since_ms: u64,
    /// Time since the last one.
    pub last_ms: u64,
    /// Messages that showed it.
    pub count: u64,
    /// The finding in a sentence.
    pub text: String,
    /// Command for the host; `IF` in it stands for the name of an interface there.
    pub command: Option<String>,
    /// More to do or to look at.
    pub advice: Option<String>,
}
