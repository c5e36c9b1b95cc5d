//! The connections of one kind of key: found, opened, moved on, expired.

use super::arrival::Arrival;
use super::snapshot::{Route, Snapshot};
use super::tally::Tally;
use crate::flow::{Entry, Flow, FlowKey, FlowTable, Found, Hint, Homes, Inserted, State};
use crate::model::ServerId;
use crate::schedule::Pool;
use crate::stats::DropReason;
use crate::time::{Span, Tick};
use crate::wire::Protocol;
use crate::wire::transport::TcpFlags;
use std::sync::Arc;

/// Time in which a whole table is swept for expired connections once.
const SWEEP: Span = Span::from_secs(2);
/// Most buckets of a table that one round of housekeeping sweeps: 16 KiB of IPv4 connections, a few
/// microseconds.
const SWEEP_BUCKETS: usize = 256;

/// What frames of all families are decided by.
pub(super) struct Context {
    pub(super) snapshot: Arc<Snapshot>,
    /// By state.
    pub(super) lifetimes: [Span; State::COUNT],
    pub(super) tally: Tally,
}

/// What the first pass found out about a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<K> {
    pub(super) key: K,
    pub(super) homes: Homes,
    pub(super) bytes: u16,
    /// The port that it is to, where [`Kind::Wildcard`] asks for it.
    pub(super) port: u16,
    pub(super) protocol: Protocol,
    pub(super) flags: TcpFlags,
    pub(super) hint: Hint,
    pub(super) kind: Kind,
}

/// What is to be done about a frame in the second pass.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Find or open its connection.
    Of,
    /// Likewise: a frame with a priority tag.
    Tagged,
    /// Likewise, but among those of the wildcard-port services.
    Wildcard,
    /// Nothing more: it has been refused.
    Refused(DropReason),
}

impl<K> Candidate<K> {
    /// The state in which its connection begins, if it may begin one (`tcp_conn_schedule` in
    /// net/netfilter/ipvs/ip_vs_proto_tcp.c).
    fn first_state(&self) -> Result<State, DropReason> {
        match self.protocol {
            Protocol::Udp => Ok(State::UdpNew),
            Protocol::Tcp => {
                let opens = self.flags.any(TcpFlags::SYN) && !self.flags.any(TcpFlags::RST);
                opens.then(|| State::None.after(self.flags)).ok_or(DropReason::NoConnection)
            }
        }
    }
}

/// A table of connections with all that happens to them.
pub(super) struct Family<K> {
    table: FlowTable<K>,
    /// When buckets last became due, how many still are, and the part of one that is not yet, in
    /// [`SWEEP`]ths.
    swept: Tick,
    sweep_owed: usize,
    sweep_rest: usize,
}

impl<K: FlowKey> Family<K> {
    pub(super) fn new(table: FlowTable<K>) -> Self {
        Self { table, swept: Tick::default(), sweep_owed: 0, sweep_rest: 0 }
    }

    /// Connections.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// The buckets that listings go through.
    pub(super) fn buckets(&self) -> usize {
        self.table.buckets()
    }

    /// The connections of a bucket; none past the last one.
    pub(super) fn listed(&self, bucket: usize) -> impl Iterator<Item = Entry<Flow>> {
        self.table.entries(bucket).map(Entry::listed)
    }

    /// Says whether several services open connections here.
    pub(super) fn set_shared(&mut self, shared: bool) {
        self.table.set_shared(shared);
    }

    /// Begins a batch.
    #[inline]
    pub(super) fn begin(&mut self) {
        self.table.begin();
    }

    /// Where the connection of `key` may be; its first line is called for.
    #[inline]
    pub(super) fn call(&self, key: K) -> Homes {
        let homes = self.table.homes(key);
        self.table.prefetch(homes);
        homes
    }

