//! The decision: one pass over a batch to read headers and warm the table, one to decide.

use super::snapshot::{ArmIndex, Server, Snapshot};
use super::{BATCH, Batch, Verdict};
use crate::flow::{Entry, FlowTable, Homes, Inserted, Key, Seed, State, V4Key};
use crate::model::{ServerId, ServiceId};
use crate::schedule::{Loads, Pool};
use crate::stats::{DropReason, WorkerCounters};
use crate::time::{Span, Tick};
use crate::wire::packet::{self, Packet};
use crate::wire::transport::TcpFlags;
use crate::wire::{MacAddr, Protocol, ethernet};
use std::sync::Arc;

/// Time in which the whole table is swept for expired connections once.
const SWEEP: Span = Span::from_secs(2);
/// Most buckets that one round of housekeeping sweeps: 16 KiB of table, a few microseconds.
const SWEEP_BUCKETS: usize = 256;

/// One worker's decisions: its own connection table, the shared loads, the current snapshot.
pub struct Forwarder {
    snapshot: Arc<Snapshot>,
    lifetimes: [Span; State::COUNT],
    v4: FlowTable<V4Key>,
    staged: Box<[Staged; BATCH]>,
    /// When buckets last became due, how many still are, and the part of one that is not yet, in
    /// [`SWEEP`]ths.
    swept: Tick,
    sweep_owed: usize,
    sweep_rest: usize,
    tally: Tally,
}

/// Where a worker's decisions are counted.
struct Tally {
    loads: Arc<Loads>,
    counters: Arc<WorkerCounters>,
}

/// What the first pass found out about a frame.
type Staged = Result<Candidate, DropReason>;

#[derive(Clone, Copy)]
struct Candidate {
    key: V4Key,
    homes: Homes,
    service: ServiceId,
    protocol: Protocol,
    flags: TcpFlags,
    bytes: u16,
}

impl Forwarder {
    /// A forwarder with an empty table for `connections` flows.
    #[must_use]
    pub fn new(connections: usize, seed: Seed, loads: Arc<Loads>, counters: Arc<WorkerCounters>) -> Self {
        Self {
            snapshot: Arc::default(),
            lifetimes: [Span::default(); State::COUNT],
            v4: FlowTable::new(connections, seed),
            staged: Box::new([Err(DropReason::NoService); BATCH]),
            swept: Tick::default(),
            sweep_owed: 0,
            sweep_rest: 0,
            tally: Tally { loads, counters },
        }
    }

    /// Decides by `snapshot` from now on.
    pub fn adopt(&mut self, snapshot: Arc<Snapshot>) {
        self.lifetimes = State::ALL.map(|state| state.timeout(&snapshot.timeouts));
        self.snapshot = snapshot;
    }

    /// Decides about every frame of `batch`; `verdicts` then holds one for each, in order.
    ///
    /// Frames to be forwarded have their addresses rewritten, nothing else is changed. Dropped
    /// ones are counted here; so are connections, packets and bytes for each server.
    ///
    /// # Panics
    /// If the batch holds more than [`BATCH`] frames.
    pub fn decide<B: Batch + ?Sized>(&mut self, batch: &mut B, now: Tick, verdicts: &mut Vec<Verdict>) {
        verdicts.clear();
        let frames = batch.len();
        for index in 0..frames {
            self.staged[index] = self.stage(batch.frame(index));
        }
        self.warm(frames);
        for index in 0..frames {
            let verdict = self.staged[index]
                .and_then(|candidate| self.forward(&candidate, batch.frame(index), now))
                .map_or_else(Verdict::Drop, Verdict::Forward);
            self.tally.verdict(verdict);
            verdicts.push(verdict);
        }
        self.tally.counters.entries.set(self.v4.len() as u64);
    }

    /// Takes out expired connections, a bounded number of them at a time.
    ///
    /// Returns true if more is due at once. Called at least every few seconds, it keeps every
    /// connection from outliving its deadline by more than two seconds.
    pub fn keep_house(&mut self, now: Tick) -> bool {
        self.owe_sweep(now);
        let share = self.sweep_owed.min(SWEEP_BUCKETS);
        if share > 0 {
            self.sweep(now, share);
            self.sweep_owed -= share;
        }
        self.sweep_owed > 0
    }

