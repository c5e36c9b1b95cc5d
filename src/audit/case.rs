//! A case: the signs of one misuse by one host, from the first message to the end.

use super::finding::Misuse;
use crate::wire::MacAddr;
use std::net::IpAddr;

/// Verifications that stay unanswered before a case is closed.
const MISSES: u8 = 3;
/// Time for answers after the last question of an inquiry, in milliseconds.
pub(super) const ANSWER_TIME: u64 = 1000;
/// Time in which the sender of a probe shows itself as a director on standby, in milliseconds.
pub(super) const PROBE_TIME: u64 = 5000;

/// Identity of a case. Its misuse is [`Misuse::Answers`] for proxy ARP, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct CaseKey {
    /// The VIP or RIP.
    pub(super) address: IpAddr,
    pub(super) mac: MacAddr,
    pub(super) misuse: Misuse,
}

/// A case. Times are in milliseconds of the auditor's clock.
#[derive(Debug)]
pub(super) struct AuditCase {
    pub(super) stage: CaseStage,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) count: u64,
    /// A message answered a question of the director.
    pub(super) asked: bool,
    /// See [`super::AuditFinding::target`].
    pub(super) target: Option<IpAddr>,
    /// See [`super::AuditFinding::known`].
    pub(super) known: Option<MacAddr>,
    pub(super) verification: Verification,
    pub(super) controls: ControlAnswers,
}

/// Stage of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CaseStage {
    /// `unsent` questions of the inquiry are in the queue; it ends at `until` if there is none.
    Inquiry { unsent: usize, until: u64 },
    /// Reported.
    Open,
}

/// Questions that show whether an open case is still there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Verification {
    /// Time of the next ones.
    pub(super) due: u64,
    /// In the queue.
    pub(super) queued: usize,
    /// Sent since the last look.
    pub(super) sent: bool,
    /// Answered since the last look.
    pub(super) answered: bool,
    misses: u8,
}

/// Answers about addresses that the host hardly has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ControlAnswers {
    pub(super) asked: u8,
    pub(super) answered: u8,
}

impl AuditCase {
    pub(super) fn new(asked: bool, target: Option<IpAddr>, now: u64) -> Self {
        Self {
            stage: CaseStage::Inquiry { unsent: 0, until: now + ANSWER_TIME },
            first: now,
            last: now,
            count: 1,
            asked,
            target,
            known: None,
            verification: Verification::default(),
            controls: ControlAnswers::default(),
        }
    }

    /// Records another message that shows it.
    pub(super) fn repeat(&mut self, asked: bool, target: Option<IpAddr>, now: u64) {
        self.last = now;
        self.count += 1;
        self.asked |= asked;
        self.target = target.or(self.target);
        self.verification.answered = true;
    }

    pub(super) fn is_open(&self) -> bool {
        self.stage == CaseStage::Open
    }

    /// True if the host answers for any address.
    pub(super) fn is_proxy(&self) -> bool {
        self.controls.asked > 1 && self.controls.answered == self.controls.asked
    }

    /// True once the inquiry is over.
    pub(super) fn is_ready(&self, now: u64) -> bool {
        matches!(self.stage, CaseStage::Inquiry { unsent: 0, until } if now >= until)
    }

    /// Time at which the inquiry is over; `None` while its questions are in the queue, and once it is.
    pub(super) fn ready_at(&self) -> Option<u64> {
        match self.stage {
            CaseStage::Inquiry { unsent: 0, until } => Some(until),
            CaseStage::Inquiry { .. } | CaseStage::Open => None,
        }
    }

    /// Records questions of the inquiry that went into the queue.
    pub(super) fn expect(&mut self, questions: usize) {
        if let CaseStage::Inquiry { unsent, .. } = &mut self.stage {
            *unsent += questions;
        }
    }

    /// Records that questions of the inquiry have left the queue.
    pub(super) fn release(&mut self, questions: usize, now: u64) {
        if let CaseStage::Inquiry { unsent, until } = &mut self.stage {
            *unsent = unsent.saturating_sub(questions);
            *until = (*until).max(now + ANSWER_TIME);
        }
    }

    /// Records that the carrier is back: silence before proves nothing.
    pub(super) fn renew(&mut self, due: u64, now: u64) {
        self.last = now;
        self.verification = Verification { due, queued: self.verification.queued, ..Verification::default() };
    }
}

impl Verification {
    /// Evaluates the time since the last look. Returns true if the case is over.
    pub(super) fn look(&mut self, next: u64) -> bool {
        if std::mem::take(&mut self.answered) {
            self.misses = 0;
        } else if self.sent {
            self.misses += 1;
        }
        (self.sent, self.due) = (false, next);
        self.misses >= MISSES
    }
}
