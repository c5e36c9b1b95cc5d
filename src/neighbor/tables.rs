//! Tables of VIPs and real servers; dispatches events to their entries.

use super::server::ServerMachine;
use super::turn::Turn;
use super::vip::VipMachine;
use super::{NeighborMessage, NeighborTarget};
use crate::deadlines::Deadlines;
use crate::model::{InterfaceIndex, Role};
use crate::time::Tick;
use crate::wire::MacAddr;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

/// Token bucket for solicitations of real servers: burst, and refill per millisecond. Many servers that are due
/// together, as at start, must not overflow the socket.
const BURST: u64 = 64;
const PER_MILLISECOND: u64 = 4;

type ServerKey = (InterfaceIndex, IpAddr);

/// Ordered maps, so that the same events give the same actions.
#[derive(Debug, Default)]
pub(super) struct NeighborTables {
    vips: BTreeMap<IpAddr, VipMachine>,
    servers: BTreeMap<ServerKey, ServerMachine>,
    vip_deadlines: Deadlines<IpAddr>,
    server_deadlines: Deadlines<ServerKey>,
    /// Solicitations in the bucket, see [`BURST`].
    spent: u64,
}

impl NeighborTables {
    pub(super) fn deadline(&self) -> Option<Tick> {
        [self.vip_deadlines.next(), self.server_deadlines.next()].into_iter().flatten().reduce(Tick::earlier)
    }

    pub(super) fn advance(&mut self, now: Tick) {
        self.vip_deadlines.advance(now);
        let passed = self.server_deadlines.advance(now);
        self.spent = self.spent.saturating_sub(passed.saturating_mul(PER_MILLISECOND));
    }

    pub(super) fn receive(
        &mut self,
        interface: InterfaceIndex,
        message: &NeighborMessage,
        turn: &mut Turn<'_>,
    ) {
        // The director's interfaces may be on one segment: messages of its own are ignored.
        let own = |mac| turn.common.own_macs.contains(&mac);
        let mac = message.mac;
        if own(mac) || own(message.source) || !mac.is_unicast() {
            return;
        }
        if let Some(sender) = message.claimed() {
            self.learn(interface, sender, message, turn);
        }
        if interface == InterfaceIndex::CLIENT {
            self.pass_to_vips(message, turn);
        }
    }

    pub(super) fn run_due(&mut self, turn: &mut Turn<'_>) {
        while let Some(vip) = self.vip_deadlines.pop_due() {
            if let Some(due) = self.vips.get_mut(&vip) {
                due.run_due(turn);
                self.vip_deadlines.set(vip, due.deadline());
            }
        }
        while self.spent < BURST
            && let Some(server) = self.server_deadlines.pop_due()
        {
            self.spent += 1;
            self.run_server(server, turn);
        }
    }

    fn run_server(&mut self, key: ServerKey, turn: &mut Turn<'_>) {
        let Some(server) = self.servers.get_mut(&key) else { return };
        let NeighborTarget { interface, own, rip, .. } = server.settings;
        let link_local = turn.link_local(interface).filter(|_| rip.is_ipv6());
        let sender =
            link_local.or(Some(own)).filter(|own| !own.is_unspecified() && !self.vips.contains_key(own));
        let moved = server.run_due(sender, turn);
        self.server_deadlines.set(key, server.deadline());
        if let Some(mac) = server.mac().filter(|_| moved) {
            self.identify(mac, key.1, turn);
        }
    }

    /// Adds a VIP. `reclaims`: this director had it a moment ago.
    pub(super) fn add_vip(&mut self, vip: IpAddr, reclaims: bool, turn: &mut Turn<'_>) {
        let vip_or_new = self.vips.entry(vip).or_insert_with(|| VipMachine::new(vip, reclaims, turn));
        self.vip_deadlines.set(vip, vip_or_new.deadline());
    }

    /// Claims all VIPs, or lets them go, by the role. The same role again changes nothing.
    pub(super) fn set_role(&mut self, role: Role, turn: &mut Turn<'_>) {
        if std::mem::replace(&mut turn.common.role, role) != role {
            self.each_vip(|vip| vip.change_role(turn));
        }
    }

    /// Announces all VIPs again if this director is master.
    pub(super) fn announce_again(&mut self, turn: &mut Turn<'_>) {
        self.each_vip(|vip| vip.announce_again(turn));
    }

