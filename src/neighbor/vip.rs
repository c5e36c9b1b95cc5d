//! State machine of a VIP: probe, claim or stand by, announce, defend (RFC 5227, RFC 4862).

use super::prober::Prober;
use super::rivals::Rivals;
use super::turn::Turn;
use super::{Content, NeighborMessage, NeighborReport, Outgoing};
use crate::model::InterfaceIndex;
use crate::model::OnConflict;
use crate::time::{Span, Tick};
use crate::wire::MacAddr;
use std::net::IpAddr;

#[derive(Debug)]
pub(super) struct VipMachine {
    address: IpAddr,
    state: VipPhase,
    rivals: Rivals,
    /// Holder in the last report to control, until the VIP is claimed.
    standby: Option<MacAddr>,
    prober: Prober,
}

#[derive(Debug)]
enum VipPhase {
    /// No carrier. `ours`: claimed before the outage; control still has it as claimed.
    Suspended { ours: bool },
    /// `sent` probes without an answer. `ours` as above.
    Probing { sent: u8, due: Tick, ours: bool },
    /// Another station has the address. It is probed at `due`; `probed`: it has been probed before.
    Standby { holder: MacAddr, probed: bool, due: Tick },
    /// Claimed by this director.
    Claimed(Announcer),
}

#[derive(Debug)]
struct Announcer {
    /// Announcements sent in this round. A claim and a defense start a round.
    announced: u8,
    /// Next announcement.
    due: Option<Tick>,
    guard: DefenseTimer,
}

/// Enforces [`super::Timing::defend_interval`] between defenses.
#[derive(Clone, Copy, Debug)]
enum DefenseTimer {
    /// No recent defense: the next conflict is answered at once.
    Ready,
    /// Defended: none before `until`, then another one if `again`.
    Resting { until: Tick, again: bool },
}

impl VipMachine {
    pub(super) fn new(address: IpAddr, turn: &mut Turn<'_>) -> Self {
        let is_up = turn.is_up(InterfaceIndex::CLIENT);
        let state = if is_up { VipPhase::probing(false, turn) } else { VipPhase::Suspended { ours: false } };
        let prober = Prober::new(address);
        let mut vip = Self { address, state, rivals: Rivals::new(address), standby: None, prober };
        if is_up && vip.skips_probing(turn) {
            vip.prober.probe(false, turn);
            vip.claim(turn);
        }
        vip
    }

    /// True if the VIP is claimed without a wait for answers: an IPv6 VIP that is claimed in any case, as duplicate
    /// address detection would delay a takeover from a router that still answers.
    fn skips_probing(&self, turn: &Turn<'_>) -> bool {
        self.address.is_ipv6() && turn.common.on_conflict == OnConflict::Claim
    }

    /// Handles the loss of the carrier.
    pub(super) fn suspend(&mut self) {
        self.rivals.rest();
        self.state = VipPhase::Suspended { ours: self.is_ours() };
    }

    /// Handles the return of the carrier. The segment may be another one, or have another owner of the VIP:
    /// it is probed for before it is announced, unless the policy is to claim it in any case.
    pub(super) fn resume(&mut self, turn: &mut Turn<'_>) {
        self.rivals.renew(turn);
        let ours = self.is_ours();
        if (ours && turn.common.on_conflict == OnConflict::Claim) || self.skips_probing(turn) {
            self.prober.probe(ours, turn);
            return self.claim(turn);
        }
        self.state = VipPhase::probing(ours, turn);
    }

    /// True if control has the VIP as claimed.
    fn is_ours(&self) -> bool {
        matches!(
            self.state,
            VipPhase::Claimed(_) | VipPhase::Suspended { ours: true } | VipPhase::Probing { ours: true, .. }
        )
    }

    pub(super) fn deadline(&self) -> Option<Tick> {
        let (due, guard) = match &self.state {
            VipPhase::Suspended { .. } => return None,
            VipPhase::Probing { due, .. } | VipPhase::Standby { due, .. } => (Some(*due), None),
            VipPhase::Claimed(claim) => (claim.due, claim.guard.until()),
        };
        due.into_iter().chain(guard).chain(self.rivals.deadline()).reduce(Tick::earlier)
    }

