//! A fixed table of connections: two candidate buckets a key, four entries a cache line.
//!
//! A new entry goes to the emptier of its two buckets. If both are full, one entry of theirs moves
//! to its other bucket. That reaches far beyond [`LOAD_PERCENT`] of the slots, so a table that is
//! sized for its capacity has a place for each connection up to it (the tests fill it to show it).

use super::hash::{Key, Seed};
use super::state::State;
use crate::model::ServerId;
use crate::time::Tick;

/// Entries in a bucket: with IPv4 keys a bucket is one 64-byte cache line.
pub const SLOTS: usize = 4;
/// Share of the slots that is in use when the table holds its capacity: 21.3 bytes a connection.
const LOAD_PERCENT: usize = 75;
/// Buckets that are searched for somebody who may give way, when the key's own have nobody.
const RECLAIM_BUCKETS: usize = 64;

/// One connection. 16 bytes with an IPv4 key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<K> {
    /// Whose.
    pub key: K,
    /// When it expires unless a frame comes.
    pub deadline: Tick,
    /// Where its frames go.
    pub server: ServerId,
    /// Its state.
    pub state: State,
}

/// The two buckets where a key may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Homes(u32, u32);

/// What an insertion did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted<K> {
    /// It found room.
    Placed,
    /// It took the place of a connection that had expired or was half-open.
    Replaced(Entry<K>),
    /// No room, and nobody who may give way: the entry is not in the table.
    Full,
}

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Bucket<K>([Option<Entry<K>>; SLOTS]);

/// A table of connections with a capacity fixed at creation.
#[derive(Debug)]
pub struct FlowTable<K> {
    buckets: Box<[Bucket<K>]>,
    seed: Seed,
    capacity: usize,
    len: usize,
    /// The next bucket to be swept.
    hand: usize,
}

impl<K: Key> FlowTable<K> {
    /// A table for `capacity` connections, at least 1. All memory is taken now.
    #[must_use]
    pub fn new(capacity: usize, seed: Seed) -> Self {
        let buckets = (capacity * 100).div_ceil(LOAD_PERCENT * SLOTS).max(2);
        let empty = Bucket([const { None }; SLOTS]);
        Self { buckets: vec![empty; buckets].into(), seed, capacity: capacity.max(1), len: 0, hand: 0 }
    }

    /// Connections in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there is no connection.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Buckets in the table: the length of one whole sweep.
    #[must_use]
    pub fn buckets(&self) -> usize {
        self.buckets.len()
    }

    /// Where `key` may be.
    #[inline]
    #[must_use]
    pub fn homes(&self, key: K) -> Homes {
        let (hash, buckets) = (key.hash(&self.seed), self.buckets.len() as u64);
        let first = ((hash >> 32) * buckets) >> 32;
        let second = ((hash & 0xffff_ffff) * (buckets - 1)) >> 32;
        // The second choice skips the first, so that a key always has two.
        Homes(first as u32, (second + u64::from(second >= first)) as u32)
    }

    /// Brings both homes into the cache. Called for a whole batch before the first [`FlowTable::find`],
    /// it lets the memory accesses overlap. The result only keeps the loads from being optimised away.
    #[inline]
    #[must_use]
    pub fn warm(&self, homes: Homes) -> bool {
        let first = self.buckets[homes.0 as usize].0[0].is_some();
        first ^ self.buckets[homes.1 as usize].0[0].is_some()
    }

    /// The entry of `key`, expired or not.
    #[inline]
    pub fn find(&mut self, key: K, homes: Homes) -> Option<&mut Entry<K>> {
        let (bucket, slot) = self.position(key, homes)?;
        self.buckets[bucket].0[slot].as_mut()
    }

    /// Takes the entry of `key` out.
    pub fn remove(&mut self, key: K, homes: Homes) -> Option<Entry<K>> {
        let (bucket, slot) = self.position(key, homes)?;
        self.take(bucket, slot)
    }

    /// Puts a connection in. Its key must not be in the table.
    ///
    /// At capacity, somebody must give way: an expired connection or a half-open one, first of the
    /// key's own buckets, then of a bounded stretch of the table. Established ones never do.
    pub fn insert(&mut self, entry: Entry<K>, homes: Homes, now: Tick) -> Inserted<K> {
        let room = self.len < self.capacity;
        if room && let Some(at) = self.vacant(homes) {
            return self.put(entry, at);
        }
        let yields = self.yielding(homes, now);
        // An expired one is not moved: behind the sweep's hand it would stay for another round.
        if room && !self.expired(yields, now) && self.place(entry, homes) {
            return Inserted::Placed;
        }
        match yields {
            Some(at) => self.put(entry, at),
            None if room => Inserted::Full,
            None => self.reclaim_elsewhere(entry, homes, now),
        }
    }

    /// Looks through the next `buckets` buckets and takes out what has expired.
    pub fn sweep(&mut self, now: Tick, buckets: usize, mut expired: impl FnMut(Entry<K>)) {
        if self.is_empty() {
            return;
        }
        for _ in 0..buckets.min(self.buckets.len()) {
            for slot in 0..SLOTS {
                if self.buckets[self.hand].0[slot].is_some_and(|entry| now.reached(entry.deadline)) {
                    self.take(self.hand, slot).into_iter().for_each(&mut expired);
                }
            }
            self.advance();
        }
    }

