//! Events into the ARP machine, actions out of it, and its counters.

use super::report::ArpReport;
use crate::model::InterfaceIndex;
use crate::stats::Counter;
use crate::wire::MacAddr;
use crate::wire::arp::ArpPacket;
use std::net::Ipv4Addr;

/// Real server to be resolved, identified by interface and RIP: several services may share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ArpTarget {
    /// Interface of the real server.
    pub interface: InterfaceIndex,
    /// RIP.
    pub rip: Ipv4Addr,
    /// The director's own address (DIP), the sender of requests.
    pub own: Ipv4Addr,
    /// Static MAC address: never requested, never lost.
    pub mac: Option<MacAddr>,
}

/// Input of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArpEvent {
    /// An ARP packet was received.
    Received {
        /// Receiving interface.
        interface: InterfaceIndex,
        /// Packet.
        packet: ArpPacket,
    },
    /// Time has passed: due at [`super::Neighbors::next_deadline`].
    Timer,
    /// Probe for this VIP and claim it. Ignored if it is present.
    AddVip(Ipv4Addr),
    /// Stop answering for this VIP. ARP has no message for that: the entries of neighbors expire.
    RemoveVip(Ipv4Addr),
    /// Resolve this server. A server that is present is resolved again if its settings differ in more than
    /// the sender address.
    AddServer(ArpTarget),
    /// Stop resolving this server.
    RemoveServer {
        /// Interface of the real server.
        interface: InterfaceIndex,
        /// RIP.
        rip: Ipv4Addr,
    },
    /// The interface has lost its carrier: until it is back, no packet is sent there and no state is lost.
    InterfaceDown(InterfaceIndex),
    /// The carrier is back: every VIP is probed for again (RFC 5227 §2.1), and every server is requested at
    /// once. A VIP that was claimed is announced if no station answers, and left to a station that does.
    /// With [`crate::model::OnConflict::Claim`] it is announced at once. An interface is up initially.
    InterfaceUp(InterfaceIndex),
}

/// Output of the machine, to be carried out in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArpAction {
    /// Send this packet.
    Send {
        /// Egress interface.
        interface: InterfaceIndex,
        /// Packet.
        packet: ArpPacket,
    },
    /// Report to the control thread.
    Report(ArpReport),
}

/// Counters since creation. Readable by any thread.
#[derive(Debug, Default)]
pub struct ArpCounters {
    /// Replies for VIPs.
    pub answered: Counter,
    /// Announcements, each a request and a reply.
    pub announced: Counter,
    /// Probes for VIPs.
    pub probed: Counter,
    /// Requests for real servers.
    pub requested: Counter,
    /// Packets of other stations that use a VIP.
    pub conflicts: Counter,
    /// Packets that claim the address of a reachable real server for another MAC address.
    pub disputed: Counter,
}
