//! Persistence: where the later connections of a client go, for all workers alike.
//!
//! A client's connections reach several workers, so its template is in a table that all share. Nobody
//! locks it; nobody waits for a worker that stands still; and however many open the first connections of a
//! client at one moment, they agree on one server.
//!
//! How they agree: whoever finds no template claims a free slot, and only then looks through all slots
//! that the key may be in. The claim becomes the template if no other is there; whoever sees another claim
//! helps the one in the lower slot, and clears the higher one away. Of any two claims of a key, the one
//! that was made later is looked round for after both are there to be seen: so never do both become
//! templates.

mod slot;

pub use slot::{GENERATIONS, TemplateKey};

use crate::model::ServerId;
use crate::seed::Seed;
use crate::time::{Span, Tick};
use slot::{Bucket, Life, Phase, SLOTS, Slot, Who};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Share of the slots that is in use when the table holds its capacity.
const LOAD_PERCENT: usize = 60;
/// How long an overdue template is given at a time while connections of it stand (`expire_later` in
/// `ip_vs_conn_expire`, net/netfilter/ipvs/ip_vs_conn.c).
const EXTENSION: Span = Span::from_secs(60);
/// Buckets that are swept at a time: 8 MiB of table, a few milliseconds.
const SWEEP_BUCKETS: usize = 65_536;
/// Slots that a key may be in.
const REACH: usize = 2 * SLOTS;

/// The templates of all persistent services, with a capacity fixed at creation.
///
/// A template holds while its time has not run out or a connection of it stands, as long as its server
/// takes part. Where there is no room, one gives way that nobody has completed a connection of; a client
/// that finds no room even so gets a server as if its service were not persistent.
#[derive(Debug)]
pub struct Templates {
    buckets: Box<[Bucket]>,
    seed: Seed,
    /// By [`ServerId`]: templates that name it.
    of_server: Box<[AtomicU32]>,
    all: AtomicUsize,
    refused: AtomicU64,
    /// The next bucket to be swept, and how often all have been.
    hand: AtomicUsize,
    passes: AtomicU64,
}

/// A template as listings show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Template {
    /// Whose.
    pub key: TemplateKey,
    /// Where its connections go.
    pub server: ServerId,
    /// When it ends if nobody comes and no connection stands.
    pub deadline: Tick,
    /// Those that stand.
    pub connections: u32,
    /// Whether one of its connections was ever completed; of UDP, whether there was a second datagram.
    pub assured: bool,
}

/// How a connection is bound.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// Whose connection.
    pub key: TemplateKey,
    /// When it opens.
    pub now: Tick,
    /// How long the template lasts from then on.
    pub timeout: Span,
    /// Whether it is UDP's, of which a second one of the same client is completion enough.
    pub datagram: bool,
}

/// Where a connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Its server.
    pub server: ServerId,
    /// Whether it counts as one of its template, which has to be told when it ends.
    pub counts: bool,
}

/// What was found at one moment.
#[derive(Clone, Copy)]
struct Seen<'a> {
    slot: Slot<'a>,
    who: Who,
    life: Life,
}

impl Templates {
    /// A table for so many templates that name servers below `servers`.
    #[must_use]
    pub fn new(capacity: usize, servers: usize, seed: Seed) -> Self {
        Self {
            buckets: Bucket::some((capacity * 100).div_ceil(LOAD_PERCENT * SLOTS).max(2)),
            seed: seed.with_odd_factors(),
            of_server: (0..servers).map(|_| AtomicU32::new(0)).collect(),
            all: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            hand: AtomicUsize::new(0),
            passes: AtomicU64::new(0),
        }
    }

    /// The server for a new connection, which counts as one of its template from now on: that of the
    /// client's template, if there is one and `keeps` says that its server takes part; else the one that
    /// `pick` says, which the template then names (`ip_vs_sched_persist` in
    /// net/netfilter/ipvs/ip_vs_core.c). `None` if it says none.
    ///
    /// Where there is no room for a template, the connection is none of any.
    #[inline(never)] // out of the way of services that are not persistent
    pub fn bind(
        &self,
        binding: Binding,
        keeps: impl Fn(ServerId) -> bool,
        pick: impl Fn() -> Option<ServerId>,
    ) -> Option<Bound> {
        let slots = self.slots(binding.key);
        let mut picked = None;
        loop {
            if let Some((_, seen)) = find(&slots, binding.key, Phase::Bound) {
                let server = Some(seen.who.server());
                if picked != server && !(seen.life.stands(binding.now) && server.is_some_and(&keeps)) {
                    self.free(seen);
                } else if seen.slot.exchange(seen.life, renewed(seen.life, binding, picked.is_none())) {
                    return server.map(|server| Bound { server, counts: true });
                }
                continue;
            }
            let server = picked.or_else(&pick)?;
            picked = Some(server);
            if !self.claim(&slots, server, binding) {
                self.refused.fetch_add(1, Relaxed);
                return picked.map(|server| Bound { server, counts: false });
            }
        }
    }

