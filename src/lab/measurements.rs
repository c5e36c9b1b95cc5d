//! What one run has shown, as figures.

use super::capture::{Seen, Sent, Tally};
use super::http_client::Answers;
use super::{Arp, Host};
use crate::control::api::Stats;
use crate::wire::MacAddr;
use std::collections::{BTreeMap, BTreeSet};

/// The figures of one run; counters are differences between its end and its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measurements {
    /// What was to keep the real servers quiet.
    pub arp: Arp,
    /// Connections asked for.
    pub asked: u64,
    /// How many of them at a time.
    pub concurrency: u16,
    /// What the client got.
    pub answers: Answers,
    /// Who answered "who has VIP?".
    pub owners: BTreeSet<MacAddr>,
    /// Where the router sends frames for the VIP after the run.
    pub router_entry: Option<MacAddr>,
    /// What the switch saw.
    pub seen: Seen,
    /// Frames into and out of the director's interface, by the kernel's count.
    pub director_frames: (u64, u64),
    /// The director's own tables.
    pub table: Table,
}

/// What the director says of the service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// "serving", or why not.
    pub state: String,
    /// The service's totals.
    pub service: Stats,
    /// The real servers' totals.
    pub servers: BTreeMap<Host, Stats>,
}

impl Table {
    /// What has been added since `before`.
    #[must_use]
    pub fn since(mut self, before: &Self) -> Self {
        self.service = minus(self.service, before.service);
        for (host, stats) in &mut self.servers {
            *stats = minus(*stats, before.servers.get(host).copied().unwrap_or_default());
        }
        self
    }
}

/// Counters never fall while the director runs; one that was started anew begins at 0.
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
    /// What `host` sent to the segment.
    #[must_use]
    pub fn sent_by(&self, host: Host) -> Sent {
        self.seen.get(&host).copied().unwrap_or_default()
    }

    /// Frames with source VIP that the real servers sent.
    #[must_use]
    pub fn replies(&self) -> Tally {
        Host::REAL_SERVERS.into_iter().map(|server| self.sent_by(server).from_vip).sum()
    }
}
