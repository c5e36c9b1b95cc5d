//! The VIPs and the real servers, and which of them an event concerns.

use super::server::Server;
use super::turn::Turn;
use super::vip::Vip;
use super::{LinkIndex, ServerSettings};
use crate::time::Tick;
use crate::wire::MacAddr;
use crate::wire::arp::ArpPacket;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Ordered, so that the same events give the same actions.
#[derive(Debug, Default)]
pub(super) struct Tables {
    vips: BTreeMap<Ipv4Addr, Vip>,
    servers: BTreeMap<(LinkIndex, Ipv4Addr), Server>,
}

impl Tables {
    pub(super) fn deadlines(&self) -> impl Iterator<Item = Tick> {
        let vips = self.vips.values().flat_map(Vip::deadlines);
        vips.chain(self.servers.values().filter_map(Server::deadline))
    }

    pub(super) fn receive(&mut self, link: LinkIndex, packet: &ArpPacket, turn: &mut Turn<'_>) {
        // The director's arms may be on one segment: what any of them sent is no news.
        let own = |mac| turn.common.links.contains(&mac);
        let mac = packet.sender_mac;
        if own(mac) || own(packet.source) || !mac.is_unicast() {
            return;
        }
        self.learn(link, packet.sender_ip, mac, turn);
        if link == LinkIndex::CLIENT {
            self.tell_vips(packet, turn);
        }
    }

    pub(super) fn run_due(&mut self, turn: &mut Turn<'_>) {
        for vip in self.vips.values_mut() {
            vip.run_due(turn);
        }
        for server in self.servers.values_mut() {
            let own = server.settings.own;
            let sender = if self.vips.contains_key(&own) { Ipv4Addr::UNSPECIFIED } else { own };
            server.run_due(sender, turn);
        }
    }

    pub(super) fn add_vip(&mut self, vip: Ipv4Addr, turn: &mut Turn<'_>) {
        self.vips.entry(vip).or_insert_with(|| Vip::new(vip, turn));
    }

    pub(super) fn remove_vip(&mut self, vip: Ipv4Addr) {
        self.vips.remove(&vip);
    }

    pub(super) fn add_server(&mut self, settings: ServerSettings, turn: &mut Turn<'_>) {
        let ServerSettings { link, rip, mac, .. } = settings;
        assert!(usize::from(link.0) < turn.common.links.len(), "no such link: {settings:?}");
        if self.servers.get(&(link, rip)).is_some_and(|server| server.settings == settings) {
            return;
        }
        self.servers.insert((link, rip), Server::new(settings, turn));
        if let Some(mac) = mac {
            self.identify(mac, rip, turn);
        }
    }

    pub(super) fn remove_server(&mut self, link: LinkIndex, rip: Ipv4Addr) {
        self.servers.remove(&(link, rip));
    }

    pub(super) fn link_down(&mut self, link: LinkIndex, turn: &mut Turn<'_>) {
        turn.common.down.insert(link);
        if link == LinkIndex::CLIENT {
            self.vips.values_mut().for_each(Vip::hold);
        }
        self.behind(link).for_each(Server::hold);
    }

    pub(super) fn link_up(&mut self, link: LinkIndex, turn: &mut Turn<'_>) {
        if !turn.common.down.remove(&link) {
            return;
        }
        if link == LinkIndex::CLIENT {
            self.vips.values_mut().for_each(|vip| vip.resume(turn));
        }
        self.behind(link).for_each(|server| server.resume(turn.now));
    }

    fn behind(&mut self, link: LinkIndex) -> impl Iterator<Item = &mut Server> {
        let servers = self.servers.iter_mut().filter(move |((behind, _), _)| *behind == link);
        servers.map(|(_, server)| server)
    }

    /// `ip` has spoken on `link` with address `mac`.
    fn learn(&mut self, link: LinkIndex, ip: Ipv4Addr, mac: MacAddr, turn: &mut Turn<'_>) {
        let server = self.servers.get_mut(&(link, ip));
        if server.is_some_and(|server| server.heard(mac, turn)) {
            self.identify(mac, ip, turn);
        }
    }

    fn identify(&mut self, mac: MacAddr, rip: Ipv4Addr, turn: &mut Turn<'_>) {
        for vip in self.vips.values_mut() {
            vip.identify(mac, rip, turn);
        }
    }

    /// A packet may use one VIP as its own address and ask for another.
    fn tell_vips(&mut self, packet: &ArpPacket, turn: &mut Turn<'_>) {
        let mac = Some(packet.sender_mac);
        let server = self.servers.values().find(|server| server.mac() == mac);
        let server = server.map(|server| server.settings.rip);
        let target = Some(packet.target_ip).filter(|ip| *ip != packet.sender_ip);
        for ip in std::iter::once(packet.sender_ip).chain(target) {
            if let Some(vip) = self.vips.get_mut(&ip) {
                vip.receive(packet, server, turn);
            }
        }
    }
}
