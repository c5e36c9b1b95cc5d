//! The readings that a page of metrics is rendered from.

use crate::control::api;
use crate::health::ProbeTimes;
use crate::sys::ProcessUsage;
use hdrhistogram::Histogram;
use std::time::SystemTime;

/// All values of a page, read at one moment.
#[derive(Clone, Debug)]
pub struct Readings {
    /// Start time of the director.
    pub started: SystemTime,
    /// The configuration file and reloads.
    pub config: ConfigReadings,
    /// Resource usage of the process; `None` without /proc.
    pub process: Option<ProcessUsage>,
    /// Every virtual service with its real servers.
    pub services: api::Services,
    /// Every health check.
    pub checks: api::checks::Checks,
    /// Times of their probes.
    pub probe_times: ProbeTimes,
    /// Findings of the address auditor.
    pub audit: api::audit::Audit,
    /// Questions that it has sent.
    pub audit_questions: u64,
    /// Every worker.
    pub workers: Vec<WorkerReadings>,
    /// Connections of persistent services without a template, since the table was full.
    pub unbound: u64,
    /// Connections whose first frame had an unfinished TCP, UDP or SCTP checksum.
    pub unfinished: u64,
    /// The role among several directors.
    pub role: api::role::RoleStatus,
    /// True if this director can take traffic.
    pub ready: bool,
    /// Connection sync with other directors.
    pub sync: api::sync::SyncStatus,
    /// The shadow table.
    pub shadow: ShadowReadings,
    /// Counters of ARP and neighbor discovery.
    pub neighbors: NeighborReadings,
    /// Pings of VIPs.
    pub pings: PingReadings,
    /// ICMP errors and resets to clients, of each kind.
    pub answers: Vec<AnswerReadings>,
}

/// The configuration file compared with the running configuration, and the outcome of reloads.
#[derive(Clone, Copy, Debug)]
pub struct ConfigReadings {
    /// Differences between the file and the running configuration; `None` if the file cannot be used.
    pub unsaved: Option<u64>,
    /// True if the last reload was applied, or there was none.
    pub reload_successful: bool,
    /// Time at which the configuration was last applied, at the start or by a reload.
    pub taken_over: SystemTime,
}

/// Readings of one worker.
#[derive(Clone, Debug)]
pub struct WorkerReadings {
    /// Its counters.
    pub worker: api::Worker,
    /// Dropped frames of every reason, by name.
    pub drops: Vec<(&'static str, u64)>,
    /// Sampled times from receive to transmit, in ns; `None` if it did not answer.
    pub latency: Option<Box<Histogram<u64>>>,
    /// CPU time of its thread, in seconds; `None` without /proc.
    pub cpu_seconds: Option<f64>,
}

/// The readings of [`crate::control::keeper::counters::KeeperCounters`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShadowReadings {
    /// Connections now.
    pub entries: u64,
    /// Connections that workers took over.
    pub adopted: u64,
    /// Events lost in a full journal.
    pub lost: u64,
    /// Events without room in the table.
    pub full: u64,
    /// Connections of the process before: kept.
    pub kept: u64,
    /// Likewise, expired.
    pub expired: u64,
    /// Likewise, of no service, server or timeout of the configuration.
    pub refused: u64,
    /// Likewise, damaged or there twice.
    pub damaged: u64,
}

/// The totals of [`crate::neighbor::NeighborCounters`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NeighborReadings {
    /// Answers given for VIPs.
    pub answered: u64,
    /// Announcements of VIPs.
    pub announced: u64,
    /// Probes for VIPs.
    pub probed: u64,
    /// Solicitations of real servers.
    pub requested: u64,
    /// Packets of other stations that use a VIP.
    pub conflicts: u64,
    /// Packets that claim a reachable real server's address for another MAC address.
    pub disputed: u64,
}

/// The totals of [`crate::control::ping::PingCounters`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PingReadings {
    /// Replies sent.
    pub answered: u64,
    /// Requests without a reply because of the rate limit.
    pub limited: u64,
}

/// The totals of one kind in [`crate::control::answers::AnswerCounters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerReadings {
    /// Name of the kind.
    pub kind: &'static str,
    /// Answers sent.
    pub sent: u64,
    /// Answers not sent because of the rate limit.
    pub limited: u64,
}
