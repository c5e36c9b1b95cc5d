//! Questions on their way: a queue with a bounded rate, and the answers that are expected.

use super::case::CaseKey;
use crate::model::InterfaceIndex;
use crate::wire::MacAddr;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

/// Least time between two questions, in milliseconds: 20 a second.
pub(super) const GAP: u64 = 50;
/// Most questions in the queue. Those of a round come again.
const QUEUE_MAX: usize = 2048;
/// Time in which an answer is taken for that to a question, in milliseconds. Linux delays answers of proxy ARP to broadcasts
/// by up to 0.8 s (`proxy_delay`).
const ANSWER_WITHIN: u64 = 2000;

/// A question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AuditQuestion {
    pub(super) interface: InterfaceIndex,
    /// The address that it asks for.
    pub(super) address: IpAddr,
    /// Address in whose VLANs it is sent.
    pub(super) within: IpAddr,
    /// The one station to ask; `None`: all.
    pub(super) station: Option<MacAddr>,
    /// With the director's address as sender. Without one it is a probe.
    pub(super) has_sender: bool,
    pub(super) purpose: Purpose,
}

/// Reason of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Part of a round, or after a change.
    Search,
    /// Shows whether a case is still there.
    Verify(CaseKey),
    /// Asks for an address that the station hardly has.
    Control(CaseKey),
    /// Asks for a real server's address.
    Identify(CaseKey),
}

impl Purpose {
    pub(super) fn case(self) -> Option<CaseKey> {
        match self {
            Self::Search => None,
            Self::Verify(key) | Self::Control(key) | Self::Identify(key) => Some(key),
        }
    }
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct QuestionQueue {
    queue: VecDeque<AuditQuestion>,
    /// Time of the next question.
    free_at: u64,
    /// Answers that are kept from the neighbor machine, with the end of their time: a real server's address that a suspect
    /// was asked for would be a dispute there.
    expected: BTreeMap<(MacAddr, IpAddr), (u64, Purpose)>,
}

impl QuestionQueue {
    /// Adds a question. Returns false if there is no room.
    pub(super) fn push(&mut self, question: AuditQuestion) -> bool {
        let has_room = self.queue.len() < QUEUE_MAX;
        if has_room {
            self.queue.push_back(question);
        }
        has_room
    }

    /// Time at which the next question may be sent.
    pub(super) fn free_at(&self) -> u64 {
        self.free_at
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Takes the first question.
    pub(super) fn pop(&mut self) -> Option<AuditQuestion> {
        self.queue.pop_front()
    }

    /// Removes the questions that `is_needless`. Returns their purposes.
    pub(super) fn cancel(&mut self, is_needless: impl Fn(&AuditQuestion) -> bool) -> usize {
        let before = self.queue.len();
        self.queue.retain(|question| !is_needless(question));
        before - self.queue.len()
    }

    /// Records that a question is sent now.
    pub(super) fn record(&mut self, question: &AuditQuestion, now: u64) {
        self.occupy(now);
        self.expected.retain(|_, (until, _)| *until > now);
        if let (Some(station), Purpose::Control(_) | Purpose::Identify(_)) =
            (question.station, question.purpose)
        {
            self.expected.insert((station, question.address), (now + ANSWER_WITHIN, question.purpose));
        }
    }

    /// Records that a frame of the auditor is sent now.
    pub(super) fn occupy(&mut self, now: u64) {
        self.free_at = now + GAP;
    }

    /// Takes the answer of a station. Returns the purpose of its question, if it was expected.
    pub(super) fn take_answer(&mut self, mac: MacAddr, address: IpAddr, now: u64) -> Option<Purpose> {
        let (until, purpose) = self.expected.get(&(mac, address)).copied()?;
        (until > now).then_some(purpose)
    }

    /// Forgets the questions of a case in the queue. Answers to sent ones are still kept.
    pub(super) fn forget(&mut self, key: CaseKey) {
        self.queue.retain(|question| question.purpose.case() != Some(key));
    }
}
