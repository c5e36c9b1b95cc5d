//! A fixed table of connections: two candidate buckets a key, four entries a cache line.
//!
//! A new entry goes to its first bucket, or to the second if that is full. If both are, up to
//! three others move to their other bucket. That reaches far beyond [`LOAD_PERCENT`] of the slots,
//! so a table that is sized for its capacity has a place for each connection up to it (the tests
//! fill it to show it).
//!
//! A new entry evicts another when the table holds its capacity, or when its service holds its share of
//! it ([`Shares`]): one that has expired or is unconfirmed, of the same service or of one that holds more.
//! If none is found, there is no room. Confirmed entries are never evicted.

use super::bucket::{Bucket, Entry, Found, SLOTS};
use super::key::Key;
use super::share::Shares;
use crate::seed::Seed;
use crate::sys::memory::{filled, prefetch};
use crate::time::Tick;

/// Share of the slots that is in use when the table holds its capacity: 19.5 bytes a connection.
const LOAD_PERCENT: usize = 82;
/// Longest chain of moves that makes room for a new entry.
const MOVES_MAX: usize = 3;
/// Eviction budget: buckets searched per batch for a victim once both buckets of a key have none: 8 KiB
/// in a row, less than a microsecond.
const RECLAIM_BUCKETS: usize = 128;

/// The two buckets where a key may be: the number of the first, and half a hash, from which
/// [`FlowTable`] makes that of the second where it is needed, which is seldom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Homes {
    first: u32,
    hash: u32,
}

impl Homes {
    /// Those of no key.
    pub const NOWHERE: Self = Self { first: 0, hash: 0 };
}

/// The slot of its first home where a key was seen, if it was seen there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint(u8);

impl Hint {
    /// It was not seen.
    pub const NONE: Self = Self(SLOTS as u8);
}

/// What an insertion did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted<K> {
    /// It found room.
    Placed,
    /// It took the place of a connection that had expired or was unconfirmed.
    Replaced(Entry<K>),
    /// No room, and no connection that may be evicted: the entry is not in the table.
    Full,
}

/// A table of connections with a capacity fixed at creation.
#[derive(Debug)]
pub struct FlowTable<K> {
    buckets: Box<[Bucket<K>]>,
    seed: Seed,
    capacity: usize,
    len: usize,
    /// The next bucket to be swept.
    hand: usize,
    /// The next bucket to be searched for a victim, and how many may still be in this batch. Not the
    /// sweep's bucket: what has expired and may not be evicted would wait for another sweep.
    search_hand: usize,
    searches: usize,
    shares: Shares,
}

impl<K: Key> FlowTable<K> {
    /// A table for `capacity` connections, at least 1. All memory is taken now.
    #[must_use]
    pub fn new(capacity: usize, seed: Seed) -> Self {
        let buckets = (capacity * 100).div_ceil(LOAD_PERCENT * SLOTS).max(2);
        Self {
            buckets: filled(Bucket::EMPTY, buckets),
            seed: seed.with_odd_factors(),
            capacity: capacity.max(1),
            len: 0,
            hand: 0,
            search_hand: 0,
            searches: 0,
            shares: Shares::new(),
        }
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
        let hash = key.hash(&self.seed);
        let first = ((hash >> 32) * self.buckets.len() as u64) >> 32;
        Homes { first: first as u32, hash: hash as u32 } // below the number of buckets; the other half
    }

    /// The second choice skips the first, so that a key always has two.
    #[inline]
    fn second(&self, homes: Homes) -> usize {
        let second = (u64::from(homes.hash) * (self.buckets.len() as u64 - 1)) >> 32;
        (second + u64::from(second >= u64::from(homes.first))) as usize
    }

    /// Both buckets, the first choice first.
    #[inline]
    fn both(&self, homes: Homes) -> [usize; 2] {
        [homes.first as usize, self.second(homes)]
    }

    /// Says whether several services share the table. Each may then hold only so much of it that there
    /// is room for the others: it takes a free place while it holds at most eight times what is free.
    pub fn set_shared(&mut self, shared: bool) {
        self.shares.set_shared(shared);
    }

    /// Begins a batch: allows [`FlowTable::insert`] to search a stretch of the table again.
    #[inline]
    pub fn begin(&mut self) {
        self.searches = RECLAIM_BUCKETS;
    }

    /// Begins to bring the first home into the cache. Called for a whole batch before the first
    /// [`FlowTable::locate`], it lets the memory accesses overlap.
    #[inline]
    pub fn prefetch(&self, homes: Homes) {
        prefetch(self.buckets.as_ptr().wrapping_add(homes.first as usize));
    }

