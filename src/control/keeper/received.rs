//! Records of other directors: received ones into the shadow table, own ones out of it.

use super::book::SyncBook;
use super::keeping::{KeptConnections, UnownedLoads};
use crate::control::state::sync_names::{NumberedConnection, SyncNames};
use crate::flow::{AnyKey, FlowKey};
use crate::forward::{JournalKind, ServicePool};
use crate::schedule::{Binding, Template, TemplateKey};
use crate::shadow::{ShadowEntry, ShadowKey, ShadowValue, ShadowWriter, Stored};
use crate::sync::{GroupSet, NameHash, SyncCounts, SyncDigest, SyncFlags, SyncRecord, SyncRefusal};
use crate::time::{SecondTick, Span, Tick};
use std::sync::Arc;

/// Buckets that cost as much as one entry when a table is walked over.
const BUCKETS_PER_ENTRY: usize = 16;

/// A received connection.
#[derive(Clone, Copy)]
struct ReceivedValue {
    value: ShadowValue,
    is_synced: bool,
    is_inactive: bool,
    now: Tick,
    second: SecondTick,
}

impl KeptConnections {
    /// Begins to keep book of the names of all entries, of which there are no unchecked ones any more.
    pub fn open_book(&mut self, names: Arc<SyncNames>, sends: bool) {
        self.book = Some(SyncBook::new(names, sends));
        self.fill_book();
    }

    /// Keeps book no longer.
    pub fn close_book(&mut self) {
        self.book = None;
    }

    /// Sets whether connections are told again that stand as they were.
    pub fn tell_again(&mut self, again: bool) {
        self.book.iter_mut().for_each(|book| book.refreshes = again);
    }

    /// Replaces the names after a change of services or real servers.
    pub fn set_names(&mut self, names: Arc<SyncNames>) {
        if self.book.as_mut().is_some_and(|book| book.set_names(names)) {
            self.fill_book();
        }
    }

    fn fill_book(&mut self) {
        let Self { compact, wide, book: Some(book), .. } = self else { return };
        book.clear();
        add_all(compact, book);
        add_all(wide, book);
    }

    /// Records of own connections that are due.
    pub fn take_due(&mut self) -> Vec<SyncRecord> {
        self.book.as_mut().map(SyncBook::take_due).unwrap_or_default()
    }

    /// Digest of all entries; `None` without a book.
    #[must_use]
    pub fn digest(&self) -> Option<&SyncDigest> {
        self.book.as_ref().map(SyncBook::digest)
    }

    /// Entries and templates.
    #[must_use]
    pub fn sync_counts(&self) -> SyncCounts {
        let connections = (self.compact.len() + self.wide.len()) as u32; // 2²⁸ each at most
        let names = self.book.as_ref().map(SyncBook::names);
        let of_servers = names.into_iter().flat_map(|names| names.servers());
        let templates = of_servers.map(|server| self.unowned.templates.of(server)).sum();
        SyncCounts { connections, templates }
    }

    /// Takes in that the event of a worker was stored.
    pub(super) fn note<K: FlowKey>(
        &mut self,
        kind: JournalKind,
        key: K,
        value: ShadowValue,
        stored: &Stored<K>,
    ) {
        let Some(book) = &mut self.book else { return };
        let before = if let Stored::Updated(before) = stored { Some(*before) } else { None };
        book.stored(key.flow(), value.server, stored);
        book.note(kind, key.flow(), (value, before), &self.unowned.snapshot.load());
    }

