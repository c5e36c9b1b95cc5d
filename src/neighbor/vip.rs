//! A VIP's life: probed, claimed or refused, announced, defended (RFC 5227).

use super::turn::Turn;
use super::{LinkIndex, Report};
use crate::model::OnConflict;
use crate::time::{Span, Tick};
use crate::wire::MacAddr;
use crate::wire::arp::{ArpPacket, Operation};
use std::net::Ipv4Addr;

/// Rivals that are told apart. More of them are counted only: somebody is making up addresses.
const RIVALS: usize = 16;

#[derive(Debug)]
pub(super) struct Vip {
    address: Ipv4Addr,
    state: State,
    rivals: Vec<Rival>,
}

#[derive(Debug)]
enum State {
    /// Neither ours nor known to be another's, and there is no carrier to probe by.
    Held,
    /// `sent` probes are out and nobody has answered.
    Probing { sent: u8, due: Tick },
    /// Somebody else has the address: try again at `due`.
    Refused { due: Tick },
    /// It is ours.
    Claimed(Claim),
}

#[derive(Debug)]
struct Claim {
    /// Announcements of the first round that are out.
    announced: u8,
    /// The next announcement.
    due: Option<Tick>,
    guard: Guard,
}

/// Keeps defences [`super::Timing::defend_interval`] apart.
#[derive(Clone, Copy, Debug)]
enum Guard {
    /// No defence lately: the next conflict gets one at once.
    Ready,
    /// Defended; nothing before `until`, then once more if `again`.
    Resting { until: Tick, again: bool },
}

/// A station that acts as if the VIP were its own.
#[derive(Debug)]
struct Rival {
    mac: MacAddr,
    /// The real server that it is, if it is one.
    server: Option<Ipv4Addr>,
    /// Gone, if it is not heard before.
    over: Tick,
}

impl Vip {
    pub(super) fn new(address: Ipv4Addr, turn: &mut Turn<'_>) -> Self {
        let state = if turn.is_up(LinkIndex::CLIENT) { State::probing(turn) } else { State::Held };
        Self { address, state, rivals: Vec::new() }
    }

    /// The carrier is gone.
    pub(super) fn hold(&mut self) {
        match &mut self.state {
            State::Claimed(claim) => (claim.due, claim.guard) = (None, Guard::Ready),
            state => *state = State::Held,
        }
    }

    /// The carrier is back: the segment may be another one, and have another owner of the VIP.
    pub(super) fn resume(&mut self, turn: &mut Turn<'_>) {
        match &mut self.state {
            State::Claimed(claim) => claim.assert_again(self.address, turn),
            state => *state = State::probing(turn),
        }
    }

    pub(super) fn deadline(&self) -> Option<Tick> {
        let (due, guard) = match &self.state {
            State::Held => (None, None),
            State::Probing { due, .. } | State::Refused { due } => (Some(*due), None),
            State::Claimed(claim) => (claim.due, claim.guard.until()),
        };
        let rivals = self.rivals.iter().map(|rival| rival.over);
        due.into_iter().chain(guard).chain(rivals).reduce(Tick::earlier)
    }

    pub(super) fn run_due(&mut self, turn: &mut Turn<'_>) {
        self.forget_quiet_rivals(turn);
        match &mut self.state {
            State::Probing { sent, due } if turn.now.reached(*due) => {
                let sent = *sent;
                self.probe_or_claim(sent, turn);
            }
            State::Refused { due } if turn.now.reached(*due) => self.probe_or_claim(0, turn),
            State::Claimed(claim) => claim.run_due(self.address, turn),
            State::Held | State::Probing { .. } | State::Refused { .. } => {}
        }
    }

    /// Takes an ARP packet from another station on the client link. `server` finds the real server
    /// that the station is, if it is one.
    pub(super) fn receive(
        &mut self,
        packet: &ArpPacket,
        server: impl FnOnce() -> Option<Ipv4Addr>,
        turn: &mut Turn<'_>,
    ) {
        if self.contradicted_by(packet) {
            self.conflict(packet.sender_mac, server(), turn);
        } else if self.answers(packet, turn) {
            turn.counters().answered.add(1);
            turn.send(LinkIndex::CLIENT, packet.answer(turn.mac(LinkIndex::CLIENT)));
        }
    }

    /// A rival without a name may turn out to be a real server later.
    pub(super) fn identify(&mut self, mac: MacAddr, server: Ipv4Addr, turn: &mut Turn<'_>) {
        let nameless = |rival: &&mut Rival| rival.mac == mac && rival.server.is_none();
        if let Some(rival) = self.rivals.iter_mut().find(nameless) {
            rival.server = Some(server);
            turn.report(Report::Conflict { vip: self.address, mac, server: Some(server) });
        }
    }

    /// Whoever uses the VIP as a sender has it; whoever probes for it while we do wants it just
    /// as much (RFC 5227 §2.1.1). A probe for a claimed VIP is only a question.
    fn contradicted_by(&self, packet: &ArpPacket) -> bool {
        let probing = matches!(self.state, State::Probing { .. });
        packet.sender_ip == self.address || (probing && packet.is_probe() && packet.target_ip == self.address)
    }

    fn answers(&self, packet: &ArpPacket, turn: &Turn<'_>) -> bool {
        let to_us = !packet.destination.is_unicast() || packet.destination == turn.mac(LinkIndex::CLIENT);
        let asked = packet.operation == Operation::Request && packet.target_ip == self.address;
        matches!(self.state, State::Claimed(_)) && asked && to_us
    }