    /// The candidate of the frame that `other` is of, by a key of this family.
    pub(super) fn candidate<O>(&self, other: &Candidate<O>, key: K) -> Candidate<K> {
        let homes = self.table.homes(key);
        let (homes, hint) = (homes, self.table.locate(key, homes));
        let Candidate { bytes, port, protocol, flags, kind, .. } = *other;
        Candidate { key, homes, bytes, port, protocol, flags, hint, kind }
    }

    /// Looks for each candidate's connection in the line that was called for, and calls for the next one
    /// where it is not there. A function of its own: the compiler then knows that nothing moves meanwhile.
    #[inline(never)]
    pub(super) fn locate_all(&self, candidates: &mut [Candidate<K>]) {
        for candidate in candidates {
            candidate.hint = self.table.locate(candidate.key, candidate.homes);
        }
    }

    /// True if a candidate's connection is in the table, expired or not.
    pub(super) fn has(&mut self, candidate: &Candidate<K>) -> bool {
        self.find(candidate).is_some()
    }

    /// True if a candidate belongs to a connection that stands, and does not begin a new one.
    pub(super) fn goes_on(&mut self, context: &Context, candidate: &Candidate<K>, now: Tick) -> bool {
        let found = self.find(candidate);
        found.is_some_and(|found| {
            let over = now.reached(*found.deadline) || context.reschedules(&found, candidate.flags);
            !over && !context.expires(found.server)
        })
    }

