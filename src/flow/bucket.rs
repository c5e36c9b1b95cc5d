//! Four connections on one cache line.

use super::key::{Flow, FlowKey, Key};
use super::state::State;
use crate::model::ServerId;
use crate::time::Tick;
use crate::wire::transport::TcpFlags;

/// Entries in a bucket: with IPv4 keys a bucket is one 64-byte cache line, with the destination port in
/// them two.
pub const SLOTS: usize = 4;

/// One connection.
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
    /// One more than the generation of the template that counts it; 0 if none does. For the table it is
    /// a number like any other.
    pub template: u8,
}

impl<K: FlowKey> Entry<K> {
    /// For listings, which show connections of all tables.
    #[must_use]
    pub fn listed(self) -> Entry<Flow> {
        let Self { key, deadline, server, state, template } = self;
        Entry { key: key.flow(), deadline, server, state, template }
    }
}

/// A connection where it stands: what of it may change, and what may not.
#[derive(Debug)]
pub struct Found<'a> {
    /// When it expires unless a frame comes.
    pub deadline: &'a mut Tick,
    /// Its state.
    pub state: &'a mut State,
    /// Where its frames go.
    pub server: ServerId,
    /// As [`Entry::template`].
    pub template: u8,
}

impl Found<'_> {
    /// True if the connection stands, and a segment with `flags` leaves it in its state.
    #[inline]
    #[must_use]
    pub fn stays(&self, flags: TcpFlags, now: Tick) -> bool {
        self.state.after(flags) == *self.state && !now.reached(*self.deadline)
    }
}

/// Slots column by column, so that all four keys are compared at once.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Bucket<K> {
    /// [`Key::VACANT`] where there is no connection.
    keys: [K; SLOTS],
    deadlines: [Tick; SLOTS],
    servers: [ServerId; SLOTS],
    states: [State; SLOTS],
    templates: [u8; SLOTS],
}

impl<K: Key> Bucket<K> {
    pub(super) const EMPTY: Self = Self {
        keys: [K::VACANT; SLOTS],
        deadlines: [Tick(0); SLOTS],
        servers: [ServerId(0); SLOTS],
        states: [State::None; SLOTS],
        templates: [0; SLOTS],
    };

    /// The first slot that holds `key`. All four are compared and none is branched on, since
    /// nobody could predict which it is.
    #[inline]
    pub(super) fn slot_of(&self, key: K) -> Option<usize> {
        let slot = self.search(key);
        (slot < SLOTS).then_some(slot)
    }

    /// [`Bucket::slot_of`] with [`SLOTS`] for none.
    #[inline]
    pub(super) fn search(&self, key: K) -> usize {
        (0..SLOTS).rev().fold(SLOTS, |found, slot| if self.keys[slot] == key { slot } else { found })
    }

    #[inline]
    pub(super) fn vacancy(&self) -> Option<usize> {
        self.slot_of(K::VACANT)
    }

    /// True if `slot` holds `key`.
    #[inline]
    pub(super) fn holds(&self, slot: usize, key: K) -> bool {
        self.keys[slot] == key
    }

    /// The connection in `slot`, to be changed.
    #[inline]
    pub(super) fn found(&mut self, slot: usize) -> Found<'_> {
        let (deadline, state) = (&mut self.deadlines[slot], &mut self.states[slot]);
        Found { deadline, state, server: self.servers[slot], template: self.templates[slot] }
    }

    /// The connection in `slot`, if there is one.
    #[inline]
    pub(super) fn get(&self, slot: usize) -> Option<Entry<K>> {
        let key = self.keys[slot];
        let (deadline, server, state) = (self.deadlines[slot], self.servers[slot], self.states[slot]);
        let template = self.templates[slot];
        (key != K::VACANT).then_some(Entry { key, deadline, server, state, template })
    }

    /// Writes `entry` to `slot`, and returns what was there.
    #[inline]
    pub(super) fn replace(&mut self, slot: usize, entry: Entry<K>) -> Option<Entry<K>> {
        let before = self.get(slot);
        self.fill(slot, entry);
        before
    }

    /// Writes `entry` to `slot`, whatever is there.
    #[inline]
    pub(super) fn fill(&mut self, slot: usize, entry: Entry<K>) {
        self.keys[slot] = entry.key;
        self.deadlines[slot] = entry.deadline;
        self.servers[slot] = entry.server;
        self.states[slot] = entry.state;
        self.templates[slot] = entry.template;
    }

    /// Makes `slot` vacant, and tells who was there.
    #[inline]
    pub(super) fn take(&mut self, slot: usize) -> Option<Entry<K>> {
        let before = self.get(slot);
        self.keys[slot] = K::VACANT;
        before
    }

    /// True if a connection here has expired.
    #[inline]
    pub(super) fn any_expired(&self, now: Tick) -> bool {
        (0..SLOTS).fold(false, |any, slot| any | (now.reached(self.deadlines[slot]) & self.is_used(slot)))
    }

    /// True if a connection here may be evicted: it has expired, or is unconfirmed.
    #[inline]
    pub(super) fn any_evictable(&self, now: Tick) -> bool {
        let unconfirmed = |slot: usize| self.states[slot].is_unconfirmed() & self.is_used(slot);
        (0..SLOTS).fold(self.any_expired(now), |any, slot| any | unconfirmed(slot))
    }

    #[inline]
    fn is_used(&self, slot: usize) -> bool {
        self.keys[slot] != K::VACANT
    }

    /// The connections, in the order of the slots.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<K>> {
        (0..SLOTS).filter_map(|slot| self.get(slot))
    }
}
