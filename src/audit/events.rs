//! Inputs of the auditor, its actions, and its settings.

use super::finding::AuditFinding;
use crate::model::{InterfaceIndex, PeerAddress};
use crate::neighbor::{NeighborEvent, NeighborReport, Outgoing};
use crate::stats::Counter;
use crate::time::Span;
use crate::wire::MacAddr;
use std::net::{IpAddr, Ipv4Addr};

/// Settings of [`super::Auditor`].
#[derive(Clone, Debug)]
pub struct AuditSettings {
    /// MAC addresses of the director's interfaces, by [`InterfaceIndex`].
    pub own_macs: Vec<MacAddr>,
    /// Stations that may have the VIPs: other directors.
    pub peers: Vec<PeerAddress>,
    /// Time in which each question of a round is asked once. Zero: no rounds; the auditor listens, and asks about suspects.
    pub interval: Span,
    /// Seed of the addresses in control questions.
    pub seed: u64,
}

/// Input of the auditor, besides received messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditInput {
    /// Time has passed: due at [`super::Auditor::next_deadline`].
    Timer,
    /// An event that the neighbor machine gets as well.
    Followed(NeighborEvent),
    /// A report of the neighbor machine.
    Reported(NeighborReport),
    /// Audits a VIP that this program does not claim.
    Observe(IpAddr),
    /// The director's own IPv4 address on the client interface (DIP), or none.
    Sender(Option<Ipv4Addr>),
    /// The next hop of the default route on the client interface, or none.
    Gateway(Option<Ipv4Addr>),
    /// The frame of a test has come back.
    Returned {
        /// VIP.
        vip: Ipv4Addr,
        /// Number of [`AuditAction::Test`].
        number: u32,
    },
}

/// Output of the auditor, to be carried out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditAction {
    /// Send a question.
    Ask {
        /// Egress interface.
        interface: InterfaceIndex,
        /// Address in whose VLANs it is sent.
        within: IpAddr,
        /// Message.
        message: Outgoing,
    },
    /// Send the gateway a frame for a VIP, with [`super::Auditor::mark`], on the client interface.
    Test {
        /// MAC address of the gateway.
        gateway: MacAddr,
        /// The director's own address.
        source: Ipv4Addr,
        /// VIP.
        vip: Ipv4Addr,
        /// Number of the test.
        number: u32,
    },
    /// Report to the control thread.
    Report(AuditReport),
}

/// Change of the findings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditReport {
    /// A new finding.
    Opened(AuditFinding),
    /// It is not there any more.
    Closed(AuditFinding),
}

/// Counters since creation. Readable by any thread.
#[derive(Debug, Default)]
pub struct AuditCounters {
    /// Questions and frames of tests sent.
    pub asked: Counter,
}
