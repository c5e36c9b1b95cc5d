//! Persistence templates: the server of a client's later connections, shared by all workers.
//!
//! The connections of a client reach several workers, so all workers share one table. It is lock-free: no
//! worker waits for a stalled one, and workers that open a client's first connections at the same time
//! agree on one server.
//!
//! Agreement: a worker that finds no template first makes a vacant slot pending, and only then reads all
//! candidate slots of the key. The pending slot becomes the template if there is no other. A worker that
//! sees two pending slots helps the one with the lower index and vacates the other. Of any two pending
//! slots of a key, the later one is checked after both are visible, so they never both become templates.

mod slot;

pub use slot::{GENERATIONS, TemplateKey};

use crate::hash::{BucketPair, Seed};
use crate::model::ServerId;
use crate::time::{Span, Tick};
use slot::{Identity, Phase, SLOTS, SlotState, TemplateBucket, TemplateSlot};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Percentage of slots in use at capacity.
const LOAD_PERCENT: usize = 60;
/// Extension of an overdue template that has connections (`expire_later` in `ip_vs_conn_expire`,
/// net/netfilter/ipvs/ip_vs_conn.c).
const EXTENSION: Span = Span::from_secs(60);
/// Buckets swept per call: 8 MiB of table, a few milliseconds.
const SWEEP_BUCKETS: usize = 65_536;
/// Number of candidate slots of a key.
const CANDIDATES: usize = 2 * SLOTS;

/// The slots of both candidate buckets of a key.
type Candidates<'a> = [TemplateSlot<'a>; CANDIDATES];

/// Templates of all persistent services, with a capacity fixed at creation.
///
/// A template binds its client until its deadline, or while it has connections, as long as its server
/// accepts persistent clients. With both buckets full, a template that is not assured is evicted. A client
/// without room for a template gets a server as if its service were not persistent.
#[derive(Debug)]
pub struct Templates {
    buckets: Box<[TemplateBucket]>,
    seed: Seed,
    /// Number of templates, by [`ServerId`].
    of_server: Box<[AtomicU32]>,
    all: AtomicUsize,
    /// Connections opened without a template.
    unbound: AtomicU64,
    /// Next bucket to be swept.
    sweep_cursor: AtomicUsize,
    /// Completed sweeps of the whole table.
    passes: AtomicU64,
}

/// Template, as shown in listings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Template {
    /// Client network and service.
    pub key: TemplateKey,
    /// Real server.
    pub server: ServerId,
    /// Expires at this time unless it is renewed or has connections.
    pub deadline: Tick,
    /// Number of connections.
    pub connections: u32,
    /// True once a connection has been established; for UDP, once a second datagram has arrived.
    pub assured: bool,
}

/// Parameters of [`Templates::bind`].
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// Client network and service.
    pub key: TemplateKey,
    /// Time of opening.
    pub now: Tick,
    /// Timeout of the template, from `now` on.
    pub timeout: Span,
    /// True for UDP, where the client's second connection assures the template.
    pub datagram: bool,
}

/// Result of [`Templates::bind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Real server.
    pub server: ServerId,
    /// True if a template counts the connection, which must be released at its end.
    pub counts: bool,
}

/// Slot with its identity and state as read.
#[derive(Clone, Copy)]
struct Observed<'a> {
    slot: TemplateSlot<'a>,
    identity: Identity,
    state: SlotState,
}

/// Slot in [`Phase::Pending`], by its index among the candidates.
#[derive(Clone, Copy)]
struct Pending {
    at: usize,
    state: SlotState,
}

impl Templates {
    /// Creates a table for `capacity` templates and server ids below `servers`.
    #[must_use]
    pub fn new(capacity: usize, servers: usize, seed: Seed) -> Self {
        Self {
            buckets: TemplateBucket::vacant((capacity * 100).div_ceil(LOAD_PERCENT * SLOTS).max(2)),
            seed: seed.with_odd_factors(),
            of_server: (0..servers).map(|_| AtomicU32::new(0)).collect(),
            all: AtomicUsize::new(0),
            unbound: AtomicU64::new(0),
            sweep_cursor: AtomicUsize::new(0),
            passes: AtomicU64::new(0),
        }
    }

