//! The auditor: its state, its inputs, and the work that time brings.

use super::case::{AuditCase, CaseKey};
use super::events::{AuditAction, AuditCounters, AuditInput, AuditSettings};
use super::finding::{AuditFinding, Misuse};
use super::gateway::GatewayTests;
use super::hosts::HostTable;
use super::questions::{Purpose, QuestionQueue};
use super::repeats::RequestRows;
use super::round::{AuditRound, about_vip};
use crate::model::InterfaceIndex;
use crate::neighbor::{NeighborEvent, NeighborReport};
use crate::random::SplitMix64;
use crate::time::{Span, Tick};
use crate::wire::MacAddr;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Time from the claim of a VIP, or from the return of the carrier, to the first question about it, in milliseconds. A
/// director that returns answers probes for a VIP that it had, until it knows that another one has it.
const SETTLES_IN: u64 = 5000;
/// Time in which moves of a real server are counted, in milliseconds, and their number that is no move.
const MOVES_WITHIN: u64 = 60_000;
const MOVES: usize = 3;

/// Role of this director for a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VipRole {
    /// It has claimed the VIP.
    Ours,
    /// It leaves the VIP to another station.
    Left,
    /// It does not take part.
    Observed,
}

/// The auditor.
#[derive(Debug)]
pub struct Auditor {
    pub(super) own_macs: Vec<MacAddr>,
    pub(super) interval: u64,
    /// Milliseconds since the first input, which do not wrap.
    pub(super) now: u64,
    tick: Option<Tick>,
    pub(super) sender: Option<Ipv4Addr>,
    pub(super) link_locals: Vec<Option<Ipv6Addr>>,
    /// True without carrier on the client interface: no question is sent.
    is_down: bool,
    pub(super) vips: BTreeMap<IpAddr, VipRole>,
    /// VIPs that are not asked for yet, with the time of their first question.
    unsettled: BTreeMap<IpAddr, u64>,
    pub(super) hosts: HostTable,
    pub(super) cases: BTreeMap<CaseKey, AuditCase>,
    /// Hosts without fault, with the time until which they count as such.
    pub(super) cleared: BTreeMap<(IpAddr, MacAddr), u64>,
    pub(super) rows: RequestRows,
    /// Changes of the MAC addresses of real servers, the latest last.
    moves: BTreeMap<IpAddr, VecDeque<(u64, MacAddr)>>,
    pub(super) queue: QuestionQueue,
    pub(super) round: AuditRound,
    pub(super) gateway: GatewayTests,
    /// The last question was one of a round.
    pub(super) was_round: bool,
    pub(super) random: SplitMix64,
    pub(super) counters: Arc<AuditCounters>,
    /// Time of the next work.
    pub(super) wake_at: Option<u64>,
}

impl Auditor {
    /// Creates an auditor without VIPs and servers.
    #[must_use]
    pub fn new(settings: AuditSettings) -> Self {
        let AuditSettings { own_macs, peers, interval, seed } = settings;
        Self {
            link_locals: vec![None; own_macs.len()],
            own_macs,
            interval: interval.millis().into(),
            now: 0,
            tick: None,
            sender: None,
            is_down: false,
            vips: BTreeMap::new(),
            unsettled: BTreeMap::new(),
            hosts: HostTable::new(peers),
            cases: BTreeMap::new(),
            cleared: BTreeMap::new(),
            rows: RequestRows::default(),
            moves: BTreeMap::new(),
            queue: QuestionQueue::default(),
            round: AuditRound::new(interval),
            gateway: GatewayTests::new(seed),
            was_round: false,
            random: SplitMix64::new(seed),
            counters: Arc::default(),
            wake_at: None,
        }
    }

    /// The counters, readable while another thread owns the auditor.
    #[must_use]
    pub fn counters(&self) -> Arc<AuditCounters> {
        Arc::clone(&self.counters)
    }

