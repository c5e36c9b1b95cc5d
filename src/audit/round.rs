//! Rounds: each question of a round once, spread over the interval.

use super::hosts::HostTable;
use super::questions::{AuditQuestion, GAP, Purpose};
use crate::model::InterfaceIndex;
use crate::time::Span;
use crate::wire::MacAddr;
use std::net::IpAddr;

/// Progress of the present round, and its questions by number: about each VIP to all, about each real server to all, about
/// each VIP to each real server.
#[derive(Debug)]
pub(super) struct AuditRound {
    interval: u64,
    /// Time of its next question.
    due: u64,
    /// Number of the next question.
    next: usize,
    /// Complete rounds.
    complete: u64,
    vips: Vec<IpAddr>,
    servers: Vec<(InterfaceIndex, IpAddr)>,
    stations: Vec<MacAddr>,
    /// The lists are to be read again.
    is_stale: bool,
}

impl AuditRound {
    pub(super) fn new(interval: Span) -> Self {
        Self {
            interval: interval.millis().into(),
            due: 0,
            next: 0,
            complete: 0,
            vips: Vec::new(),
            servers: Vec::new(),
            stations: Vec::new(),
            is_stale: true,
        }
    }

    /// Time of the next question; `None` without rounds.
    pub(super) fn due(&self) -> Option<u64> {
        (self.interval > 0).then_some(self.due)
    }

    /// Number of complete rounds.
    pub(super) fn complete(&self) -> u64 {
        self.complete
    }

    /// Records that VIPs or real servers have changed.
    pub(super) fn change(&mut self) {
        self.is_stale = true;
    }

    /// Reads the lists again if they have changed.
    pub(super) fn update(&mut self, vips: impl Iterator<Item = IpAddr>, hosts: &HostTable) {
        if !std::mem::take(&mut self.is_stale) {
            return;
        }
        self.vips = vips.collect();
        let servers = hosts.servers().filter(|(_, server)| server.mac.is_some() && !server.is_fixed);
        self.servers = servers.map(|(key, _)| *key).collect();
        self.stations = hosts.stations().into_iter().collect();
    }

    /// Returns the next question, and sets the time of the one after it; `None` if there is nothing to ask.
    pub(super) fn advance(&mut self, now: u64) -> Option<AuditQuestion> {
        let count = 2 * self.vips.len() + self.servers.len() + self.vips.len() * self.stations.len();
        self.due = now + (self.interval / count.max(1) as u64).max(GAP);
        if count == 0 {
            return None;
        }
        let question = self.question(self.next.min(count - 1));
        self.next += 1;
        if self.next >= count {
            (self.next, self.complete) = (0, self.complete + 1);
        }
        Some(question)
    }

    fn question(&self, number: usize) -> AuditQuestion {
        let (vips, servers) = (self.vips.len(), self.servers.len());
        if number < 2 * vips {
            return about_vip(self.vips[number / 2], None, number.is_multiple_of(2));
        }
        let number = number - 2 * vips;
        if number < servers {
            let (interface, rip) = self.servers[number];
            return about_server(interface, rip, Purpose::Search);
        }
        let number = number - servers;
        // In every second round with a sender: filters of the kernel may tell the two forms apart.
        let has_sender = self.complete % 2 == 1;
        about_vip(self.vips[number % vips], Some(self.stations[number / vips]), has_sender)
    }
}

/// The question about a VIP to a station, or to all.
pub(super) fn about_vip(vip: IpAddr, station: Option<MacAddr>, has_sender: bool) -> AuditQuestion {
    let interface = InterfaceIndex::CLIENT;
    AuditQuestion { interface, address: vip, within: vip, station, has_sender, purpose: Purpose::Search }
}

/// The question about a real server's address to all.
pub(super) fn about_server(interface: InterfaceIndex, rip: IpAddr, purpose: Purpose) -> AuditQuestion {
    AuditQuestion { interface, address: rip, within: rip, station: None, has_sender: true, purpose }
}