    fn probe_or_claim(&mut self, sent: u8, turn: &mut Turn<'_>) {
        let timing = turn.timing();
        if sent >= timing.probes {
            return self.claim(turn);
        }
        probe(self.address, turn);
        let last = sent + 1 == timing.probes;
        let (least, most) =
            if last { (timing.announce_wait, timing.announce_wait) } else { timing.probe_gap };
        let gap = turn.random(least, most);
        self.state = State::Probing { sent: sent + 1, due: turn.later(gap) };
    }

    fn claim(&mut self, turn: &mut Turn<'_>) {
        if turn.common.on_conflict == OnConflict::Refuse {
            // Nobody contradicted this time: whoever did before is gone.
            for rival in self.rivals.drain(..) {
                turn.report(rival.over(self.address));
            }
        }
        turn.report(Report::Claimed { vip: self.address });
        self.state = State::Claimed(Claim::new(self.address, turn));
    }

    fn conflict(&mut self, mac: MacAddr, server: Option<Ipv4Addr>, turn: &mut Turn<'_>) {
        turn.counters().conflicts.add(1);
        self.note(mac, server, turn);
        match &mut self.state {
            State::Probing { .. } if turn.common.on_conflict == OnConflict::Refuse => {
                self.state = State::Refused { due: turn.about(turn.timing().reprobe_interval, 4) };
            }
            State::Claimed(claim) => claim.guard.defend(self.address, turn),
            State::Held | State::Probing { .. } | State::Refused { .. } => {}
        }
    }

    /// Remembers a rival, and reports one that is new.
    fn note(&mut self, mac: MacAddr, server: Option<Ipv4Addr>, turn: &mut Turn<'_>) {
        let over = turn.later(turn.timing().quiet());
        if let Some(known) = self.rivals.iter_mut().find(|rival| rival.mac == mac) {
            known.over = over;
        } else if self.rivals.len() < RIVALS {
            self.rivals.push(Rival { mac, server, over });
            turn.report(Report::Conflict { vip: self.address, mac, server });
        }
    }

    fn forget_quiet_rivals(&mut self, turn: &mut Turn<'_>) {
        let (address, now) = (self.address, turn.now);
        for rival in self.rivals.extract_if(.., |rival| now.reached(rival.over)) {
            turn.report(rival.over(address));
        }
    }
}

impl State {
    /// From the first probe on, which waits a random time.
    fn probing(turn: &mut Turn<'_>) -> Self {
        let wait = turn.timing().probe_wait;
        Self::Probing { sent: 0, due: turn.now.after(turn.random(Span::default(), wait)) }
    }
}

impl Claim {
    fn new(vip: Ipv4Addr, turn: &mut Turn<'_>) -> Self {
        announce(vip, turn);
        let mut claim = Self { announced: 1, due: None, guard: Guard::Ready };
        claim.plan(turn);
        claim
    }

    /// Asks whether another station has it, and tells everybody where it is, from the beginning.
    fn assert_again(&mut self, vip: Ipv4Addr, turn: &mut Turn<'_>) {
        probe(vip, turn);
        announce(vip, turn);
        self.announced = 1;
        self.plan(turn);
    }

    fn run_due(&mut self, vip: Ipv4Addr, turn: &mut Turn<'_>) {
        if self.due.is_some_and(|due| turn.now.reached(due)) {
            if self.announced < turn.timing().announcements {
                self.announced += 1;
            } else {
                // Linux does not answer an announcement of its own address but answers a probe:
                // this finds real servers that have begun to answer ARP.
                probe(vip, turn);
            }
            announce(vip, turn);
            self.plan(turn);
        }
        self.guard.run_due(vip, turn);
    }

    fn plan(&mut self, turn: &Turn<'_>) {
        let timing = turn.timing();
        self.due = if self.announced < timing.announcements {
            Some(turn.later(timing.announce_gap))
        } else {
            Some(timing.announce_interval).filter(|span| *span > Span::default()).map(|span| turn.later(span))
        };
    }
}

impl Guard {
    fn until(self) -> Option<Tick> {
        match self {
            Self::Ready => None,
            Self::Resting { until, .. } => Some(until),
        }
    }

    fn defend(&mut self, vip: Ipv4Addr, turn: &mut Turn<'_>) {
        match self {
            Self::Ready => {
                announce(vip, turn);
                *self = Self::Resting { until: turn.later(turn.timing().defend_interval), again: false };
            }
            Self::Resting { again, .. } => *again = true,
        }
    }

    fn run_due(&mut self, vip: Ipv4Addr, turn: &mut Turn<'_>) {
        let Self::Resting { until, again } = *self else { return };
        if turn.now.reached(until) {
            *self = Self::Ready;
            if again {
                self.defend(vip, turn);
            }
        }
    }
}

impl Rival {
    fn over(&self, vip: Ipv4Addr) -> Report {
        Report::ConflictOver { vip, mac: self.mac, server: self.server }
    }
}

fn probe(vip: Ipv4Addr, turn: &mut Turn<'_>) {
    turn.counters().probed.add(1);
    turn.send(LinkIndex::CLIENT, ArpPacket::probe(turn.mac(LinkIndex::CLIENT), vip));
}

/// Tells everybody where the VIP is.
///
/// The request is RFC 5227's form. The reply is for routers and firewalls that update an entry
/// from replies only; it costs one more small frame a minute.
fn announce(vip: Ipv4Addr, turn: &mut Turn<'_>) {
    let mac = turn.mac(LinkIndex::CLIENT);
    turn.counters().announced.add(1);
    turn.send(LinkIndex::CLIENT, ArpPacket::announcement(mac, vip));
    turn.send(LinkIndex::CLIENT, ArpPacket::announcement_reply(mac, vip));
}
