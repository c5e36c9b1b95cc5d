//! Answers to requests for connections: a walk over the table, paced.

use super::{ResyncEnd, ResyncRequest, SyncHost, SyncRecord};
use crate::time::{Span, Tick};
use std::collections::VecDeque;

/// Most requests that wait for their answer. Further ones are dropped: their senders repeat them.
const REQUESTS_MAX: usize = 4;
/// Longest time that one turn makes up for.
const TURN_MAX: Span = Span::from_millis(20);
/// Time between two turns.
const TURN: Span = Span::from_millis(1);

#[derive(Clone, Copy, Debug)]
struct BulkAnswer {
    request: ResyncRequest,
    /// Place in the table, whose meaning is the table's.
    at: u64,
    records: u32,
}

/// Answerer's half of a resync.
#[derive(Debug)]
pub(super) struct Bulk {
    per_second: u32,
    answers: VecDeque<BulkAnswer>,
    turned_at: Tick,
    /// Thousandths of an entry that the rate has left over.
    rest: u64,
}

impl Bulk {
    /// With a walk over `per_second` entries of the table in a second.
    pub(super) fn new(per_second: u32) -> Self {
        Self { per_second, answers: VecDeque::new(), turned_at: Tick(0), rest: 0 }
    }

    /// Takes in a request. One that is being answered is a repetition, a newer one of the same director takes its place.
    pub(super) fn ask(&mut self, request: ResyncRequest, now: Tick) {
        if self.answers.is_empty() {
            (self.turned_at, self.rest) = (now, 0);
        }
        let answer = BulkAnswer { request, at: 0, records: 0 };
        let known = self.answers.iter().position(|of| of.request.boot_id == request.boot_id);
        match known {
            Some(index) if self.answers[index].request == request => {}
            Some(index) => self.answers[index] = answer,
            None if self.answers.len() < REQUESTS_MAX => self.answers.push_back(answer),
            None => {}
        }
    }

    /// Appends the next records of the oldest request to `found`. Returns the end of the answer after its last ones.
    pub(super) fn turn(
        &mut self,
        now: Tick,
        host: &mut impl SyncHost,
        found: &mut Vec<SyncRecord>,
    ) -> Option<ResyncEnd> {
        let budget = self.budget(now);
        let answer = self.answers.front_mut().filter(|_| budget > 0)?;
        let before = found.len();
        let next = host.walk(answer.request.groups, answer.at, budget, found);
        answer.records += (found.len() - before) as u32; // bounded by the budget
        match next {
            Some(at) => {
                answer.at = at;
                None
            }
            None => {
                let BulkAnswer { request, records, .. } = self.answers.pop_front()?;
                let ResyncRequest { boot_id, to, number, .. } = request;
                Some(ResyncEnd { boot_id: to, to: boot_id, number, records })
            }
        }
    }

    /// Entries that may be walked over now.
    fn budget(&mut self, now: Tick) -> usize {
        let elapsed = TURN_MAX.min(now.since(self.turned_at));
        self.turned_at = now;
        let thousandths = u64::from(elapsed.millis()) * u64::from(self.per_second) + self.rest;
        self.rest = thousandths % 1000;
        (thousandths / 1000) as usize
    }

    /// Next time at which [`Self::turn`] has something to do.
    pub(super) fn deadline(&self) -> Option<Tick> {
        (!self.answers.is_empty()).then(|| self.turned_at.after(TURN))
    }
}
