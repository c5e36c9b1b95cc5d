//! Figures of one run.

use super::capture::{FramesByHost, HostFrames, Tally};
use super::http_client::Answers;
use super::{Arp, LabHost};
use crate::control::api::Stats;
use crate::wire::MacAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Figures of one run. Counters are differences between its end and its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measurements {
    /// The VIP of the connections.
    pub vip: IpAddr,
    /// ARP suppression on the real servers.
    pub arp: Arp,
    /// Connections requested.
    pub requested: u64,
    /// Concurrent connections.
    pub concurrency: u16,
    /// Answers to the client.
    pub answers: Answers,
    /// MAC addresses that answered an ARP request or a solicitation for the VIP.
    pub owners: BTreeSet<MacAddr>,
    /// MAC address of the router's neighbor entry for the VIP after the run.
    pub router_entry: Option<MacAddr>,
    /// Frames captured at the switch.
    pub seen: FramesByHost,
    /// Frames received and sent by the director's interface, by the kernel's counters.
    pub director_frames: (u64, u64),
    /// Counters of the director.
    pub table: DirectorTable,
}

/// Counters of the director for the service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectorTable {
    /// State of the VIP, as in [`crate::control::api::Service::state`].
    pub state: String,
    /// The service's totals.
    pub service: Stats,
    /// The real servers' totals.
    pub servers: BTreeMap<LabHost, Stats>,
}

impl DirectorTable {
    /// Differences to `before`.
    #[must_use]
    pub fn since(mut self, before: &Self) -> Self {
        self.service = minus(self.service, before.service);
        for (host, stats) in &mut self.servers {
            *stats = minus(*stats, before.servers.get(host).copied().unwrap_or_default());
        }
        self
    }
}

/// Difference of counters. Saturating, because a restarted director begins at 0.
fn minus(a: Stats, b: Stats) -> Stats {
    Stats {
        connections: a.connections.saturating_sub(b.connections),
        in_packets: a.in_packets.saturating_sub(b.in_packets),
        out_packets: a.out_packets.saturating_sub(b.out_packets),
        in_bytes: a.in_bytes.saturating_sub(b.in_bytes),
        out_bytes: a.out_bytes.saturating_sub(b.out_bytes),
    }
}

impl Measurements {
    /// Frames sent by `host` to the segment.
    #[must_use]
    pub fn sent_by(&self, host: LabHost) -> HostFrames {
        self.seen.get(&host).copied().unwrap_or_default()
    }

    /// Frames with source VIP sent by the real servers.
    #[must_use]
    pub fn replies(&self) -> Tally {
        LabHost::REAL_SERVERS.into_iter().map(|server| self.sent_by(server).from_vip).sum()
    }
}
