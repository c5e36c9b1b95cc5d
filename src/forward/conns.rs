//! Connections with one type of key: look-up, opening, state changes, expiry.

use super::accounting::Transition;
use super::context::Context;
use super::journal::JournalKind;
use super::received::ReceivedFrame;
use super::refresh::RefreshPass;
use super::services::FTP_DATA;
use super::shadowed::ShadowedKey;
use super::staged::Staged;
use crate::flow::{EntryMut, Flow, FlowEntry, FlowTable, Inserted, TableKey};
use crate::model::ServerId;
use crate::stats::DropReason;
use crate::time::{Span, Tick};
use crate::wire::Protocol;

/// Duration of a full sweep for expired connections.
pub(super) const SWEEP: Span = Span::from_secs(2);
/// Most buckets swept per call: 16 KiB of IPv4 connections, a few microseconds.
const SWEEP_BUCKETS: usize = 256;

/// A flow table with its sweep state.
pub(super) struct Connections<K: TableKey> {
    table: FlowTable<K>,
    /// Time of the last [`Connections::add_due_buckets`].
    swept: Tick,
    /// Buckets that are due to be swept.
    sweep_due: usize,
    /// Part of a bucket that is not yet due, in [`SWEEP`]ths.
    sweep_remainder: usize,
    refresh: RefreshPass,
}

impl<K: ShadowedKey> Connections<K> {
    pub(super) fn new(table: FlowTable<K>) -> Self {
        Self {
            table,
            swept: Tick::default(),
            sweep_due: 0,
            sweep_remainder: 0,
            refresh: RefreshPass::default(),
        }
    }

    /// Number of connections.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Number of buckets.
    pub(super) fn buckets(&self) -> usize {
        self.table.buckets()
    }

    /// The connections of a bucket, for listings; none past the last bucket.
    pub(super) fn listed(&self, bucket: usize) -> impl Iterator<Item = FlowEntry<Flow>> {
        self.table.entries(bucket).map(FlowEntry::listed)
    }

    /// Sets whether several services share the table.
    pub(super) fn set_shared(&mut self, shared: bool) {
        self.table.set_shared(shared);
    }

    #[inline]
    pub(super) fn renew_eviction_budget(&mut self) {
        self.table.renew_eviction_budget();
    }

    /// Sets the key of a staged frame and its candidate buckets, and prefetches the first one.
    #[inline]
    pub(super) fn set_key(&self, staged: &mut Staged<K>, key: K) {
        staged.key = key;
        staged.buckets = self.table.bucket_pair(key);
        self.table.prefetch(staged.buckets);
    }

    /// Stages the same frame by a key of this table.
    pub(super) fn restage<O>(&self, other: &Staged<O>, key: K) -> Staged<K> {
        let buckets = self.table.bucket_pair(key);
        let hint = self.table.locate(key, buckets);
        let Staged { bytes, protocol, flags, kind, .. } = *other;
        Staged { key, buckets, bytes, protocol, flags, hint, kind }
    }

    /// Looks up each frame's connection in its first bucket, and prefetches the second one where it is not
    /// there. Not inlined, so that the compiler can assume that nothing aliases the table.
    #[inline(never)]
    pub(super) fn locate_all(&self, staged: &mut [Staged<K>]) {
        for staged in staged {
            staged.hint = self.table.locate(staged.key, staged.buckets);
        }
    }

    /// True if the frame's connection is in the table, expired or not.
    pub(super) fn has(&mut self, staged: &Staged<K>) -> bool {
        self.look_up(staged).is_some()
    }

    /// True if `key` has a connection, expired or not.
    pub(super) fn contains(&self, key: K) -> bool {
        self.table.contains(key)
    }

    /// True if the frame belongs to a connection that has not expired, and opens no new one.
    pub(super) fn continues(&mut self, context: &Context, staged: &Staged<K>, now: Tick) -> bool {
        let entry = self.look_up(staged);
        entry.is_some_and(|entry| {
            let over = now.reached(*entry.deadline) || context.reschedules(&entry, staged.flags);
            !over && !context.expires(entry.server)
        })
    }

    /// The server of the frame's connection, if that has not expired.
    pub(super) fn server(&mut self, staged: &Staged<K>, now: Tick) -> Option<ServerId> {
        self.look_up(staged).filter(|entry| !now.reached(*entry.deadline)).map(|entry| entry.server)
    }

