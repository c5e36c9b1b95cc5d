//! The one writer of a table.
//!
//! Bucketized cuckoo hashing, as in the flow table: two candidate buckets for a key, four slots each, and up to three
//! displacements for a new entry. An expired entry gives its slot up. No other entry is evicted: the tables of the workers are full before.

use super::key::ShadowKey;
use super::reader::ShadowReader;
use super::table::{ShadowSlot, ShadowTable, Unchecked};
use super::value::{ShadowEntry, ShadowValue};
use super::words::{Region, Words};
use crate::flow::MOVES_MAX;
use crate::time::SecondTick;
use std::sync::Arc;

/// Outcome of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored<K> {
    /// Stored as a new entry.
    Placed,
    /// Stored in place of this value of the same key, expired or not.
    Updated(ShadowValue),
    /// Stored as a new entry; this expired one was evicted.
    Replaced(ShadowEntry<K>),
    /// Not stored: no slot is vacant or expired, or the system has no memory for another page.
    Full,
}

/// Writer of a table. There is one, and it may move between threads.
///
/// Entries of a former process are invisible to all functions until [`ShadowWriter::check`] has passed them.
#[derive(Debug)]
pub struct ShadowWriter<K, W = Region> {
    pub(super) table: Arc<ShadowTable<K, W>>,
    capacity: usize,
    pub(super) len: usize,
    /// Next bucket to be swept.
    sweep_cursor: usize,
    pub(super) unchecked: Unchecked,
}

/// A slot without an entry, for a new one.
struct FreeSlot<K> {
    at: ShadowSlot,
    /// Expired entry that was evicted for it.
    evicted: Option<ShadowEntry<K>>,
}

impl<K: ShadowKey, W: Words> ShadowWriter<K, W> {
    /// The writer of a table for `capacity` entries.
    pub(super) fn new(table: ShadowTable<K, W>, capacity: usize) -> Self {
        let unchecked = Unchecked::default();
        Self { table: Arc::new(table), capacity, len: 0, sweep_cursor: 0, unchecked }
    }

    /// Returns a reader of the table.
    #[must_use]
    pub fn reader(&self) -> ShadowReader<K, W> {
        ShadowReader::new(&self.table)
    }

    /// Number of entries, expired ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of entries for which there is room.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Number of buckets: the length of a full sweep, or of a full check.
    #[must_use]
    pub fn buckets(&self) -> usize {
        self.table.buckets()
    }

    /// Prefetches both candidate buckets of a key.
    #[inline]
    pub fn prefetch(&self, key: K) {
        self.table.both(key).into_iter().for_each(|bucket| self.table.prefetch_bucket(bucket));
    }

    /// The value of a key, expired or not.
    #[must_use]
    pub fn get(&self, key: K) -> Option<ShadowValue> {
        let mut held = self.holders(key).into_iter().flatten();
        held.find(|at| self.is_shown(*at)).and_then(|at| self.table.value(at))
    }

    /// Stores the value of a key.
    pub fn put(&mut self, key: K, value: ShadowValue, now: SecondTick) -> Stored<K> {
        match self.only_holder(key) {
            Some(at) => self.update(at, value),
            None => self.insert(ShadowEntry { key, value }, now),
        }
    }

    /// Removes the entry of a key; returns its value.
    pub fn remove(&mut self, key: K) -> Option<ShadowValue> {
        let at = self.only_holder(key)?;
        let value = self.table.value(at).filter(|_| self.is_shown(at));
        self.vacate(at);
        value
    }

    /// Removes expired entries from the next `buckets` buckets, and passes each to `expired`.
    pub fn sweep(&mut self, now: SecondTick, buckets: usize, mut expired: impl FnMut(ShadowEntry<K>)) {
        for _ in 0..buckets.min(self.buckets()) {
            let bucket = self.sweep_cursor;
            self.sweep_cursor = if bucket + 1 < self.buckets() { bucket + 1 } else { 0 };
            if self.table.stripes.is_blank(bucket) {
                continue;
            }
            for at in ShadowSlot::all(bucket) {
                self.take_expired(at, now).into_iter().for_each(&mut expired);
            }
        }
    }

    /// The entries of a bucket. None past the last bucket.
    pub fn entries(&self, bucket: usize) -> impl Iterator<Item = ShadowEntry<K>> {
        let exists = bucket < self.buckets() && !self.table.stripes.is_blank(bucket);
        let slots = exists.then(|| ShadowSlot::all(bucket)).into_iter().flatten();
        slots.filter(|at| self.is_shown(*at)).filter_map(|at| self.table.entry(at))
    }

    /// The slots that hold a key: at most one in each candidate bucket of a table that was checked.
    fn holders(&self, key: K) -> [Option<ShadowSlot>; 2] {
        let words = key.words();
        self.table.both(key).map(|bucket| {
            if self.table.stripes.is_blank(bucket) { None } else { self.table.slot_of(bucket, words) }
        })
    }

    /// The slot that holds a key. After a kill another one may hold it too; that one is vacated.
    fn only_holder(&mut self, key: K) -> Option<ShadowSlot> {
        let [first, second] = self.holders(key);
        if first.is_some() {
            second.into_iter().for_each(|twin| self.vacate(twin));
        }
        first.or(second)
    }

