//! Persistence templates: the server of a client's later connections, shared by all workers.
//!
//! The connections of a client reach several workers, so all workers share one table of each address family. It is
//! lock-free: no worker waits for a stalled one, and workers that open a client's first connections at the same time
//! agree on one server.
//!
//! Agreement: a worker that finds no template first makes a vacant slot pending, and only then reads all
//! candidate slots of the key. The pending slot becomes the template if there is no other. A worker that
//! sees two pending slots helps the one with the lower index and vacates the other. Of any two pending
//! slots of a key, the later one is checked after both are visible, so they never both become templates.
//!
//! Identities: the one of an IPv4 network has one word, the one of an IPv6 network three, which a reader may see
//! mixed with those of the slot's next template. The words are written only in a reserved slot, by the one worker that
//! has reserved it, and each reservation has a new version in the state, which readers load before the words. So:
//!
//! - An exchange of the state that succeeds proves that all words read since then belong to it. Each change of a template
//!   is such an exchange.
//! - The check of the candidate slots never overlooks a rival. One that is in its slot for the whole read is read whole.
//!   One that becomes pending during the read is the later of the two, and is checked after that.
//! - Mixed words that look like the key's only cost another round: a pending slot is vacated, and its worker looks again.
//! - Listing and sweep read a slot until its version is the same before and after.
//!
//! A version wraps after 2¹¹ reservations or removals of one slot. They would have to happen between two instructions of a
//! reader, and end in the same state.

mod binding;
mod identity;
mod slot;
mod table;

pub use binding::{Binding, Bound, Template};
pub use identity::{GENERATIONS, TemplateKey};

use crate::hash::Seed;
use crate::model::ServerId;
use crate::time::Tick;
use identity::SlotKey;
use slot::SlotState;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use table::TemplateTable;

/// Buckets swept per call: 8 MiB of table for IPv4 and 16 MiB for IPv6, a few milliseconds.
const SWEEP_BUCKETS: usize = 65_536;

/// Templates of all persistent services, with a capacity fixed at creation.
///
/// A template binds its client until its deadline, or while it has connections, as long as its server
/// accepts persistent clients. With both buckets full, a template that is not assured is evicted. A client
/// without room for a template gets a server as if its service were not persistent.
#[derive(Debug)]
pub struct Templates {
    v4: TemplateTable<0>,
    /// As many buckets as `v4` has. Without IPv6 templates it occupies no memory.
    v6: TemplateTable<2>,
    /// Number of templates, by [`ServerId`].
    of_server: Arc<[AtomicU32]>,
    /// Connections opened without a template.
    unbound: AtomicU64,
    /// Next bucket to be swept, in both tables.
    sweep_cursor: AtomicUsize,
    /// Completed sweeps of both tables.
    passes: AtomicU64,
}

impl Templates {
    /// Creates tables for `capacity` templates of each address family, and server ids below `servers`.
    #[must_use]
    pub fn new(capacity: usize, servers: usize, seed: Seed) -> Self {
        let of_server: Arc<[_]> = (0..servers).map(|_| AtomicU32::new(0)).collect();
        Self {
            v4: TemplateTable::new(capacity, Arc::clone(&of_server), seed),
            v6: TemplateTable::new(capacity, Arc::clone(&of_server), seed),
            of_server,
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
        let TemplateKey { network, service, generation } = binding.key;
        let bound = match network {
            IpAddr::V4(network) => {
                self.v4.bind(&SlotKey::v4(network, service, generation), &binding, accepts, pick)
            }
            IpAddr::V6(network) => {
                self.v6.bind(&SlotKey::v6(network, service, generation), &binding, accepts, pick)
            }
        };
        if bound.is_some_and(|bound| !bound.counts) {
            self.unbound.fetch_add(1, Relaxed);
        }
        bound
    }

    /// Releases a counted connection to `server` that has ended.
    pub fn release(&self, key: TemplateKey, server: ServerId) {
        self.change(key, server, SlotState::with_one_less);
    }

    /// Assures the template of a client that has established a connection to `server`: it is not evicted.
    pub fn assure(&self, key: TemplateKey, server: ServerId) {
        self.change(key, server, SlotState::assured);
    }

    #[inline(never)] // not part of the code for services without persistence
    fn change(&self, key: TemplateKey, server: ServerId, to: fn(SlotState) -> SlotState) {
        let TemplateKey { network, service, generation } = key;
        match network {
            IpAddr::V4(network) => self.v4.change(&SlotKey::v4(network, service, generation), server, to),
            IpAddr::V6(network) => self.v6.change(&SlotKey::v6(network, service, generation), server, to),
        }
    }

    /// Removes overdue templates, and those for which `stays` is false, from a bounded number of buckets.
    ///
    /// To be called every few seconds, by the control thread only. An overdue template binds no client even
    /// before it is removed.
    pub fn sweep(&self, now: Tick, stays: impl Fn(&Template) -> bool) {
        let (from, buckets) = (self.sweep_cursor.load(Relaxed), self.v4.bucket_count());
        let end = if self.is_empty() { buckets } else { buckets.min(from + SWEEP_BUCKETS) };
        self.v4.sweep(from..end, now, &stays);
        self.v6.sweep(from..end, now, &stays);
        self.sweep_cursor.store(if end < buckets { end } else { 0 }, Relaxed);
        self.passes.fetch_add(u64::from(end == buckets), Relaxed);
    }

    /// Number of completed sweeps. Once it has grown by two, every template for which `stays` has been false
    /// all the time is removed.
    #[must_use]
    pub fn passes(&self) -> u64 {
        self.passes.load(Relaxed)
    }

    /// The templates that bind clients at `now`.
    pub fn list(&self, now: Tick) -> impl Iterator<Item = Template> {
        self.v4.list(now).chain(self.v6.list(now))
    }

    /// Number of templates for `server`, including overdue ones that are not yet removed.
    #[must_use]
    pub fn of(&self, server: ServerId) -> u32 {
        self.of_server[usize::from(server.0)].load(Relaxed)
    }

    /// True if there is no template.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Number of connections opened without a template for lack of room.
    #[must_use]
    pub fn unbound(&self) -> u64 {
        self.unbound.load(Relaxed)
    }
}

#[cfg(test)]
mod collisions;

#[cfg(all(test, not(loom_model)))]
mod tests;

#[cfg(all(test, loom_model))]
mod loom_tests;