    /// Looks up the frame's connection, expired or not.
    #[inline]
    pub(super) fn find(&mut self, staged: &Staged<K>) -> Option<EntryMut<'_>> {
        self.table.find(staged.key, staged.buckets, staged.hint)
    }

    /// [`Connections::find`] for the slow path, so that it is inlined on the fast one.
    #[inline(never)]
    fn look_up(&mut self, staged: &Staged<K>) -> Option<EntryMut<'_>> {
        self.find(staged)
    }

    /// Advances the state of the frame's connection, or opens it if there is none or a new one replaces it.
    /// Returns its server.
    pub(super) fn open_or_advance(
        &mut self,
        context: &Context,
        staged: &Staged<K>,
        now: Tick,
        received: &ReceivedFrame<'_>,
    ) -> Result<ServerId, DropReason> {
        let Some(entry) = self.look_up(staged) else {
            return self.adopt_or_open(context, staged, now, received);
        };
        if now.reached(*entry.deadline) || context.reschedules(&entry, staged.flags) {
            return self.reopen(context, staged, now, received);
        }
        let EntryMut { deadline, state, server, template } = entry;
        if context.is_removed(server) {
            return self.open_elsewhere(context, staged, now, received);
        }
        if context.is_cut(server) {
            return self.open_instead_of_cut(context, staged, now, received);
        }
        if received.turns_back(context, server) {
            return Err(DropReason::Looped);
        }
        let (from, to) = (*state, state.after(staged.flags));
        (*state, *deadline) = (to, now.after(context.lifetimes[to as usize]));
        if to != from {
            let transition = Transition { server, from, to };
            context.accounting.moved(context.service(staged.key), staged.key.flow(), transition);
            let changed = FlowEntry { key: staged.key, deadline: *deadline, server, state: to, template };
            context.record(JournalKind::Changed, &changed);
        }
        Ok(server)
    }

    /// Handles a frame without a connection in this table: takes its connection over from the shadow table, or opens one.
    pub(super) fn adopt_or_open(
        &mut self,
        context: &Context,
        staged: &Staged<K>,
        now: Tick,
        received: &ReceivedFrame<'_>,
    ) -> Result<ServerId, DropReason> {
        if staged.may_continue() && self.adopt(context, staged, now) {
            return self.open_or_advance(context, staged, now, received);
        }
        self.open(context, staged, now, received)
    }

    /// Takes the frame's connection over from the shadow table. Returns false if that has none, or this table no room.
    fn adopt(&mut self, context: &Context, staged: &Staged<K>, now: Tick) -> bool {
        let Some(entry) = context.shadowed(staged.key, now) else { return false };
        let entry = FlowEntry { deadline: now.after(context.lifetimes[entry.state as usize]), ..entry };
        match self.table.insert(entry, staged.buckets, now) {
            Inserted::Placed => {}
            Inserted::Replaced(old) => context.accounting.replaced(context.service(old.key), &old, now),
            Inserted::Full => return false,
        }
        context.accounting.adopted(context.service(staged.key), &entry);
        context.record(JournalKind::Adopted, &entry);
        true
    }

    /// Handles a frame whose server has been removed: drops it and leaves its connection to expire. With
    /// expire_nodest_conn the connection ends now, and a frame that may open one is scheduled again
    /// (`ip_vs_in_hook` in net/netfilter/ipvs/ip_vs_core.c).
    fn open_elsewhere(
        &mut self,
        context: &Context,
        staged: &Staged<K>,
        now: Tick,
        received: &ReceivedFrame<'_>,
    ) -> Result<ServerId, DropReason> {
        if !context.snapshot.policy.expire_nodest_conn {
            return Err(DropReason::ServerRemoved);
        }
        self.reopen(context, staged, now, received).map_err(|reason| match reason {
            DropReason::NoConnection => DropReason::ServerRemoved,
            other => other,
        })
    }

    /// Handles a frame whose server is down with its connections cut: one that may open a connection is scheduled again.
    /// Other frames are dropped, each with an answer to its client, and leave the connection to expire.
    fn open_instead_of_cut(
        &mut self,
        context: &Context,
        staged: &Staged<K>,
        now: Tick,
        received: &ReceivedFrame<'_>,
    ) -> Result<ServerId, DropReason> {
        if staged.first_state(&context.snapshot.policy).is_err() {
            return Err(DropReason::ServerDown);
        }
        self.reopen(context, staged, now, received)
    }

    /// Closes a connection that has ended, and opens another one in its place.
    fn reopen(
        &mut self,
        context: &Context,
        staged: &Staged<K>,
        now: Tick,
        received: &ReceivedFrame<'_>,
    ) -> Result<ServerId, DropReason> {
        if let Some(old) = self.table.remove(staged.key, staged.buckets) {
            context.accounting.expired(context.service(staged.key), &old);
            context.record(JournalKind::Ended, &old);
        }
        self.open(context, staged, now, received)
    }

    /// Opens a connection for a frame that has none, and does not come from FTP's data port (`ip_vs_schedule` in
    /// net/netfilter/ipvs/ip_vs_core.c). Returns its server.
    fn open(
        &mut self,
        context: &Context,
        staged: &Staged<K>,
        now: Tick,
        received: &ReceivedFrame<'_>,
    ) -> Result<ServerId, DropReason> {
        let (state, accounting, flow) =
            (staged.first_state(&context.snapshot.policy)?, &context.accounting, staged.key.flow());
        received.admit(context, flow.client, staged.protocol)?;
        if flow.client_port == FTP_DATA {
            return Err(DropReason::NoConnection);
        }
        let service = context.service(staged.key);
        if service.is_some_and(|of| context.snapshot.real_servers.contains(of.id, flow.client)) {
            return Err(DropReason::RealServer);
        }
        let chosen = service.and_then(|service| accounting.choose(service, flow, state, now));
        let (server, template) = chosen.ok_or(DropReason::NoServer)?;
        let deadline = now.after(context.lifetimes[state as usize]);
        let entry = FlowEntry { key: staged.key, deadline, server, state, template };
        if received.turns_back(context, server) {
            accounting.release(service, &entry);
            return Err(DropReason::Looped);
        }
        if staged.protocol == Protocol::Udp && service.is_some_and(|service| service.pool.one_packet()) {
            accounting.passed(service, server);
            accounting.release(service, &entry);
            return Ok(server);
        }
        match self.table.insert(entry, staged.buckets, now) {
            Inserted::Placed => {}
            Inserted::Replaced(old) => accounting.replaced(context.service(old.key), &old, now),
            Inserted::Full => {
                accounting.release(service, &entry);
                return Err(DropReason::TableFull);
            }
        }
        accounting.opened(service, &entry);
        context.record(JournalKind::Changed, &entry);
        Ok(server)
    }

    /// Removes expired connections from at most [`SWEEP_BUCKETS`] buckets. Returns true if more are due.
    pub(super) fn sweep(&mut self, context: &Context, now: Tick) -> bool {
        self.add_due_buckets(now);
        if self.table.is_empty() {
            self.sweep_due = 0;
        }
        let share = self.sweep_due.min(SWEEP_BUCKETS);
        if share > 0 {
            self.sweep_buckets(context, now, share);
            self.refresh_after(context, now, share);
            self.sweep_due -= share;
        }
        self.sweep_due > 0
    }

    /// Removes all expired connections. For tests.
    pub(super) fn sweep_all(&mut self, context: &Context, now: Tick) {
        self.sweep_buckets(context, now, self.table.buckets());
        (self.swept, self.sweep_due) = (now, 0);
    }

    fn sweep_buckets(&mut self, context: &Context, now: Tick, buckets: usize) {
        let expired = |entry: FlowEntry<K>| context.accounting.expired(context.service(entry.key), &entry);
        self.table.sweep(now, buckets, expired);
    }

    /// Records the confirmed connections of the buckets that are due after `swept` more were swept.
    fn refresh_after(&mut self, context: &Context, now: Tick, swept: usize) {
        if context.shadow.is_none() {
            return;
        }
        for bucket in self.refresh.advance(swept, context.refresh_sweeps, self.table.buckets()) {
            for entry in self.table.entries(bucket).filter(|entry| !now.reached(entry.deadline)) {
                context.record(JournalKind::Refreshed, &entry);
            }
        }
    }

    /// Removes a connection that another worker has taken over.
    pub(super) fn give_up(&mut self, context: &Context, key: K) {
        if let Some(entry) = self.table.remove(key, self.table.bucket_pair(key)) {
            context.accounting.given_up(context.service(key), &entry);
        }
    }

    /// Adds the buckets that have become due, in proportion to the time since the last call.
    fn add_due_buckets(&mut self, now: Tick) {
        let (whole, buckets) = (SWEEP.millis() as usize, self.table.buckets());
        let elapsed = (now.since(self.swept).millis() as usize).min(whole);
        let due = buckets * elapsed + self.sweep_remainder;
        self.sweep_due = (self.sweep_due + due / whole).min(buckets);
        (self.swept, self.sweep_remainder) = (now, due % whole);
    }
}
