//! Rivals: other stations that use a VIP, verified by probes.
//!
//! A single message proves nothing: it may be forged, or come from a real server with a wrong `arp_announce`
//! that does not answer for the VIP. While the VIP is claimed, each rival is therefore verified. A rival
//! that answers [`VERIFY`] probes in a row is a holder of the VIP: a real server with a wrong `arp_ignore`,
//! or another director.

use super::turn::Turn;
use super::{Content, NeighborMessage, NeighborReport};
use crate::model::InterfaceIndex;
use crate::time::Tick;
use crate::wire::MacAddr;
use std::net::IpAddr;

/// Most tracked rivals. Further ones are only counted: their addresses are forged.
const RIVALS: usize = 16;
/// Probes in a row that a rival answers to become a holder, and misses to be one no longer.
const VERIFY: u8 = 3;

/// The rivals of one VIP.
#[derive(Debug)]
pub(super) struct Rivals {
    vip: IpAddr,
    all: Vec<Rival>,
    /// Time of the next probe.
    due: Option<Tick>,
    probed: Option<Tick>,
}

#[derive(Debug)]
struct Rival {
    mac: MacAddr,
    /// Real server with this MAC address, if known.
    server: Option<IpAddr>,
    /// Time at which it expires unless it sends again.
    expires: Tick,
    /// The last probe is still unanswered.
    pending: bool,
    /// Probes answered in a row.
    answered: u8,
    /// Probes missed in a row.
    missed: u8,
    /// It has announced the VIP after this director's defense, as a director does and a real server does
    /// not.
    defends: bool,
    holds: bool,
}

impl Rivals {
    pub(super) fn new(vip: IpAddr) -> Self {
        Self { vip, all: Vec::new(), due: None, probed: None }
    }

    pub(super) fn deadline(&self) -> Option<Tick> {
        let ends = self.all.iter().map(|rival| rival.expires);
        self.due.into_iter().chain(ends).reduce(Tick::earlier)
    }

    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// True if the station is a rival.
    pub(super) fn contains(&self, mac: MacAddr) -> bool {
        self.all.iter().any(|rival| rival.mac == mac)
    }

    /// The latest rival, if any.
    pub(super) fn any(&self) -> Option<MacAddr> {
        self.all.last().map(|rival| rival.mac)
    }

    /// A station that holds and defends the VIP and has the higher MAC address: this director yields to it.
    pub(super) fn stronger(&self, turn: &Turn<'_>) -> Option<MacAddr> {
        let own = turn.mac(InterfaceIndex::CLIENT);
        let defenders = self.all.iter().filter(|rival| rival.holds && rival.defends);
        defenders.map(|rival| rival.mac).find(|mac| *mac > own)
    }

    /// Handles a message that uses the VIP, and reports a new rival.
    pub(super) fn observe(&mut self, message: &NeighborMessage, server: Option<IpAddr>, turn: &mut Turn<'_>) {
        let (mac, expires) = (message.mac, turn.later(turn.timing().quiet()));
        let known = self.all.iter().position(|rival| rival.mac == mac);
        let at = match known {
            Some(at) => at,
            None if self.all.len() < RIVALS => {
                turn.report(NeighborReport::Conflict { vip: self.vip, mac, server });
                self.all.push(Rival::new(mac, server, expires));
                self.all.len() - 1
            }
            None => return,
        };
        let rival = &mut self.all[at];
        rival.expires = expires;
        let all_at_once = self.vip.is_ipv6() && turn.link_local(InterfaceIndex::CLIENT).is_none();
        if is_answer(message) || (all_at_once && rival.pending && message.content == Content::Announcement) {
            rival.record_answer();
        } else if !rival.holds {
            rival.missed = 0; // a new claim is verified again
        }
        if rival.answered == VERIFY && !std::mem::replace(&mut rival.holds, true) {
            turn.report(NeighborReport::Held { vip: self.vip, mac, server: rival.server });
        }
    }

