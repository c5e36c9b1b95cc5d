//! Requests for connections that this director lacks: all at its start, later those of groups that differ.

use super::digest::GroupSet;
use super::{BootId, ResyncEnd, ResyncRequest, SyncHello};
use crate::time::{Span, Tick};

/// Time after the start without a directrix that could be asked: there is none.
pub const GIVE_UP_AFTER: Span = Span::from_secs(5);
/// Time after the start before a peer is asked that is itself not complete.
const ASK_ANY_AFTER: Span = Span::from_secs(1);
/// Silence of an answerer after which the request is sent again.
const REPEAT_AFTER: Span = Span::from_secs(1);
const TRIES: u8 = 3;
const PAUSE_MIN: Span = Span::from_secs(10);
const PAUSE_MAX: Span = Span::from_secs(320);

/// Request under way.
#[derive(Clone, Copy, Debug)]
struct Asked {
    request: ResyncRequest,
    heard_at: Tick,
    tries: u8,
}

/// Requester's half of a resync.
#[derive(Debug)]
pub(super) struct Resync {
    own: BootId,
    started_at: Tick,
    is_complete: bool,
    asked: Option<Asked>,
    number: u32,
    /// No request for groups that differ before this time.
    not_before: Tick,
    pause: Span,
    /// Groups of the last such request.
    lacked: GroupSet,
}

impl Resync {
    pub(super) fn new(own: BootId, now: Tick) -> Self {
        Self {
            own,
            started_at: now,
            is_complete: false,
            asked: None,
            number: 0,
            not_before: now,
            pause: PAUSE_MIN,
            lacked: GroupSet::NONE,
        }
    }

    /// True once all connections of a peer have come, or there is no peer to ask.
    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Takes in the hello of a peer, of which this director lacks connections of the groups `lacking`. Returns a
    /// request to send.
    pub(super) fn greeted(
        &mut self,
        hello: &SyncHello,
        lacking: GroupSet,
        now: Tick,
    ) -> Option<ResyncRequest> {
        if self.asked.is_some() {
            None
        } else if !self.is_complete {
            self.ask_for_all(hello, now)
        } else if lacking.is_empty() || !now.reached(self.not_before) {
            None
        } else {
            self.pause_after(lacking, now);
            Some(self.ask(hello.boot_id, lacking, now))
        }
    }

    /// Sets the time of the next request for groups that differ: in turn later and later while requests change nothing.
    fn pause_after(&mut self, lacking: GroupSet, now: Tick) {
        let helped = lacking.count() < self.lacked.count() || self.lacked.is_empty();
        let longer = PAUSE_MAX.min(Span::from_millis(self.pause.millis() * 2));
        self.pause = if helped { PAUSE_MIN } else { longer };
        (self.not_before, self.lacked) = (now.after(self.pause), lacking);
    }

    fn ask_for_all(&mut self, hello: &SyncHello, now: Tick) -> Option<ResyncRequest> {
        if hello.is_complete && hello.connections == 0 && hello.templates == 0 {
            self.is_complete = true;
            return None;
        }
        let may = hello.is_complete || now.since(self.started_at) >= ASK_ANY_AFTER;
        may.then(|| self.ask(hello.boot_id, GroupSet::ALL, now))
    }

    fn ask(&mut self, to: BootId, groups: GroupSet, now: Tick) -> ResyncRequest {
        self.number = self.number.wrapping_add(1);
        let request = ResyncRequest { boot_id: self.own, to, groups, number: self.number };
        self.asked = Some(Asked { request, heard_at: now, tries: 1 });
        request
    }

    /// True while a request to this director is under way.
    pub(super) fn asks(&self, of: BootId) -> bool {
        self.asked.is_some_and(|asked| asked.request.to == of)
    }

    /// Takes in that records have come from the director that was asked.
    pub(super) fn answered(&mut self, from: BootId, now: Tick) {
        if let Some(asked) = self.asked.as_mut().filter(|asked| asked.request.to == from) {
            asked.heard_at = now;
        }
    }

    /// Takes in the end of an answer; true if it is that of the request under way.
    pub(super) fn ended(&mut self, end: &ResyncEnd) -> bool {
        let is_own = end.to == self.own
            && self
                .asked
                .is_some_and(|asked| asked.request.number == end.number && asked.request.to == end.boot_id);
        if is_own {
            (self.asked, self.is_complete) = (None, true);
        }
        is_own
    }

    /// Returns a request to send again.
    pub(super) fn turn(&mut self, now: Tick) -> Option<ResyncRequest> {
        if let Some(asked) = self.asked.as_mut().filter(|asked| now.since(asked.heard_at) >= REPEAT_AFTER) {
            if asked.tries < TRIES {
                (asked.tries, asked.heard_at) = (asked.tries + 1, now);
                return Some(asked.request);
            }
            self.asked = None;
        }
        if self.asked.is_none() && now.since(self.started_at) >= GIVE_UP_AFTER {
            self.is_complete = true;
        }
        None
    }

    /// Next time at which [`Self::turn`] has something to do.
    pub(super) fn deadline(&self) -> Option<Tick> {
        match self.asked {
            Some(asked) => Some(asked.heard_at.after(REPEAT_AFTER)),
            None if self.is_complete => None,
            None => Some(self.started_at.after(GIVE_UP_AFTER)),
        }
    }
}