    pub(super) fn run_due(&mut self, turn: &mut Turn<'_>) {
        if matches!(self.state, VipPhase::Suspended { .. }) {
            return;
        }
        self.rivals.expire(turn);
        if let Some(reported) = self.standby
            && !self.rivals.contains(reported)
            && let Some(holder) = self.rivals.any()
        {
            self.report_standby(holder, turn);
        }
        match &mut self.state {
            VipPhase::Probing { sent, due, .. } if turn.now.reached(*due) => {
                let sent = *sent;
                self.probe_or_claim(sent, turn);
            }
            VipPhase::Standby { holder, probed, due } if turn.now.reached(*due) => {
                let (holder, probed) = (*holder, *probed);
                self.probe_holder(holder, probed, turn);
            }
            VipPhase::Claimed(claim) => {
                claim.run_due(&mut self.prober, turn);
                if self.rivals.is_due(turn) {
                    self.prober.probe(true, turn);
                    self.rivals.watch(turn);
                }
            }
            VipPhase::Suspended { .. } | VipPhase::Probing { .. } | VipPhase::Standby { .. } => {}
        }
    }

    /// Handles a message of another station on the client interface. `server` looks up the real server
    /// with the sender's MAC address.
    pub(super) fn receive(
        &mut self,
        message: &NeighborMessage,
        server: impl FnOnce() -> Option<IpAddr>,
        turn: &mut Turn<'_>,
    ) {
        self.prober.observe(message, turn);
        if self.prober.is_echo(message) {
            return;
        }
        if self.contradicted_by(message, turn) {
            self.conflict(message, server(), turn);
        } else if self.answers(message, turn) {
            turn.counters().answered.add(1);
            let answer = Outgoing::Answer { address: self.address, station: message.mac, to: message.sender };
            turn.send(InterfaceIndex::CLIENT, answer);
        }
    }

    pub(super) fn identify(&mut self, mac: MacAddr, server: IpAddr, turn: &mut Turn<'_>) {
        self.rivals.identify(mac, server, turn);
    }

    /// True if the message conflicts with this director's use of the VIP: it has the VIP as its sender
    /// address, or is a simultaneous probe (RFC 5227 §2.1.1). Of two probing directors the one with the
    /// higher MAC address continues, so that they do not both step back for ever. A probe for a claimed VIP
    /// is no conflict.
    fn contradicted_by(&self, message: &NeighborMessage, turn: &Turn<'_>) -> bool {
        let probing = matches!(self.state, VipPhase::Probing { ours: false, .. });
        let probes_too = message.is_probe() && message.target() == Some(self.address);
        let stronger = message.mac > turn.mac(InterfaceIndex::CLIENT);
        message.claimed() == Some(self.address) || (probing && probes_too && stronger)
    }

    /// True if the message is answered. After an outage only probes are: this keeps the VIP from a standby
    /// that has lost the interface as well, and attracts no client while another station may have the VIP.
    fn answers(&self, message: &NeighborMessage, turn: &Turn<'_>) -> bool {
        let to_us =
            !message.destination.is_unicast() || message.destination == turn.mac(InterfaceIndex::CLIENT);
        let solicits = message.target() == Some(self.address);
        let answers = match self.state {
            VipPhase::Claimed(_) => true,
            VipPhase::Probing { ours, .. } => ours && message.is_probe(),
            VipPhase::Suspended { .. } | VipPhase::Standby { .. } => false,
        };
        answers && solicits && to_us
    }

    /// True for a message that shows that the VIP was taken during an outage: an answer to a probe, or an
    /// announcement. A station that already held the VIP beside this director has not taken it.
    fn is_lost_to(&self, message: &NeighborMessage) -> bool {
        let asserts = matches!(message.content, Content::Answer | Content::Announcement);
        let is_back = matches!(self.state, VipPhase::Probing { ours: true, .. });
        is_back && asserts && !self.rivals.is_holder(message.mac)
    }

    fn probe_or_claim(&mut self, sent: u8, turn: &mut Turn<'_>) {
        let timing = turn.timing();
        if sent >= timing.probes {
            return self.claim(turn);
        }
        self.prober.probe(false, turn);
        let last = sent + 1 == timing.probes;
        let (least, most) =
            if last { (timing.announce_wait, timing.announce_wait) } else { timing.probe_gap };
        let gap = turn.random(least, most);
        self.state = VipPhase::Probing { sent: sent + 1, due: turn.later(gap), ours: self.is_ours() };
    }

    fn claim(&mut self, turn: &mut Turn<'_>) {
        if !self.is_ours() {
            self.report_claimed(turn);
        }
        self.state = VipPhase::Claimed(Announcer::new(self.address, turn));
        self.rivals.watch(turn);
    }

    fn report_claimed(&mut self, turn: &mut Turn<'_>) {
        if turn.common.on_conflict == OnConflict::Standby {
            self.rivals.clear(turn);
        }
        turn.report(NeighborReport::Claimed { vip: self.address });
        self.standby = None;
    }

