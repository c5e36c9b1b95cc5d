//! Received messages: the signs of a misuse in them.

use super::auditor::{Auditor, VipRole};
use super::case::CaseKey;
use super::events::AuditAction;
use super::finding::Misuse;
use super::questions::Purpose;
use crate::model::InterfaceIndex;
use crate::neighbor::{Content, NeighborMessage};
use crate::time::Tick;
use crate::wire::MacAddr;
use std::net::IpAddr;

impl Auditor {
    /// Handles a received message. Returns true if it is for the neighbor machine as well.
    ///
    /// Answers to control questions, and a suspect's answer for a real server's address, are not: to that machine they would be
    /// claims of these addresses.
    pub fn receive(
        &mut self,
        interface: InterfaceIndex,
        message: &NeighborMessage,
        now: Tick,
        actions: &mut Vec<AuditAction>,
    ) -> bool {
        self.advance(now);
        let is_own = |mac| self.own_macs.contains(&mac);
        if is_own(message.mac) || is_own(message.source) || !message.mac.is_unicast() {
            return true;
        }
        if self.take_expected(message) {
            self.run_due(actions);
            return false;
        }
        if let Some(address) = message.claimed()
            && interface == InterfaceIndex::CLIENT
            && self.locate_gateway(address, message.mac, actions)
        {
            self.run_due(actions);
        }
        if let Some(address) = message.claimed() {
            self.hear(interface, address, message.mac);
        }
        if interface == InterfaceIndex::CLIENT && self.examine(message, actions) {
            self.run_due(actions);
        }
        true
    }

    /// Takes the answer to a control question or to one for a real server's address.
    fn take_expected(&mut self, message: &NeighborMessage) -> bool {
        let (mac, now) = (message.mac, self.now);
        let Some(address) = message.claimed().filter(|_| message.content == Content::Answer) else {
            return false;
        };
        let Some(purpose) = self.queue.take_answer(mac, address, now) else { return false };
        match purpose {
            Purpose::Control(key) => {
                if let Some(case) = self.cases.get_mut(&key) {
                    case.controls.answered = case.controls.asked.min(case.controls.answered + 1);
                }
            }
            Purpose::Identify(key) => self.identified(key, address),
            Purpose::Search | Purpose::Verify(_) => {}
        }
        true
    }

    /// Records the real server that a suspect is. The other questions for it are needless.
    fn identified(&mut self, key: CaseKey, rip: IpAddr) {
        self.hosts.hear(key.mac, rip);
        let needless = self.queue.cancel(|question| question.purpose == Purpose::Identify(key));
        let now = self.now;
        if let Some(case) = self.cases.get_mut(&key) {
            case.release(needless, now);
        }
    }

    /// Records the address that a station uses, and a claim of a real server's address.
    fn hear(&mut self, interface: InterfaceIndex, address: IpAddr, mac: MacAddr) {
        if self.vips.contains_key(&address) {
            return;
        }
        let known = self.hosts.mac_of(interface, address);
        if known.is_none_or(|known| known == mac) {
            self.hosts.hear(mac, address);
            return;
        }
        let (key, now) = (CaseKey { address, mac, misuse: Misuse::Duplicate }, self.now);
        if let Some(case) = self.cases.get_mut(&key) {
            case.repeat(true, None, now);
        }
    }

    /// Looks for signs in a message. Returns true if there is other work than before.
    fn examine(&mut self, message: &NeighborMessage, actions: &mut Vec<AuditAction>) -> bool {
        let claimed = message.claimed().filter(|address| self.vips.contains_key(address));
        let target = message.target().filter(|address| self.vips.contains_key(address));
        if claimed.is_none() && target.is_none() || self.hosts.is_peer(message.mac, message.sender) {
            return false;
        }
        let has_claim = claimed.is_some_and(|vip| self.examine_claim(vip, message));
        let target = target.filter(|target| Some(*target) != claimed);
        target.is_some_and(|vip| self.examine_request(vip, message, actions)) || has_claim
    }

    fn examine_claim(&mut self, vip: IpAddr, message: &NeighborMessage) -> bool {
        let misuse = match message.content {
            Content::Answer => Misuse::Answers,
            Content::Announcement => Misuse::Announces,
            Content::Solicitation { .. } => Misuse::Leaks,
        };
        let key = CaseKey { address: vip, mac: message.mac, misuse };
        self.suspect(key, misuse == Misuse::Answers, message.target())
    }

    /// Examines a request for a VIP. One by unicast without a sender is that of a director on standby, which probes its holder.
    fn examine_request(
        &mut self,
        vip: IpAddr,
        message: &NeighborMessage,
        actions: &mut Vec<AuditAction>,
    ) -> bool {
        let (mac, to_all) = (message.mac, !message.destination.is_unicast());
        let key = |misuse| CaseKey { address: vip, mac, misuse };
        match (message.is_probe(), to_all) {
            (true, false) => {
                self.hosts.add_director(mac);
                self.close_where(|key| key.mac == mac && key.misuse == Misuse::Probes, actions);
                true
            }
            _ if !to_all || self.hosts.is_director(mac) => false,
            (true, true) => self.suspect(key(Misuse::Probes), false, None),
            (false, _) => {
                let is_ours = self.vips.get(&vip) == Some(&VipRole::Ours);
                is_ours
                    && self.rows.record(vip, mac, self.now)
                    && self.suspect(key(Misuse::Unheard), false, None)
            }
        }
    }
}
