//! The readings that a page of metrics is rendered from.

use crate::control::api;
use crate::sys::ProcessUsage;
use hdrhistogram::Histogram;
use std::time::SystemTime;

/// Everything that a page is made of, as it stood at one moment.
#[derive(Clone, Debug)]
pub struct Readings {
    /// When the director started.
    pub started: SystemTime,
    /// The configuration file and reloads.
    pub config: ConfigReadings,
    /// What the process uses; `None` without /proc.
    pub process: Option<ProcessUsage>,
    /// Every virtual service with its real servers.
    pub services: api::Services,
    /// Every worker.
    pub workers: Vec<WorkerReadings>,
    /// Connections of persistent services that got no template since there was no room.
    pub unbound: u64,
    /// Connections that began with a TCP or UDP checksum that nothing finishes.
    pub unfinished: u64,
    /// What ARP has done.
    pub arp: ArpReadings,
}

/// The configuration file beside what runs, and how reloads went.
#[derive(Clone, Copy, Debug)]
pub struct ConfigReadings {
    /// Differences between the file and what runs; `None` if the file cannot be used.
    pub unsaved: Option<u64>,
    /// Whether the last reload was applied; true if there was none.
    pub reload_successful: bool,
    /// When the configuration was last taken over, at the start or by a reload.
    pub taken_over: SystemTime,
}

/// What one worker tells.
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

/// The totals of [`crate::neighbor::ArpCounters`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArpReadings {
    /// Answers given for VIPs.
    pub answered: u64,
    /// Announcements of VIPs.
    pub announced: u64,
    /// Probes for VIPs.
    pub probed: u64,
    /// Requests for real servers.
    pub requested: u64,
    /// Packets from other stations that act as if they had a VIP.
    pub conflicts: u64,
    /// Packets that claim a reachable real server's address for another MAC address.
    pub disputed: u64,
}
