//! Connection table: bucketized cuckoo hashing with two candidate buckets per key and four slots per bucket
//! (Erlingsson, Manasse and McSherry, "A cool and practical alternative to traditional hash tables", 2006).
//!
//! A new entry goes to its first bucket, or to the second if that is full. If both are full, up to three
//! other entries are displaced to their other bucket; an expired entry gives its slot up instead. That
//! reaches far beyond [`LOAD_PERCENT`] of the slots, so a table has a slot for each connection up to its
//! capacity (the tests fill it to show it).
//!
//! A new entry evicts another once the table holds its capacity, or once its match holds its share of
//! the table ([`Shares`]). The victim has expired or is unconfirmed, and belongs to the same match or to
//! one that holds more. Without a victim there is no room. Confirmed entries are never evicted.

use super::bucket::{Bucket, EntryMut, FlowEntry, SLOTS, Victim};
use super::key::TableKey;
use super::share::Shares;
use crate::hash::{BucketPair, Seed};
use crate::sys::memory::{filled, prefetch};
use crate::time::Tick;

/// Percentage of slots in use at capacity: 19.5 bytes per connection with compact keys, 39 with wide ones.
const LOAD_PERCENT: usize = 82;
/// Longest displacement chain for a new entry.
pub(crate) const MOVES_MAX: usize = 3;
/// Eviction budget: buckets scanned per batch for a victim once both candidate buckets have none. With compact
/// keys 8 KiB in a row, less than a microsecond; with wide ones every other line of 16 KiB.
const EVICTION_BUCKETS: usize = 128;

/// Bytes of a cache line.
const CACHE_LINE: usize = 64;

/// Buckets of a table for `capacity` entries.
pub(crate) const fn buckets_for(capacity: usize) -> usize {
    let buckets = (capacity * 100).div_ceil(LOAD_PERCENT * SLOTS);
    if buckets < 2 { 2 } else { buckets }
}

/// Slot of the first candidate bucket in which [`FlowTable::locate`] found a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint(u8);

impl Hint {
    /// Not found.
    pub const NONE: Self = Self(SLOTS as u8);
}

/// Position of a slot in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SlotPosition {
    bucket: usize,
    slot: usize,
}

/// Slots at which a displacement chain may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChainEnd {
    Vacant,
    /// An expired entry is evicted.
    VacantOrExpired,
}

/// Slot vacated for a new entry.
struct Vacated<K> {
    at: SlotPosition,
    /// Expired entry that was evicted at the end of the chain.
    evicted: Option<FlowEntry<K>>,
}

/// Outcome of an insertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted<K> {
    /// Stored in a vacant slot.
    Placed,
    /// Stored; this expired or unconfirmed entry was evicted.
    Replaced(FlowEntry<K>),
    /// Not stored: no vacant slot and no victim.
    Full,
}

/// Table of connections with a capacity fixed at creation.
#[derive(Debug)]
pub struct FlowTable<K: TableKey> {
    buckets: Box<[Bucket<K>]>,
    seed: Seed,
    capacity: usize,
    len: usize,
    /// Next bucket to be swept.
    sweep_cursor: usize,
    /// Next bucket to be scanned for a victim. Separate from `sweep_cursor`: otherwise an expired entry
    /// that may not be evicted would wait for another sweep.
    eviction_cursor: usize,
    /// Buckets that may still be scanned in this batch.
    eviction_budget: usize,
    shares: Shares,
}

impl<K: TableKey> FlowTable<K> {
    /// Creates a table for `capacity` connections, at least 1, and allocates all its memory.
    #[must_use]
    pub fn new(capacity: usize, seed: Seed) -> Self {
        Self {
            buckets: filled(Bucket::EMPTY, buckets_for(capacity)),
            seed: seed.with_odd_factors(),
            capacity: capacity.max(1),
            len: 0,
            sweep_cursor: 0,
            eviction_cursor: 0,
            eviction_budget: 0,
            shares: Shares::new(),
        }
    }