    fn update(&mut self, at: ShadowSlot, value: ShadowValue) -> Stored<K> {
        let before = self.table.value(at).filter(|_| self.is_shown(at));
        self.table.set_value(at, value);
        match before {
            Some(before) => Stored::Updated(before),
            None => self.placed(at),
        }
    }

    fn insert(&mut self, entry: ShadowEntry<K>, now: SecondTick) -> Stored<K> {
        let Some(FreeSlot { at, evicted }) = self.free_slot(entry.key, now) else {
            return Stored::Full;
        };
        self.table.store(at, entry);
        let placed = self.placed(at);
        evicted.map_or(placed, Stored::Replaced)
    }

    /// Counts an entry that now is in `at`.
    fn placed(&mut self, at: ShadowSlot) -> Stored<K> {
        if !self.is_checked(at.bucket) {
            self.unchecked.own.insert(at);
        }
        self.len += 1;
        Stored::Placed
    }

    /// A slot for a new entry: a vacant one, preferably in the first bucket, or that of an expired entry, or one at the begin of the
    /// shortest displacement chain.
    fn free_slot(&mut self, key: K, now: SecondTick) -> Option<FreeSlot<K>> {
        let both = self.table.both(key);
        let has_room = self.len < self.capacity;
        if has_room && let Some(at) = both.into_iter().find_map(|bucket| self.vacant_slot(bucket)) {
            return Some(FreeSlot { at, evicted: None });
        }
        if let Some(freed) = both.into_iter().find_map(|bucket| self.evict(bucket, now)) {
            return Some(freed);
        }
        // An entry of a former process could be moved past the check.
        if !has_room || !self.is_all_checked() {
            return None;
        }
        (1..=MOVES_MAX).find_map(|moves| both.into_iter().find_map(|bucket| self.free(bucket, moves, now)))
    }

    /// Vacates a slot of `bucket` by at most `moves` displacements. A chain starts at its far end, so that no
    /// displacement is in vain.
    fn free(&mut self, bucket: usize, moves: usize, now: SecondTick) -> Option<FreeSlot<K>> {
        if let Some(at) = self.vacant_slot(bucket) {
            return Some(FreeSlot { at, evicted: None });
        }
        if let Some(freed) = self.evict(bucket, now) {
            return Some(freed);
        }
        if moves == 0 {
            None
        } else {
            ShadowSlot::all(bucket).find_map(|at| self.displace(at, moves - 1, now))
        }
    }

    /// Vacates `at` by moving its entry to the other bucket. It is there twice for a moment: a kill then leaves a twin, and no reader misses it.
    fn displace(&mut self, at: ShadowSlot, moves: usize, now: SecondTick) -> Option<FreeSlot<K>> {
        let entry = self.table.entry(at)?;
        let [first, second] = self.table.both(entry.key);
        let other = if first == at.bucket { second } else { first };
        let FreeSlot { at: to, evicted } = self.free(other, moves, now)?;
        self.table.store(to, entry);
        self.table.vacate(at);
        Some(FreeSlot { at, evicted })
    }

    /// A vacant slot of a bucket for whose words there is memory.
    fn vacant_slot(&self, bucket: usize) -> Option<ShadowSlot> {
        if self.table.stripes.is_blank(bucket) {
            return self.table.back(bucket).then_some(ShadowSlot { bucket, slot: 0 });
        }
        ShadowSlot::all(bucket).find(|at| self.table.is_vacant(*at))
    }

    /// Vacates the slot of an expired entry of a bucket.
    fn evict(&mut self, bucket: usize, now: SecondTick) -> Option<FreeSlot<K>> {
        if self.table.stripes.is_blank(bucket) {
            return None;
        }
        let evict = |at| Some(FreeSlot { at, evicted: Some(self.take_expired(at, now)?) });
        ShadowSlot::all(bucket).find_map(evict)
    }

    fn take_expired(&mut self, at: ShadowSlot, now: SecondTick) -> Option<ShadowEntry<K>> {
        let entry = self.table.entry(at).filter(|entry| now.reached(entry.value.deadline))?;
        if !self.is_shown(at) {
            return None;
        }
        self.vacate(at);
        Some(entry)
    }

    /// Vacates a slot.
    pub(super) fn vacate(&mut self, at: ShadowSlot) {
        let was_shown = self.is_checked(at.bucket) || self.unchecked.own.remove(&at);
        self.table.vacate(at);
        self.len -= usize::from(was_shown);
    }

    /// True if the entry in a slot is of this process, or has been checked.
    pub(super) fn is_shown(&self, at: ShadowSlot) -> bool {
        self.is_checked(at.bucket) || self.unchecked.own.contains(&at)
    }

    fn is_checked(&self, bucket: usize) -> bool {
        bucket < self.table.stripes.checked()
    }

    /// True once all entries of a former process have been checked.
    #[must_use]
    pub fn is_all_checked(&self) -> bool {
        self.is_checked(self.buckets() - 1)
    }
}
