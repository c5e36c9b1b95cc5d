//! Bucket of the flow table: four entries, stored by column.

use super::key::{Flow, FlowKey, TableKey};
use super::state::ConnState;
use crate::model::ServerId;
use crate::time::Tick;
use crate::wire::transport::TcpFlags;

/// Slots of a bucket. With [`V4Key`](super::V4Key)s a bucket is one 64-byte cache line, with
/// [`WideKey`](super::WideKey)s two.
pub const SLOTS: usize = 4;

/// Flow table entry: the record of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowEntry<K> {
    /// Flow key.
    pub key: K,
    /// Expires at this time unless a frame arrives.
    pub deadline: Tick,
    /// Real server.
    pub server: ServerId,
    /// Connection state.
    pub state: ConnState,
    /// One more than the generation of the template that counts the connection; 0 without one. Opaque to
    /// the table.
    pub template: u8,
}

impl<K: FlowKey> FlowEntry<K> {
    /// Converts the key for listings, which show the entries of all tables.
    #[must_use]
    pub fn listed(self) -> FlowEntry<Flow> {
        let Self { key, deadline, server, state, template } = self;
        FlowEntry { key: key.flow(), deadline, server, state, template }
    }
}

/// Entry in its slot, with its mutable fields by reference.
#[derive(Debug)]
pub struct EntryMut<'a> {
    /// Expires at this time unless a frame arrives.
    pub deadline: &'a mut Tick,
    /// Connection state.
    pub state: &'a mut ConnState,
    /// Real server.
    pub server: ServerId,
    /// See [`FlowEntry::template`].
    pub template: u8,
}

impl EntryMut<'_> {
    /// True if the connection has not expired and a segment with `flags` leaves its state unchanged.
    #[inline]
    #[must_use]
    pub fn stays(&self, flags: TcpFlags, now: Tick) -> bool {
        self.state.after(flags) == *self.state && !now.reached(*self.deadline)
    }
}

/// Entry that may be evicted for a new one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Victim {
    pub(super) slot: usize,
    /// Milliseconds until it expires, at most `Span::MAX`.
    pub(super) remaining: u32,
}

/// Slots by column, so that all four tags are compared at once.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Bucket<K: TableKey> {
    /// [`TableKey::VACANT`] in a vacant slot.
    tags: [K::Tag; SLOTS],
    deadlines: [Tick; SLOTS],
    servers: [ServerId; SLOTS],
    states: [ConnState; SLOTS],
    templates: [u8; SLOTS],
    /// In the second cache line.
    rests: [K::Rest; SLOTS],
}

impl<K: TableKey> Bucket<K> {
    pub(super) const EMPTY: Self = Self {
        tags: [K::VACANT; SLOTS],
        deadlines: [Tick(0); SLOTS],
        servers: [ServerId(0); SLOTS],
        states: [ConnState::None; SLOTS],
        templates: [0; SLOTS],
        rests: [K::NO_REST; SLOTS],
    };

    /// The slot that holds `key`.
    #[inline]
    pub(super) fn slot_of(&self, key: K) -> Option<usize> {
        let slot = self.search(key.parts().0);
        if slot == SLOTS {
            return None;
        }
        let is_found = size_of::<K::Rest>() == 0 || self.holds(slot, key);
        if is_found { Some(slot) } else { self.slot_after(slot, key) }
    }

    /// Slow path: an earlier slot has the same tag.
    #[cold]
    fn slot_after(&self, slot: usize, key: K) -> Option<usize> {
        (slot + 1..SLOTS).find(|slot| self.holds(*slot, key))
    }

    /// The first slot with the tag of `key`, which may be that of another key; [`SLOTS`] if there is none. Reads the
    /// first cache line alone. Compares all four tags without a branch, which could not be predicted.
    #[inline]
    pub(super) fn search(&self, tag: K::Tag) -> usize {
        (0..SLOTS).rev().fold(SLOTS, |found, slot| if self.tags[slot] == tag { slot } else { found })
    }

    #[inline]
    pub(super) fn vacant_slot(&self) -> Option<usize> {
        let slot = self.search(K::VACANT);
        (slot < SLOTS).then_some(slot)
    }

    /// True if `slot` holds `key`.
    #[inline]
    pub(super) fn holds(&self, slot: usize, key: K) -> bool {
        key.parts() == (self.tags[slot], self.rests[slot])
    }

    /// The entry in `slot`, which must not be vacant.
    #[inline]
    pub(super) fn entry_mut(&mut self, slot: usize) -> EntryMut<'_> {
        let (deadline, state) = (&mut self.deadlines[slot], &mut self.states[slot]);
        EntryMut { deadline, state, server: self.servers[slot], template: self.templates[slot] }
    }

    /// The entry in `slot`; `None` if it is vacant.
    #[inline]
    pub(super) fn get(&self, slot: usize) -> Option<FlowEntry<K>> {
        let key = K::from_parts(self.tags[slot], self.rests[slot]);
        let (deadline, server, state) = (self.deadlines[slot], self.servers[slot], self.states[slot]);
        let template = self.templates[slot];
        self.is_used(slot).then_some(FlowEntry { key, deadline, server, state, template })
    }

    /// Stores `entry` in `slot`, overwriting any other.
    #[inline]
    pub(super) fn store(&mut self, slot: usize, entry: FlowEntry<K>) {
        (self.tags[slot], self.rests[slot]) = entry.key.parts();
        self.deadlines[slot] = entry.deadline;
        self.servers[slot] = entry.server;
        self.states[slot] = entry.state;
        self.templates[slot] = entry.template;
    }

    /// Vacates `slot`; returns its entry.
    #[inline]
    pub(super) fn take(&mut self, slot: usize) -> Option<FlowEntry<K>> {
        let before = self.get(slot);
        self.tags[slot] = K::VACANT;
        before
    }

    /// True if an entry has expired.
    #[inline]
    pub(super) fn any_expired(&self, now: Tick) -> bool {
        (0..SLOTS).fold(false, |any, slot| any | (now.reached(self.deadlines[slot]) & self.is_used(slot)))
    }

    /// Slot of the evictable entry that expires first, and the time until then, among the keys that satisfy
    /// `may_evict`. An entry is evictable if it has expired or is unconfirmed.
    ///
    /// Compares all four without a branch: the states of a flooded bucket cannot be predicted.
    #[inline]
    pub(super) fn victim(&self, now: Tick, may_evict: impl Fn(K) -> bool) -> Option<Victim> {
        const NONE: u32 = u32::MAX;
        let victim = |slot: usize| {
            let evictable = self.states[slot].is_unconfirmed() | now.reached(self.deadlines[slot]);
            let allowed =
                evictable & self.is_used(slot) & may_evict(K::from_parts(self.tags[slot], self.rests[slot]));
            let remaining = self.deadlines[slot].since(now).millis();
            Victim { slot, remaining: if allowed { remaining } else { NONE } }
        };
        let earlier = |a: Victim, b: Victim| if b.remaining < a.remaining { b } else { a };
        let first = (1..SLOTS).map(victim).fold(victim(0), earlier);
        (first.remaining != NONE).then_some(first)
    }

    #[inline]
    fn is_used(&self, slot: usize) -> bool {
        self.tags[slot] != K::VACANT
    }

    /// The entries, in slot order.
    pub(super) fn entries(&self) -> impl Iterator<Item = FlowEntry<K>> {
        (0..SLOTS).filter_map(|slot| self.get(slot))
    }
}
