//! Who is asked, answered and told about VIPs and real servers: ARP as a machine without I/O.
//!
//! [`Neighbors`] turns (event, now) into actions. It reads no clock and opens no socket, so that a
//! test can live through days of it in a moment, and replay any failure from its seed.
//!
//! What it keeps to:
//! - A VIP is probed for before it is claimed, and only a claimed VIP is answered for, on the
//!   client interface alone. Nothing else is ever answered: the kernel speaks for the director's own
//!   addresses.
//! - A VIP once claimed is not given up for a packet, but right after an outage of the interface. One that is forged, or from a real server with
//!   a wrong `arp_announce`, would otherwise stop the service. It is defended (RFC 5227 §2.4, choice
//!   c) and reported. Only to a station that does all that a director does, answering every probe
//!   and defending the VIP, and that has the higher MAC address, is it left: two directors that both
//!   claimed it while their segment was parted end with one owner. With [`OnConflict::Claim`] it is
//!   not even left to that.
//! - Real servers are asked from the director's own address, never from a VIP. If the own address
//!   given for a server is a VIP, the question goes out as a probe, without a sender address.
//! - A claim to a reachable real server's address changes nothing by itself: it is verified by
//!   asking, and the known MAC address stays while it answers.
//! - An interface without carrier is silent: probes that nothing can hear prove nothing. A VIP that is
//!   claimed stays so, and servers stay as they are known, so that a flap of the interface loses nothing. When the
//!   carrier is back, servers are asked for, and each VIP is probed for before it is announced: a director
//!   that has taken it meanwhile keeps it.
//! - Every change is reported once.

#![forbid(unsafe_code)]

mod deadlines;
mod report;
mod rivals;
mod server;
mod tables;
mod timing;
mod turn;
mod vip;

pub use report::ArpReport;
pub use timing::Timing;

use crate::model::{InterfaceIndex, OnConflict};
use crate::random::SplitMix64;
use crate::stats::Counter;
use crate::time::Tick;
use crate::wire::MacAddr;
use crate::wire::arp::ArpPacket;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use tables::NeighborTables;
use turn::{MachineState, Turn};

/// What a machine is made from.
#[derive(Clone, Debug)]
pub struct ArpSettings {
    /// By [`InterfaceIndex`]: the director's own MAC address there. The client interface comes first.
    pub own_macs: Vec<MacAddr>,
    /// Whether a VIP that another station has is claimed all the same.
    pub on_conflict: OnConflict,
    /// Spans over a day are cut to a day.
    pub timing: Timing,
    /// Where its randomness comes from. Directors on one segment need different seeds.
    pub seed: u64,
}

/// A real server to be resolved. It is named by interface and RIP, however many services it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ArpTarget {
    /// The interface that it is behind.
    pub interface: InterfaceIndex,
    /// Its address.
    pub rip: Ipv4Addr,
    /// The director's own address (DIP) to ask from.
    pub own: Ipv4Addr,
    /// A fixed address: it is never asked for, and never lost.
    pub mac: Option<MacAddr>,
}

/// What the machine is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArpEvent {
    /// An ARP packet came in.
    Received {
        /// Where.
        interface: InterfaceIndex,
        /// What.
        packet: ArpPacket,
    },
    /// Time has passed; [`Neighbors::next_deadline`] says when to tell.
    Timer,
    /// Probe for this VIP and claim it. Nothing happens if it is there already.
    AddVip(Ipv4Addr),
    /// Answer for this VIP no more. ARP has no farewell: neighbors forget it by themselves.
    RemoveVip(Ipv4Addr),
    /// Resolve this server. One that is there already starts anew if its settings differ; if that is only the
    /// address to ask from, what is known of it stays.
    AddServer(ArpTarget),
    /// Ask for this server no more.
    RemoveServer {
        /// The interface that it is behind.
        interface: InterfaceIndex,
        /// Its address.
        rip: Ipv4Addr,
    },
    /// The interface has lost its carrier: nothing is sent there, claimed, or given up until it is back.
    InterfaceDown(InterfaceIndex),
    /// The carrier is back: every VIP is probed for anew (RFC 5227 §2.1), every server asked for, at once.
    /// A VIP that was claimed is announced if nothing answers, and left to the station that does; with
    /// [`OnConflict::Claim`] it is announced at once. An interface counts as up until it is said to be down.
    InterfaceUp(InterfaceIndex),
}

/// What the machine wants done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArpAction {
    /// Send this frame.
    Send {
        /// Where.
        interface: InterfaceIndex,
        /// What.
        packet: ArpPacket,
    },
    /// Let control know.
    Report(ArpReport),
}

/// What the machine has done, since it was made. Any thread may read it.
#[derive(Debug, Default)]
pub struct ArpCounters {
    /// Answers given for VIPs.
    pub answered: Counter,
    /// Announcements, each a request and a reply frame.
    pub announced: Counter,
    /// Probes for VIPs.
    pub probed: Counter,
    /// Requests for real servers.
    pub requested: Counter,
    /// Packets from other stations that act as if they had a VIP.
    pub conflicts: Counter,
    /// Packets that claim a reachable real server's address for another MAC address.
    pub disputed: Counter,
}

/// The machine.
#[derive(Debug)]
pub struct Neighbors {
    common: MachineState,
    tables: NeighborTables,
}

impl Neighbors {
    /// A machine without VIPs and servers: they are added by events.
    ///
    /// # Panics
    /// If `settings` has no interface.
    #[must_use]
    pub fn new(settings: ArpSettings) -> Self {
        let ArpSettings { own_macs, on_conflict, timing, seed } = settings;
        assert!(!own_macs.is_empty(), "a director has at least its client interface");
        let (timing, random, counters) = (timing.bounded(), SplitMix64::new(seed), Arc::default());
        let down = BTreeSet::new();
        let common = MachineState { own_macs, down, on_conflict, timing, random, servers: 0, counters };
        Self { common, tables: NeighborTables::default() }
    }

    /// Counters that stay readable while another thread owns the machine.
    #[must_use]
    pub fn counters(&self) -> Arc<ArpCounters> {
        Arc::clone(&self.common.counters)
    }

    /// When it wants the next [`ArpEvent::Timer`], if no other event comes before.
    ///
    /// After [`Neighbors::handle`] this is later than its `now`.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        self.tables.deadline()
    }

    /// Takes one event, and whatever has become due by `now`. Appends to `actions`.
    ///
    /// # Panics
    /// If a server is added on an interface that [`ArpSettings::own_macs`] does not have.
    pub fn handle(&mut self, event: ArpEvent, now: Tick, actions: &mut Vec<ArpAction>) {
        let turn = &mut Turn { common: &mut self.common, now, actions };
        self.tables.advance(now);
        match event {
            ArpEvent::Received { interface, packet } => self.tables.receive(interface, &packet, turn),
            ArpEvent::Timer => {}
            ArpEvent::AddVip(vip) => self.tables.add_vip(vip, turn),
            ArpEvent::RemoveVip(vip) => self.tables.remove_vip(vip),
            ArpEvent::AddServer(settings) => self.tables.add_server(settings, turn),
            ArpEvent::RemoveServer { interface, rip } => self.tables.remove_server(interface, rip, turn),
            ArpEvent::InterfaceDown(interface) => self.tables.interface_down(interface, turn),
            ArpEvent::InterfaceUp(interface) => self.tables.interface_up(interface, turn),
        }
        self.tables.run_due(turn);
    }
}
