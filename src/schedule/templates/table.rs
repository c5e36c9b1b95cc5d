//! Table of the templates of one address family: look-up, and the agreement of workers on new templates.

use super::binding::{Binding, Bound, Template};
use super::identity::{IdentityHead, SlotKey};
use super::slot::{Phase, SLOTS, SlotState, TemplateBucket, TemplateSlot};
use crate::hash::{BucketPair, Seed};
use crate::model::ServerId;
use crate::time::{Span, Tick};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};

/// Percentage of slots in use at capacity.
const LOAD_PERCENT: usize = 60;
/// Extension of an overdue template that has connections (`expire_later` in `ip_vs_conn_expire`,
/// net/netfilter/ipvs/ip_vs_conn.c).
pub(super) const EXTENSION: Span = Span::from_secs(60);
/// Number of candidate slots of a key.
const CANDIDATES: usize = 2 * SLOTS;

/// The slots of both candidate buckets of a key.
type Candidates<'a, const REST: usize> = [TemplateSlot<'a, REST>; CANDIDATES];

/// Templates whose identities have `1 + REST` words.
#[derive(Debug)]
pub(super) struct TemplateTable<const REST: usize> {
    buckets: Box<[TemplateBucket<REST>]>,
    seed: Seed,
    /// Number of templates in all tables, by [`ServerId`].
    of_server: Arc<[AtomicU32]>,
    /// Number of templates in this table.
    all: AtomicUsize,
}

/// Slot with the first word of its identity and its state as read.
#[derive(Clone, Copy)]
struct Observed<'a, const REST: usize> {
    slot: TemplateSlot<'a, REST>,
    head: IdentityHead,
    state: SlotState,
}

/// Slot in [`Phase::Pending`], by its index among the candidates.
#[derive(Clone, Copy)]
struct Pending {
    at: usize,
    state: SlotState,
}

impl<const REST: usize> TemplateTable<REST> {
    pub(super) fn new(capacity: usize, of_server: Arc<[AtomicU32]>, seed: Seed) -> Self {
        Self {
            buckets: TemplateBucket::vacant((capacity * 100).div_ceil(LOAD_PERCENT * SLOTS).max(2)),
            seed: seed.with_odd_factors(),
            of_server,
            all: AtomicUsize::new(0),
        }
    }

    /// See [`Templates::bind`](super::Templates::bind). `binding` is for `key`.
    pub(super) fn bind(
        &self,
        key: &SlotKey<REST>,
        binding: &Binding,
        accepts: impl Fn(ServerId) -> bool,
        pick: impl Fn() -> Option<ServerId>,
    ) -> Option<Bound> {
        let slots = self.candidates(key);
        let mut picked = None;
        loop {
            if let Some((_, observed)) = find(&slots, key, Phase::Bound) {
                let Observed { slot, head, state } = observed;
                let server = Some(head.server());
                if picked != server && !(state.is_live(binding.now) && server.is_some_and(&accepts)) {
                    self.vacate(observed);
                } else if slot.exchange(state, with_connection(state, binding, picked.is_none())) {
                    return server.map(|server| Bound { server, counts: true });
                }
                continue;
            }
            let server = picked.or_else(&pick)?;
            picked = Some(server);
            if !self.create(&slots, key, server, binding) {
                return picked.map(|server| Bound { server, counts: false });
            }
        }
    }

    /// Changes the template of `key` if it is for `server`.
    pub(super) fn change(&self, key: &SlotKey<REST>, server: ServerId, to: impl Fn(SlotState) -> SlotState) {
        let slots = self.candidates(key);
        while let Some((_, Observed { slot, head, state })) = find(&slots, key, Phase::Bound) {
            if head.server() == server {
                let next = to(state);
                if next == state || slot.exchange(state, next) {
                    return;
                }
            } else if slot.state().has_version_of(state) {
                return;
            }
        }
    }

    /// Removes overdue templates, and those for which `stays` is false, from `buckets`.
    pub(super) fn sweep(&self, buckets: Range<usize>, now: Tick, stays: &impl Fn(&Template) -> bool) {
        if self.is_empty() {
            return;
        }
        for slot in self.slots(buckets) {
            while let Some((observed, template)) = consistent(slot) {
                if self.expire(observed, now, stays(&template)) {
                    break;
                }
            }
        }
    }

    /// Removes a template that is overdue or not to stay, and extends one that is overdue but has
    /// connections. False if it has changed meanwhile.
    fn expire(&self, observed: Observed<'_, REST>, now: Tick, stays: bool) -> bool {
        let Observed { slot, state, .. } = observed;
        if !stays || !state.is_live(now) {
            self.vacate(observed)
        } else if now.reached(state.deadline()) {
            slot.exchange(state, state.with_deadline(now.after(EXTENSION)))
        } else {
            true
        }
    }

    /// The templates that bind clients at `now`.
    pub(super) fn list(&self, now: Tick) -> impl Iterator<Item = Template> {
        let end = if self.is_empty() { 0 } else { self.buckets.len() };
        let bound = self.slots(0..end).filter_map(consistent);
        bound.filter(move |(observed, _)| observed.state.is_live(now)).map(|(_, template)| template)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.load(Relaxed) == 0
    }

    pub(super) fn bucket_count(&self) -> usize {
        self.buckets.len()
    }