    /// Records that a station has announced the VIP although this director had defended it.
    pub(super) fn defends(&mut self, mac: MacAddr) {
        if let Some(rival) = self.all.iter_mut().find(|rival| rival.mac == mac) {
            rival.defends = true;
        }
    }

    /// Schedules the next probe: soon for rivals to be verified, at the watch interval for holders.
    pub(super) fn watch(&mut self, turn: &Turn<'_>) {
        let timing = turn.timing();
        let gap = if self.all.iter().any(Rival::is_open) {
            timing.verify_interval
        } else if self.all.iter().any(|rival| rival.holds) {
            timing.watch_interval
        } else {
            self.due = None;
            return;
        };
        let due = self.probed.map_or(turn.now, |probed| probed.after(gap).later(turn.now));
        self.due = Some(self.due.map_or(due, |before| before.earlier(due)));
    }

    /// True if the station is a holder.
    pub(super) fn is_holder(&self, mac: MacAddr) -> bool {
        self.all.iter().any(|rival| rival.mac == mac && rival.holds)
    }

    /// Restarts the expiry of every rival: silence during an outage of the interface proves nothing.
    pub(super) fn renew(&mut self, turn: &Turn<'_>) {
        let expires = turn.later(turn.timing().quiet());
        self.all.iter_mut().for_each(|rival| rival.expires = expires);
    }

    /// Stops verification: the VIP is not claimed.
    pub(super) fn rest(&mut self) {
        self.due = None;
        for rival in &mut self.all {
            (rival.pending, rival.answered, rival.missed, rival.defends) = (false, 0, 0, false);
        }
    }

    /// True if a probe is due. Then evaluates the replies to the last one.
    pub(super) fn is_due(&mut self, turn: &mut Turn<'_>) -> bool {
        if !self.due.is_some_and(|due| turn.now.reached(due)) {
            return false;
        }
        for rival in &mut self.all {
            rival.record_probe();
        }
        for rival in self.all.extract_if(.., |rival| rival.holds && rival.missed >= VERIFY) {
            turn.report(rival.ended(self.vip));
        }
        (self.due, self.probed) = (None, Some(turn.now));
        true
    }

    /// Identifies a rival as a real server, and reports that.
    pub(super) fn identify(&mut self, mac: MacAddr, server: IpAddr, turn: &mut Turn<'_>) {
        let rival = self.all.iter_mut().find(|rival| rival.mac == mac);
        if let Some(rival) = rival.filter(|rival| rival.server.is_none()) {
            rival.server = Some(server);
            turn.report(NeighborReport::Conflict { vip: self.vip, mac, server: Some(server) });
        }
    }

    pub(super) fn expire(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now;
        for rival in self.all.extract_if(.., |rival| now.reached(rival.expires)) {
            turn.report(rival.ended(self.vip));
        }
    }

    /// Removes all rivals: no probe was answered.
    pub(super) fn clear(&mut self, turn: &mut Turn<'_>) {
        for rival in self.all.drain(..) {
            turn.report(rival.ended(self.vip));
        }
    }
}

impl Rival {
    fn new(mac: MacAddr, server: Option<IpAddr>, expires: Tick) -> Self {
        let (pending, answered, missed) = (false, 0, 0);
        Self { mac, server, expires, pending, answered, missed, defends: false, holds: false }
    }

    fn record_answer(&mut self) {
        if std::mem::take(&mut self.pending) {
            self.answered = VERIFY.min(self.answered + 1);
            self.missed = 0;
        }
    }

    /// Records that the next probe is sent.
    fn record_probe(&mut self) {
        if std::mem::replace(&mut self.pending, true) {
            self.answered = 0;
            self.missed = VERIFY.min(self.missed + 1);
        }
    }

    /// True while verification is incomplete.
    fn is_open(&self) -> bool {
        !self.holds && self.missed < VERIFY
    }

    fn ended(&self, vip: IpAddr) -> NeighborReport {
        NeighborReport::ConflictOver { vip, mac: self.mac, server: self.server }
    }
}

/// True for an answer to a probe of this director.
fn is_answer(message: &NeighborMessage) -> bool {
    message.content == Content::Answer && message.destination.is_unicast()
}
