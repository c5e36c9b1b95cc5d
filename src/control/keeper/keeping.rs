//! The shadow table kept up to date: events of the workers in, entries and loads out. No thread, no clock.
//!
//! An entry has an owner, the worker whose table has the connection too, or none. The loads count each connection once: a
//! worker counts the connections in its table, and this module the others. Both are counted for a moment where a
//! worker takes one over.

use super::book::SyncBook;
use super::counters::KeeperCounters;
use super::former::FormerConnections;
use crate::flow::{AnyKey, ConnState, Flow, FlowKey, V4Key, WideKey};
use crate::forward::{Journal, JournalEvent, JournalKind, REFRESH_PERIOD, ServicePool, Snapshot};
use crate::model::{MatchId, ServerId, ServiceId};
use crate::schedule::{Binding, Loads, Template, TemplateKey, Templates};
use crate::shadow::{ShadowClock, ShadowEntry, ShadowKey, ShadowValue, ShadowWriter, Stored};
use crate::time::{SecondTick, Span, Tick};
use arc_swap::ArcSwap;
use std::sync::Arc;

/// Time of a full sweep, in calls.
const SWEEP_CALLS: usize = 8;
/// Events whose entries are prefetched before the first of them is applied, so that their cache misses overlap.
const AHEAD: usize = 16;

/// Everything that the loads and templates of connections depend on.
pub struct LoadSources {
    /// Shared loads of all servers.
    pub loads: Arc<Loads>,
    /// Templates of persistent services.
    pub templates: Arc<Templates>,
    /// Latest snapshot.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Services of the real servers at the start, by [`ServerId`]; for the check of former entries.
    pub services: Vec<Option<ServiceId>>,
}

/// The writers of both tables of connections, with what depends on their entries.
pub struct KeptConnections {
    pub(super) compact: ShadowWriter<V4Key>,
    pub(super) wide: ShadowWriter<WideKey>,
    /// Persistence templates.
    pub(super) templates: Option<ShadowWriter<WideKey>>,
    pub(super) unowned: UnownedLoads,
    /// By worker.
    journals: Vec<Journal>,
    pub(super) clock: ShadowClock,
    pub(super) counters: Arc<KeeperCounters>,
    /// Tables of the process before, until their entries were moved.
    pub(super) former: Option<FormerConnections>,
    /// Names of all entries, while connections are synced.
    pub(super) book: Option<SyncBook>,
    /// Templates that an answer to another director has still to tell.
    pub(super) listed: Vec<Template>,
}

/// The loads and templates of connections that no worker owns.
pub(super) struct UnownedLoads {
    pub(super) loads: Arc<Loads>,
    pub(super) templates: Arc<Templates>,
    /// Loaded anew each time: control frees a replaced snapshot once no thread holds it.
    pub(super) snapshot: Arc<ArcSwap<Snapshot>>,
    services: Vec<Option<ServiceId>>,
}

impl KeptConnections {
    /// Creates the keeper of two tables, for workers with these journals.
    #[must_use]
    pub fn new(
        (compact, wide): (ShadowWriter<V4Key>, ShadowWriter<WideKey>),
        sources: LoadSources,
        journals: Vec<Journal>,
        clock: ShadowClock,
    ) -> Self {
        let LoadSources { loads, templates, snapshot, services } = sources;
        let unowned = UnownedLoads { loads, templates, snapshot, services };
        let (counters, listed) = (Arc::default(), Vec::new());
        Self {
            compact,
            wide,
            templates: None,
            unowned,
            journals,
            clock,
            counters,
            former: None,
            book: None,
            listed,
        }
    }

    /// Takes tables of the process before whose entries are to be moved.
    #[must_use]
    pub fn with_former(self, former: Option<FormerConnections>) -> Self {
        Self { former, ..self }
    }

    /// Takes the table of persistence templates.
    #[must_use]
    pub fn with_templates(self, templates: ShadowWriter<WideKey>) -> Self {
        Self { templates: Some(templates), ..self }
    }

    /// Its counters.
    #[must_use]
    pub fn counters(&self) -> &Arc<KeeperCounters> {
        &self.counters
    }

    /// True if an event waits.
    #[must_use]
    pub fn has_event(&self) -> bool {
        self.journals.iter().any(|journal| !journal.is_empty())
    }

    /// Renews the readings of the clock.
    pub fn renew(&self, now: Tick, second: SecondTick) {
        self.clock.renew(now, second);
    }

    /// Applies the events that wait in the journals. Returns their number.
    pub fn take_events(&mut self, now: Tick) -> usize {
        let taken = (0..self.journals.len()).map(|worker| self.take_events_of(worker, now)).sum();
        self.count();
        taken
    }

