//! Accounting of a worker: its counters, and the shared loads and templates.

use super::Verdict;
use super::snapshot::ServicePool;
use crate::flow::{ConnState, Flow, FlowEntry, FlowKey, HandshakeStep};
use crate::model::ServerId;
use crate::schedule::{Binding, Bound, ClientAddr, Loads, Pool, TemplateKey, Templates};
use crate::stats::{DropReason, ServerCounters, WorkerCounters};
use crate::time::Tick;
use crate::wire::{MacAddr, ethernet};
use std::cell::Cell;
use std::sync::Arc;

/// Loads and templates, shared by all workers, and the worker's own counters.
pub(super) struct Accounting {
    loads: Arc<Loads>,
    templates: Arc<Templates>,
    counters: Arc<WorkerCounters>,
    /// True after a verdict that the worker has to follow up: see [`super::Forwarder::takes_follow_up`].
    follow_up: Cell<bool>,
}

/// State change of a connection to `server`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transition {
    pub(super) server: ServerId,
    pub(super) from: ConnState,
    pub(super) to: ConnState,
}

impl Accounting {
    pub(super) fn new(loads: Arc<Loads>, templates: Arc<Templates>, counters: Arc<WorkerCounters>) -> Self {
        Self { loads, templates, counters, follow_up: Cell::new(false) }
    }

    /// Sets the number of connections in the tables.
    #[inline]
    pub(super) fn entries(&self, entries: usize) {
        self.counters.entries.set(entries as u64);
    }

    #[inline(never)]
    pub(super) fn dropped(&self, reason: DropReason) -> Verdict {
        self.counters.drops(reason).add(1);
        if reason.is_answered() {
            self.follow_up.set(true);
        }
        Verdict::Drop(reason)
    }

    /// Leaves a frame to another worker.
    pub(super) fn handed_over(&self) -> Verdict {
        self.follow_up();
        Verdict::HandOver
    }

    /// Holds a fragment.
    pub(super) fn held(&self) -> Verdict {
        self.follow_up();
        Verdict::Hold
    }

    /// Makes [`Accounting::takes_follow_up`] return true.
    pub(super) fn follow_up(&self) {
        self.follow_up.set(true);
    }

    /// Returns true once after such a verdict.
    #[inline]
    pub(super) fn takes_follow_up(&self) -> bool {
        self.follow_up.take()
    }

    /// The counters of all real servers, by [`ServerId`].
    #[inline]
    pub(super) fn servers(&self) -> &[ServerCounters] {
        self.counters.servers()
    }

    /// Drops a frame in a loop, and records the MAC address of the station that sent it.
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

    /// Counts a connection opened by a frame with an unfinished checksum.
    #[cold]
    pub(super) fn unfinished(&self) {
        self.counters.unfinished.add(1);
    }

    /// Picks the server of a connection that opens in `state`. Returns it with the value of
    /// [`FlowEntry::template`]; `None` if no server is eligible.
    #[inline]
    pub(super) fn choose(
        &self,
        service: ServicePool<'_>,
        flow: Flow,
        state: ConnState,
        now: Tick,
    ) -> Option<(ServerId, u8)> {
        let pool = service.pool;
        let pick = || pool.pick(&self.loads, ClientAddr::new(flow.client, flow.client_port));
        let Some((persistence, generation)) = pool.persistence() else {
            return pick().map(|server| (server, 0));
        };
        let key = TemplateKey { network: persistence.network(flow.client), service: service.id, generation };
        let datagram = state == ConnState::UdpNew;
        let binding = Binding { key, now, timeout: persistence.timeout, datagram };
        let Bound { server, counts } =
            self.templates.bind(binding, |server| pool.accepts_persistent(server), pick)?;
        Some((server, if counts { mark(key) } else { 0 }))
    }

    /// The server of every connection of a client, by a scheduler that hashes addresses.
    pub(super) fn derive(&self, pool: &Pool, flow: Flow) -> Option<ServerId> {
        pool.derive(&self.loads, ClientAddr::new(flow.client, flow.client_port))
    }

    /// Releases the template of a connection that has ended, or was not opened after all.
    pub(super) fn release<K: FlowKey>(&self, service: Option<ServicePool<'_>>, entry: &FlowEntry<K>) {
        if entry.template > 0
            && let Some(key) = key_in(service, entry.key.flow())
            // Connections of an older generation are no longer counted.
            && mark(key) == entry.template
        {
            self.templates.release(key, entry.server);
        }
    }

