//! Slot of the template table: an identity of one or more words, and everything that changes in one word.

use super::identity::{GENERATIONS, IdentityHead, SlotKey};
use crate::model::ServerId;
use crate::schedule::atomic::{AtomicU64, SeqCst};
use crate::time::{Span, Tick};

/// Phase of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Phase {
    /// Without a template.
    Vacant = 0,
    /// Reserved by a worker that is writing the identity.
    Reserved = 1,
    /// Becomes the template of its key unless another pending or bound slot has precedence.
    Pending = 2,
    /// Template of its key.
    Bound = 3,
}

/// All mutable fields of a slot in one word. From the lowest bit up: phase (2 bits), assured (1), version
/// (11, wraps), generation (2), deadline (24, in units of 2⁸ ms, wraps), connections (24, saturates).
///
/// The version counts how often the slot has been reserved or vacated. A successful exchange of this word
/// therefore proves that the identity read meanwhile belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SlotState(u64);

const PHASE: u64 = 3;
const ASSURED: u64 = 1 << 2;
const VERSION: u64 = ((1 << 11) - 1) << 3;
const GENERATION: u32 = 14;
const DEADLINE: u32 = 16;
const DEADLINE_MASK: u64 = ((1 << 24) - 1) << DEADLINE;
const CONNECTION: u64 = 1 << 40;
const CONNECTIONS_MAX: u64 = (1 << 24) - 1;
/// Shift of the deadline: units of 2⁸ ms. Its 24 bits wrap together with [`Tick`].
const UNIT: u32 = 8;

impl SlotState {
    pub(super) fn phase(self) -> Phase {
        [Phase::Vacant, Phase::Reserved, Phase::Pending, Phase::Bound][(self.0 & PHASE) as usize]
    }

    pub(super) fn is_assured(self) -> bool {
        self.0 & ASSURED != 0
    }

    /// True if the slot has been neither reserved nor vacated between these two states, but for a wrap.
    pub(super) fn has_version_of(self, other: Self) -> bool {
        (self.0 ^ other.0) & VERSION == 0
    }

    pub(super) fn generation(self) -> u8 {
        (self.0 >> GENERATION) as u8 % GENERATIONS
    }

    pub(super) fn connections(self) -> u32 {
        (self.0 / CONNECTION) as u32
    }

    /// Deadline, rounded up by at most a quarter of a second.
    pub(super) fn deadline(self) -> Tick {
        Tick((((self.0 & DEADLINE_MASK) >> DEADLINE) as u32) << UNIT)
    }

    /// Time from `now` to the deadline.
    pub(super) fn left(self, now: Tick) -> Span {
        self.deadline().since(now)
    }

    /// True if a template binds clients at `now`: before its deadline, or while it has connections.
    pub(super) fn is_live(self, now: Tick) -> bool {
        self.connections() > 0 || !now.reached(self.deadline())
    }

    /// Reserved, with a new version.
    pub(super) fn reserved(self) -> Self {
        Self(self.vacant().0 | Phase::Reserved as u64)
    }

    /// Vacant, with a new version.
    pub(super) fn vacant(self) -> Self {
        Self(self.0.wrapping_add(1 << 3) & VERSION)
    }

    pub(super) fn pending(self, generation: u8, deadline: Tick) -> Self {
        let generation = u64::from(generation) << GENERATION;
        Self(self.0 & VERSION | generation | Phase::Pending as u64).with_deadline(deadline)
    }

    pub(super) fn bound(self) -> Self {
        Self(self.0 | Phase::Bound as u64)
    }

    pub(super) fn with_deadline(self, deadline: Tick) -> Self {
        let units = u64::from(deadline.0.wrapping_add((1 << UNIT) - 1) >> UNIT);
        Self(self.0 & !DEADLINE_MASK | units << DEADLINE)
    }

    pub(super) fn assured(self) -> Self {
        Self(self.0 | ASSURED)
    }

    pub(super) fn with_one_more(self) -> Self {
        if self.0 / CONNECTION == CONNECTIONS_MAX { self } else { Self(self.0 + CONNECTION) }
    }

    /// One connection less. A saturated count is no longer exact, and stays.
    pub(super) fn with_one_less(self) -> Self {
        let exact = (1..CONNECTIONS_MAX).contains(&(self.0 / CONNECTION));
        if exact { Self(self.0 - CONNECTION) } else { self }
    }
}

/// Slots of a bucket.
pub(super) const SLOTS: usize = if cfg!(loom_model) { 1 } else { 8 };

/// Bucket of the template table, with identities of `1 + REST` words. The first words are in one cache line, the states
/// in the next, the other words behind them.
#[derive(Debug)]
#[cfg_attr(not(loom_model), derive(zerocopy::FromZeros))]
#[repr(C, align(64))]
pub(super) struct TemplateBucket<const REST: usize> {
    head: [AtomicU64; SLOTS],
    state: [AtomicU64; SLOTS],
    rest: [[AtomicU64; REST]; SLOTS],
}

/// Reference to a slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct TemplateSlot<'a, const REST: usize> {
    bucket: &'a TemplateBucket<REST>,
    place: usize,
}

impl<const REST: usize> TemplateBucket<REST> {
    #[cfg(not(loom_model))]
    pub(super) fn vacant(count: usize) -> Box<[Self]> {
        // Zeros are vacant slots. The kernel allocates their memory when it is first written.
        zerocopy::FromZeros::new_box_zeroed_with_elems(count).expect("there is memory")
    }

    #[cfg(loom_model)]
    pub(super) fn vacant(count: usize) -> Box<[Self]> {
        use std::array::from_fn;
        let word = |_| AtomicU64::new(0);
        let bucket = |_| Self { head: from_fn(word), state: from_fn(word), rest: from_fn(|_| from_fn(word)) };
        (0..count).map(bucket).collect()
    }

    #[inline]
    pub(super) fn slot(&self, place: usize) -> TemplateSlot<'_, REST> {
        TemplateSlot { bucket: self, place }
    }
}

impl<const REST: usize> TemplateSlot<'_, REST> {
    #[inline]
    pub(super) fn state(self) -> SlotState {
        SlotState(self.bucket.state[self.place].load(SeqCst))
    }

    #[inline]
    pub(super) fn head(self) -> IdentityHead {
        IdentityHead(self.bucket.head[self.place].load(SeqCst))
    }

    #[inline]
    pub(super) fn rest(self) -> [u64; REST] {
        std::array::from_fn(|word| self.bucket.rest[self.place][word].load(SeqCst))
    }

    /// Stores the words of the identity, then the state. Only for the worker that has the slot in
    /// [`Phase::Reserved`].
    pub(super) fn write(self, key: &SlotKey<REST>, server: ServerId, state: SlotState) {
        for (word, value) in self.bucket.rest[self.place].iter().zip(key.rest) {
            word.store(value, SeqCst);
        }
        self.bucket.head[self.place].store(key.head.with(server).0, SeqCst);
        self.bucket.state[self.place].store(state.0, SeqCst);
    }

    /// Compare-and-swap of the state. True if it was still `seen`: an identity read since then belongs to it.
    pub(super) fn exchange(self, seen: SlotState, next: SlotState) -> bool {
        self.bucket.state[self.place].compare_exchange(seen.0, next.0, SeqCst, SeqCst).is_ok()
    }
}
