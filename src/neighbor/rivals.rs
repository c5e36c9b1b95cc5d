//! Other stations that act as if a VIP were theirs: told apart, verified by probes, forgotten.
//!
//! One packet proves nothing: it may be forged, or come from a real server with a wrong `arp_announce`
//! that never answers for the VIP. So while the VIP is claimed, each rival is verified. One that answers
//! [`VERIFY`] probes in a row holds the VIP, too: a real server with a wrong `arp_ignore`, or another
//! director.

use super::turn::Turn;
use super::{ArpReport, InterfaceIndex};
use crate::time::Tick;
use crate::wire::MacAddr;
use crate::wire::arp::{ArpPacket, Operation};
use std::net::Ipv4Addr;

/// Rivals that are told apart. More of them are counted only: their addresses are made up.
const RIVALS: usize = 16;
/// Probes in a row that a rival answers until it counts as a holder, and leaves unanswered until it
/// counts as one no more.
const VERIFY: u8 = 3;

/// The rivals of one VIP.
#[derive(Debug)]
pub(super) struct Rivals {
    vip: Ipv4Addr,
    all: Vec<Rival>,
    /// The next probe to verify them.
    due: Option<Tick>,
    probed: Option<Tick>,
}

#[derive(Debug)]
struct Rival {
    mac: MacAddr,
    /// The real server that it is, if it is one.
    server: Option<Ipv4Addr>,
    /// When it is forgotten unless it is heard again.
    over: Tick,
    /// The last probe is unanswered so far.
    asked: bool,
    /// Probes answered in a row, and left unanswered.
    answered: u8,
    missed: u8,
    /// It has announced the VIP after this director had, as a director does and a real server does not.
    defends: bool,
    holds: bool,
}

impl Rivals {
    pub(super) fn new(vip: Ipv4Addr) -> Self {
        Self { vip, all: Vec::new(), due: None, probed: None }
    }

    pub(super) fn deadline(&self) -> Option<Tick> {
        let ends = self.all.iter().map(|rival| rival.over);
        self.due.into_iter().chain(ends).reduce(Tick::earlier)
    }

    /// Whether the station is among them.
    pub(super) fn contains(&self, mac: MacAddr) -> bool {
        self.all.iter().any(|rival| rival.mac == mac)
    }

    /// One of them, if there is any.
    pub(super) fn any(&self) -> Option<MacAddr> {
        self.all.last().map(|rival| rival.mac)
    }

    /// A station that holds and defends the VIP, and before which this director gives way: of two such
    /// the one with the higher MAC address keeps the VIP.
    pub(super) fn stronger(&self, turn: &Turn<'_>) -> Option<MacAddr> {
        let own = turn.mac(InterfaceIndex::CLIENT);
        let stronger = |rival: &&Rival| rival.holds && rival.defends && rival.mac > own;
        self.all.iter().find(stronger).map(|rival| rival.mac)
    }

    /// Takes note of a packet that uses the VIP, and reports a station that is new.
    pub(super) fn heard(&mut self, packet: &ArpPacket, server: Option<Ipv4Addr>, turn: &mut Turn<'_>) {
        let (mac, over) = (packet.sender_mac, turn.later(turn.timing().quiet()));
        let known = self.all.iter().position(|rival| rival.mac == mac);
        let at = match known {
            Some(at) => at,
            None if self.all.len() < RIVALS => {
                turn.report(ArpReport::Conflict { vip: self.vip, mac, server });
                self.all.push(Rival::new(mac, server, over));
                self.all.len() - 1
            }
            None => return,
        };
        let rival = &mut self.all[at];
        rival.over = over;
        if is_answer(packet) {
            rival.answers();
        } else if !rival.holds {
            rival.missed = 0; // a new claim is verified anew
        }
        if rival.answered == VERIFY && !std::mem::replace(&mut rival.holds, true) {
            turn.report(ArpReport::Held { vip: self.vip, mac, server: rival.server });
        }
    }

