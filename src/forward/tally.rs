//! Where a worker's decisions are counted.

use super::Verdict;
use crate::flow::{Entry, Key, State};
use crate::model::ServerId;
use crate::schedule::{Client, Loads, Pool};
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
    pub(super) fn pick(&self, pool: &Pool, client: Client) -> Option<ServerId> {
        pool.pick(&self.loads, client)
    }

    /// A connection to `server` went from one state to another.
    #[inline]
    pub(super) fn moved(&self, pool: Option<&Pool>, server: ServerId, (from, to): (State, State)) {
        if from.is_active() != to.is_active() {
            self.loads.shift(server, to.is_active());
            self.rank(pool, server);
        }
    }

    pub(super) fn opened<K: Key>(&self, pool: Option<&Pool>, entry: &Entry<K>) {
        self.loads.add(entry.server, entry.state.is_active());
        self.rank(pool, entry.server);
        self.counters.server(entry.server).connections.add(1);
    }

    /// A datagram that is scheduled by itself is a connection that ends at once. While it is there it
    /// counts as any other does, for the server's thresholds.
    pub(super) fn passed(&self, pool: Option<&Pool>, server: ServerId) {
        self.loads.add(server, false);
        self.loads.remove(server, false);
        self.rank(pool, server);
        self.counters.server(server).connections.add(1);
    }

    pub(super) fn expired<K: Key>(&self, pool: Option<&Pool>, entry: &Entry<K>) {
        self.remove(pool, entry);
        self.counters.expired.add(1);
    }

    pub(super) fn replaced<K: Key>(&self, pool: Option<&Pool>, entry: &Entry<K>, now: Tick) {
        self.remove(pool, entry);
        let over = now.reached(entry.deadline);
        if over { &self.counters.expired } else { &self.counters.evicted }.add(1);
    }

    fn remove<K: Key>(&self, pool: Option<&Pool>, entry: &Entry<K>) {
        self.loads.remove(entry.server, entry.state.is_active());
        self.rank(pool, entry.server);
    }

    /// Tells the pool of a server, if its service still has one, that the server's load is another.
    #[inline]
    fn rank(&self, pool: Option<&Pool>, server: ServerId) {
        if let Some(pool) = pool {
            pool.changed(server, &self.loads);
        }
    }
}