    /// Applies the events of a worker, up to a bound, as it may add events faster.
    fn take_events_of(&mut self, worker: usize, now: Tick) -> usize {
        let mut taken = 0;
        while taken < 2 * Journal::CAPACITY {
            let mut next = [None; AHEAD];
            let waiting = std::iter::from_fn(|| self.journals[worker].take());
            next.iter_mut().zip(waiting).for_each(|(place, event)| *place = Some(event));
            next.iter().flatten().for_each(|event| self.prefetch(event.key));
            next.iter().flatten().for_each(|event| self.apply(worker as u8, event, now)); // fewer than 255
            let met = next.iter().flatten().count();
            taken += met;
            if met < AHEAD {
                break;
            }
        }
        taken
    }

    fn prefetch(&self, key: AnyKey) {
        match key {
            AnyKey::Compact(key) => self.compact.prefetch(key),
            AnyKey::Wide(key) => self.wide.prefetch(key),
        }
    }

    /// Applies an event of a worker.
    fn apply(&mut self, worker: u8, event: &JournalEvent, now: Tick) {
        let JournalEvent { kind, key, deadline, server, state, template } = *event;
        // Frames after the event move the connection's deadline; the next record is a refresh away at most.
        let deadline = self.clock.deadline(deadline, now).after(self.unowned.lag(state).secs());
        let value = ShadowValue { deadline, owner: Some(worker), server, state, template };
        let second = self.clock.second(now);
        match (key, kind) {
            (AnyKey::Compact(key), JournalKind::Ended) => end(&mut self.compact, key, worker, &mut self.book),
            (AnyKey::Wide(key), JournalKind::Ended) => end(&mut self.wide, key, worker, &mut self.book),
            (AnyKey::Compact(key), _) => {
                let stored = self.compact.put(key, value, second);
                self.note(kind, key, value, &stored);
                self.follow(worker, key, stored);
            }
            (AnyKey::Wide(key), _) => {
                let stored = self.wide.put(key, value, second);
                self.note(kind, key, value, &stored);
                self.follow(worker, key, stored);
            }
        }
    }

    /// Settles what stood in the place of an entry that was stored for `worker`.
    fn follow<K: FlowKey + Into<AnyKey>>(&mut self, worker: u8, key: K, stored: Stored<K>) {
        match stored {
            Stored::Placed => {}
            Stored::Updated(before) => match before.owner {
                None => self.unowned.remove(key.match_id(), before),
                Some(other) if other != worker => self.give_up(other, key.into()),
                Some(_) => {}
            },
            Stored::Replaced(expired) => self.unowned.expire(&expired),
            Stored::Full => self.counters.full.add(1),
        }
    }

    /// Makes the worker that had the connection remove it. A worker of the process before is not there.
    fn give_up(&self, worker: u8, key: AnyKey) {
        if let Some(journal) = self.journals.get(usize::from(worker)) {
            let _ = journal.give_up(key); // without room it expires there
        }
    }

    /// Removes expired entries from a part of each table. All are swept in eight calls.
    pub fn sweep(&mut self, now: Tick) {
        let Self { compact, wide, unowned, clock, book, .. } = self;
        let second = clock.second(now);
        sweep(compact, second, unowned, book);
        sweep(wide, second, unowned, book);
        self.count();
    }

    /// Sets the gauges.
    pub(super) fn count(&self) {
        self.counters.entries.set((self.compact.len() + self.wide.len()) as u64);
        self.counters.lost.set(self.journals.iter().map(Journal::lost).sum());
    }

    /// Checks a stretch of the entries of the process before. Returns true once all were checked.
    pub fn recover(&mut self, buckets: usize, now: Tick) -> bool {
        if !self.recover_templates(buckets, now) {
            return false;
        }
        let is_moved = self.move_former(buckets, now);
        let Self { compact, wide, unowned, clock, .. } = self;
        let second = clock.second(now);
        let compact = compact.check(second, buckets, |entry| unowned.judge(entry, second, now));
        let wide = wide.check(second, buckets, |entry| unowned.judge(entry, second, now));
        [compact, wide].into_iter().for_each(|met| self.counters.add_checked(met));
        self.count();
        let is_done = is_moved && self.compact.is_all_checked() && self.wide.is_all_checked();
        if is_done {
            self.unowned.settle();
        }
        is_done
    }
}

/// Removes an entry of a worker that has closed the connection.
fn end<K: ShadowKey + FlowKey>(
    writer: &mut ShadowWriter<K>,
    key: K,
    worker: u8,
    book: &mut Option<SyncBook>,
) {
    if let Some(value) = writer.get(key).filter(|value| value.owner == Some(worker)) {
        writer.remove(key);
        book.iter_mut().for_each(|book| book.remove(key.flow(), value.server));
    }
}