    /// Takes out every connection that has expired by `now`, however long that takes.
    pub fn sweep_all(&mut self, now: Tick) {
        self.sweep(now, self.v4.buckets());
        (self.swept, self.sweep_owed) = (now, 0);
    }

    /// The connections of bucket `bucket`, for listings; `None` past the last bucket.
    pub fn connections(&self, bucket: usize) -> Option<impl Iterator<Item = &Entry<V4Key>>> {
        (bucket < self.v4.buckets()).then(|| self.v4.entries(bucket))
    }

    /// Reads one frame as far as it can be without the table.
    #[inline]
    fn stage(&self, frame: &[u8]) -> Staged {
        self.admit(frame)?;
        let Packet::V4(packet) = Packet::parse(frame)?;
        let service = self
            .snapshot
            .services
            .find(packet.protocol, packet.destination, packet.ports.destination)
            .ok_or(DropReason::NoService)?;
        let key = V4Key::new(packet.source, packet.ports.source, service);
        let homes = self.v4.homes(key);
        let (protocol, flags, bytes) = (packet.protocol, packet.flags, packet.bytes);
        Ok(Candidate { key, homes, service, protocol, flags, bytes })
    }

    /// Takes only frames for this station that it has not sent itself.
    #[inline]
    fn admit(&self, frame: &[u8]) -> Result<(), DropReason> {
        let (destination, source) = packet::addresses(frame).ok_or(DropReason::Truncated)?;
        if self.snapshot.arms.iter().any(|arm| arm.mac == source) {
            return Err(DropReason::Looped);
        }
        let own = self.snapshot.arms.get(usize::from(ArmIndex::CLIENT.0)).map(|arm| arm.mac);
        if own == Some(destination) { Ok(()) } else { Err(DropReason::OtherHost) }
    }

    #[inline]
    fn warm(&self, frames: usize) {
        let homes = self.staged[..frames].iter().flatten().map(|candidate| candidate.homes);
        let touched = homes.fold(false, |seen, homes| seen ^ self.v4.warm(homes));
        std::hint::black_box(touched);
    }

    /// Finds the frame's server and addresses the frame to it.
    #[inline]
    fn forward(
        &mut self,
        candidate: &Candidate,
        frame: &mut [u8],
        now: Tick,
    ) -> Result<ArmIndex, DropReason> {
        let server = self.server_for(candidate, now)?;
        let Server { arm, mac } = self.snapshot.server(server).ok_or(DropReason::ServerGone)?;
        let destination = mac.ok_or(DropReason::Unresolved)?;
        let source = self.snapshot.arms.get(usize::from(arm.0)).map_or(MacAddr::ZERO, |arm| arm.mac);
        ethernet::readdress(frame, destination, source);
        self.tally.forwarded(server, candidate.bytes);
        Ok(*arm)
    }

    /// The server of the frame's connection, which it opens if there is none.
    #[inline]
    fn server_for(&mut self, candidate: &Candidate, now: Tick) -> Result<ServerId, DropReason> {
        let Some(entry) = self.v4.find(candidate.key, candidate.homes) else {
            return self.open(candidate, now);
        };
        if now.reached(entry.deadline) || entry.state.gives_way_to(candidate.flags) {
            return self.renew(candidate, now);
        }
        let next = entry.state.after(candidate.flags);
        if next != entry.state {
            self.tally.moved(self.snapshot.pool(candidate.service), entry, next);
            entry.state = next;
        }
        entry.deadline = now.after(self.lifetimes[next as usize]);
        Ok(entry.server)
    }

    /// Closes a connection that is over, and opens another one in its stead.
    fn renew(&mut self, candidate: &Candidate, now: Tick) -> Result<ServerId, DropReason> {
        if let Some(old) = self.v4.remove(candidate.key, candidate.homes) {
            self.tally.expired(self.snapshot.pool(candidate.service), &old);
        }
        self.open(candidate, now)
    }

