//! Deadline queue for many keys. The next deadline is found without a scan.

#![forbid(unsafe_code)]

use crate::time::{Span, Tick};
use std::collections::{BTreeMap, BTreeSet};

/// Deadlines by key, in milliseconds since the first call, which do not wrap.
#[derive(Debug)]
pub(crate) struct Deadlines<K> {
    due: BTreeSet<(u64, K)>,
    by_key: BTreeMap<K, u64>,
    /// Milliseconds since the first [`Deadlines::advance`].
    clock: u64,
    now: Option<Tick>,
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self { due: BTreeSet::new(), by_key: BTreeMap::new(), clock: 0, now: None }
    }
}

impl<K: Copy + Ord> Deadlines<K> {
    /// Advances the clock to `now`. Returns the milliseconds since the last call.
    pub(crate) fn advance(&mut self, now: Tick) -> u64 {
        let passed = u64::from(now.since(self.now.unwrap_or(now)).millis());
        self.clock += passed;
        self.now = Some(now);
        passed
    }

    /// The clock: milliseconds since the first [`Deadlines::advance`].
    pub(crate) fn clock(&self) -> u64 {
        self.clock
    }

    /// Sets or removes the deadline of `key`.
    pub(crate) fn set(&mut self, key: K, due: Option<Tick>) {
        let at = due.map(|due| self.clock + u64::from(due.since(self.now.unwrap_or(due)).millis()));
        self.set_at(key, at);
    }

    /// Sets or removes the deadline of `key`, a time of [`Deadlines::clock`].
    pub(crate) fn set_at(&mut self, key: K, at: Option<u64>) {
        if let Some(before) = self.by_key.remove(&key) {
            self.due.remove(&(before, key));
        }
        if let Some(at) = at {
            self.by_key.insert(key, at);
            self.due.insert((at, key));
        }
    }

    /// Removes and returns the key with the earliest deadline that has been reached.
    pub(crate) fn pop_due(&mut self) -> Option<K> {
        let (_, key) = *self.due.first().filter(|(at, _)| *at <= self.clock)?;
        self.set(key, None);
        Some(key)
    }

    /// The earliest deadline, at least 1 ms from now: an overdue one is due then.
    pub(crate) fn next(&self) -> Option<Tick> {
        let (at, _) = self.due.first()?;
        let wait = (at - self.clock.min(*at)).max(1);
        Some(self.now?.after(Span::from_millis(u32::try_from(wait).unwrap_or(u32::MAX))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_ordered_across_the_tick_wrap() {
        let mut deadlines = Deadlines::default();
        let start = Tick(u32::MAX - 10);
        let after = |ms| start.after(Span::from_millis(ms));
        deadlines.advance(start);
        for (key, ms) in [('c', 30), ('a', 20), ('b', 5), ('d', 40)] {
            deadlines.set(key, Some(after(ms)));
        }
        deadlines.set('a', Some(after(35)));
        deadlines.set('d', None);
        assert_eq!((deadlines.next(), deadlines.pop_due()), (Some(after(5)), None));
        assert_eq!(deadlines.advance(after(36)), 36);
        assert_eq!([deadlines.pop_due(), deadlines.pop_due()], [Some('b'), Some('c')]);
        assert_eq!(deadlines.next(), Some(after(37)), "overdue: one millisecond from now");
        assert_eq!([deadlines.pop_due(), deadlines.pop_due()], [Some('a'), None]);
        assert_eq!(deadlines.next(), None);
    }
}