    /// Takes a record of another director into the table, as an entry that no worker owns.
    ///
    /// # Errors
    /// If it names nothing of this director, or this director knows better.
    pub fn receive(&mut self, record: &SyncRecord, now: Tick) -> Result<(), SyncRefusal> {
        let Self { compact, wide, unowned, book: Some(book), clock, .. } = self else { return Ok(()) };
        if record.is_template() {
            return unowned.receive_template(record, book.names(), now);
        }
        let state = record.conn_state().ok_or(SyncRefusal::Protocol)?;
        if state.is_unconfirmed() {
            return Err(SyncRefusal::Unconfirmed);
        }
        let NumberedConnection { key, server } = book.names().numbers(record)?;
        let second = clock.second(now);
        let timeouts = unowned.snapshot.load().timeouts;
        let lifetime = record.lifetime(&timeouts).min(state.timeout(&timeouts));
        let deadline = second.after(lifetime.secs());
        let received = ReceivedValue {
            value: ShadowValue { deadline, owner: None, server, state, template: 0 },
            is_synced: record.flags.has(SyncFlags::SYNCED),
            is_inactive: !record.is_active(),
            now,
            second,
        };
        let stored = match key {
            AnyKey::Compact(key) => receive_into(compact, unowned, book, key, received),
            AnyKey::Wide(key) => receive_into(wide, unowned, book, key, received),
        };
        stored.inspect(|()| self.count())
    }

    /// Appends the records of entries from a place of the tables on: see [`crate::sync::SyncHost::walk`]. Templates are behind the
    /// entries.
    pub fn walk(
        &mut self,
        groups: GroupSet,
        (from, budget): (u64, usize),
        now: Tick,
        found: &mut Vec<SyncRecord>,
    ) -> Option<u64> {
        let (compact, wide) = (self.compact.buckets() as u64, self.wide.buckets() as u64);
        let Self { compact: v4, wide: others, book: Some(book), unowned, clock, listed, .. } = self else {
            return None;
        };
        let walk = TableWalk { groups, budget, unowned, names: book.names(), second: clock.second(now) };
        if from < compact {
            return Some(walk.entries(v4, from, found));
        }
        if from < compact + wide {
            return Some(compact + walk.entries(others, from - compact, found));
        }
        let at = (from - compact - wide) as usize;
        if at == 0 {
            *listed = unowned.templates.list(now).collect();
        }
        walk.templates(listed.iter().skip(at).take(budget), found);
        if at + budget < listed.len() {
            return Some(from + budget as u64);
        }
        *listed = Vec::new();
        None
    }
}

fn add_all<K: ShadowKey + FlowKey>(writer: &ShadowWriter<K>, book: &mut SyncBook) {
    for bucket in 0..writer.buckets() {
        writer.entries(bucket).for_each(|entry| book.add(entry.key.flow(), entry.value.server));
    }
}

fn receive_into<K: ShadowKey + FlowKey>(
    writer: &mut ShadowWriter<K>,
    unowned: &UnownedLoads,
    book: &mut SyncBook,
    key: K,
    received: ReceivedValue,
) -> Result<(), SyncRefusal> {
    let ReceivedValue { mut value, is_synced, is_inactive, now, second } = received;
    let before = writer.get(key).filter(|before| !second.reached(before.deadline));
    match before {
        Some(ShadowValue { owner: Some(_), .. }) => return Err(SyncRefusal::Older),
        Some(_) if is_synced => return Ok(()),
        // The end of an old connection of this client port, and not of the one that stands.
        Some(before) if before.server != value.server && is_inactive => return Ok(()),
        Some(before) if before.server == value.server => value.template = before.template,
        _ => value.template = unowned.bind_named(key, value, now),
    }
    let stored = writer.put(key, value, second);
    book.stored(key.flow(), value.server, &stored);
    match stored {
        Stored::Full => {
            unowned.release(key.flow(), value);
            return Err(SyncRefusal::TableFull);
        }
        Stored::Updated(old) if old.owner.is_none() => {
            unowned.remove(key.match_id(), old);
            if before.is_none_or(|before| before.server != value.server) {
                unowned.release(key.flow(), old);
            }
        }
        Stored::Replaced(expired) => unowned.expire(&expired),
        Stored::Placed | Stored::Updated(_) => {}
    }
    unowned.add(key.match_id(), value);
    Ok(())
}