    /// Binds a new connection to the server of the client's template (`ip_vs_sched_persist` in
    /// net/netfilter/ipvs/ip_vs_core.c). Without a template, or if `accepts` is false for its server, creates
    /// one for the server that `pick` returns. `None` if it returns none.
    ///
    /// The template counts the connection. Without room for a template the connection is not counted.
    #[inline(never)] // not part of the code for services without persistence
    pub fn bind(
        &self,
        binding: Binding,
        accepts: impl Fn(ServerId) -> bool,
        pick: impl Fn() -> Option<ServerId>,
    ) -> Option<Bound> {
        let slots = self.candidates(binding.key);
        let mut picked = None;
        loop {
            if let Some((_, observed)) = find(&slots, binding.key, Phase::Bound) {
                let Observed { slot, identity, state } = observed;
                let server = Some(identity.server());
                if picked != server && !(state.is_live(binding.now) && server.is_some_and(&accepts)) {
                    self.vacate(observed);
                } else if slot.exchange(state, with_connection(state, binding, picked.is_none())) {
                    return server.map(|server| Bound { server, counts: true });
                }
                continue;
            }
            let server = picked.or_else(&pick)?;
            picked = Some(server);
            if !self.create(&slots, server, binding) {
                self.unbound.fetch_add(1, Relaxed);
                return picked.map(|server| Bound { server, counts: false });
            }
        }
    }

    /// Releases a counted connection to `server` that has ended.
    pub fn release(&self, key: TemplateKey, server: ServerId) {
        self.change(key, server, SlotState::with_one_less);
    }

    /// Assures the template of a client that has established a connection to `server`: it is not evicted.
    pub fn assure(&self, key: TemplateKey, server: ServerId) {
        self.change(key, server, SlotState::assured);
    }

    /// Removes overdue templates, and those for which `stays` is false, from a bounded number of buckets.
    ///
    /// To be called every few seconds, by the control thread only. An overdue template binds no client even
    /// before it is removed.
    pub fn sweep(&self, now: Tick, stays: impl Fn(&Template) -> bool) {
        let from = self.sweep_cursor.load(Relaxed);
        let end = if self.is_empty() { usize::MAX } else { from + SWEEP_BUCKETS };
        self.sweep_buckets(from..end.min(self.buckets.len()), now, stays);
        self.sweep_cursor.store(if end < self.buckets.len() { end } else { 0 }, Relaxed);
        self.passes.fetch_add(u64::from(end >= self.buckets.len()), Relaxed);
    }

    /// Number of completed sweeps. Once it has grown by two, every template for which `stays` has been false
    /// all the time is removed.
    #[must_use]
    pub fn passes(&self) -> u64 {
        self.passes.load(Relaxed)
    }

    fn sweep_buckets(&self, buckets: Range<usize>, now: Tick, stays: impl Fn(&Template) -> bool) {
        if self.is_empty() {
            return;
        }
        for mut observed in self.bound(buckets) {
            while observed.state.phase() == Phase::Bound && !self.expire(observed, now, &stays) {
                observed = Observed::at(observed.slot); // a worker has just changed it
            }
        }
    }

    /// Removes a template that is overdue or not to stay, and extends one that is overdue but has
    /// connections. False if it has changed meanwhile.
    fn expire(&self, observed: Observed<'_>, now: Tick, stays: &impl Fn(&Template) -> bool) -> bool {
        let Observed { slot, state, .. } = observed;
        if !stays(&observed.template()) || !state.is_live(now) {
            self.vacate(observed)
        } else if now.reached(state.deadline()) {
            slot.exchange(state, state.with_deadline(now.after(EXTENSION)))
        } else {
            true
        }
    }