    fn candidates(&self, key: &SlotKey<REST>) -> Candidates<'_, REST> {
        let hash = key.words().fold(0, |hash, word| self.seed.hash(hash ^ word));
        let both = BucketPair::new(hash, self.buckets.len()).both(self.buckets.len());
        std::array::from_fn(|at| self.buckets[both[at / SLOTS]].slot(at % SLOTS))
    }

    /// Creates a template, or helps another worker to. False without room. Otherwise a repeated look-up
    /// makes progress (lock-free).
    fn create(
        &self,
        slots: &Candidates<'_, REST>,
        key: &SlotKey<REST>,
        server: ServerId,
        binding: &Binding,
    ) -> bool {
        if let Some((at, observed)) = find(slots, key, Phase::Pending) {
            self.resolve(slots, key, Pending { at, state: observed.state });
            return true;
        }
        let Some((at, observed)) = slot_for_new(slots, binding.now) else { return false };
        let reserved = observed.state.reserved();
        if self.replace(observed, reserved) {
            let deadline = binding.now.after(binding.timeout);
            let state = reserved.pending(key.generation, deadline);
            slots[at].write(key, server, state);
            self.resolve(slots, key, Pending { at, state });
        }
        true
    }

    /// Binds a pending slot, unless its key has a template or the slot has been vacated. Any worker may do
    /// this: the check of the other slots only has to begin after the slot became pending.
    fn resolve(&self, slots: &Candidates<'_, REST>, key: &SlotKey<REST>, mut pending: Pending) {
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
    fn establish(&self, slot: TemplateSlot<'_, REST>, pending: SlotState) {
        let server = slot.head().server();
        self.count(server, 1);
        if !slot.exchange(pending, pending.bound()) {
            self.count(server, -1);
        }
    }

    /// Vacates a slot; false if it has changed.
    fn vacate(&self, observed: Observed<'_, REST>) -> bool {
        self.replace(observed, observed.state.vacant())
    }

    /// Replaces the state of a slot; false if it has changed.
    fn replace(&self, observed: Observed<'_, REST>, next: SlotState) -> bool {
        let replaced = observed.slot.exchange(observed.state, next);
        if replaced && observed.state.phase() == Phase::Bound {
            self.count(observed.head.server(), -1);
        }
        replaced
    }

    fn count(&self, server: ServerId, change: isize) {
        self.of_server[usize::from(server.0)].fetch_add(change as u32, Relaxed);
        self.all.fetch_add(change as usize, Relaxed);
    }

    fn slots(&self, buckets: Range<usize>) -> impl Iterator<Item = TemplateSlot<'_, REST>> {
        self.buckets[buckets].iter().flat_map(|bucket| (0..SLOTS).map(|at| bucket.slot(at)))
    }
}

impl<'a, const REST: usize> Observed<'a, REST> {
    /// Reads the state first: a later exchange of it proves the identity, too.
    #[inline]
    fn at(slot: TemplateSlot<'a, REST>) -> Self {
        let state = slot.state();
        Self { slot, head: slot.head(), state }
    }

    #[inline]
    fn is_of(&self, key: &SlotKey<REST>) -> bool {
        key.has_head(self.head) && self.state.generation() == key.generation && self.slot.rest() == key.rest
    }
}

/// Reads a slot with a template until identity and state belong together; `None` for a slot without one.
fn consistent<const REST: usize>(slot: TemplateSlot<'_, REST>) -> Option<(Observed<'_, REST>, Template)> {
    loop {
        let observed = Observed::at(slot);
        let Observed { head, state, .. } = observed;
        if state.phase() != Phase::Bound {
            return None;
        }
        let key = SlotKey { head, rest: slot.rest(), generation: state.generation() };
        if slot.state().has_version_of(state) {
            let template = Template {
                key: key.into(),
                server: head.server(),
                deadline: state.deadline(),
                connections: state.connections(),
                assured: state.is_assured(),
            };
            return Some((observed, template));
        }
    }
}

/// The state with one connection more. `later` is false for the connection that created the template.
fn with_connection(state: SlotState, binding: &Binding, later: bool) -> SlotState {
    let next = state.with_deadline(binding.now.after(binding.timeout)).with_one_more();
    if later && binding.datagram { next.assured() } else { next }
}

fn withdraw<const REST: usize>(slots: &Candidates<'_, REST>, Pending { at, state }: Pending) {
    slots[at].exchange(state, state.vacant());
}

/// Looks up the slot of `key` in `phase`, overdue or not. Returns it with its index.
fn find<'a, const REST: usize>(
    slots: &Candidates<'a, REST>,
    key: &SlotKey<REST>,
    phase: Phase,
) -> Option<(usize, Observed<'a, REST>)> {
    let of_key = slots.iter().enumerate().filter(|(_, slot)| key.has_head(slot.head()));
    let mut observed = of_key.map(|(at, slot)| (at, Observed::at(*slot)));
    observed.find(|(_, observed)| observed.state.phase() == phase && observed.is_of(key))
}

/// The slot for a new template: a vacant one of the emptier bucket, else an overdue one, else the one
/// without assurance that expires first.
fn slot_for_new<'a, const REST: usize>(
    slots: &Candidates<'a, REST>,
    now: Tick,
) -> Option<(usize, Observed<'a, REST>)> {
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
