//! The connection tables of one worker.

use super::ServiceMap;
use super::conns::Connections;
use super::context::Context;
use super::fragments::Fragments;
use super::shadowed::ShadowedKey;
use super::snapshot::Snapshot;
use super::staged::{Staged, WideFrames};
use crate::flow::{AnyKey, Flow, FlowEntry, FlowTable, V4Key, WideKey};
use crate::hash::Seed;
use crate::stats::DropReason;
use crate::time::Tick;

/// Most connections given up per call: each costs two cache misses.
const GIVEN_UP: usize = 16;

/// Connections by type of key.
pub(super) struct Tables {
    pub(super) v4: Connections<V4Key>,
    /// Connections of IPv6 and of matches of several ports; `None` until the first such match.
    pub(super) wide: Option<Connections<WideKey>>,
    pub(super) fragments: Fragments,
}

impl Tables {
    pub(super) fn new(v4: FlowTable<V4Key>, seed: Seed) -> Self {
        Self { v4: Connections::new(v4), wide: None, fragments: Fragments::new(seed) }
    }

    /// Sets the table for wide keys, unless there is one.
    pub(super) fn set_wide(&mut self, table: FlowTable<WideKey>) {
        self.wide.get_or_insert_with(|| Connections::new(table));
    }

    #[inline]
    pub(super) fn begin_batch(&mut self) {
        self.fragments.begin_batch();
    }

    /// Renews the eviction budget of each table.
    #[inline]
    pub(super) fn renew_eviction_budget(&mut self) {
        self.v4.renew_eviction_budget();
        self.wide.iter_mut().for_each(Connections::renew_eviction_budget);
    }

    /// Looks up each frame's connection in its first bucket, and prefetches the second one where it is not
    /// there.
    #[inline]
    pub(super) fn locate_all(&self, staged: &mut [Staged<V4Key>], wide: &mut WideFrames) {
        for (run, is_wide) in wide.indexes.runs(staged.len()) {
            if !is_wide {
                self.v4.locate_all(&mut staged[run]);
            } else if let Some(conns) = &self.wide {
                conns.locate_all(&mut wide.staged[run]);
            }
        }
    }

    /// Number of connections.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.v4.len() + self.wide.as_ref().map_or(0, Connections::len)
    }

    /// Sets for each table whether several matches share it.
    pub(super) fn set_shared(&mut self, snapshot: &Snapshot) {
        let maps = std::iter::once(&snapshot.services).chain(snapshot.vlans.iter());
        let (compact, wide) = maps
            .map(ServiceMap::counts)
            .fold((0, 0), |(compact, wide), counts| (compact + counts.compact, wide + counts.wide));
        self.v4.set_shared(compact > 1);
        self.wide.iter_mut().for_each(|table| table.set_shared(wide > 1));
    }

    /// Sweeps a bounded number of buckets of each table. Returns true if more are due.
    pub(super) fn sweep(&mut self, context: &Context, now: Tick) -> bool {
        let wide = self.wide.as_mut().is_some_and(|wide| wide.sweep(context, now));
        self.v4.sweep(context, now) | wide
    }

    /// Removes a bounded number of connections that other workers have taken over.
    pub(super) fn give_up(&mut self, context: &Context) {
        let Some(shadow) = &context.shadow else { return };
        for key in (0..GIVEN_UP).map_while(|_| shadow.journal.take_given_up()) {
            match key {
                AnyKey::Compact(key) => self.v4.give_up(context, key),
                AnyKey::Wide(key) => self.wide.iter_mut().for_each(|wide| wide.give_up(context, key)),
            }
        }
    }

    /// The connections of bucket `bucket`, counted through all tables; `None` past the last bucket.
    pub(super) fn connections(&self, bucket: usize) -> Option<impl Iterator<Item = FlowEntry<Flow>>> {
        let Self { v4, wide, .. } = self;
        let buckets = v4.buckets() + wide.as_ref().map_or(0, Connections::buckets);
        let in_wide = bucket.checked_sub(v4.buckets()).zip(wide.as_ref());
        let others = in_wide.map(|(bucket, wide)| wide.listed(bucket));
        (bucket < buckets).then(|| v4.listed(bucket).chain(others.into_iter().flatten()))
    }
}

/// Key of a connection, which says its table.
pub(super) trait ConnectionKey: ShadowedKey {
    /// The connections with keys of this type.
    ///
    /// # Errors
    /// [`DropReason::TableFull`] if the worker has not got the table yet.
    fn connections(tables: &mut Tables) -> Result<&mut Connections<Self>, DropReason>;
}

impl ConnectionKey for V4Key {
    #[inline]
    fn connections(tables: &mut Tables) -> Result<&mut Connections<Self>, DropReason> {
        Ok(&mut tables.v4)
    }
}

impl ConnectionKey for WideKey {
    #[inline]
    fn connections(tables: &mut Tables) -> Result<&mut Connections<Self>, DropReason> {
        tables.wide.as_mut().ok_or(DropReason::TableFull)
    }
}
