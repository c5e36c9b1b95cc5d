//! The other hosts: their requests, replies and faults.

use super::{DIP, DIRECTOR, FORGER, GATEWAY, Happening, Host, ROUGH_MS, ROUTER, SERVERS, VIPS, World, rip};
use directrix::model::InterfaceIndex;
use directrix::neighbor::NeighborEvent;
use directrix::wire::arp::{ArpPacket, Operation};

impl World {
    pub(super) fn send_router_request(&mut self) {
        let vip = VIPS[self.random(2) as usize];
        let question = ArpPacket::request(ROUTER, GATEWAY, vip);
        let known = self.router.get(&vip).copied();
        let question = known.filter(|_| self.one_in(2)).map_or(question, |mac| question.unicast_to(mac));
        self.transmit(Host::Router, question);
        let pause = 1_000 + self.random(20_000);
        self.plan(pause, Happening::RouterAsks);
    }

    pub(super) fn receive_at_router(&mut self, packet: &ArpPacket) {
        if VIPS.contains(&packet.sender_ip) {
            self.router.insert(packet.sender_ip, packet.sender_mac);
        }
        if packet.operation == Operation::Request && packet.target_ip == GATEWAY {
            self.transmit(Host::Router, packet.reply(ROUTER));
        }
    }

    pub(super) fn send_server_request(&mut self, n: usize) {
        let wrong = self.servers[n].asks_from_vip && self.one_in(2);
        let sender = if wrong { VIPS[self.random(2) as usize] } else { rip(n) };
        if self.servers[n].up {
            self.transmit(Host::Server(n), ArpPacket::request(self.servers[n].mac, sender, GATEWAY));
        }
        let pause = 20_000 + self.random(60_000);
        self.plan(pause, Happening::ServerAsks(n));
    }

    pub(super) fn receive_at_server(&mut self, n: usize, packet: &ArpPacket) {
        let server = &self.servers[n];
        let own = packet.target_ip == rip(n) || (server.answers_vip && VIPS.contains(&packet.target_ip));
        // Linux ignores a request from one of its own addresses.
        let martian = VIPS.contains(&packet.sender_ip);
        if server.up && own && !martian && packet.operation == Operation::Request {
            self.transmit(Host::Server(n), packet.reply(server.mac));
        }
    }

    pub(super) fn receive_at_forger(&mut self, packet: &ArpPacket) {
        let targets_server = self.forged.is_some_and(|n| packet.target_ip == rip(n));
        if targets_server && packet.operation == Operation::Request && self.rough() {
            self.transmit(Host::Forger, packet.reply(FORGER));
        }
    }

    pub(super) fn forger_claims(&mut self) {
        let claimed = rip(self.random(SERVERS as u64) as usize);
        let packet = match self.random(4) {
            0 => ArpPacket::request(DIRECTOR, DIP, claimed).reply(FORGER),
            1 => ArpPacket::request(FORGER, claimed, GATEWAY),
            2 => ArpPacket::announcement(FORGER, claimed),
            _ => ArpPacket::announcement_reply(FORGER, claimed),
        };
        if self.rough() {
            self.transmit(Host::Forger, packet);
            let pause = if self.one_in(3) { 1 + self.random(300) } else { self.random(40_000) };
            self.plan(pause, Happening::ForgerClaims);
        }
    }

    /// Takes a server down or up, changes its MAC address or its sysctls, or changes the carrier.
    pub(super) fn trouble(&mut self) {
        let n = self.random(SERVERS as u64) as usize;
        self.forged = Some(n).filter(|_| self.one_in(2));
        let what = self.random(6);
        let server = &mut self.servers[n];
        match what {
            0 | 1 => server.up = !server.up,
            2 => server.mac.0[4] = server.mac.0[4].wrapping_add(1),
            3 => server.answers_vip = !server.answers_vip,
            4 => self.lose_carrier(),
            _ => server.asks_from_vip = !server.asks_from_vip,
        }
        let pause = 10_000 + self.random(240_000);
        if self.now + pause < ROUGH_MS {
            self.plan(pause, Happening::Trouble);
        }
    }

    fn lose_carrier(&mut self) {
        self.set_carrier(false);
        let outage = 1 + self.random(100_000);
        self.plan(outage, Happening::Carrier);
    }

    pub(super) fn set_carrier(&mut self, carrier: bool) {
        self.carrier = carrier;
        let event = if carrier { NeighborEvent::InterfaceUp } else { NeighborEvent::InterfaceDown };
        self.direct(event(InterfaceIndex::CLIENT));
    }
}
