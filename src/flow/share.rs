//! Share of a table that each match of a service may hold.

use crate::model::MatchId;

/// Entries that a match may hold per vacant slot (dynamic thresholds, Choudhury and Hahne, 1998). A
/// single match stops at 8/9 of a shared table.
const TIMES_FREE: usize = 8;
/// Number of match ids.
const MATCHES: usize = 1 << 16;

/// Entries of each match, and whether several matches share the table.
#[derive(Debug)]
pub(super) struct Shares {
    held: Box<[u32; MATCHES]>,
    shared: bool,
}

impl Shares {
    pub(super) fn new() -> Self {
        let held = vec![0; MATCHES].try_into().expect("it has that length");
        Self { held, shared: false }
    }

    /// Sets whether several matches share the table.
    pub(super) fn set_shared(&mut self, shared: bool) {
        self.shared = shared;
    }

    /// True if `id` may take one of `free` vacant slots, if any is left.
    #[inline]
    pub(super) fn may_grow(&self, id: MatchId, free: usize) -> bool {
        !self.shared || self.held[usize::from(id.0)] as usize <= TIMES_FREE * free
    }

    /// True if a new entry of `id` may evict one of `other`: the same match, or one that holds more.
    #[inline]
    pub(super) fn may_evict(&self, id: MatchId, other: MatchId) -> bool {
        let held = |of: MatchId| self.held[usize::from(of.0)];
        !self.shared || (id == other) | (held(other) > held(id))
    }

    #[inline]
    pub(super) fn add(&mut self, id: MatchId) {
        self.held[usize::from(id.0)] += 1;
    }

    #[inline]
    pub(super) fn remove(&mut self, id: MatchId) {
        self.held[usize::from(id.0)] -= 1;
    }
}
