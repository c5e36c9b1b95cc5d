//! The other hosts: their requests, replies and faults.

use super::{FORGER, GATEWAY, Happening, Host, Packet, ROUGH_MS, ROUTER, SERVERS, World, rip, vips};
use directrix::model::InterfaceIndex;
use directrix::neighbor::NeighborEvent;

impl<P: Packet> World<P> {
    pub(super) fn send_router_request(&mut self) {
        let vip = vips::<P>()[self.random(2) as usize];
        let question = P::request(ROUTER, P::address(GATEWAY), vip);
        let known = self.router.get(&vip).copied();
        let question = known.filter(|_| self.one_in(2)).map_or(question, |mac| question.unicast_to(mac));
        self.transmit(Host::Router, question);
        let pause = 1_000 + self.random(20_000);
        self.plan(pause, Happening::RouterAsks);
    }

    /// Believes every packet, except one that leaves a known address (RFC 4861 section 7.2.5).
    pub(super) fn receive_at_router(&mut self, packet: &P) {
        let message = packet.decode();
        if let Some(vip) = message.sender.filter(|sender| vips::<P>().contains(sender))
            && (message.overrides || !self.router.contains_key(&vip))
        {
            self.router.insert(vip, message.mac);
        }
        if message.target() == Some(P::address(GATEWAY))
            && let Some(reply) = packet.reply(ROUTER)
        {
            self.transmit(Host::Router, reply);
        }
    }

    pub(super) fn send_server_request(&mut self, n: usize) {
        let wrong = self.servers[n].asks_from_vip && self.one_in(2);
        let sender = if wrong { vips::<P>()[self.random(2) as usize] } else { rip::<P>(n) };
        if self.servers[n].up {
            let request = P::request(self.servers[n].mac, sender, P::address(GATEWAY));
            self.transmit(Host::Server(n), request);
        }
        let pause = 20_000 + self.random(60_000);
        self.plan(pause, Happening::ServerAsks(n));
    }

    pub(super) fn receive_at_server(&mut self, n: usize, packet: &P) {
        let (server, message) = (&self.servers[n], packet.decode());
        let is_vip = |address: &_| vips::<P>().contains(address);
        let own = message.target() == Some(rip::<P>(n))
            || (server.answers_vip && message.target().as_ref().is_some_and(is_vip));
        // Linux ignores a request from one of its own addresses.
        let martian = message.sender.as_ref().is_some_and(is_vip);
        if let Some(reply) = packet.reply(server.mac).filter(|_| server.up && own && !martian) {
            self.transmit(Host::Server(n), reply);
        }
    }

    pub(super) fn receive_at_forger(&mut self, packet: &P) {
        let targets_server = self.forged.is_some_and(|n| packet.decode().target() == Some(rip::<P>(n)));
        if let Some(reply) = packet.reply(FORGER).filter(|_| targets_server && self.rough()) {
            self.transmit(Host::Forger, reply);
        }
    }

    pub(super) fn forger_claims(&mut self) {
        let claimed = rip::<P>(self.random(SERVERS as u64) as usize);
        let packet = P::claims(claimed)[self.random(4) as usize];
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