    /// Number of connections, expired ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there is no connection.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of buckets: the length of a full sweep.
    #[must_use]
    pub fn buckets(&self) -> usize {
        self.buckets.len()
    }

    /// Computes the candidate buckets of `key`.
    #[inline]
    #[must_use]
    pub fn bucket_pair(&self, key: K) -> BucketPair {
        BucketPair::new(key.hash(&self.seed), self.buckets.len())
    }

    #[inline]
    fn second(&self, pair: BucketPair) -> usize {
        pair.second(self.buckets.len())
    }

    #[inline]
    fn both(&self, pair: BucketPair) -> [usize; 2] {
        pair.both(self.buckets.len())
    }

    /// Sets whether several matches share the table. Each then takes a vacant slot only while it holds
    /// at most eight times as many entries as there are vacant slots, so that the others find room.
    pub fn set_shared(&mut self, shared: bool) {
        self.shares.set_shared(shared);
    }

    /// Renews the eviction budget of [`FlowTable::insert`].
    #[inline]
    pub fn renew_eviction_budget(&mut self) {
        self.eviction_budget = EVICTION_BUCKETS;
    }

    /// Prefetches the first candidate bucket. Called for a whole batch before the first
    /// [`FlowTable::locate`], it lets the memory accesses overlap.
    #[inline]
    pub fn prefetch(&self, pair: BucketPair) {
        self.prefetch_bucket(pair.first());
    }

    #[inline]
    fn prefetch_bucket(&self, bucket: usize) {
        let bucket = self.buckets.as_ptr().wrapping_add(bucket);
        prefetch(bucket);
        if size_of::<Bucket<K>>() > CACHE_LINE {
            prefetch(bucket.wrapping_byte_add(CACHE_LINE));
        }
    }

    /// Looks up `key` in its first candidate bucket; prefetches the second one if it is not there. To be
    /// called for a whole batch before the first [`FlowTable::find`].
    #[inline]
    #[must_use]
    pub fn locate(&self, key: K, pair: BucketPair) -> Hint {
        let slot = self.buckets[pair.first()].search(key.parts().0);
        if slot == SLOTS {
            self.prefetch_bucket(self.second(pair));
        }
        Hint(slot as u8) // at most SLOTS
    }

    /// True if `key` has an entry, expired or not.
    #[must_use]
    pub fn contains(&self, key: K) -> bool {
        self.position(key, self.bucket_pair(key)).is_some()
    }

