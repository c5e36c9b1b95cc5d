//! Test of the gateway's ARP entry for each VIP, by a frame that it must send back (see [`crate::wire::hairpin`]).
//!
//! ```text
//!      frame ──▶ it comes back: the entry is this director's, and the gateway is calibrated for the VIP
//!    ▲   │
//!    └───┤ not within 1 s, up to three times
//!        ▼
//!    question for the gateway's MAC address ──▶ answered, as before, and calibrated: the entry is another host's
//! ```
//! A gateway that drops what leaves by the interface on which it came sends nothing back, whatever its entry. So silence
//! is a finding only where a frame for the same VIP came back from the same MAC address before.

use super::auditor::{Auditor, VipRole};
use super::events::{AuditAction, AuditReport};
use super::finding::{AuditFinding, AuditedHost, Misuse};
use super::gateway::{Diversion, GatewayTrial, TrialStage};
use super::questions::{AuditQuestion, Purpose};
use super::round::about_vip;
use crate::wire::MacAddr;
use std::net::{IpAddr, Ipv4Addr};

/// Time in which a frame comes back, or the gateway answers, in milliseconds.
const WAIT: u64 = 1000;

impl Auditor {
    /// Mark of the frames that the gateway sends back.
    #[must_use]
    pub fn mark(&self) -> u32 {
        self.gateway.mark
    }

    /// Sets the gateway. What was found about the former one is over.
    pub(super) fn set_gateway(&mut self, gateway: Option<Ipv4Addr>, actions: &mut Vec<AuditAction>) {
        if self.gateway.gateway != gateway {
            self.forget_gateway(actions);
            self.gateway.gateway = gateway;
        }
    }

    /// Forgets what the tests have shown: another gateway, or other frames, behave otherwise.
    pub(super) fn forget_gateway(&mut self, actions: &mut Vec<AuditAction>) {
        self.end_diversions(|_, _| true, actions);
        (self.gateway.mac, self.gateway.trial) = (None, None);
        self.gateway.tests.clear();
    }

    /// Ends the finding about a VIP that this director leaves to another one. The calibration stays.
    pub(super) fn leave_to_gateway(&mut self, vip: IpAddr, actions: &mut Vec<AuditAction>) {
        self.end_diversions(|of, _| IpAddr::V4(of) == vip, actions);
        self.gateway.trial.take_if(|trial| IpAddr::V4(trial.vip) == vip);
    }

    /// Removes the test of a VIP.
    pub(super) fn remove_test(&mut self, vip: IpAddr, actions: &mut Vec<AuditAction>) {
        self.leave_to_gateway(vip, actions);
        if let IpAddr::V4(vip) = vip {
            self.gateway.tests.remove(&vip);
        }
    }

    /// VIPs that are tested.
    fn tested_vips(&self) -> impl Iterator<Item = Ipv4Addr> {
        let is_served = |vip: &IpAddr| self.vips.get(vip) == Some(&VipRole::Ours);
        self.asked_vips().filter(is_served).filter_map(|vip| match vip {
            IpAddr::V4(vip) => Some(vip),
            IpAddr::V6(_) => None,
        })
    }

    fn is_testing(&self) -> bool {
        self.interval > 0 && self.sender.is_some() && self.gateway.gateway.is_some()
    }

    /// Time of the next test of a VIP without a finding.
    fn next_round(&self) -> u64 {
        self.now + self.interval.max(WAIT)
    }

    /// The VIP whose test is next, with its time.
    fn next_test(&self) -> Option<(u64, Ipv4Addr)> {
        let due = |vip: Ipv4Addr| self.gateway.tests.get(&vip).map_or(0, |test| test.due);
        let each = self.tested_vips().map(|vip| (due(vip), vip));
        each.min().filter(|_| self.is_testing())
    }

    /// Time of the next work.
    pub(super) fn gateway_work(&self) -> Option<u64> {
        let free = self.queue.free_at();
        match &self.gateway.trial {
            Some(trial) => Some(trial.until.unwrap_or(free)),
            None => self.next_test().map(|(due, _)| due.max(free)),
        }
    }

    /// Does the work that is due.
    pub(super) fn test_gateway(&mut self, actions: &mut Vec<AuditAction>) {
        self.expire_trial();
        if self.gateway.trial.is_none()
            && let Some((_, vip)) = self.next_test().filter(|(due, _)| *due <= self.now)
        {
            let number = self.gateway.random.next() as u32;
            let stage = if self.gateway.mac.is_some() { TrialStage::Frame } else { TrialStage::Question };
            self.gateway.trial = Some(GatewayTrial { vip, number, stage, tries: 0, until: None });
        }
        self.send_trial(actions);
    }

    /// Goes on after a frame that did not come back, or a question that stayed unanswered.
    fn expire_trial(&mut self) {
        let (now, next) = (self.now, self.next_round());
        let is_over = |trial: &mut GatewayTrial| trial.until.is_some_and(|until| until <= now);
        let Some(trial) = self.gateway.trial.take_if(is_over) else { return };
        let is_last = trial.tries >= self.gateway.tries(trial.vip);
        let stage = match trial.stage {
            TrialStage::Frame if is_last => TrialStage::Question,
            TrialStage::Frame => TrialStage::Frame,
            TrialStage::Question => {
                self.gateway.mac = None;
                return self.gateway.complete(trial.vip, next);
            }
        };
        self.gateway.trial = Some(GatewayTrial { stage, until: None, ..trial });
    }

