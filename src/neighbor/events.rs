//! Events into the neighbor machine, actions out of it, and its counters.

use super::message::{NeighborMessage, Outgoing};
use super::report::NeighborReport;
use crate::model::{InterfaceIndex, Role};
use crate::stats::Counter;
use crate::wire::MacAddr;
use std::net::{IpAddr, Ipv6Addr};

/// Real server to be resolved, identified by interface and RIP: several services may share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NeighborTarget {
    /// Interface of the real server.
    pub interface: InterfaceIndex,
    /// RIP.
    pub rip: IpAddr,
    /// The director's own address (DIP), the sender of solicitations; unspecified if it has none there.
    pub own: IpAddr,
    /// Static MAC address: never solicited, never lost.
    pub mac: Option<MacAddr>,
}

/// Input of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeighborEvent {
    /// A message was received.
    Received {
        /// Receiving interface.
        interface: InterfaceIndex,
        /// Message.
        message: NeighborMessage,
    },
    /// Time has passed: due at [`super::Neighbors::next_deadline`].
    Timer,
    /// Probe for this VIP and claim it. Ignored if it is present.
    AddVip(IpAddr),
    /// Claim this VIP at once: this director had it until a moment ago, and its process was restarted. A probe beside
    /// the announcement finds another owner. Otherwise as [`NeighborEvent::AddVip`].
    ReclaimVip(IpAddr),
    /// Stop answering for this VIP. No message takes an announcement back: the entries of neighbors expire.
    RemoveVip(IpAddr),
    /// The director has this role: [`Role::Standalone`] initially. As master it claims every VIP at once, without a probe,
    /// announces it at 0, 50 ms, 1, 2 and 5 s, and neither defends it nor leaves it. As backup or in fault it sends and
    /// answers nothing about a VIP. The same role again changes nothing.
    Role(Role),
    /// Announce every VIP again, if the role is master: another master was heard, or has ended.
    Announce,
    /// Resolve this server. A server that is present is resolved again if its settings differ in more than
    /// the sender address.
    AddServer(NeighborTarget),
    /// Stop resolving this server.
    RemoveServer {
        /// Interface of the real server.
        interface: InterfaceIndex,
        /// RIP.
        rip: IpAddr,
    },
    /// The interface has this link-local address, or none: the sender of solicitations for IPv6 addresses. It has none
    /// initially.
    LinkLocal {
        /// The interface.
        interface: InterfaceIndex,
        /// The address, no longer tentative.
        address: Option<Ipv6Addr>,
    },
    /// The interface has lost its carrier: until it is back, no message is sent there and no state is lost.
    InterfaceDown(InterfaceIndex),
    /// The carrier is back: every VIP is probed for again (RFC 5227 §2.1), and every server is solicited at
    /// once. A VIP that was claimed is announced if no station answers, and left to a station that does.
    /// With [`crate::model::OnConflict::Claim`] it is announced at once. An interface is up initially.
    InterfaceUp(InterfaceIndex),
}

/// Output of the machine, to be carried out in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeighborAction {
    /// Send this message.
    Send {
        /// Egress interface.
        interface: InterfaceIndex,
        /// Message.
        message: Outgoing,
    },
    /// Report to the control thread.
    Report(NeighborReport),
}

/// Counters since creation. Readable by any thread.
#[derive(Debug, Default)]
pub struct NeighborCounters {
    /// Answers for VIPs.
    pub answered: Counter,
    /// Announcements, each of two frames.
    pub announced: Counter,
    /// Probes for VIPs.
    pub probed: Counter,
    /// Solicitations of real servers.
    pub requested: Counter,
    /// Messages of other stations that use a VIP.
    pub conflicts: Counter,
    /// Messages that claim the address of a reachable real server for another MAC address.
    pub disputed: Counter,
}
