//! One place of the table: whose it is in one word, what becomes of it in another.

use crate::model::{ServerId, ServiceId};
use crate::schedule::atomic::{AtomicU64, SeqCst};
use crate::time::{Span, Tick};
use std::net::Ipv4Addr;

/// A network of clients of one service: what a template is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TemplateKey {
    /// The first address of the network: the client's after masking.
    pub network: Ipv4Addr,
    /// Which virtual service.
    pub service: ServiceId,
    /// How the service told its clients apart when this was bound: below [`GENERATIONS`]. Templates of
    /// another generation are not found.
    pub generation: u8,
}

/// Generations of a service's templates. The numbers go round.
pub const GENERATIONS: u8 = 4;

/// Network, service and server in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Who(u64);

impl Who {
    pub(super) fn new(key: TemplateKey, server: ServerId) -> Self {
        Self(u64::from(key.network.to_bits()) << 32 | u64::from(key.service.0) << 16 | u64::from(server.0))
    }

    pub(super) fn network(self) -> Ipv4Addr {
        Ipv4Addr::from_bits((self.0 >> 32) as u32)
    }

    pub(super) fn service(self) -> ServiceId {
        ServiceId((self.0 >> 16) as u16)
    }

    pub(super) fn server(self) -> ServerId {
        ServerId(self.0 as u16)
    }

    #[inline]
    pub(super) fn is_of(self, key: TemplateKey) -> bool {
        (self.0 ^ Self::new(key, ServerId(0)).0) >> 16 == 0
    }
}

/// How far a slot has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Phase {
    /// Nobody's.
    Free = 0,
    /// Somebody is writing whose it is.
    Written = 1,
    /// A template, unless another one of the same key is before it.
    Claim = 2,
    /// The template of its key.
    Bound = 3,
}

/// Everything of a template that changes, in one word, from the lowest bit up: phase (2 bits), whether it
/// is assured (1), how often the slot has changed hands (11, wraps), generation (2), deadline (24, in
/// [`UNIT`]s, wraps), connections (24, stays at the most).
///
/// Since every change of hands is counted here, an exchange of this word that succeeds proves that what
/// was read of the slot meanwhile belonged together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life(u64);

const PHASE: u64 = 3;
const ASSURED: u64 = 1 << 2;
const HANDS: u64 = ((1 << 11) - 1) << 3;
const GENERATION: u32 = 14;
const DEADLINE: u32 = 16;
const DEADLINE_MASK: u64 = ((1 << 24) - 1) << DEADLINE;
const CONNECTION: u64 = 1 << 40;
const CONNECTIONS_MAX: u64 = (1 << 24) - 1;
/// Of a deadline: 2⁸ ms. 24 bits of it wrap when [`Tick`] does.
const UNIT: u32 = 8;

impl Life {
    pub(super) fn phase(self) -> Phase {
        [Phase::Free, Phase::Written, Phase::Claim, Phase::Bound][(self.0 & PHASE) as usize]
    }

    pub(super) fn is_assured(self) -> bool {
        self.0 & ASSURED != 0
    }

    pub(super) fn generation(self) -> u8 {
        (self.0 >> GENERATION) as u8 % GENERATIONS
    }

    pub(super) fn connections(self) -> u32 {
        (self.0 / CONNECTION) as u32
    }

    /// When it ends, up to a quarter of a second too late.
    pub(super) fn deadline(self) -> Tick {
        Tick((((self.0 & DEADLINE_MASK) >> DEADLINE) as u32) << UNIT)
    }

    /// How long it lasts from `now` on if nobody comes.
    pub(super) fn left(self, now: Tick) -> Span {
        self.deadline().since(now)
    }

    /// Whether a template binds at `now`: while a connection stands or its time has not run out.
    pub(super) fn stands(self, now: Tick) -> bool {
        self.connections() > 0 || !now.reached(self.deadline())
    }

    /// The slot in new hands.
    pub(super) fn written(self) -> Self {
        Self(self.free().0 | Phase::Written as u64)
    }

    pub(super) fn free(self) -> Self {
        Self(self.0.wrapping_add(1 << 3) & HANDS)
    }

    pub(super) fn claim(self, generation: u8, deadline: Tick) -> Self {
        let generation = u64::from(generation) << GENERATION;
        Self(self.0 & HANDS | generation | Phase::Claim as u64).until(deadline)
    }

    pub(super) fn bound(self) -> Self {
        Self(self.0 | Phase::Bound as u64)
    }

    pub(super) fn until(self, deadline: Tick) -> Self {
        let units = u64::from(deadline.0.wrapping_add((1 << UNIT) - 1) >> UNIT);
        Self(self.0 & !DEADLINE_MASK | units << DEADLINE)
    }

    pub(super) fn assured(self) -> Self {
        Self(self.0 | ASSURED)
    }

    pub(super) fn with_one_more(self) -> Self {
        if self.0 / CONNECTION == CONNECTIONS_MAX { self } else { Self(self.0 + CONNECTION) }
    }

    /// One connection less. Of so many that they are no longer counted, none is ever missed.
    pub(super) fn with_one_less(self) -> Self {
        let counted = (1..CONNECTIONS_MAX).contains(&(self.0 / CONNECTION));
        if counted { Self(self.0 - CONNECTION) } else { self }
    }
}

/// Slots of a bucket: the words that are searched lie in one cache line, what changes in the next.
pub(super) const SLOTS: usize = if cfg!(loom_model) { 1 } else { 8 };

#[derive(Debug)]
#[cfg_attr(not(loom_model), derive(zerocopy::FromZeros))]
#[repr(C, align(64))]
pub(super) struct Bucket {
    who: [AtomicU64; SLOTS],
    life: [AtomicU64; SLOTS],
}

/// A place of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot<'a> {
    who: &'a AtomicU64,
    life: &'a AtomicU64,
}

impl Bucket {
    #[cfg(not(loom_model))]
    pub(super) fn some(count: usize) -> Box<[Self]> {
        // Zeros are free slots. The kernel gives their memory when it is first written.
        zerocopy::FromZeros::new_box_zeroed_with_elems(count).expect("there is memory")
    }

    #[cfg(loom_model)]
    pub(super) fn some(count: usize) -> Box<[Self]> {
        let word = |_| AtomicU64::new(0);
        let bucket = |_| Self { who: std::array::from_fn(word), life: std::array::from_fn(word) };
        (0..count).map(bucket).collect()
    }

    #[inline]
    pub(super) fn slot(&self, place: usize) -> Slot<'_> {
        Slot { who: &self.who[place], life: &self.life[place] }
    }
}

impl Slot<'_> {
    #[inline]
    pub(super) fn who(self) -> Who {
        Who(self.who.load(SeqCst))
    }

    #[inline]
    pub(super) fn life(self) -> Life {
        Life(self.life.load(SeqCst))
    }

    /// To be called by whoever has it in phase [`Phase::Written`].
    pub(super) fn write(self, who: Who, life: Life) {
        self.who.store(who.0, SeqCst);
        self.life.store(life.0, SeqCst);
    }

    /// True if nothing had changed since `seen` was read, and what was read of the slot after that
    /// belongs to it.
    pub(super) fn exchange(self, seen: Life, next: Life) -> bool {
        self.life.compare_exchange(seen.0, next.0, SeqCst, SeqCst).is_ok()
    }
}