    /// Sends the next frame of the test if one may be sent.
    fn send_trial(&mut self, actions: &mut Vec<AuditAction>) {
        let (now, free) = (self.now, self.queue.free_at());
        let (Some(gateway), Some(source)) = (self.gateway.gateway, self.sender) else { return };
        let mac = self.gateway.mac;
        let Some(trial) = self.gateway.trial.as_mut().filter(|trial| trial.until.is_none() && free <= now)
        else {
            return;
        };
        trial.until = Some(now + WAIT);
        match (trial.stage, mac) {
            (TrialStage::Frame, Some(mac)) => {
                trial.tries += 1;
                self.counters.asked.add(1);
                let GatewayTrial { vip, number, .. } = *trial;
                actions.push(AuditAction::Test { gateway: mac, source, vip, number });
            }
            _ => {
                trial.stage = TrialStage::Question;
                let purpose = Purpose::Search;
                let question = AuditQuestion { purpose, ..about_vip(gateway.into(), None, true) };
                self.ask(&question, actions);
            }
        }
        self.queue.occupy(now);
        self.gateway.was_last = true;
    }

    /// Records an answer of the gateway. Returns true if there is other work than before.
    pub(super) fn locate_gateway(
        &mut self,
        address: IpAddr,
        mac: MacAddr,
        actions: &mut Vec<AuditAction>,
    ) -> bool {
        let is_gateway = self.gateway.gateway.is_some_and(|gateway| IpAddr::V4(gateway) == address);
        let is_asked =
            |trial: &mut GatewayTrial| trial.stage == TrialStage::Question && trial.until.is_some();
        let Some(trial) = self.gateway.trial.take_if(|trial| is_gateway && is_asked(trial)) else {
            return false;
        };
        let is_known = self.gateway.mac.replace(mac) == Some(mac);
        match trial.tries {
            0 => self.gateway.trial = Some(GatewayTrial { stage: TrialStage::Frame, until: None, ..trial }),
            _ if is_known => self.miss(trial.vip, mac, actions),
            _ => self.gateway.complete(trial.vip, self.next_round()),
        }
        self.end_diversions(|_, diversion| diversion.mac != mac, actions);
        true
    }

    /// Records that the gateway answers, and no frame came back.
    fn miss(&mut self, vip: Ipv4Addr, mac: MacAddr, actions: &mut Vec<AuditAction>) {
        let now = self.now;
        let Some(test) = self.gateway.tests.get(&vip).copied().filter(|test| test.calibrated == Some(mac))
        else {
            return self.gateway.complete(vip, self.next_round());
        };
        let former = test.diversion.unwrap_or(Diversion { mac, first: now, last: now, count: 0 });
        let diversion = Diversion { last: now, count: former.count + 1, ..former };
        self.gateway.complete(vip, now + self.verify_interval());
        self.gateway.tests.entry(vip).or_default().diversion = Some(diversion);
        if test.diversion.is_none() {
            actions.extend(
                self.diverted(vip, &diversion).map(|found| AuditAction::Report(AuditReport::Opened(found))),
            );
        }
    }

    /// Records that the gateway has sent back the frame of a test.
    pub(super) fn take_returned(&mut self, vip: Ipv4Addr, number: u32, actions: &mut Vec<AuditAction>) {
        let is_it = |trial: &mut GatewayTrial| (trial.vip, trial.number) == (vip, number) && trial.tries > 0;
        if self.gateway.trial.take_if(is_it).is_none() {
            return; // too late
        }
        self.end_diversions(|of, _| of == vip, actions);
        self.gateway.complete(vip, self.next_round());
        let mac = self.gateway.mac;
        self.gateway.tests.entry(vip).or_default().calibrated = mac;
    }

    /// Ends the findings that are over, and reports them.
    fn end_diversions(
        &mut self,
        is_over: impl Fn(Ipv4Addr, &Diversion) -> bool,
        actions: &mut Vec<AuditAction>,
    ) {
        let all = self.gateway.tests.iter();
        let open = all.filter_map(|(vip, test)| Some((*vip, test.diversion?)));
        let over: Vec<_> = open.filter(|(vip, diversion)| is_over(*vip, diversion)).collect();
        for (vip, diversion) in over {
            actions.extend(
                self.diverted(vip, &diversion).map(|found| AuditAction::Report(AuditReport::Closed(found))),
            );
            if let Some(test) = self.gateway.tests.get_mut(&vip) {
                test.diversion = None;
            }
        }
    }

    /// The findings about the gateway.
    pub(super) fn diversions(&self) -> impl Iterator<Item = AuditFinding> {
        let all = self.gateway.tests.iter();
        all.filter_map(|(vip, test)| self.diverted(*vip, test.diversion.as_ref()?))
    }

    fn diverted(&self, vip: Ipv4Addr, diversion: &Diversion) -> Option<AuditFinding> {
        let misuse = Misuse::Diverted;
        Some(AuditFinding {
            misuse,
            level: misuse.level(),
            address: vip.into(),
            mac: diversion.mac,
            host: AuditedHost::Gateway(self.gateway.gateway?),
            asked: true,
            target: None,
            known: None,
            count: diversion.count,
            since_ms: self.now - diversion.first,
            last_ms: self.now - diversion.last,
        })
    }
}
