//! State machine of neighbors, VIPs and real servers, without I/O and free of protocol.
//!
//! [`encoding`] turns its messages into packets of ARP and NDP and back.
//!
//! [`Neighbors`] turns (event, now) into actions. It reads no clock and opens no socket, so a test can
//! simulate days in a moment and replay any failure from its seed.
//!
//! Invariants:
//! - A VIP is probed for before it is claimed. Only a claimed VIP is answered for, and only on the client
//!   interface. No other address is answered for: the kernel answers for the director's own addresses.
//! - A claimed VIP is defended against a single packet (RFC 5227 §2.4, choice c) and the conflict is
//!   reported: a forged packet, or a real server with a wrong `arp_announce`, must not stop the service.
//!   The VIP is left only after an outage of the interface, or to a station that behaves as a director: it
//!   answers every probe, defends the VIP, and has the higher MAC address. Two directors that both claimed
//!   a VIP on a partitioned segment thus end with one owner. With [`OnConflict::Claim`] the VIP is never
//!   left.
//! - With a role other than standalone, the engine behind the role decides which director has the VIPs: a master claims
//!   each without a probe, verifies and reports a rival, and neither defends nor leaves the VIP; a backup is silent.
//! - Solicitations of real servers come from the director's own address, never from a VIP. If the own address
//!   of a server is a VIP, an ARP request has no sender address. For an IPv6 server the interface's link-local
//!   address comes first, and without any address no solicitation is sent.
//! - A claim to the address of a reachable real server is verified by solicitations. The known MAC address stays
//!   while it answers.
//! - Without carrier an interface is silent: a probe that no station receives proves nothing. Claimed VIPs
//!   and known servers stay, so that a flap loses nothing. When the carrier is back, servers are solicited,
//!   and each VIP is probed for before it is announced: a director that has claimed it meanwhile keeps it.
//! - Every change is reported once.

#![forbid(unsafe_code)]

mod announcer;
pub mod encoding;
mod events;
mod message;
mod prober;
mod report;
mod rivals;
mod server;
mod tables;
mod timing;
mod turn;
mod vip;

pub use events::{NeighborAction, NeighborCounters, NeighborEvent, NeighborTarget};
pub use message::{Content, NeighborMessage, Outgoing};
pub use report::NeighborReport;
pub use timing::Timing;

use crate::model::{OnConflict, Role};
use crate::random::SplitMix64;
use crate::time::Tick;
use crate::wire::MacAddr;
use std::collections::BTreeSet;
use std::sync::Arc;
use tables::NeighborTables;
use turn::{MachineState, Turn};

/// Settings of [`Neighbors`].
#[derive(Clone, Debug)]
pub struct NeighborSettings {
    /// MAC addresses of the director's interfaces, by [`crate::model::InterfaceIndex`]. The client interface is first.
    pub own_macs: Vec<MacAddr>,
    /// Policy for a VIP that another station uses.
    pub on_conflict: OnConflict,
    /// Timing. Spans are limited to a day.
    pub timing: Timing,
    /// Seed of the random delays. Directors on one segment need different seeds.
    pub seed: u64,
}

/// The neighbor state machine.
#[derive(Debug)]
pub struct Neighbors {
    common: MachineState,
    tables: NeighborTables,
}

impl Neighbors {
    /// Creates a machine without VIPs and servers.
    ///
    /// # Panics
    /// If `settings` has no interface.
    #[must_use]
    pub fn new(settings: NeighborSettings) -> Self {
        let NeighborSettings { own_macs, on_conflict, timing, seed } = settings;
        assert!(!own_macs.is_empty(), "a director has at least its client interface");
        let (timing, random, counters) = (timing.bounded(), SplitMix64::new(seed), Arc::default());
        let (down, link_locals) = (BTreeSet::new(), vec![None; own_macs.len()]);
        let role = Role::default();
        let common = MachineState {
            own_macs,
            link_locals,
            down,
            on_conflict,
            role,
            timing,
            random,
            servers: 0,
            counters,
        };
        Self { common, tables: NeighborTables::default() }
    }

    /// The counters, readable while another thread owns the machine.
    #[must_use]
    pub fn counters(&self) -> Arc<NeighborCounters> {
        Arc::clone(&self.common.counters)
    }

    /// The director's own MAC addresses, by interface.
    #[must_use]
    pub fn own_macs(&self) -> &[MacAddr] {
        &self.common.own_macs
    }

    /// Time of the next [`NeighborEvent::Timer`] unless another event comes first.
    ///
    /// After [`Neighbors::handle`] this is later than its `now`.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        self.tables.deadline()
    }

    /// Handles an event, and all deadlines up to `now`. Appends to `actions`.
    ///
    /// # Panics
    /// If a server or a link-local address is added on an interface that [`NeighborSettings::own_macs`] does not have.
    pub fn handle(&mut self, event: NeighborEvent, now: Tick, actions: &mut Vec<NeighborAction>) {
        let turn = &mut Turn { common: &mut self.common, now, actions };
        self.tables.advance(now);
        match event {
            NeighborEvent::Received { interface, message } => self.tables.receive(interface, &message, turn),
            NeighborEvent::Timer => {}
            NeighborEvent::AddVip(vip) => self.tables.add_vip(vip, false, turn),
            NeighborEvent::ReclaimVip(vip) => self.tables.add_vip(vip, true, turn),
            NeighborEvent::Role(role) => self.tables.set_role(role, turn),
            NeighborEvent::Announce => self.tables.announce_again(turn),
            NeighborEvent::RemoveVip(vip) => self.tables.remove_vip(vip),
            NeighborEvent::AddServer(settings) => self.tables.add_server(settings, turn),
            NeighborEvent::RemoveServer { interface, rip } => self.tables.remove_server(interface, rip, turn),
            NeighborEvent::LinkLocal { interface, address } => {
                self.tables.set_link_local(interface, address, turn);
            }
            NeighborEvent::InterfaceDown(interface) => self.tables.interface_down(interface, turn),
            NeighborEvent::InterfaceUp(interface) => self.tables.interface_up(interface, turn),
        }
        self.tables.run_due(turn);
    }
}