    /// Tells that a connection to `server` has ended which counted as one of its template.
    pub fn release(&self, key: TemplateKey, server: ServerId) {
        self.change(key, server, Life::with_one_less);
    }

    /// Tells that the client has completed a connection to `server`: the template gives way to nobody.
    pub fn assure(&self, key: TemplateKey, server: ServerId) {
        self.change(key, server, Life::assured);
    }

    /// Takes out what is overdue, and every template of which `stays` is not true, in a bounded stretch of
    /// the table. To be called every few seconds, by control alone: a template that has run out binds
    /// vacant, swept or not.
    pub fn keep_house(&self, now: Tick, stays: impl Fn(&Template) -> bool) {
        let from = self.hand.load(Relaxed);
        let end = if self.is_empty() { usize::MAX } else { from + SWEEP_BUCKETS };
        self.sweep(from..end.min(self.buckets.len()), now, stays);
        self.hand.store(if end < self.buckets.len() { end } else { 0 }, Relaxed);
        self.passes.fetch_add(u64::from(end >= self.buckets.len()), Relaxed);
    }

    /// How often the whole table has been swept: two more than at some moment, and nothing is there any
    /// more that had no reason to stay from then on.
    #[must_use]
    pub fn passes(&self) -> u64 {
        self.passes.load(Relaxed)
    }

    fn sweep(&self, buckets: Range<usize>, now: Tick, stays: impl Fn(&Template) -> bool) {
        if self.is_empty() {
            return;
        }
        for mut seen in self.bound(buckets) {
            while seen.life.phase() == Phase::Bound && !self.tidy(seen, now, &stays) {
                seen = Seen::at(seen.slot); // somebody has just come for it
            }
        }
    }

    /// False if it has changed meanwhile.
    fn tidy(&self, seen: Seen<'_>, now: Tick, stays: &impl Fn(&Template) -> bool) -> bool {
        if !stays(&seen.template()) || !seen.life.stands(now) {
            self.replace(seen, seen.life.free())
        } else if now.reached(seen.life.deadline()) {
            seen.slot.exchange(seen.life, seen.life.until(now.after(EXTENSION)))
        } else {
            true
        }
    }

    /// Every template that binds at `now`.
    pub fn list(&self, now: Tick) -> impl Iterator<Item = Template> {
        let end = if self.is_empty() { 0 } else { self.buckets.len() };
        self.bound(0..end).filter(move |seen| seen.life.stands(now)).map(|seen| seen.template())
    }

    /// Templates that name `server`; among them may be such as have just run out.
    #[must_use]
    pub fn of(&self, server: ServerId) -> u32 {
        self.of_server[usize::from(server.0)].load(Relaxed)
    }

    /// True if there is no template.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.load(Relaxed) == 0
    }

    /// Connections that had to go without a template since there was no room for one.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Both buckets of a key, which are never the same.
    fn slots(&self, key: TemplateKey) -> [Slot<'_>; REACH] {
        let hash = self.seed.hash(u64::from(key.network.to_bits()) << 16 | u64::from(key.service.0));
        let (high, low) = (hash >> 32, hash & 0xffff_ffff);
        let first = ((high * self.buckets.len() as u64) >> 32) as usize;
        let second = ((low * (self.buckets.len() as u64 - 1)) >> 32) as usize;
        let both = [first, second + usize::from(second >= first)];
        std::array::from_fn(|place| self.buckets[both[place / SLOTS]].slot(place % SLOTS))
    }

    /// False if there is no room. Else either a template of the key is there, or whoever looks again is
    /// nearer to it.
    fn claim(&self, slots: &[Slot<'_>; REACH], server: ServerId, binding: Binding) -> bool {
        if let Some((at, seen)) = find(slots, binding.key, Phase::Claim) {
            self.settle(slots, binding.key, (at, seen.life));
            return true;
        }
        let Some((at, seen)) = room(slots, binding.now) else { return false };
        let written = seen.life.written();
        if self.replace(seen, written) {
            let deadline = binding.now.after(binding.timeout);
            let claim = written.claim(binding.key.generation, deadline);
            slots[at].write(Who::new(binding.key, server), claim);
            self.settle(slots, binding.key, (at, claim));
        }
        true
    }

    /// Makes the claim in slot `at` the template of its key, unless there is one or it has been cleared
    /// away. Whoever finds a claim may do this: it needs no more than that the look round begins when
    /// the claim is there.
    fn settle(&self, slots: &[Slot<'_>; REACH], key: TemplateKey, (mut at, mut claim): (usize, Life)) {
        let mut other = 0;
        while other < REACH {
            let seen = Seen::at(slots[other]);
            let rival = other != at && seen.is_of(key);
            match seen.life.phase() {
                Phase::Bound if rival => return withdraw(slots[at], claim),
                Phase::Claim if rival && other < at => {
                    withdraw(slots[at], claim);
                    (at, claim, other) = (other, seen.life, 0);
                }
                // If it is something else by now, it is looked at again.
                Phase::Claim if rival => other += usize::from(self.replace(seen, seen.life.free())),
                _ => other += 1,
            }
        }
        self.establish(slots[at], claim);
    }

    /// Counted before, and not after, so that nobody ever counts one less than none.
    fn establish(&self, slot: Slot<'_>, claim: Life) {
        let server = slot.who().server();
        self.count(server, 1);
        if !slot.exchange(claim, claim.bound()) {
            self.count(server, -1);
        }
    }

    fn free(&self, seen: Seen<'_>) {
        self.replace(seen, seen.life.free());
    }

    /// Takes a slot out of the hands it is in; false if it has changed.
    fn replace(&self, seen: Seen<'_>, next: Life) -> bool {
        let replaced = seen.slot.exchange(seen.life, next);
        if replaced && seen.life.phase() == Phase::Bound {
            self.count(seen.who.server(), -1);
        }
        replaced
    }

    fn count(&self, server: ServerId, change: isize) {
        self.of_server[usize::from(server.0)].fetch_add(change as u32, Relaxed);
        self.all.fetch_add(change as usize, Relaxed);
    }

    /// Changes the template of `key` if it names `server`.
    #[inline(never)] // out of the way of services that are not persistent
    fn change(&self, key: TemplateKey, server: ServerId, to: impl Fn(Life) -> Life) {
        let slots = self.slots(key);
        while let Some((_, seen)) = find(&slots, key, Phase::Bound) {
            if seen.who.server() != server {
                return;
            }
            let next = to(seen.life);
            if next == seen.life || seen.slot.exchange(seen.life, next) {
                return;
            }
        }
    }

    fn bound(&self, buckets: Range<usize>) -> impl Iterator<Item = Seen<'_>> {
        let slots =
            self.buckets[buckets].iter().flat_map(|bucket| (0..SLOTS).map(|place| bucket.slot(place)));
        slots.map(Seen::at).filter(|seen| seen.life.phase() == Phase::Bound)
    }
}