    fn open(&mut self, candidate: &Candidate, now: Tick) -> Result<ServerId, DropReason> {
        let state = first_state(candidate.protocol, candidate.flags).ok_or(DropReason::NoConnection)?;
        let pool = self.snapshot.pool(candidate.service);
        let server = pool.and_then(Pool::pick).ok_or(DropReason::NoServer)?;
        let deadline = now.after(self.lifetimes[state as usize]);
        let entry = Entry { key: candidate.key, deadline, server, state };
        match self.v4.insert(entry, candidate.homes, now) {
            Inserted::Placed => {}
            Inserted::Replaced(old) => self.tally.replaced(self.snapshot.pool(old.key.service()), &old, now),
            Inserted::Full => return Err(DropReason::TableFull),
        }
        self.tally.opened(pool, &entry);
        Ok(server)
    }

    fn sweep(&mut self, now: Tick, buckets: usize) {
        let (tally, snapshot) = (&self.tally, &self.snapshot);
        self.v4.sweep(now, buckets, |entry| tally.expired(snapshot.pool(entry.key.service()), &entry));
        tally.counters.entries.set(self.v4.len() as u64);
    }

    /// Adds the buckets that have become due, in proportion to the time since they last did.
    fn owe_sweep(&mut self, now: Tick) {
        let (whole, buckets) = (SWEEP.millis() as usize, self.v4.buckets());
        let elapsed = (now.since(self.swept).millis() as usize).min(whole);
        let due = buckets * elapsed + self.sweep_rest;
        self.sweep_owed = (self.sweep_owed + due / whole).min(buckets);
        (self.swept, self.sweep_rest) = (now, due % whole);
    }
}

/// The state in which a connection begins, or `None` if this frame does not begin one
/// (`tcp_conn_schedule` in net/netfilter/ipvs/ip_vs_proto_tcp.c).
#[inline]
fn first_state(protocol: Protocol, flags: TcpFlags) -> Option<State> {
    match protocol {
        Protocol::Udp => Some(State::Udp),
        Protocol::Tcp if flags.any(TcpFlags::SYN) && !flags.any(TcpFlags::RST) => {
            Some(State::None.after(flags))
        }
        Protocol::Tcp => None,
    }
}

impl Tally {
    #[inline]
    fn verdict(&self, verdict: Verdict) {
        if let Verdict::Drop(reason) = verdict {
            self.counters.drops(reason).add(1);
        }
    }

    #[inline]
    fn forwarded(&self, server: ServerId, bytes: u16) {
        let counters = self.counters.server(server);
        counters.packets.add(1);
        counters.bytes.add(u64::from(bytes));
    }

    #[inline]
    fn moved<K: Key>(&self, pool: Option<&Pool>, entry: &Entry<K>, to: State) {
        if entry.state.is_active() != to.is_active() {
            self.loads.shift(entry.server, to.is_active());
            self.rank(pool, entry.server);
        }
    }

    fn opened<K: Key>(&self, pool: Option<&Pool>, entry: &Entry<K>) {
        self.loads.add(entry.server, entry.state.is_active());
        self.rank(pool, entry.server);
        self.counters.server(entry.server).connections.add(1);
    }

    fn expired<K: Key>(&self, pool: Option<&Pool>, entry: &Entry<K>) {
        self.remove(pool, entry);
        self.counters.expired.add(1);
    }

    fn replaced<K: Key>(&self, pool: Option<&Pool>, entry: &Entry<K>, now: Tick) {
        self.remove(pool, entry);
        let over = now.reached(entry.deadline);
        if over { &self.counters.expired } else { &self.counters.evicted }.add(1);
    }

    fn remove<K: Key>(&self, pool: Option<&Pool>, entry: &Entry<K>) {
        self.loads.remove(entry.server, entry.state.is_active());
        self.rank(pool, entry.server);
    }

    /// Tells the pool of a server, if its service still has one, that the server's load is another.
    #[inline]
    fn rank(&self, pool: Option<&Pool>, server: ServerId) {
        if let Some(pool) = pool {
            pool.changed(server, &self.loads);
        }
    }
}
