//! Where a worker's decisions are counted.

use super::Verdict;
use crate::flow::{Entry, Flow, FlowKey, State};
use crate::model::{Persistence, ServerId};
use crate::schedule::{Binding, Bound, Client, Loads, Pool, TemplateKey, Templates};
use crate::stats::{DropReason, ServerCounters, WorkerCounters};
use crate::time::Tick;
use crate::wire::{MacAddr, ethernet};
use std::sync::Arc;

/// The loads and templates that all workers share, and the counters that are this worker's own.
pub(super) struct Tally {
    loads: Arc<Loads>,
    templates: Option<Arc<Templates>>,
    counters: Arc<WorkerCounters>,
}

impl Tally {
    pub(super) fn new(loads: Arc<Loads>, counters: Arc<WorkerCounters>) -> Self {
        Self { loads, templates: None, counters }
    }

    pub(super) fn share(&mut self, templates: Arc<Templates>) {
        self.templates = Some(templates);
    }

    /// Notes how many connections the tables hold.
    #[inline]
    pub(super) fn entries(&self, entries: usize) {
        self.counters.entries.set(entries as u64);
    }

    #[inline(never)]
    pub(super) fn dropped(&self, reason: DropReason) -> Verdict {
        self.counters.drops(reason).add(1);
        Verdict::Drop(reason)
    }

    /// The counters of all real servers, by number.
    #[inline]
    pub(super) fn servers(&self) -> &[ServerCounters] {
        self.counters.servers()
    }

    /// Drops a frame that would go back to the station that it came from, and notes which one that is.
    #[cold]
    #[inline(never)]
    pub(super) fn looped(&self, frame: &[u8]) -> Verdict {
        self.counters.looped_from.set(ethernet::source(frame).map_or(0, MacAddr::bits));
        self.dropped(DropReason::Looped)
    }

    #[inline]
    pub(super) fn forwarded(&self, server: ServerId, bytes: u16) {
        self.counters.server(server).forwarded(bytes);
    }

    /// Counts a connection that was opened by a frame whose checksum is unfinished.
    #[cold]
    pub(super) fn unfinished(&self) {
        self.counters.unfinished.add(1);
    }

    /// The server for a connection that begins in `state`, and its mark as [`Entry::template`].
    #[inline]
    pub(super) fn choose(
        &self,
        pool: &Pool,
        flow: Flow,
        (state, now): (State, Tick),
    ) -> Option<(ServerId, u8)> {
        let pick = || pool.pick(&self.loads, Client::new(flow.client.into(), flow.client_port));
        let (Some(persistent), Some(templates)) = (pool.persistence(), &self.templates) else {
            return pick().map(|server| (server, 0));
        };
        let (key, datagram) = (template_of(persistent, flow), state == State::UdpNew);
        let binding = Binding { key, now, timeout: persistent.0.timeout, datagram };
        let Bound { server, counts } =
            templates.bind(binding, |server| pool.accepts_persistent(server), pick)?;
        Some((server, if counts { mark(key) } else { 0 }))
    }

    /// What was chosen does not come about, or is over.
    pub(super) fn release<K: FlowKey>(&self, pool: Option<&Pool>, entry: &Entry<K>) {
        if entry.template > 0 {
            self.with_template(pool, entry.key.flow(), |templates, key| {
                // Of an older generation, nobody asks any more how many it has.
                if mark(key) == entry.template {
                    templates.release(key, entry.server);
                }
            });
        }
    }

    /// A connection to `server` went from one state to another.
    #[inline]
    pub(super) fn moved(
        &self,
        pool: Option<&Pool>,
        (flow, server): (Flow, ServerId),
        (from, to): (State, State),
    ) {
        if from.is_active() != to.is_active() {
            self.loads.shift(server, to.is_active());
            self.rank(pool, server);
        }
        if matches!(to, State::Established | State::Udp) {
            self.with_template(pool, flow, |templates, key| templates.assure(key, server));
        }
    }

    /// If there can be one.
    #[inline]
    fn with_template(&self, pool: Option<&Pool>, flow: Flow, act: impl FnOnce(&Templates, TemplateKey)) {
        if let (Some(persistence), Some(templates)) = (pool.and_then(Pool::persistence), &self.templates) {
            act(templates, template_of(persistence, flow));
        }
    }

    pub(super) fn opened<K: FlowKey>(&self, pool: Option<&Pool>, entry: &Entry<K>) {
        self.loads.add(entry.server, entry.state.is_active());
        self.rank(pool, entry.server);
        self.counters.server(entry.server).connections.add(1);
    }

    /// A datagram that is scheduled by itself is a connection that ends at once. While it is there it
    /// counts as any other does, for the server's thresholds.
    pub(super) fn passed(&self, pool: Option<&Pool>, server: ServerId) {
        self.loads.add(server, false);
        self.loads.remove(server, false);
        self.rank(pool, server);
        self.counters.server(server).connections.add(1);
    }

    pub(super) fn expired<K: FlowKey>(&self, pool: Option<&Pool>, entry: &Entry<K>) {
        self.remove(pool, entry);
        self.counters.expired.add(1);
    }

    pub(super) fn replaced<K: FlowKey>(&self, pool: Option<&Pool>, entry: &Entry<K>, now: Tick) {
        self.remove(pool, entry);
        let over = now.reached(entry.deadline);
        if over { &self.counters.expired } else { &self.counters.evicted }.add(1);
    }

    fn remove<K: FlowKey>(&self, pool: Option<&Pool>, entry: &Entry<K>) {
        self.loads.remove(entry.server, entry.state.is_active());
        self.rank(pool, entry.server);
        self.release(pool, entry);
    }

    /// Tells the pool of a server, if its service still has one, that the server's load is another.
    #[inline]
    fn rank(&self, pool: Option<&Pool>, server: ServerId) {
        if let Some(pool) = pool {
            pool.changed(server, &self.loads);
        }
    }
}

#[inline]
fn template_of((persistence, generation): (Persistence, u8), flow: Flow) -> TemplateKey {
    TemplateKey { network: persistence.network(flow.client), service: flow.service, generation }
}

/// What connections bear that a template of this key counts.
fn mark(key: TemplateKey) -> u8 {
    key.generation + 1
}