impl<'a> Seen<'a> {
    /// Who is read after what proves it.
    #[inline]
    fn at(slot: Slot<'a>) -> Self {
        let life = slot.life();
        Self { slot, who: slot.who(), life }
    }

    #[inline]
    fn is_of(&self, key: TemplateKey) -> bool {
        self.who.is_of(key) && self.life.generation() == key.generation
    }

    fn template(&self) -> Template {
        let (network, service, generation) = (self.who.network(), self.who.service(), self.life.generation());
        Template {
            key: TemplateKey { network, service, generation },
            server: self.who.server(),
            deadline: self.life.deadline(),
            connections: self.life.connections(),
            assured: self.life.is_assured(),
        }
    }
}

/// A template with one connection more, which is `later` than the one that brought it about.
fn renewed(life: Life, binding: Binding, later: bool) -> Life {
    let next = life.until(binding.now.after(binding.timeout)).with_one_more();
    if later && binding.datagram { next.assured() } else { next }
}

fn withdraw(slot: Slot<'_>, claim: Life) {
    slot.exchange(claim, claim.free());
}

/// The template of `key`, overdue or not, or a claim of it, and its place.
fn find<'a>(slots: &[Slot<'a>; REACH], key: TemplateKey, phase: Phase) -> Option<(usize, Seen<'a>)> {
    let of_key = slots.iter().enumerate().filter(|(_, slot)| slot.who().is_of(key));
    let mut seen = of_key.map(|(at, slot)| (at, Seen::at(*slot)));
    seen.find(|(_, seen)| seen.life.phase() == phase && seen.is_of(key))
}

/// Where a template can go: to a free slot of the emptier bucket; else where one is overdue; else where
/// one may give way, the one that would end first.
fn room<'a>(slots: &[Slot<'a>; REACH], now: Tick) -> Option<(usize, Seen<'a>)> {
    let seen = slots.map(Seen::at);
    let free = |at: &usize| seen[*at].life.phase() == Phase::Free;
    let firsts = (0..SLOTS).filter(free);
    let seconds = (SLOTS..REACH).filter(free);
    let (mut emptier, count) = (firsts.clone(), firsts.count());
    let at = if count >= seconds.clone().count() { emptier.next() } else { seconds.clone().next() };
    let yielding = || {
        let bound = (0..REACH).filter(|at| seen[*at].life.phase() == Phase::Bound);
        let yields = bound.filter(|at| !seen[*at].life.stands(now) || !seen[*at].life.is_assured());
        yields.min_by_key(|at| (seen[*at].life.stands(now), seen[*at].life.left(now)))
    };
    at.or_else(yielding).map(|at| (at, seen[at]))
}

#[cfg(all(test, not(loom_model)))]
mod tests;

#[cfg(all(test, loom_model))]
mod loom_tests;