    /// Time of the next [`AuditInput::Timer`] unless another input comes first; later than the last input.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        let wait = self.wake_at?.saturating_sub(self.now).max(1);
        Some(self.tick?.after(Span::from_millis(u32::try_from(wait).unwrap_or(u32::MAX))))
    }

    /// Every finding: by level, the gravest first, then by address.
    #[must_use]
    pub fn findings(&self) -> Vec<AuditFinding> {
        let open = self.cases.iter().filter(|(_, case)| case.is_open());
        let open = open.map(|(key, case)| self.finding(key, case));
        let mut findings: Vec<_> = open.chain(self.diversions()).collect();
        findings.sort_by_key(|finding| (std::cmp::Reverse(finding.level), finding.address));
        findings
    }

    /// Number of complete rounds of questions.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.round.complete()
    }

    /// True while signs are being looked into.
    #[must_use]
    pub fn is_inquiring(&self) -> bool {
        self.cases.values().any(|case| !case.is_open()) || !self.queue.is_empty()
    }

    /// Handles an input, and all work up to `now`. Appends to `actions`.
    pub fn handle(&mut self, input: &AuditInput, now: Tick, actions: &mut Vec<AuditAction>) {
        self.advance(now);
        match input {
            AuditInput::Timer => {}
            AuditInput::Followed(event) => self.follow(event, actions),
            AuditInput::Reported(report) => self.learn(report, actions),
            AuditInput::Observe(vip) => self.watch(*vip, VipRole::Observed),
            AuditInput::Sender(sender) => self.set_sender(*sender, actions),
            AuditInput::Gateway(gateway) => self.set_gateway(*gateway, actions),
            AuditInput::Returned { vip, number } => self.take_returned(*vip, *number, actions),
        }
        self.run_due(actions);
    }

    fn set_sender(&mut self, sender: Option<Ipv4Addr>, actions: &mut Vec<AuditAction>) {
        if std::mem::replace(&mut self.sender, sender) != sender {
            self.forget_gateway(actions);
        }
    }

    pub(super) fn advance(&mut self, now: Tick) {
        self.now += u64::from(now.since(self.tick.unwrap_or(now)).millis());
        self.tick = Some(now);
    }

    fn follow(&mut self, event: &NeighborEvent, actions: &mut Vec<AuditAction>) {
        match *event {
            NeighborEvent::Received { .. }
            | NeighborEvent::Timer
            | NeighborEvent::AddVip(_)
            | NeighborEvent::ReclaimVip(_)
            | NeighborEvent::Role(_)
            | NeighborEvent::Announce => {}
            NeighborEvent::RemoveVip(vip) => self.unwatch(vip, actions),
            NeighborEvent::AddServer(target) => {
                self.hosts.add_server(&target);
                self.round.change();
            }
            NeighborEvent::RemoveServer { interface, rip } => {
                self.hosts.remove_server(interface, rip);
                self.round.change();
                self.moves.remove(&rip);
                self.close_where(|key| key.address == rip && key.misuse == Misuse::Duplicate, actions);
            }
            NeighborEvent::LinkLocal { interface, address } => {
                if let Some(known) = self.link_locals.get_mut(usize::from(interface.0)) {
                    *known = address;
                }
            }
            NeighborEvent::InterfaceDown(InterfaceIndex::CLIENT) => {
                self.is_down = true;
                self.gateway.interrupt();
            }
            NeighborEvent::InterfaceUp(InterfaceIndex::CLIENT) => self.resume(),
            NeighborEvent::InterfaceDown(_) | NeighborEvent::InterfaceUp(_) => {}
        }
    }

    fn learn(&mut self, report: &NeighborReport, actions: &mut Vec<AuditAction>) {
        match *report {
            NeighborReport::Claimed { vip } => self.watch(vip, VipRole::Ours),
            NeighborReport::Standby { vip, .. } | NeighborReport::Released { vip } => {
                self.watch(vip, VipRole::Left);
                self.clear_holders(vip, actions);
                self.leave_to_gateway(vip, actions);
            }
            NeighborReport::Resolved { interface, rip, mac } => self.resolve(interface, rip, mac),
            NeighborReport::Moved { interface, rip, old, new } => {
                self.resolve(interface, rip, new);
                self.record_move(rip, old, new);
            }
            NeighborReport::Disputed { rip, mac, claimant, .. } => self.dispute(rip, claimant, Some(mac)),
            NeighborReport::DisputeOver { rip, claimant, .. } => {
                let ended = CaseKey { address: rip, mac: claimant, misuse: Misuse::Duplicate };
                self.close_where(|key| *key == ended, actions);
            }
            NeighborReport::Conflict { .. }
            | NeighborReport::Held { .. }
            | NeighborReport::ConflictOver { .. }
            | NeighborReport::Lost { .. } => {}
        }
    }

    /// Audits a VIP in this role.
    fn watch(&mut self, vip: IpAddr, role: VipRole) {
        if self.vips.insert(vip, role) == Some(role) {
            return;
        }
        self.cleared.retain(|(of, _), _| *of != vip);
        self.unsettled.remove(&vip);
        if role == VipRole::Ours {
            self.unsettled.insert(vip, self.now + SETTLES_IN);
        }
        self.round.change();
    }

    /// Asks for the VIPs whose time has come.
    fn settle(&mut self) {
        let due = self.unsettled.iter().filter(|(_, at)| **at <= self.now);
        for vip in due.map(|(vip, _)| *vip).collect::<Vec<_>>() {
            self.unsettled.remove(&vip);
            self.round.change();
            if self.interval > 0 {
                self.queue.push(about_vip(vip, None, true));
                self.queue.push(about_vip(vip, None, false));
            }
        }
    }

    fn unwatch(&mut self, vip: IpAddr, actions: &mut Vec<AuditAction>) {
        self.vips.remove(&vip);
        self.unsettled.remove(&vip);
        self.rows.remove(vip);
        self.remove_test(vip, actions);
        self.round.change();
        self.queue.cancel(|question| question.address == vip && question.purpose == Purpose::Search);
        self.close_where(|key| key.address == vip && key.misuse != Misuse::Duplicate, actions);
    }

    /// Ends the cases of a VIP that is left to its holder, but those of real servers.
    fn clear_holders(&mut self, vip: IpAddr, actions: &mut Vec<AuditAction>) {
        let of_vip = self.cases.iter().filter(|(key, case)| key.address == vip && case.is_open());
        let others = of_vip.filter(|(key, case)| !self.concerns(key, case));
        let others: Vec<_> = others.map(|(key, _)| *key).collect();
        self.close_where(|key| others.contains(key), actions);
    }

    /// Records where a real server is, and asks it for every VIP.
    fn resolve(&mut self, interface: InterfaceIndex, rip: IpAddr, mac: MacAddr) {
        self.hosts.resolve(interface, rip, mac);
        self.round.change();
        if interface == InterfaceIndex::CLIENT && self.interval > 0 {
            for vip in self.asked_vips().collect::<Vec<_>>() {
                self.queue.push(about_vip(vip, Some(mac), false));
            }
        }
    }

    /// VIPs that questions are about.
    pub(super) fn asked_vips(&self) -> impl Iterator<Item = IpAddr> {
        let asked =
            |(vip, role): &(&IpAddr, &VipRole)| **role != VipRole::Left && !self.unsettled.contains_key(*vip);
        self.vips.iter().filter(asked).map(|(vip, _)| *vip)
    }

    /// Records a move. A server that goes back and forth is two hosts with one address.
    fn record_move(&mut self, rip: IpAddr, old: MacAddr, new: MacAddr) {
        let now = self.now;
        let moves = self.moves.entry(rip).or_default();
        moves.retain(|(at, _)| at + MOVES_WITHIN > now);
        let is_back = moves.iter().any(|(_, former)| *former == new);
        moves.push_back((now, old));
        if is_back && moves.len() >= MOVES {
            self.dispute(rip, old, None);
        }
    }

    fn resume(&mut self) {
        self.is_down = false;
        let settles = self.now + SETTLES_IN;
        let ours = self.vips.iter().filter(|(_, role)| **role == VipRole::Ours);
        self.unsettled = ours.map(|(vip, _)| (*vip, settles)).collect();
        self.round.change();
        let (now, due) = (self.now, self.now + self.verify_interval());
        self.cases.values_mut().for_each(|case| case.renew(due, now));
    }

    /// Does the work that is due, and sets the time of the next.
    pub(super) fn run_due(&mut self, actions: &mut Vec<AuditAction>) {
        if !self.is_down {
            self.settle();
            self.verify_cases(actions);
            // In turn: neither keeps the other waiting.
            if std::mem::take(&mut self.gateway.was_last) {
                self.send_next(actions);
                self.test_gateway(actions);
            } else {
                self.test_gateway(actions);
                self.send_next(actions);
            }
        }
        self.open_cases(actions);
        let now = self.now;
        self.cleared.retain(|_, until| *until > now);
        self.wake_at = self.next_work();
    }

    fn next_work(&self) -> Option<u64> {
        let ready = self.cases.values().filter_map(AuditCase::ready_at).min();
        if self.is_down {
            return ready;
        }
        let open = self.cases.iter().filter(|(_, case)| case.is_open());
        let verified = open.map(|(key, case)| self.look_at(key, case)).min();
        let queued = (!self.queue.is_empty()).then_some(self.queue.free_at());
        let round =
            self.round.due().filter(|_| !self.vips.is_empty()).map(|due| due.max(self.queue.free_at()));
        let settled = self.unsettled.values().copied().min();
        [ready, verified, queued, round, settled, self.gateway_work()].into_iter().flatten().min()
    }
}