    /// Accounts for a state change.
    #[inline]
    pub(super) fn moved(
        &self,
        service: Option<ServicePool<'_>>,
        flow: Flow,
        Transition { server, from, to }: Transition,
    ) {
        if from.is_active() != to.is_active() {
            self.loads.shift(server, to.is_active());
            self.load_changed(service, server);
        }
        if to.assures() {
            self.assure(service, flow, server);
        }
        if let Some(step) = from.handshake_step(to) {
            self.handshake(server, step);
        }
    }

    #[inline]
    fn handshake(&self, server: ServerId, step: HandshakeStep) {
        let counters = self.counters.handshakes(server);
        match step {
            HandshakeStep::Opened => &counters.opened,
            HandshakeStep::Repeated => &counters.repeated,
            HandshakeStep::Completed => &counters.completed,
        }
        .add(1);
    }

    #[inline(always)]
    pub(super) fn opened<K: FlowKey>(&self, service: Option<ServicePool<'_>>, entry: &FlowEntry<K>) {
        self.loads.add(entry.server, entry.state.is_active());
        self.load_changed(service, entry.server);
        self.counters.server(entry.server).connections.add(1);
        if entry.state == ConnState::SynRecv {
            self.handshake(entry.server, HandshakeStep::Opened);
        }
        if entry.state.assures() {
            self.assure(service, entry.key.flow(), entry.server);
        }
    }

    /// Assures the client's template.
    fn assure(&self, service: Option<ServicePool<'_>>, flow: Flow, server: ServerId) {
        if let Some(key) = key_in(service, flow) {
            self.templates.assure(key, server);
        }
    }

    /// Accounts for one-packet scheduling: a connection that ends at once. Meanwhile it counts as any other,
    /// for the server's thresholds.
    pub(super) fn passed(&self, service: Option<ServicePool<'_>>, server: ServerId) {
        self.loads.add(server, false);
        self.loads.remove(server, false);
        self.load_changed(service, server);
        self.counters.server(server).connections.add(1);
    }

    pub(super) fn expired<K: FlowKey>(&self, service: Option<ServicePool<'_>>, entry: &FlowEntry<K>) {
        self.remove(service, entry);
        self.counters.expired.add(1);
    }

    /// Accounts for a connection that was taken over from the shadow table.
    pub(super) fn adopted<K: FlowKey>(&self, service: Option<ServicePool<'_>>, entry: &FlowEntry<K>) {
        self.loads.add(entry.server, entry.state.is_active());
        self.load_changed(service, entry.server);
        self.counters.adopted.add(1);
    }

    /// Accounts for a connection that another worker has taken over, which has also taken over its template.
    pub(super) fn given_up<K: FlowKey>(&self, service: Option<ServicePool<'_>>, entry: &FlowEntry<K>) {
        self.loads.remove(entry.server, entry.state.is_active());
        self.load_changed(service, entry.server);
    }

    /// Accounts for an entry that a new one has replaced: expired or evicted.
    pub(super) fn replaced<K: FlowKey>(
        &self,
        service: Option<ServicePool<'_>>,
        entry: &FlowEntry<K>,
        now: Tick,
    ) {
        self.remove(service, entry);
        let expired = now.reached(entry.deadline);
        if expired { &self.counters.expired } else { &self.counters.evicted }.add(1);
    }

    fn remove<K: FlowKey>(&self, service: Option<ServicePool<'_>>, entry: &FlowEntry<K>) {
        self.loads.remove(entry.server, entry.state.is_active());
        self.load_changed(service, entry.server);
        self.release(service, entry);
    }

    /// Notifies the server's pool, if its service still exists.
    #[inline]
    fn load_changed(&self, service: Option<ServicePool<'_>>, server: ServerId) {
        if let Some(ServicePool { pool, .. }) = service {
            pool.changed(server, &self.loads);
        }
    }
}

/// The template key of a flow; `None` without persistence. All matches of a service share its templates.
#[inline]
fn key_in(service: Option<ServicePool<'_>>, flow: Flow) -> Option<TemplateKey> {
    let ServicePool { id, pool } = service?;
    let (persistence, generation) = pool.persistence()?;
    Some(TemplateKey { network: persistence.network(flow.client), service: id, generation })
}

/// The value of [`FlowEntry::template`] for connections that a template of this key counts.
fn mark(key: TemplateKey) -> u8 {
    key.generation + 1
}
