//! Deadlines of many VIPs or real servers: finding the next one costs no walk over all of them.

use crate::time::{Span, Tick};
use std::collections::{BTreeMap, BTreeSet};

/// Deadlines by key. Time is counted from the first call, so that it does not wrap.
#[derive(Debug)]
pub(super) struct Deadlines<K> {
    due: BTreeSet<(u64, K)>,
    planned: BTreeMap<K, u64>,
    /// Milliseconds since the first [`Deadlines::advance`].
    clock: u64,
    now: Option<Tick>,
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self { due: BTreeSet::new(), planned: BTreeMap::new(), clock: 0, now: None }
    }
}

impl<K: Copy + Ord> Deadlines<K> {
    /// Moves the clock to `now`. Returns the milliseconds that have passed.
    pub(super) fn advance(&mut self, now: Tick) -> u64 {
        let passed = u64::from(now.since(self.now.unwrap_or(now)).millis());
        self.clock += passed;
        self.now = Some(now);
        passed
    }

    /// Sets the deadline of `key`, or removes it.
    pub(super) fn plan(&mut self, key: K, due: Option<Tick>) {
        if let Some(before) = self.planned.remove(&key) {
            self.due.remove(&(before, key));
        }
        if let Some(due) = due {
            let at = self.clock + u64::from(due.since(self.now.unwrap_or(due)).millis());
            self.planned.insert(key, at);
            self.due.insert((at, key));
        }
    }

    /// Takes the key with the earliest deadline that has been reached.
    pub(super) fn pop_due(&mut self) -> Option<K> {
        let (_, key) = *self.due.first().filter(|(at, _)| *at <= self.clock)?;
        self.plan(key, None);
        Some(key)
    }

    /// The earliest deadline, at least a millisecond from now: one that could not be served by now
    /// is served then.
    pub(super) fn next(&self) -> Option<Tick> {
        let (at, _) = self.due.first()?;
        let wait = (at - self.clock.min(*at)).max(1);
        Some(self.now?.after(Span::from_millis(u32::try_from(wait).unwrap_or(u32::MAX))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_come_in_order_across_the_wrap_of_the_tick() {
        let mut deadlines = Deadlines::default();
        let start = Tick(u32::MAX - 10);
        let after = |ms| start.after(Span::from_millis(ms));
        deadlines.advance(start);
        for (key, ms) in [('c', 30), ('a', 20), ('b', 5), ('d', 40)] {
            deadlines.plan(key, Some(after(ms)));
        }
        deadlines.plan('a', Some(after(35)));
        deadlines.plan('d', None);
        assert_eq!((deadlines.next(), deadlines.pop_due()), (Some(after(5)), None));
        assert_eq!(deadlines.advance(after(36)), 36);
        assert_eq!([deadlines.pop_due(), deadlines.pop_due()], [Some('b'), Some('c')]);
        assert_eq!(deadlines.next(), Some(after(37)), "overdue: as soon as time goes on");
        assert_eq!([deadlines.pop_due(), deadlines.pop_due()], [Some('a'), None]);
        assert_eq!(deadlines.next(), None);
    }
}