    /// The connections of `bucket`, for listings. None past the last bucket.
    pub fn entries(&self, bucket: usize) -> impl Iterator<Item = &Entry<K>> {
        self.buckets.get(bucket).into_iter().flat_map(|bucket| bucket.0.iter().flatten())
    }

    #[inline]
    fn position(&self, key: K, homes: Homes) -> Option<(usize, usize)> {
        [homes.0 as usize, homes.1 as usize].into_iter().find_map(|bucket| {
            let holds = |entry: &Option<Entry<K>>| entry.is_some_and(|entry| entry.key == key);
            Some((bucket, self.buckets[bucket].0.iter().position(holds)?))
        })
    }

    fn take(&mut self, bucket: usize, slot: usize) -> Option<Entry<K>> {
        let entry = self.buckets[bucket].0[slot].take();
        self.len -= usize::from(entry.is_some());
        entry
    }

    /// Puts `entry` into its emptier home, making room there by one move if both are full.
    fn place(&mut self, entry: Entry<K>, homes: Homes) -> bool {
        let Some(at) = self.vacant(homes).or_else(|| self.make_room(homes)) else { return false };
        self.put(entry, at);
        true
    }

    /// Writes `entry` to a slot, and tells who was there.
    fn put(&mut self, entry: Entry<K>, (bucket, slot): (usize, usize)) -> Inserted<K> {
        let before = self.buckets[bucket].0[slot].replace(entry);
        self.len += usize::from(before.is_none());
        before.map_or(Inserted::Placed, Inserted::Replaced)
    }

    /// A free slot in the emptier home.
    fn vacant(&self, homes: Homes) -> Option<(usize, usize)> {
        let (first, second) = (homes.0 as usize, homes.1 as usize);
        let target = if self.used(second) < self.used(first) { second } else { first };
        Some((target, self.vacancy(target)?))
    }

    fn expired(&self, at: Option<(usize, usize)>, now: Tick) -> bool {
        let held = at.and_then(|(bucket, slot)| self.buckets[bucket].0[slot]);
        held.is_some_and(|entry| now.reached(entry.deadline))
    }

    fn used(&self, bucket: usize) -> usize {
        self.buckets[bucket].0.iter().flatten().count()
    }

    fn vacancy(&self, bucket: usize) -> Option<usize> {
        self.buckets[bucket].0.iter().position(Option::is_none)
    }

    /// Moves one entry out of a full home to its other home, and returns the slot it leaves.
    fn make_room(&mut self, homes: Homes) -> Option<(usize, usize)> {
        [homes.0 as usize, homes.1 as usize]
            .into_iter()
            .flat_map(|bucket| (0..SLOTS).map(move |slot| (bucket, slot)))
            .find(|&(bucket, slot)| self.move_away(bucket, slot))
    }

    fn move_away(&mut self, bucket: usize, slot: usize) -> bool {
        let Some(entry) = self.buckets[bucket].0[slot] else { return true };
        let Homes(first, second) = self.homes(entry.key);
        let other = if first as usize == bucket { second } else { first } as usize;
        let Some(vacancy) = self.vacancy(other) else { return false };
        self.buckets[other].0[vacancy] = self.buckets[bucket].0[slot].take();
        true
    }

    /// Who gives way in the key's own buckets: an expired connection, else the half-open one that
    /// would expire first.
    fn yielding(&self, homes: Homes, now: Tick) -> Option<(usize, usize)> {
        let left = |entry: &Entry<K>| entry.deadline.since(now);
        [homes.0 as usize, homes.1 as usize]
            .into_iter()
            .flat_map(|bucket| (0..SLOTS).map(move |slot| (bucket, slot)))
            .filter_map(|at| Some((at, self.buckets[at.0].0[at.1].filter(|entry| may_yield(entry, now))?)))
            .min_by_key(|(_, entry)| left(entry))
            .map(|(at, _)| at)
    }

    /// Frees a slot anywhere in the next stretch of the table, then places `entry`.
    fn reclaim_elsewhere(&mut self, entry: Entry<K>, homes: Homes, now: Tick) -> Inserted<K> {
        for _ in 0..RECLAIM_BUCKETS.min(self.buckets.len()) {
            let (bucket, yields) =
                (self.hand, |held: &Option<Entry<K>>| held.is_some_and(|held| may_yield(&held, now)));
            let Some(slot) = self.buckets[bucket].0.iter().position(yields) else {
                self.advance();
                continue;
            };
            let evicted = self.take(bucket, slot);
            return match (self.place(entry, homes), evicted) {
                (true, Some(evicted)) => Inserted::Replaced(evicted),
                (_, Some(evicted)) => self.put_back(evicted, bucket, slot),
                (_, None) => Inserted::Full,
            };
        }
        Inserted::Full
    }

    fn put_back(&mut self, entry: Entry<K>, bucket: usize, slot: usize) -> Inserted<K> {
        self.buckets[bucket].0[slot] = Some(entry);
        self.len += 1;
        Inserted::Full
    }

    fn advance(&mut self) {
        self.hand += 1;
        if self.hand == self.buckets.len() {
            self.hand = 0;
        }
    }
}

fn may_yield<K>(entry: &Entry<K>, now: Tick) -> bool {
    entry.state.is_half_open() || now.reached(entry.deadline)
}

#[cfg(test)]
mod tests;