    /// A candidate's connection, expired or not.
    #[inline]
    pub(super) fn find(&mut self, candidate: &Candidate<K>) -> Option<Found<'_>> {
        self.table.find(candidate.key, candidate.homes, candidate.hint)
    }

    /// The server of a candidate's connection, which it opens if there is none, or moves to its next
    /// state, unless it gives way to a new one.
    pub(super) fn open_or_advance(
        &mut self,
        context: &Context,
        candidate: &Candidate<K>,
        now: Tick,
        arrival: &Arrival<'_>,
    ) -> Result<ServerId, DropReason> {
        let Some(found) = self.find(candidate) else {
            return self.open(context, candidate, now, arrival);
        };
        if now.reached(*found.deadline) || context.reschedules(&found, candidate.flags) {
            return self.renew(context, candidate, now, arrival);
        }
        let Found { deadline, state, server, .. } = found;
        if *context.snapshot.route(server) == Route::Gone {
            return self.part(context, candidate, now, arrival);
        }
        if arrival.turns_back(context, server) {
            return Err(DropReason::Looped);
        }
        let next = state.after(candidate.flags);
        if next != *state {
            let flow = candidate.key.flow();
            context.tally.moved(context.pool(candidate.key), (flow, server), (*state, next));
        }
        (*state, *deadline) = (next, now.after(context.lifetimes[next as usize]));
        Ok(server)
    }

    /// What becomes of a frame whose real server has been removed: it is dropped without a trace, so that
    /// its connection ends in its time. With expire_nodest_conn the connection ends now, and the frame is
    /// scheduled anew if it may open one (`ip_vs_in_hook` in net/netfilter/ipvs/ip_vs_core.c).
    fn part(
        &mut self,
        context: &Context,
        candidate: &Candidate<K>,
        now: Tick,
        arrival: &Arrival<'_>,
    ) -> Result<ServerId, DropReason> {
        if !context.snapshot.policy.expire_nodest_conn {
            return Err(DropReason::ServerGone);
        }
        self.renew(context, candidate, now, arrival).map_err(|reason| match reason {
            DropReason::NoConnection => DropReason::ServerGone,
            other => other,
        })
    }

    /// Closes a connection that is over, and opens another one in its stead.
    fn renew(
        &mut self,
        context: &Context,
        candidate: &Candidate<K>,
        now: Tick,
        arrival: &Arrival<'_>,
    ) -> Result<ServerId, DropReason> {
        if let Some(old) = self.table.remove(candidate.key, candidate.homes) {
            context.tally.expired(context.pool(candidate.key), &old);
        }
        self.open(context, candidate, now, arrival)
    }

    /// Opens the connection of a candidate that has none.
    pub(super) fn open(
        &mut self,
        context: &Context,
        candidate: &Candidate<K>,
        now: Tick,
        arrival: &Arrival<'_>,
    ) -> Result<ServerId, DropReason> {
        let (state, tally, flow) = (candidate.first_state()?, &context.tally, candidate.key.flow());
        arrival.admit(context, flow.client)?;
        let pool = context.pool(candidate.key);
        let chosen = pool.and_then(|pool| tally.choose(pool, flow, (state, now)));
        let (server, template) = chosen.ok_or(DropReason::NoServer)?;
        let deadline = now.after(context.lifetimes[state as usize]);
        let entry = Entry { key: candidate.key, deadline, server, state, template };
        if arrival.turns_back(context, server) {
            tally.release(pool, &entry);
            return Err(DropReason::Looped);
        }
        if pool.is_some_and(Pool::one_packet) {
            tally.passed(pool, server);
            tally.release(pool, &entry);
            return Ok(server);
        }
        match self.table.insert(entry, candidate.homes, now) {
            Inserted::Placed => {}
            Inserted::Replaced(old) => tally.replaced(context.pool(old.key), &old, now),
            Inserted::Full => {
                tally.release(pool, &entry);
                return Err(DropReason::TableFull);
            }
        }
        tally.opened(pool, &entry);
        Ok(server)
    }

    /// Takes out expired connections, a bounded number of them. True if more is due at once.
    pub(super) fn keep_house(&mut self, context: &Context, now: Tick) -> bool {
        self.owe_sweep(now);
        if self.table.is_empty() {
            self.sweep_owed = 0;
        }
        let share = self.sweep_owed.min(SWEEP_BUCKETS);
        if share > 0 {
            self.sweep(context, now, share);
            self.sweep_owed -= share;
        }
        self.sweep_owed > 0
    }

    /// Takes out every connection that has expired, however long that takes.
    pub(super) fn sweep_all(&mut self, context: &Context, now: Tick) {
        self.sweep(context, now, self.table.buckets());
        (self.swept, self.sweep_owed) = (now, 0);
    }

    /// Adds the buckets that have become due, in proportion to the time since they last did.
    fn owe_sweep(&mut self, now: Tick) {
        let (whole, buckets) = (SWEEP.millis() as usize, self.table.buckets());
        let elapsed = (now.since(self.swept).millis() as usize).min(whole);
        let due = buckets * elapsed + self.sweep_rest;
        self.sweep_owed = (self.sweep_owed + due / whole).min(buckets);
        (self.swept, self.sweep_rest) = (now, due % whole);
    }

    fn sweep(&mut self, context: &Context, now: Tick, buckets: usize) {
        self.table.sweep(now, buckets, |entry| context.tally.expired(context.pool(entry.key), &entry));
    }
}

impl Context {
    /// Whether a segment with `flags` is scheduled anew although its connection stands (`ip_vs_in_hook`
    /// in net/netfilter/ipvs/ip_vs_core.c).
    fn reschedules(&self, found: &Found<'_>, flags: TcpFlags) -> bool {
        let quiesced = matches!(self.snapshot.route(found.server), Route::Quiesced(..));
        let reused = || found.state.gives_way_to(flags, self.snapshot.policy.conn_reuse_mode);
        let opens = flags.any(TcpFlags::SYN) && !flags.any(TcpFlags::RST);
        opens && (quiesced || (found.template == 0 && reused()))
    }

    /// Whether frames end their connections since `server` has been removed.
    fn expires(&self, server: ServerId) -> bool {
        self.snapshot.policy.expire_nodest_conn && *self.snapshot.route(server) == Route::Gone
    }

    /// The pool of a flow's service, if that is there.
    #[inline]
    fn pool<K: FlowKey>(&self, key: K) -> Option<&Pool> {
        self.snapshot.pool(key.flow().service)
    }
}