    pub(super) fn remove_vip(&mut self, vip: IpAddr) {
        self.vips.remove(&vip);
        self.vip_deadlines.set(vip, None);
    }

    pub(super) fn add_server(&mut self, settings: NeighborTarget, turn: &mut Turn<'_>) {
        let NeighborTarget { interface, rip, mac, .. } = settings;
        assert!(usize::from(interface.0) < turn.common.own_macs.len(), "no such interface: {settings:?}");
        if self.servers.get_mut(&(interface, rip)).is_some_and(|server| server.adopt(settings)) {
            return;
        }
        let server = ServerMachine::new(settings, turn);
        self.server_deadlines.set((interface, rip), server.deadline());
        self.servers.insert((interface, rip), server);
        turn.common.servers = self.servers.len();
        if let Some(mac) = mac {
            self.identify(mac, rip, turn);
        }
    }

    pub(super) fn remove_server(&mut self, interface: InterfaceIndex, rip: IpAddr, turn: &mut Turn<'_>) {
        self.servers.remove(&(interface, rip));
        self.server_deadlines.set((interface, rip), None);
        turn.common.servers = self.servers.len();
    }

    pub(super) fn interface_down(&mut self, interface: InterfaceIndex, turn: &mut Turn<'_>) {
        turn.common.down.insert(interface);
        if interface == InterfaceIndex::CLIENT {
            self.each_vip(VipMachine::suspend);
        }
        self.each_behind(interface, ServerMachine::suspend);
    }

    pub(super) fn interface_up(&mut self, interface: InterfaceIndex, turn: &mut Turn<'_>) {
        if !turn.common.down.remove(&interface) {
            return;
        }
        if interface == InterfaceIndex::CLIENT {
            self.each_vip(|vip| vip.resume(turn));
        }
        self.each_behind(interface, |server| server.resume(turn.now));
    }

    /// Sets the sender of solicitations. The first one wakes up the IPv6 servers that are not known: they may have been
    /// asked by nothing so far.
    pub(super) fn set_link_local(
        &mut self,
        interface: InterfaceIndex,
        address: Option<Ipv6Addr>,
        turn: &mut Turn<'_>,
    ) {
        let before = std::mem::replace(&mut turn.common.link_locals[usize::from(interface.0)], address);
        if before.is_none() && address.is_some() {
            self.each_behind(interface, |server| server.ask_at_once(turn.now));
        }
    }

    fn each_vip(&mut self, mut f: impl FnMut(&mut VipMachine)) {
        for (address, vip) in &mut self.vips {
            f(vip);
            self.vip_deadlines.set(*address, vip.deadline());
        }
    }

    fn each_behind(&mut self, interface: InterfaceIndex, mut f: impl FnMut(&mut ServerMachine)) {
        for (key, server) in self.servers.iter_mut().filter(|((behind, _), _)| *behind == interface) {
            f(server);
            self.server_deadlines.set(*key, server.deadline());
        }
    }

    /// Updates the server `ip` on `interface`: a message came from it.
    fn learn(
        &mut self,
        interface: InterfaceIndex,
        ip: IpAddr,
        message: &NeighborMessage,
        turn: &mut Turn<'_>,
    ) {
        let Some(server) = self.servers.get_mut(&(interface, ip)) else { return };
        let mac = message.mac;
        let news = server.observe(mac, message.overrides, turn);
        self.server_deadlines.set((interface, ip), server.deadline());
        if news {
            self.identify(mac, ip, turn);
        }
    }

    fn identify(&mut self, mac: MacAddr, rip: IpAddr, turn: &mut Turn<'_>) {
        for vip in self.vips.values_mut() {
            vip.identify(mac, rip, turn);
        }
    }

    /// Passes a message to the VIPs in it. It may use one VIP as its sender address and solicit another.
    fn pass_to_vips(&mut self, message: &NeighborMessage, turn: &mut Turn<'_>) {
        let target = message.target().filter(|target| message.claimed() != Some(*target));
        for ip in message.claimed().into_iter().chain(target) {
            if let Some(vip) = self.vips.get_mut(&ip) {
                let sender = Some(message.mac);
                let server = || {
                    let mut servers = self.servers.values();
                    servers.find(|server| server.mac() == sender).map(|server| server.settings.rip)
                };
                vip.receive(message, server, turn);
                self.vip_deadlines.set(ip, vip.deadline());
            }
        }
    }
}
