//! Verification: questions that show whether a finding is still there, and the sending of questions.

use super::auditor::Auditor;
use super::case::{AuditCase, CaseKey};
use super::events::AuditAction;
use super::finding::Misuse;
use super::questions::{AuditQuestion, Purpose};
use super::round::{about_server, about_vip};
use crate::neighbor::Outgoing;
use std::net::IpAddr;

/// Interval of the questions whether an open case is still there, in milliseconds, if rounds do not take less.
const VERIFY_INTERVAL: u64 = 5000;
/// Least silence after which a case that is only heard is over, in milliseconds.
const QUIET_MIN: u64 = 5000;
/// That silence without rounds, and the most for [`Misuse::Unheard`], in milliseconds.
const QUIET: u64 = 600_000;
const QUIET_REQUESTS: u64 = 60_000;

impl Auditor {
    /// Time of the next look at an open case: at its verification, or at the end of its silence.
    pub(super) fn look_at(&self, key: &CaseKey, case: &AuditCase) -> u64 {
        if self.is_verified(key) { case.verification.due } else { case.last + self.quiet(key.misuse) }
    }

    /// True for a case that questions can show.
    fn is_verified(&self, key: &CaseKey) -> bool {
        let can_ask = match key.address {
            IpAddr::V4(_) => true,
            IpAddr::V6(_) => self.link_locals.first().is_some_and(Option::is_some),
        };
        can_ask && matches!(key.misuse, Misuse::Answers | Misuse::Duplicate)
    }

    pub(super) fn verify_interval(&self) -> u64 {
        if self.interval == 0 { VERIFY_INTERVAL } else { self.interval.clamp(1000, VERIFY_INTERVAL) }
    }

    fn quiet(&self, misuse: Misuse) -> u64 {
        let quiet = if self.interval == 0 { QUIET } else { (2 * self.interval).max(QUIET_MIN) };
        if misuse == Misuse::Unheard { quiet.min(QUIET_REQUESTS) } else { quiet }
    }

    /// Looks at the open cases that are due: closes the ones that are over, and asks for the others.
    pub(super) fn verify_cases(&mut self, actions: &mut Vec<AuditAction>) {
        let (now, next) = (self.now, self.now + self.verify_interval());
        let open = self.cases.iter().filter(|(_, case)| case.is_open());
        let due: Vec<_> =
            open.filter(|(key, case)| self.look_at(key, case) <= now).map(|(key, _)| *key).collect();
        for key in due {
            let is_verified = self.is_verified(&key);
            let Some(case) = self.cases.get_mut(&key) else { continue };
            let queued = case.verification.queued;
            if !is_verified || case.verification.look(next) {
                self.close_where(|other| *other == key, actions);
            } else if queued == 0 {
                self.ask_again(key);
            }
        }
    }

    fn ask_again(&mut self, key: CaseKey) {
        let purpose = Purpose::Verify(key);
        let about_vip = AuditQuestion { purpose, ..about_vip(key.address, Some(key.mac), false) };
        let questions = match key.misuse {
            Misuse::Duplicate => {
                vec![about_server(self.interface_of(&key), key.address, purpose)]
            }
            _ if key.address.is_ipv6() => vec![about_vip],
            _ => vec![about_vip, AuditQuestion { has_sender: true, ..about_vip }],
        };
        let queued = questions.into_iter().filter(|question| self.queue.push(*question)).count();
        if let Some(case) = self.cases.get_mut(&key) {
            case.verification.queued += queued;
        }
    }

    /// Sends a question if one may be sent: of the queue and of the round in turn.
    pub(super) fn send_next(&mut self, actions: &mut Vec<AuditAction>) {
        if self.now < self.queue.free_at() {
            return;
        }
        let is_round_due = self.round.due().is_some_and(|due| due <= self.now) && !self.vips.is_empty();
        let question = if is_round_due && (self.queue.is_empty() || !self.was_round) {
            let asked: Vec<_> = self.asked_vips().collect();
            self.round.update(asked.into_iter(), &self.hosts);
            self.was_round = true;
            self.round.advance(self.now)
        } else {
            self.was_round = false;
            self.queue.pop()
        };
        if let Some(question) = question {
            self.send(&question, actions);
        }
    }

    fn send(&mut self, question: &AuditQuestion, actions: &mut Vec<AuditAction>) {
        let (sent, now) = (self.ask(question, actions), self.now);
        let Some(case) = question.purpose.case().and_then(|key| self.cases.get_mut(&key)) else { return };
        match question.purpose {
            Purpose::Verify(_) if case.is_open() => {
                case.verification.queued = case.verification.queued.saturating_sub(1);
                case.verification.sent |= sent;
            }
            Purpose::Control(_) if sent => {
                case.controls.asked += 1;
                case.release(1, now);
            }
            _ => case.release(1, now),
        }
    }

    /// Sends a question. Returns false if there is no address to send it from.
    pub(super) fn ask(&mut self, question: &AuditQuestion, actions: &mut Vec<AuditAction>) -> bool {
        let Some(message) = self.message(question) else { return false };
        self.queue.record(question, self.now);
        self.counters.asked.add(1);
        let AuditQuestion { interface, within, .. } = *question;
        actions.push(AuditAction::Ask { interface, within, message });
        true
    }

    /// Returns the message of a question; `None` if there is no address to send it from.
    fn message(&self, question: &AuditQuestion) -> Option<Outgoing> {
        let AuditQuestion { interface, address, station, has_sender, purpose, .. } = *question;
        let own = self.hosts.server(interface, address).and_then(|server| server.own);
        let sender = match address {
            IpAddr::V6(_) => Some(IpAddr::V6((*self.link_locals.get(usize::from(interface.0))?)?)),
            IpAddr::V4(_) if !has_sender => None,
            IpAddr::V4(_) => own.or(self.sender.map(IpAddr::V4)),
        };
        let sender = sender.filter(|sender| !self.vips.contains_key(sender));
        match (sender, purpose) {
            (Some(_), _) => Some(Outgoing::Solicit { address, sender, station }),
            // Linux answers for other hosts only if it is told the sender.
            (None, Purpose::Control(_)) => None,
            (None, _) if address.is_ipv6() => None,
            (None, _) => Some(Outgoing::Probe { address, station, nonce: None }),
        }
    }
}
