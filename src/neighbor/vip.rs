//! State machine of a VIP: probe, claim or stand by, announce, defend (RFC 5227, RFC 4862); or claim and let go by the
//! director's role.

use super::announcer::Announcer;
use super::prober::Prober;
use super::rivals::Rivals;
use super::turn::Turn;
use super::{Content, NeighborMessage, NeighborReport, Outgoing};
use crate::model::{InterfaceIndex, OnConflict, Role};
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
    /// The director's role is backup or fault: nothing is sent, and nothing answered.
    Silent,
    /// No carrier. `ours`: claimed before the outage; control still has it as claimed.
    Suspended { ours: bool },
    /// `sent` probes without an answer. `ours` as above.
    Probing { sent: u8, due: Tick, ours: bool },
    /// Another station has the address. It is probed at `due`; `probed`: it has been probed before.
    Standby { holder: MacAddr, probed: bool, due: Tick },
    /// Claimed by this director.
    Claimed(Announcer),
}

impl VipMachine {
    /// Adds a VIP. `reclaims`: this director had it a moment ago.
    pub(super) fn new(address: IpAddr, reclaims: bool, turn: &mut Turn<'_>) -> Self {
        let (state, prober) = (VipPhase::Suspended { ours: false }, Prober::new(address));
        let mut vip = Self { address, state, rivals: Rivals::new(address), standby: None, prober };
        match turn.common.role {
            Role::Backup | Role::Fault => vip.release(turn),
            _ if !turn.is_up(InterfaceIndex::CLIENT) => {}
            Role::Master => vip.claim(turn),
            Role::Standalone if reclaims || vip.skips_probing(turn) => {
                // An answer shows another owner.
                vip.prober.probe(false, turn);
                vip.claim(turn);
            }
            Role::Standalone => vip.state = VipPhase::probing(false, turn),
        }
        vip
    }

    /// True if the VIP is claimed without a wait for answers: an IPv6 VIP that is claimed in any case, as duplicate
    /// address detection would delay a takeover from a router that still answers.
    fn skips_probing(&self, turn: &Turn<'_>) -> bool {
        self.address.is_ipv6() && turn.common.on_conflict == OnConflict::Claim
    }

    /// Follows a change of the role.
    pub(super) fn change_role(&mut self, turn: &mut Turn<'_>) {
        let is_silent = matches!(self.state, VipPhase::Silent);
        match turn.common.role {
            Role::Backup | Role::Fault if is_silent => {}
            Role::Backup | Role::Fault => self.release(turn),
            _ if !turn.is_up(InterfaceIndex::CLIENT) => {
                self.state = VipPhase::Suspended { ours: self.is_ours() };
            }
            Role::Master => self.claim(turn),
            Role::Standalone if is_silent => self.state = VipPhase::probing(false, turn),
            Role::Standalone => {}
        }
    }

    /// Lets the VIP go, from one packet to the next. What other stations do with it is not looked at any more.
    fn release(&mut self, turn: &mut Turn<'_>) {
        self.state = VipPhase::Silent;
        (self.rivals, self.standby) = (Rivals::new(self.address), None);
        turn.report(NeighborReport::Released { vip: self.address });
    }

    /// Announces the VIP again if this director is master.
    pub(super) fn announce_again(&mut self, turn: &mut Turn<'_>) {
        if let (Role::Master, VipPhase::Claimed(claim)) = (turn.common.role, &mut self.state) {
            claim.restart(self.address, turn);
        }
    }

    /// Handles the loss of the carrier.
    pub(super) fn suspend(&mut self) {
        if !matches!(self.state, VipPhase::Silent) {
            self.rivals.rest();
            self.state = VipPhase::Suspended { ours: self.is_ours() };
        }
    }

    /// Handles the return of the carrier. The segment may be another one, or have another owner of the VIP:
    /// it is probed for before it is announced, unless the policy is to claim it in any case. A master announces it at
    /// once: another director may have been master meanwhile.
    pub(super) fn resume(&mut self, turn: &mut Turn<'_>) {
        if matches!(self.state, VipPhase::Silent) {
            return;
        }
        self.rivals.renew(turn);
        if turn.common.role == Role::Master {
            return self.claim(turn);
        }
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
        let due = match &self.state {
            VipPhase::Silent | VipPhase::Suspended { .. } => return None,
            VipPhase::Probing { due, .. } | VipPhase::Standby { due, .. } => Some(*due),
            VipPhase::Claimed(claim) => claim.deadline(),
        };
        due.into_iter().chain(self.rivals.deadline()).reduce(Tick::earlier)
    }

    pub(super) fn run_due(&mut self, turn: &mut Turn<'_>) {
        if matches!(self.state, VipPhase::Silent | VipPhase::Suspended { .. }) {
            return;
        }
        let rivals = self.rivals.count();
        self.run_phase(turn);
        if self.rivals.count() < rivals {
            self.announce_again(turn); // the caches that followed a rival still have it
        }
    }

    fn run_phase(&mut self, turn: &mut Turn<'_>) {
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
            _ => {}
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
        if matches!(self.state, VipPhase::Silent) {
            return;
        }
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
            VipPhase::Silent | VipPhase::Suspended { .. } | VipPhase::Standby { .. } => false,
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
            // A master leaves the dispute to the engine that made it one: only the rival is verified and named.
            VipPhase::Claimed(_) if turn.common.role == Role::Master => self.rivals.watch(turn),
            VipPhase::Claimed(claim) => {
                let defended = claim.has_defended();
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
            _ => {}
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