    /// Takes note that a station has announced the VIP although this director had defended it.
    pub(super) fn defends(&mut self, mac: MacAddr) {
        if let Some(rival) = self.all.iter_mut().find(|rival| rival.mac == mac) {
            rival.defends = true;
        }
    }

    /// Sees to it that those that are neither verified nor silent are probed soon, and holders now and then.
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

    /// True for a station that is known to answer for the VIP beside this director.
    pub(super) fn is_holder(&self, mac: MacAddr) -> bool {
        self.all.iter().any(|rival| rival.mac == mac && rival.holds)
    }

    /// Gives each rival its whole time again: silence during an outage of the interface proves nothing.
    pub(super) fn renew(&mut self, turn: &Turn<'_>) {
        let over = turn.later(turn.timing().quiet());
        self.all.iter_mut().for_each(|rival| rival.over = over);
    }

    /// Verifies no more: the VIP is not claimed.
    pub(super) fn rest(&mut self) {
        self.due = None;
        for rival in &mut self.all {
            (rival.asked, rival.answered, rival.missed, rival.defends) = (false, 0, 0, false);
        }
    }

    /// Whether it is time for a probe. If so, what the last one has brought is noted.
    pub(super) fn is_due(&mut self, turn: &mut Turn<'_>) -> bool {
        if !self.due.is_some_and(|due| turn.now.reached(due)) {
            return false;
        }
        for rival in &mut self.all {
            rival.ask();
        }
        let gone = |rival: &mut Rival| rival.holds && rival.missed >= VERIFY;
        for rival in self.all.extract_if(.., gone) {
            turn.report(rival.over(self.vip));
        }
        (self.due, self.probed) = (None, Some(turn.now));
        true
    }

    /// A rival without a name may turn out to be a real server later.
    pub(super) fn identify(&mut self, mac: MacAddr, server: Ipv4Addr, turn: &mut Turn<'_>) {
        let nameless = |rival: &&mut Rival| rival.mac == mac && rival.server.is_none();
        if let Some(rival) = self.all.iter_mut().find(nameless) {
            rival.server = Some(server);
            turn.report(ArpReport::Conflict { vip: self.vip, mac, server: Some(server) });
        }
    }

    pub(super) fn forget_quiet(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now;
        for rival in self.all.extract_if(.., |rival| now.reached(rival.over)) {
            turn.report(rival.over(self.vip));
        }
    }

    /// No probe was answered: all of them are gone.
    pub(super) fn forget_all(&mut self, turn: &mut Turn<'_>) {
        for rival in self.all.drain(..) {
            turn.report(rival.over(self.vip));
        }
    }
}

impl Rival {
    fn new(mac: MacAddr, server: Option<Ipv4Addr>, over: Tick) -> Self {
        let (asked, answered, missed) = (false, 0, 0);
        Self { mac, server, over, asked, answered, missed, defends: false, holds: false }
    }

    fn answers(&mut self) {
        if std::mem::take(&mut self.asked) {
            self.answered = VERIFY.min(self.answered + 1);
            self.missed = 0;
        }
    }

    /// The next probe goes out.
    fn ask(&mut self) {
        if std::mem::replace(&mut self.asked, true) {
            self.answered = 0;
            self.missed = VERIFY.min(self.missed + 1);
        }
    }

    /// Neither a holder nor silent: more probes are wanted.
    fn is_open(&self) -> bool {
        !self.holds && self.missed < VERIFY
    }

    fn over(&self, vip: Ipv4Addr) -> ArpReport {
        ArpReport::ConflictOver { vip, mac: self.mac, server: self.server }
    }
}

/// Whether a packet that uses the VIP is an answer to a question of this director.
fn is_answer(packet: &ArpPacket) -> bool {
    packet.operation == Operation::Reply && packet.destination.is_unicast()
}