    /// The templates that bind clients at `now`.
    pub fn list(&self, now: Tick) -> impl Iterator<Item = Template> {
        let end = if self.is_empty() { 0 } else { self.buckets.len() };
        self.bound(0..end).filter(move |observed| observed.state.is_live(now)).map(|of| of.template())
    }

    /// Number of templates for `server`, including overdue ones that are not yet removed.
    #[must_use]
    pub fn of(&self, server: ServerId) -> u32 {
        self.of_server[usize::from(server.0)].load(Relaxed)
    }

    /// True if there is no template.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.load(Relaxed) == 0
    }

    /// Number of connections opened without a template for lack of room.
    #[must_use]
    pub fn unbound(&self) -> u64 {
        self.unbound.load(Relaxed)
    }

    fn candidates(&self, key: TemplateKey) -> Candidates<'_> {
        let hash = self.seed.hash(u64::from(key.network.to_bits()) << 16 | u64::from(key.service.0));
        let both = BucketPair::new(hash, self.buckets.len()).both(self.buckets.len());
        std::array::from_fn(|at| self.buckets[both[at / SLOTS]].slot(at % SLOTS))
    }

    /// Creates a template, or helps another worker to. False without room. Otherwise a repeated look-up
    /// makes progress (lock-free).
    fn create(&self, slots: &Candidates<'_>, server: ServerId, binding: Binding) -> bool {
        if let Some((at, observed)) = find(slots, binding.key, Phase::Pending) {
            self.resolve(slots, binding.key, Pending { at, state: observed.state });
            return true;
        }
        let Some((at, observed)) = slot_for_new(slots, binding.now) else { return false };
        let reserved = observed.state.reserved();
        if self.replace(observed, reserved) {
            let deadline = binding.now.after(binding.timeout);
            let state = reserved.pending(binding.key.generation, deadline);
            slots[at].write(Identity::new(binding.key, server), state);
            self.resolve(slots, binding.key, Pending { at, state });
        }
        true
    }

    /// Binds a pending slot, unless its key has a template or the slot has been vacated. Any worker may do
    /// this: the check of the other slots only has to begin after the slot became pending.
    fn resolve(&self, slots: &Candidates<'_>, key: TemplateKey, mut pending: Pending) {
        let mut other = 0;
        while other < CANDIDATES {
            let observed = Observed::at(slots[other]);
            let rival = other != pending.at && observed.is_of(key);
            match observed.state.phase() {
                Phase::Bound if rival => return withdraw(slots, pending),
                Phase::Pending if rival && other < pending.at => {
                    withdraw(slots, pending);
                    (pending, other) = (Pending { at: other, state: observed.state }, 0);
                }
                // If the slot has changed, it is checked again.
                Phase::Pending if rival => other += usize::from(self.vacate(observed)),
                _ => other += 1,
            }
        }
        self.establish(slots[pending.at], pending.state);
    }

    /// Counts before the exchange, not after, so that no counter falls below zero.
    fn establish(&self, slot: TemplateSlot<'_>, pending: SlotState) {
        let server = slot.identity().server();
        self.count(server, 1);
        if !slot.exchange(pending, pending.bound()) {
            self.count(server, -1);
        }
    }

    /// Vacates a slot; false if it has changed.
    fn vacate(&self, observed: Observed<'_>) -> bool {
        self.replace(observed, observed.state.vacant())
    }

    /// Replaces the state of a slot; false if it has changed.
    fn replace(&self, observed: Observed<'_>, next: SlotState) -> bool {
        let replaced = observed.slot.exchange(observed.state, next);
        if replaced && observed.state.phase() == Phase::Bound {
            self.count(observed.identity.server(), -1);
        }
        replaced
    }

    fn count(&self, server: ServerId, change: isize) {
        self.of_server[usize::from(server.0)].fetch_add(change as u32, Relaxed);
        self.all.fetch_add(change as usize, Relaxed);
    }

    /// Changes the template of `key` if it is for `server`.
    #[inline(never)] // not part of the code for services without persistence
    fn change(&self, key: TemplateKey, server: ServerId, to: impl Fn(SlotState) -> SlotState) {
        let slots = self.candidates(key);
        while let Some((_, Observed { slot, identity, state })) = find(&slots, key, Phase::Bound) {
            if identity.server() != server {
                return;
            }
            let next = to(state);
            if next == state || slot.exchange(state, next) {
                return;
            }
        }
    }

    fn bound(&self, buckets: Range<usize>) -> impl Iterator<Item = Observed<'_>> {
        let slots = self.buckets[buckets].iter().flat_map(|bucket| (0..SLOTS).map(|at| bucket.slot(at)));
        slots.map(Observed::at).filter(|observed| observed.state.phase() == Phase::Bound)
    }
}