    /// Looks up the entry of `key`, expired or not. `hint` is the result of [`FlowTable::locate`] and may be
    /// out of date.
    #[inline]
    pub fn find(&mut self, key: K, pair: BucketPair, hint: Hint) -> Option<EntryMut<'_>> {
        let (first, slot) = (pair.first(), usize::from(hint.0) % SLOTS);
        if self.buckets[first].holds(slot, key) {
            return Some(self.buckets[first].entry_mut(slot));
        }
        // Without a hint the first bucket did not have the key. A displacement since then is rare.
        let second = self.second(pair);
        if let Some(slot) = self.buckets[second].slot_of(key) {
            return Some(self.buckets[second].entry_mut(slot));
        }
        let slot = self.buckets[first].slot_of(key)?;
        Some(self.buckets[first].entry_mut(slot))
    }

    /// Removes the entry of `key`.
    pub fn remove(&mut self, key: K, pair: BucketPair) -> Option<FlowEntry<K>> {
        let at = self.position(key, pair)?;
        self.take(at)
    }

    /// Inserts an entry whose key is not in the table.
    ///
    /// At capacity, or once its match holds its share of a shared table, an expired or unconfirmed entry
    /// is evicted: the oldest in the candidate buckets, else the oldest of the first bucket with a victim
    /// within the batch's eviction budget. The budget keeps a flood into a table of confirmed connections
    /// from taking time from them.
    #[inline(always)]
    pub fn insert(&mut self, entry: FlowEntry<K>, pair: BucketPair, now: Tick) -> Inserted<K> {
        let free = self.capacity - self.len;
        let room = free > 0 && self.shares.may_grow(entry.key.match_id(), free);
        if room && let Some(at) = self.vacant(pair) {
            return self.store(entry, at);
        }
        if room && let Some(vacated) = self.vacate_pair(pair, now, ChainEnd::VacantOrExpired) {
            return self.fill(vacated, entry);
        }
        match self.victim_of_pair(pair, entry.key, now) {
            Some(at) => self.evict(at, entry),
            None if room => Inserted::Full,
            None => self.evict_elsewhere(entry, pair, now),
        }
    }

    /// Removes expired entries from the next `buckets` buckets, and passes each to `expired`.
    pub fn sweep(&mut self, now: Tick, buckets: usize, mut expired: impl FnMut(FlowEntry<K>)) {
        if self.is_empty() {
            return;
        }
        for _ in 0..buckets.min(self.buckets.len()) {
            if self.buckets[self.sweep_cursor].any_expired(now) {
                self.take_expired(now, &mut expired);
            }
            self.sweep_cursor = self.after(self.sweep_cursor);
        }
    }

    /// The entries of `bucket`, for listings. None past the last bucket.
    pub fn entries(&self, bucket: usize) -> impl Iterator<Item = FlowEntry<K>> {
        self.buckets.get(bucket).into_iter().flat_map(Bucket::entries)
    }

    /// Looks up `key` in both candidate buckets.
    #[inline(never)]
    fn position(&self, key: K, pair: BucketPair) -> Option<SlotPosition> {
        let found = |bucket: usize| Some(SlotPosition { bucket, slot: self.buckets[bucket].slot_of(key)? });
        self.both(pair).into_iter().find_map(found)
    }

    fn take(&mut self, at: SlotPosition) -> Option<FlowEntry<K>> {
        let entry = self.buckets[at.bucket].take(at.slot)?;
        self.len -= 1;
        self.shares.remove(entry.key.match_id());
        Some(entry)
    }

    fn take_expired(&mut self, now: Tick, expired: &mut impl FnMut(FlowEntry<K>)) {
        for slot in 0..SLOTS {
            let at = SlotPosition { bucket: self.sweep_cursor, slot };
            if self.has_expired(at, now) {
                self.take(at).into_iter().for_each(&mut *expired);
            }
        }
    }

    /// Stores `entry` in a vacant slot.
    #[inline]
    fn store(&mut self, entry: FlowEntry<K>, at: SlotPosition) -> Inserted<K> {
        self.shares.add(entry.key.match_id());
        self.buckets[at.bucket].store(at.slot, entry);
        self.len += 1;
        Inserted::Placed
    }

    /// Stores `entry` in the slot of `victim`.
    fn evict(&mut self, victim: SlotPosition, entry: FlowEntry<K>) -> Inserted<K> {
        let Some(evicted) = self.take(victim) else {
            return self.store(entry, victim);
        };
        self.store(entry, victim);
        Inserted::Replaced(evicted)
    }

    /// Stores `entry` in a slot that was vacated for it.
    fn fill(&mut self, vacated: Vacated<K>, entry: FlowEntry<K>) -> Inserted<K> {
        self.store(entry, vacated.at);
        vacated.evicted.map_or(Inserted::Placed, Inserted::Replaced)
    }

    /// A vacant slot, preferably in the first bucket: nearly every look-up then needs no other.
    fn vacant(&self, pair: BucketPair) -> Option<SlotPosition> {
        let vacant = |bucket: usize| Some(SlotPosition { bucket, slot: self.buckets[bucket].vacant_slot()? });
        vacant(pair.first()).or_else(|| vacant(self.second(pair)))
    }

    fn has_expired(&self, at: SlotPosition, now: Tick) -> bool {
        self.buckets[at.bucket].get(at.slot).is_some_and(|entry| now.reached(entry.deadline))
    }

    /// Vacates a slot of a candidate bucket by the shortest possible displacement chain.
    fn vacate_pair(&mut self, pair: BucketPair, now: Tick, end: ChainEnd) -> Option<Vacated<K>> {
        let both = self.both(pair);
        (0..=MOVES_MAX).find_map(|moves| both.into_iter().find_map(|at| self.vacate(at, moves, now, end)))
    }

    /// Vacates a slot of `bucket` by at most `moves` displacements. A chain starts at its far end, so that no
    /// displacement is in vain.
    fn vacate(&mut self, bucket: usize, moves: usize, now: Tick, end: ChainEnd) -> Option<Vacated<K>> {
        if let Some(slot) = self.buckets[bucket].vacant_slot() {
            return Some(Vacated { at: SlotPosition { bucket, slot }, evicted: None });
        }
        let mut slots = (0..SLOTS).map(|slot| SlotPosition { bucket, slot });
        if end == ChainEnd::VacantOrExpired && self.buckets[bucket].any_expired(now) {
            let at = slots.find(|at| self.has_expired(*at, now))?;
            return Some(Vacated { at, evicted: self.take(at) });
        }
        if moves == 0 { None } else { slots.find_map(|at| self.displace(at, moves - 1, now, end)) }
    }

    /// Vacates `at` by moving its entry to the other bucket. An expired entry stays: behind the sweep cursor it
    /// would be left for another sweep.
    fn displace(&mut self, at: SlotPosition, moves: usize, now: Tick, end: ChainEnd) -> Option<Vacated<K>> {
        let entry = self.buckets[at.bucket].get(at.slot)?;
        if now.reached(entry.deadline) {
            return None;
        }
        let [first, second] = self.both(self.bucket_pair(entry.key));
        let other = if first == at.bucket { second } else { first };
        let Vacated { at: to, evicted } = self.vacate(other, moves, now, end)?;
        self.buckets[at.bucket].take(at.slot);
        self.buckets[to.bucket].store(to.slot, entry);
        Some(Vacated { at, evicted })
    }

    /// The entry in the candidate buckets that `key` may evict: the one that expires first, which is the oldest of
    /// its service.
    fn victim_of_pair(&self, pair: BucketPair, key: K, now: Tick) -> Option<SlotPosition> {
        let victim = |bucket: usize| {
            let Victim { remaining, slot } = self.victim(bucket, key, now)?;
            Some((remaining, SlotPosition { bucket, slot }))
        };
        let victims = self.both(pair).into_iter().filter_map(victim);
        victims.min_by_key(|(remaining, _)| *remaining).map(|(_, at)| at)
    }

    /// Likewise, in `bucket`.
    #[inline]
    fn victim(&self, bucket: usize, key: K, now: Tick) -> Option<Victim> {
        self.buckets[bucket].victim(now, |held| self.shares.may_evict(key.match_id(), held.match_id()))
    }

    /// Evicts an entry from the next buckets within the eviction budget, then places `entry`.
    fn evict_elsewhere(&mut self, entry: FlowEntry<K>, pair: BucketPair, now: Tick) -> Inserted<K> {
        for _ in 0..self.eviction_budget.min(self.buckets.len()) {
            self.eviction_budget -= 1;
            let bucket = self.eviction_cursor;
            let Some(Victim { slot, .. }) = self.victim(bucket, entry.key, now) else {
                self.eviction_cursor = self.after(bucket);
                continue;
            };
            let at = SlotPosition { bucket, slot };
            let Some(evicted) = self.take(at) else {
                return Inserted::Full;
            };
            let Some(vacated) = self.vacate_pair(pair, now, ChainEnd::Vacant) else {
                return self.restore(evicted, at);
            };
            self.store(entry, vacated.at);
            return Inserted::Replaced(evicted);
        }
        Inserted::Full
    }

    fn restore(&mut self, entry: FlowEntry<K>, at: SlotPosition) -> Inserted<K> {
        self.store(entry, at);
        Inserted::Full
    }

    /// The bucket after `bucket`; the first one after the last.
    fn after(&self, bucket: usize) -> usize {
        if bucket + 1 == self.buckets.len() { 0 } else { bucket + 1 }
    }
}

#[cfg(test)]
mod tests;