fn sweep<K: ShadowKey + FlowKey>(
    writer: &mut ShadowWriter<K>,
    now: SecondTick,
    unowned: &UnownedLoads,
    book: &mut Option<SyncBook>,
) {
    let buckets = if writer.is_empty() { 0 } else { writer.buckets().div_ceil(SWEEP_CALLS) };
    writer.sweep(now, buckets, |entry| {
        book.iter_mut().for_each(|book| book.remove(entry.key.flow(), entry.value.server));
        unowned.expire(&entry);
    });
}

impl UnownedLoads {
    /// Judges an entry of the process before; counts its load if it is kept.
    ///
    /// An entry is kept if its match exists, its server is one of that service, its state is one of a confirmed connection,
    /// and its deadline is not beyond the timeout of the state. Its timeout starts anew, as at a backup of IPVS: how long ago its
    /// last frame came is not recorded.
    pub(super) fn judge<K: FlowKey>(
        &self,
        entry: &ShadowEntry<K>,
        second: SecondTick,
        now: Tick,
    ) -> Option<ShadowValue> {
        let ShadowEntry { key, value } = *entry;
        let snapshot = self.snapshot.load();
        let service = snapshot.service(key.match_id())?;
        let timeout = value.state.timeout(&snapshot.timeouts);
        let is_sound = !value.state.is_unconfirmed()
            && value.deadline.since(second) <= timeout.secs() + self.lag(value.state).secs() + 1
            && self.has_server(service.id, value.server);
        if !is_sound {
            return None;
        }
        self.loads.add(value.server, value.state.is_active());
        let template = self.bind(service, key.flow(), value, now);
        Some(ShadowValue { owner: None, template, deadline: second.after(timeout.secs()), ..value })
    }

    /// True if the service had the server at the start.
    pub(super) fn has_server(&self, service: ServiceId, server: ServerId) -> bool {
        self.services.get(usize::from(server.0)) == Some(&Some(service))
    }

    /// Time by which the deadline of an entry may be behind that of its connection.
    fn lag(&self, state: ConnState) -> Span {
        REFRESH_PERIOD.min(state.timeout(&self.snapshot.load().timeouts))
    }

    /// Makes the schedulers aware of all loads that the check has counted.
    fn settle(&self) {
        let snapshot = self.snapshot.load();
        for (server, service) in self.services.iter().enumerate() {
            if let Some(pool) = service.and_then(|service| snapshot.pool(service)) {
                pool.changed(ServerId(server as u16), &self.loads); // ids are 16 bits
            }
        }
    }

    /// Binds the client of a persistent service again to the server of its connection. Returns the value of
    /// [`crate::flow::FlowEntry::template`].
    pub(super) fn bind(&self, service: ServicePool<'_>, flow: Flow, value: ShadowValue, now: Tick) -> u8 {
        let Some((persistence, generation)) = service.pool.persistence() else { return 0 };
        let key = TemplateKey { network: persistence.network(flow.client), service: service.id, generation };
        let binding = Binding { key, now, timeout: persistence.timeout, datagram: false };
        let bound = self.templates.bind(binding, |server| server == value.server, || Some(value.server));
        if value.state.assures() {
            self.templates.assure(key, value.server);
        }
        bound.map_or(0, |bound| if bound.counts { generation + 1 } else { 0 })
    }

    /// Settles an expired entry.
    pub(super) fn expire<K: FlowKey>(&self, entry: &ShadowEntry<K>) {
        if entry.value.owner.is_none() {
            self.remove(entry.key.match_id(), entry.value);
            self.release(entry.key.flow(), entry.value);
        }
    }

    /// Removes the load of an entry without an owner.
    pub(super) fn remove(&self, id: MatchId, value: ShadowValue) {
        self.loads.remove(value.server, value.state.is_active());
        if let Some(ServicePool { pool, .. }) = self.snapshot.load().service(id) {
            pool.changed(value.server, &self.loads);
        }
    }

    /// Releases the template of an entry without an owner.
    pub(super) fn release(&self, flow: Flow, value: ShadowValue) {
        let snapshot = self.snapshot.load();
        let Some((service, (persistence, generation))) =
            snapshot.service(flow.match_id).and_then(|service| Some((service, service.pool.persistence()?)))
        else {
            return;
        };
        if value.template == generation + 1 {
            let network = persistence.network(flow.client);
            self.templates.release(TemplateKey { network, service: service.id, generation }, value.server);
        }
    }
}