impl<'a> Observed<'a> {
    /// Reads the state first: a later exchange of it proves the identity, too.
    #[inline]
    fn at(slot: TemplateSlot<'a>) -> Self {
        let state = slot.state();
        Self { slot, identity: slot.identity(), state }
    }

    #[inline]
    fn is_of(&self, key: TemplateKey) -> bool {
        self.identity.is_of(key) && self.state.generation() == key.generation
    }

    fn template(&self) -> Template {
        let (identity, generation) = (self.identity, self.state.generation());
        Template {
            key: TemplateKey { network: identity.network(), service: identity.service(), generation },
            server: identity.server(),
            deadline: self.state.deadline(),
            connections: self.state.connections(),
            assured: self.state.is_assured(),
        }
    }
}

/// The state with one connection more. `later` is false for the connection that created the template.
fn with_connection(state: SlotState, binding: Binding, later: bool) -> SlotState {
    let next = state.with_deadline(binding.now.after(binding.timeout)).with_one_more();
    if later && binding.datagram { next.assured() } else { next }
}

fn withdraw(slots: &Candidates<'_>, Pending { at, state }: Pending) {
    slots[at].exchange(state, state.vacant());
}

/// Looks up the slot of `key` in `phase`, overdue or not. Returns it with its index.
fn find<'a>(slots: &Candidates<'a>, key: TemplateKey, phase: Phase) -> Option<(usize, Observed<'a>)> {
    let of_key = slots.iter().enumerate().filter(|(_, slot)| slot.identity().is_of(key));
    let mut observed = of_key.map(|(at, slot)| (at, Observed::at(*slot)));
    observed.find(|(_, observed)| observed.state.phase() == phase && observed.is_of(key))
}

/// The slot for a new template: a vacant one of the emptier bucket, else an overdue one, else the one
/// without assurance that expires first.
fn slot_for_new<'a>(slots: &Candidates<'a>, now: Tick) -> Option<(usize, Observed<'a>)> {
    let observed = slots.map(Observed::at);
    let vacant = |at: &usize| observed[*at].state.phase() == Phase::Vacant;
    let firsts = (0..SLOTS).filter(vacant);
    let seconds = (SLOTS..CANDIDATES).filter(vacant);
    let (mut emptier, count) = (firsts.clone(), firsts.count());
    let at = if count >= seconds.clone().count() { emptier.next() } else { seconds.clone().next() };
    let victim = || {
        let state = |at: &usize| observed[*at].state;
        let bound = (0..CANDIDATES).filter(|at| state(at).phase() == Phase::Bound);
        let evictable = bound.filter(|at| !state(at).is_live(now) || !state(at).is_assured());
        evictable.min_by_key(|at| (state(at).is_live(now), state(at).left(now)))
    };
    at.or_else(victim).map(|at| (at, observed[at]))
}

#[cfg(all(test, not(loom_model)))]
mod tests;

#[cfg(all(test, loom_model))]
mod loom_tests;