    /// Looks for `key` in its first home, and begins to bring the second one into the cache if it is
    /// not there. Called for a whole batch before the first [`FlowTable::find`].
    #[inline]
    #[must_use]
    pub fn locate(&self, key: K, homes: Homes) -> Hint {
        let slot = self.buckets[homes.first as usize].search(key);
        if slot == SLOTS {
            prefetch(self.buckets.as_ptr().wrapping_add(self.second(homes)));
        }
        Hint(slot as u8) // at most SLOTS
    }

    /// The connection of `key`, expired or not. `hint` is what [`FlowTable::locate`] said; it may
    /// be out of date.
    #[inline]
    pub fn find(&mut self, key: K, homes: Homes, hint: Hint) -> Option<Found<'_>> {
        let (first, slot) = (homes.first as usize, usize::from(hint.0) % SLOTS);
        if self.buckets[first].holds(slot, key) {
            return Some(self.buckets[first].found(slot));
        }
        let (bucket, slot) = self.position(key, homes)?;
        Some(self.buckets[bucket].found(slot))
    }

    /// Takes the connection of `key` out.
    pub fn remove(&mut self, key: K, homes: Homes) -> Option<Entry<K>> {
        let (bucket, slot) = self.position(key, homes)?;
        self.take(bucket, slot)
    }

    /// Puts a connection in. Its key must not be in the table.
    ///
    /// At capacity, or once its service holds its share of a shared table, a connection is evicted that
    /// has expired or is unconfirmed: the oldest of the key's own buckets, else of the first bucket with
    /// one in a stretch of the table, bounded for each batch: a flood into a table of confirmed
    /// connections, which are never evicted, takes no time from them.
    pub fn insert(&mut self, entry: Entry<K>, homes: Homes, now: Tick) -> Inserted<K> {
        let free = self.capacity - self.len;
        let room = free > 0 && self.shares.may_grow(entry.key.service(), free);
        if room && let Some(at) = self.vacant(homes) {
            return self.fill(entry, at);
        }
        let victim = self.victim(self.both(homes), entry.key, now);
        // An expired one is not moved: behind the sweep's hand it would stay for another round.
        if room && !self.expired(victim, now) && self.place(entry, homes, now) {
            return Inserted::Placed;
        }
        match victim {
            Some(at) => self.evict(at, entry),
            None if room => Inserted::Full,
            None => self.evict_elsewhere(entry, homes, now),
        }
    }

    /// Looks through the next `buckets` buckets and takes out what has expired.
    pub fn sweep(&mut self, now: Tick, buckets: usize, mut expired: impl FnMut(Entry<K>)) {
        if self.is_empty() {
            return;
        }
        for _ in 0..buckets.min(self.buckets.len()) {
            if self.buckets[self.hand].any_expired(now) {
                self.take_expired(now, &mut expired);
            }
            self.hand = self.after(self.hand);
        }
    }

    /// The connections of `bucket`, for listings. None past the last bucket.
    pub fn entries(&self, bucket: usize) -> impl Iterator<Item = Entry<K>> {
        self.buckets.get(bucket).into_iter().flat_map(Bucket::entries)
    }

    /// Out of the way of those that are where they were last seen.
    #[inline(never)]
    fn position(&self, key: K, homes: Homes) -> Option<(usize, usize)> {
        let found = |bucket: usize| Some((bucket, self.buckets[bucket].slot_of(key)?));
        self.both(homes).into_iter().find_map(found)
    }

    fn take(&mut self, bucket: usize, slot: usize) -> Option<Entry<K>> {
        let entry = self.buckets[bucket].take(slot)?;
        self.len -= 1;
        self.shares.remove(entry.key.service());
        Some(entry)
    }

    fn take_expired(&mut self, now: Tick, expired: &mut impl FnMut(Entry<K>)) {
        for slot in 0..SLOTS {
            if self.expired(Some((self.hand, slot)), now) {
                self.take(self.hand, slot).into_iter().for_each(&mut *expired);
            }
        }
    }

    /// Puts `entry` into one of its homes, making room there if both are full.
    fn place(&mut self, entry: Entry<K>, homes: Homes, now: Tick) -> bool {
        let Some(at) = self.vacant(homes).or_else(|| self.make_room(homes, now)) else { return false };
        self.fill(entry, at);
        true
    }

    /// Writes `entry` to a vacant slot.
    #[inline]
    fn fill(&mut self, entry: Entry<K>, (bucket, slot): (usize, usize)) -> Inserted<K> {
        self.shares.add(entry.key.service());
        self.buckets[bucket].fill(slot, entry);
        self.len += 1;
        Inserted::Placed
    }

    /// Writes `entry` to the slot of `victim`.
    fn evict(&mut self, victim: (usize, usize), entry: Entry<K>) -> Inserted<K> {
        let (bucket, slot) = victim;
        let Some(evicted) = self.take(bucket, slot) else { return self.fill(entry, victim) };
        self.fill(entry, victim);
        Inserted::Replaced(evicted)
    }

    /// A free slot, in the first home if it has one: nearly every look-up then needs no other.
    fn vacant(&self, homes: Homes) -> Option<(usize, usize)> {
        let free = |bucket: usize| Some((bucket, self.buckets[bucket].vacancy()?));
        free(homes.first as usize).or_else(|| free(self.second(homes)))
    }

    fn expired(&self, at: Option<(usize, usize)>, now: Tick) -> bool {
        let held = at.and_then(|(bucket, slot)| self.buckets[bucket].get(slot));
        held.is_some_and(|entry| now.reached(entry.deadline))
    }

    /// Empties a slot of one of the homes by moves of others to their other home, as few as are
    /// enough. Expired ones move only if nobody else can.
    fn make_room(&mut self, homes: Homes, now: Tick) -> Option<(usize, usize)> {
        let tries =
            [Some(now), None].into_iter().flat_map(|spare| (1..=MOVES_MAX).map(move |moves| (spare, moves)));
        let both = self.both(homes);
        tries.into_iter().find_map(|(spare, moves)| {
            both.into_iter().find_map(|bucket| Some((bucket, self.free(bucket, moves, spare)?)))
        })
    }

    /// A free slot of `bucket`, made by at most so many moves. Nothing moves in vain: a chain of
    /// moves begins at its far end, where there is room. What has expired by `spare` is not moved.
    fn free(&mut self, bucket: usize, moves: usize, spare: Option<Tick>) -> Option<usize> {
        let vacancy = self.buckets[bucket].vacancy();
        if vacancy.is_some() || moves == 0 {
            return vacancy;
        }
        (0..SLOTS).find(|slot| self.move_away((bucket, *slot), moves - 1, spare))
    }

    fn move_away(&mut self, (bucket, slot): (usize, usize), moves: usize, spare: Option<Tick>) -> bool {
        let Some(entry) = self.buckets[bucket].get(slot) else { return true };
        if spare.is_some_and(|now| now.reached(entry.deadline)) {
            return false;
        }
        let [first, second] = self.both(self.homes(entry.key));
        let other = if first == bucket { second } else { first };
        let Some(vacancy) = self.free(other, moves, spare) else { return false };
        self.buckets[bucket].take(slot);
        self.buckets[other].replace(vacancy, entry);
        true
    }

    /// The connection of these buckets that `key` may evict: of several the one that would expire first,
    /// which of one service is the oldest.
    fn victim(&self, buckets: impl IntoIterator<Item = usize>, key: K, now: Tick) -> Option<(usize, usize)> {
        buckets
            .into_iter()
            .flat_map(|bucket| (0..SLOTS).map(move |slot| (bucket, slot)))
            .filter_map(|(bucket, slot)| Some(((bucket, slot), self.buckets[bucket].get(slot)?)))
            .filter(|(_, held)| held.state.is_unconfirmed() || now.reached(held.deadline))
            .filter(|(_, held)| self.shares.may_evict(key.service(), held.key.service()))
            .min_by_key(|(_, held)| held.deadline.since(now))
            .map(|(at, _)| at)
    }

    /// Evicts a connection anywhere in the next stretch of the table, then places `entry`.
    fn evict_elsewhere(&mut self, entry: Entry<K>, homes: Homes, now: Tick) -> Inserted<K> {
        for _ in 0..self.searches.min(self.buckets.len()) {
            self.searches -= 1;
            let bucket = self.search_hand;
            let any = self.buckets[bucket].any_evictable(now);
            let victim = if any { self.victim([bucket], entry.key, now) } else { None };
            let Some((_, slot)) = victim else {
                self.search_hand = self.after(bucket);
                continue;
            };
            let Some(evicted) = self.take(bucket, slot) else { return Inserted::Full };
            return match self.place(entry, homes, now) {
                true => Inserted::Replaced(evicted),
                false => self.put_back(evicted, bucket, slot),
            };
        }
        Inserted::Full
    }

    fn put_back(&mut self, entry: Entry<K>, bucket: usize, slot: usize) -> Inserted<K> {
        self.fill(entry, (bucket, slot));
        Inserted::Full
    }

    /// The next bucket; after the last one the first.
    fn after(&self, bucket: usize) -> usize {
        if bucket + 1 == self.buckets.len() { 0 } else { bucket + 1 }
    }
}

#[cfg(test)]
mod tests;
