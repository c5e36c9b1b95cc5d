//! The connection tables of one worker.

use super::conns::Connections;
use super::context::Context;
use super::snapshot::Snapshot;
use crate::flow::{Flow, FlowEntry, FlowTable, V4Key, WideKey};
use crate::time::Tick;

/// Connections by type of key.
pub(super) struct Tables {
    pub(super) v4: Connections<V4Key>,
    /// Connections of wildcard-port services; `None` until the first such service.
    pub(super) wildcard: Option<Connections<WideKey>>,
}

impl Tables {
    pub(super) fn new(v4: FlowTable<V4Key>) -> Self {
        Self { v4: Connections::new(v4), wildcard: None }
    }

    /// Sets the table of the wildcard-port services, unless there is one.
    pub(super) fn set_wildcard(&mut self, table: FlowTable<WideKey>) {
        self.wildcard.get_or_insert_with(|| Connections::new(table));
    }

    #[inline]
    pub(super) fn begin_batch(&mut self) {
        self.v4.begin_batch();
        self.wildcard.iter_mut().for_each(Connections::begin_batch);
    }

    /// Number of connections.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.v4.len() + self.wildcard.as_ref().map_or(0, Connections::len)
    }

    /// Sets for each table whether several services share it.
    pub(super) fn set_shared(&mut self, snapshot: &Snapshot) {
        let counts = snapshot.services.counts();
        self.v4.set_shared(counts.fixed > 1);
        self.wildcard.iter_mut().for_each(|wildcard| wildcard.set_shared(counts.wildcard > 1));
    }

    /// Sweeps a bounded number of buckets of each table. Returns true if more are due.
    pub(super) fn sweep(&mut self, context: &Context, now: Tick) -> bool {
        let wildcard = self.wildcard.as_mut().is_some_and(|wildcard| wildcard.sweep(context, now));
        self.v4.sweep(context, now) | wildcard
    }

    /// The connections of bucket `bucket`, counted through all tables; `None` past the last bucket.
    pub(super) fn connections(&self, bucket: usize) -> Option<impl Iterator<Item = FlowEntry<Flow>>> {
        let Self { v4, wildcard } = self;
        let buckets = v4.buckets() + wildcard.as_ref().map_or(0, Connections::buckets);
        let in_wildcard = bucket.checked_sub(v4.buckets()).zip(wildcard.as_ref());
        let others = in_wildcard.map(|(bucket, wildcard)| wildcard.listed(bucket));
        (bucket < buckets).then(|| v4.listed(bucket).chain(others.into_iter().flatten()))
    }
}