impl UnownedLoads {
    /// Adds the load of an entry without an owner.
    fn add(&self, id: crate::model::MatchId, value: ShadowValue) {
        self.loads.add(value.server, value.state.is_active());
        if let Some(ServicePool { pool, .. }) = self.snapshot.load().service(id) {
            pool.changed(value.server, &self.loads);
        }
    }

    /// Binds the client of a received connection to its server.
    fn bind_named<K: FlowKey>(&self, key: K, value: ShadowValue, now: Tick) -> u8 {
        let snapshot = self.snapshot.load();
        snapshot.service(key.match_id()).map_or(0, |service| self.bind(service, key.flow(), value, now))
    }

    /// Takes in a template. One that stands is renewed, but keeps its server.
    fn receive_template(&self, record: &SyncRecord, names: &SyncNames, now: Tick) -> Result<(), SyncRefusal> {
        let (service, server) = names.template_numbers(record)?;
        let snapshot = self.snapshot.load();
        let pool = snapshot.pool(service).and_then(|pool| pool.persistence());
        let (persistence, generation) = pool.ok_or(SyncRefusal::NoService)?;
        let network = persistence.network(record.ends.client().ip());
        let key = TemplateKey { network, service, generation };
        let binding = Binding { key, now, timeout: persistence.timeout, datagram: false };
        let bound = self.templates.bind(binding, |_| true, || Some(server)).ok_or(SyncRefusal::TableFull)?;
        if !bound.counts {
            return Err(SyncRefusal::TableFull);
        }
        self.templates.release(key, bound.server);
        if record.state == 1 {
            self.templates.assure(key, bound.server);
        }
        if bound.server == server { Ok(()) } else { Err(SyncRefusal::Older) }
    }
}

/// A step of a walk over the tables.
struct TableWalk<'a> {
    groups: GroupSet,
    budget: usize,
    unowned: &'a UnownedLoads,
    names: &'a SyncNames,
    second: SecondTick,
}

impl TableWalk<'_> {
    /// Appends the records of entries from a bucket on. Returns the next bucket.
    fn entries<K: ShadowKey + FlowKey>(
        &self,
        writer: &ShadowWriter<K>,
        from: u64,
        found: &mut Vec<SyncRecord>,
    ) -> u64 {
        let (from, mut met) = (from as usize, 0); // it came from a number of buckets
        let end = writer.buckets().min(from + self.budget * BUCKETS_PER_ENTRY);
        for bucket in from..end {
            for entry in writer.entries(bucket).filter(|entry| !self.second.reached(entry.value.deadline)) {
                met += 1;
                found.extend(self.record(entry).filter(|record| self.wants(record)));
            }
            if met >= self.budget {
                return bucket as u64 + 1;
            }
        }
        end as u64
    }

    fn record<K: FlowKey>(&self, entry: ShadowEntry<K>) -> Option<SyncRecord> {
        let ShadowEntry { key, value } = entry;
        let name = self.names.connection(key.flow(), value.server)?;
        let timeouts = &self.unowned.snapshot.load().timeouts;
        let record = SyncRecord::connection(name.protocol, name.ends, value.state, timeouts);
        let record = record.with_mark(name.mark);
        Some(if value.owner.is_none() { record.synced() } else { record })
    }

    fn templates<'t>(&self, listed: impl Iterator<Item = &'t Template>, found: &mut Vec<SyncRecord>) {
        for Template { key, server, .. } in listed.filter(|of| of.assured) {
            let pool = self.unowned.snapshot.load();
            let timeout = pool.pool(key.service).and_then(|pool| pool.persistence());
            let timeout = timeout.map_or(Span::default(), |(persistence, _)| persistence.timeout);
            if let Some((protocol, ends)) = self.names.template(key.network, key.service, *server) {
                found.push(SyncRecord::template(protocol, ends, timeout));
            }
        }
    }

    fn wants(&self, record: &SyncRecord) -> bool {
        self.groups.has(NameHash::from(record).group())
    }
}