    fn conflict(&mut self, message: &NeighborMessage, server: Option<IpAddr>, turn: &mut Turn<'_>) {
        turn.counters().conflicts.add(1);
        let yields = turn.common.on_conflict == OnConflict::Standby;
        if yields && self.is_lost_to(message) {
            // Before the conflict is reported: control takes it as one about a VIP that is not claimed.
            self.stand_by(message.mac, turn);
        }
        self.rivals.observe(message, server, turn);
        match &mut self.state {
            VipPhase::Claimed(claim) => {
                let defended = matches!(claim.guard, DefenseTimer::Resting { .. });
                let answers = self.prober.is_answered_to_all(turn.now);
                if defended && !answers && message.content == Content::Announcement {
                    self.rivals.defends(message.mac);
                }
                claim.defend(self.address, turn);
                self.rivals.watch(turn);
                if let Some(holder) = self.rivals.stronger(turn).filter(|_| yields) {
                    self.stand_by(holder, turn);
                }
            }
            VipPhase::Probing { ours: false, .. } | VipPhase::Standby { .. } if yields => {
                self.stand_by(message.mac, turn);
            }
            VipPhase::Suspended { .. } | VipPhase::Probing { .. } | VipPhase::Standby { .. } => {}
        }
    }

    /// Leaves the VIP to `holder` while it answers.
    fn stand_by(&mut self, holder: MacAddr, turn: &mut Turn<'_>) {
        self.rivals.rest();
        if self.standby.is_none() {
            self.report_standby(holder, turn);
        }
        let due = turn.about(turn.timing().standby_interval, 4);
        self.state = VipPhase::Standby { holder, probed: false, due };
    }

    fn report_standby(&mut self, holder: MacAddr, turn: &mut Turn<'_>) {
        self.standby = Some(holder);
        turn.report(NeighborReport::Standby { vip: self.address, mac: holder });
    }

    /// Probes the holder by unicast, so that a standby does not load the whole segment. If it does not
    /// answer, probes follow by broadcast.
    fn probe_holder(&mut self, holder: MacAddr, probed: bool, turn: &mut Turn<'_>) {
        if probed {
            return self.probe_or_claim(0, turn);
        }
        self.prober.ask(holder, turn);
        let (_, wait) = turn.timing().probe_gap;
        self.state = VipPhase::Standby { holder, probed: true, due: turn.later(wait) };
    }
}

impl VipPhase {
    /// Starts to probe after a random delay.
    fn probing(ours: bool, turn: &mut Turn<'_>) -> Self {
        let wait = turn.timing().probe_wait;
        Self::Probing { sent: 0, due: turn.now.after(turn.random(Span::default(), wait)), ours }
    }
}

impl Announcer {
    fn new(vip: IpAddr, turn: &mut Turn<'_>) -> Self {
        let mut claim = Self { announced: 0, due: None, guard: DefenseTimer::Ready };
        claim.announce(vip, true, turn);
        claim
    }

    fn run_due(&mut self, prober: &mut Prober, turn: &mut Turn<'_>) {
        let vip = prober.address();
        if self.due.is_some_and(|due| turn.now.reached(due)) {
            if self.announced >= turn.timing().announcements {
                // Linux ignores an announcement of its own address but answers a probe: this finds real
                // servers that have started to answer ARP.
                prober.probe(true, turn);
            }
            self.announce(vip, false, turn);
        }
        let DefenseTimer::Resting { until, again } = self.guard else { return };
        if turn.now.reached(until) {
            self.guard = DefenseTimer::Ready;
            if again {
                self.defend(vip, turn);
            }
        }
    }

    /// Starts a round of announcements. It lasts some seconds, by when a rival that yields has done so: the
    /// last announcement that routers receive is this director's.
    fn defend(&mut self, vip: IpAddr, turn: &mut Turn<'_>) {
        if let DefenseTimer::Resting { again, .. } = &mut self.guard {
            *again = true;
            return;
        }
        self.guard = DefenseTimer::Resting { until: turn.later(turn.timing().defend_interval), again: false };
        self.announced = 0;
        self.announce(vip, false, turn);
    }

    /// Announces the VIP, and schedules the next announcement.
    fn announce(&mut self, address: IpAddr, is_first: bool, turn: &mut Turn<'_>) {
        turn.counters().announced.add(1);
        turn.send(InterfaceIndex::CLIENT, Outgoing::Announce { address, is_first });
        let timing = turn.timing();
        self.announced = self.announced.saturating_add(1);
        self.due = if self.announced < timing.announcements {
            Some(turn.later(timing.announce_gap))
        } else {
            Some(timing.announce_interval).filter(|span| *span > Span::default()).map(|span| turn.later(span))
        };
    }
}

impl DefenseTimer {
    fn until(self) -> Option<Tick> {
        match self {
            Self::Ready => None,
            Self::Resting { until, .. } => Some(until),
        }
    }
}
