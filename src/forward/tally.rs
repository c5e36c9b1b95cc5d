//! Where a worker's decisions are counted.

use super::Verdict;
use crate::flow::{Entry, Key, State};
use crate::model::ServerId;
use crate::schedule::Loads;
use crate::stats::{DropReason, WorkerCounters};
use crate::time::Tick;
use std::sync::Arc;

/// The loads that all workers share, and the counters that are this worker's own.
pub(super) struct Tally {
    loads: Arc<Loads>,
    counters: Arc<WorkerCounters>,
}

impl Tally {
    pub(super) fn new(loads: Arc<Loads>, counters: Arc<WorkerCounters>) -> Self {
        Self { loads, counters }
    }

    pub(super) fn loads(&self) -> &Loads {
        &self.loads
    }

    /// Notes how many connections the table holds.
    #[inline]
    pub(super) fn entries(&self, entries: usize) {
        self.counters.entries.set(entries as u64);
    }

    pub(super) fn dropped(&self, reason: DropReason) -> Verdict {
        self.counters.drops(reason).add(1);
        Verdict::Drop(reason)
    }

    #[inline]
    pub(super) fn forwarded(&self, server: ServerId, bytes: u16) {
        let counters = self.counters.server(server);
        counters.packets.add(1);
        counters.bytes.add(u64::from(bytes));
    }

    #[inline]
    pub(super) fn moved(&self, server: ServerId, from: State, to: State) {
        if from.is_active() != to.is_active() {
            self.loads.shift(server, to.is_active());
        }
    }

    pub(super) fn opened<K: Key>(&self, entry: &Entry<K>) {
        self.loads.add(entry.server, entry.state.is_active());
        self.counters.server(entry.server).connections.add(1);
    }

    pub(super) fn expired<K: Key>(&self, entry: &Entry<K>) {
        self.loads.remove(entry.server, entry.state.is_active());
        self.counters.expired.add(1);
    }

    pub(super) fn replaced<K: Key>(&self, entry: &Entry<K>, now: Tick) {
        self.loads.remove(entry.server, entry.state.is_active());
        let over = now.reached(entry.deadline);
        if over { &self.counters.expired } else { &self.counters.evicted }.add(1);
    }
}
