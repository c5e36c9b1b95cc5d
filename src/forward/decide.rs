//! The decision: one pass over a batch to read headers and call for the table, one to decide.

use super::snapshot::{ARMS_MAX, ArmIndex, Route, Snapshot};
use super::tally::Tally;
use super::{BATCH, Batch, Verdict};
use crate::flow::{Entry, FlowTable, Found, Hint, Homes, Inserted, Key, Seed, State, V4Key};
use crate::model::{ServerId, ServiceId};
use crate::schedule::Loads;
use crate::stats::{DropReason, WorkerCounters};
use crate::time::{Span, Tick};
use crate::wire::packet::{Packet, V4Packet};
use crate::wire::transport::TcpFlags;
use crate::wire::{Protocol, ethernet};
use std::sync::Arc;

/// Time in which the whole table is swept for expired connections once.
const SWEEP: Span = Span::from_secs(2);
/// Most buckets that one round of housekeeping sweeps: 16 KiB of table, a few microseconds.
const SWEEP_BUCKETS: usize = 256;

/// What no MAC address is as a number.
const NO_STATION: u64 = u64::MAX;

/// One worker's decisions: its own connection table, the shared loads, the current snapshot.
pub struct Forwarder {
    flows: Flows,
    staged: Box<[Candidate; BATCH]>,
    /// When buckets last became due, how many still are, and the part of one that is not yet, in
    /// [`SWEEP`]ths.
    swept: Tick,
    sweep_owed: usize,
    sweep_rest: usize,
}

/// What the first pass found out about a frame that may be forwarded.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    key: V4Key,
    homes: Homes,
    bytes: u16,
    flags: TcpFlags,
    protocol: Protocol,
    hint: Hint,
    /// Its place in the batch.
    index: u8,
}

/// Everything that a frame is decided by.
struct Flows {
    snapshot: Arc<Snapshot>,
    /// The MAC addresses of the arms, as [`crate::wire::MacAddr::bits`] gives them.
    stations: [u64; ARMS_MAX],
    /// By state.
    lifetimes: [Span; State::COUNT],
    v4: FlowTable<V4Key>,
    tally: Tally,
}

impl Forwarder {
    /// A forwarder with an empty table for `connections` flows.
    #[must_use]
    pub fn new(connections: usize, seed: Seed, loads: Arc<Loads>, counters: Arc<WorkerCounters>) -> Self {
        let flows = Flows {
            snapshot: Arc::default(),
            stations: [NO_STATION; ARMS_MAX],
            lifetimes: [Span::default(); State::COUNT],
            v4: FlowTable::new(connections, seed),
            tally: Tally::new(loads, counters),
        };
        let staged = Box::new([Candidate::NOBODY; BATCH]);
        Self { flows, staged, swept: Tick::default(), sweep_owed: 0, sweep_rest: 0 }
    }

    /// Decides by `snapshot` from now on.
    pub fn adopt(&mut self, snapshot: Arc<Snapshot>) {
        self.flows.lifetimes = State::ALL.map(|state| state.timeout(&snapshot.timeouts));
        self.flows.stations =
            std::array::from_fn(|arm| snapshot.arms.get(arm).map_or(NO_STATION, |arm| arm.mac.bits()));
        self.flows.snapshot = snapshot;
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
        verdicts.resize(batch.len(), Verdict::Drop(DropReason::NoService));
        self.flows.v4.begin();
        let staged = self.stage(batch, verdicts);
        for candidate in &mut self.staged[..staged] {
            candidate.hint = self.flows.v4.locate(candidate.key, candidate.homes);
        }
        for candidate in &self.staged[..staged] {
            let index = usize::from(candidate.index);
            verdicts[index] = self.flows.settle(candidate, batch.frame(index), now);
        }
        self.flows.tally.entries(self.flows.v4.len());
    }

    /// Reads all frames: what may be forwarded is staged, what may not has its verdict. Returns the
    /// number of those staged, whose table lines are under way.
    #[inline]
    fn stage<B: Batch + ?Sized>(&mut self, batch: &mut B, verdicts: &mut [Verdict]) -> usize {
        let mut staged = 0;
        for (index, verdict) in verdicts.iter_mut().enumerate() {
            match self.flows.read(batch.frame(index)) {
                Ok((packet, service)) => {
                    self.staged[staged] = self.flows.candidate(&packet, service, index);
                    staged += 1;
                }
                Err(reason) => *verdict = self.flows.tally.dropped(reason),
            }
        }
        staged
    }

    /// Takes out expired connections, a bounded number of them at a time.
    ///
    /// Returns true if more is due at once. Called at least every few seconds, it keeps every
    /// connection from outliving its deadline by more than two seconds.
    pub fn keep_house(&mut self, now: Tick) -> bool {
        self.owe_sweep(now);
        if self.flows.v4.is_empty() {
            self.sweep_owed = 0;
        }
        let share = self.sweep_owed.min(SWEEP_BUCKETS);
        if share > 0 {
            self.flows.sweep(now, share);
            self.sweep_owed -= share;
        }
        self.sweep_owed > 0
    }

    /// Takes out every connection that has expired by `now`, however long that takes.
    pub fn sweep_all(&mut self, now: Tick) {
        self.flows.sweep(now, self.flows.v4.buckets());
        (self.swept, self.sweep_owed) = (now, 0);
    }

    /// The connections of bucket `bucket`, for listings; `None` past the last bucket.
    pub fn connections(&self, bucket: usize) -> Option<impl Iterator<Item = Entry<V4Key>>> {
        (bucket < self.flows.v4.buckets()).then(|| self.flows.v4.entries(bucket))
    }

    /// Adds the buckets that have become due, in proportion to the time since they last did.
    fn owe_sweep(&mut self, now: Tick) {
        let (whole, buckets) = (SWEEP.millis() as usize, self.flows.v4.buckets());
        let elapsed = (now.since(self.swept).millis() as usize).min(whole);
        let due = buckets * elapsed + self.sweep_rest;
        self.sweep_owed = (self.sweep_owed + due / whole).min(buckets);
        (self.swept, self.sweep_rest) = (now, due % whole);
    }
}

impl Candidate {
    /// What a place holds before its first candidate.
    const NOBODY: Self = Self {
        key: V4Key::VACANT,
        homes: Homes::NOWHERE,
        bytes: 0,
        flags: TcpFlags(0),
        protocol: Protocol::Tcp,
        hint: Hint::NONE,
        index: 0,
    };
}

impl Flows {
    /// Reads one frame as far as it can be without the table.
    #[inline]
    fn read(&self, frame: &[u8]) -> Result<(V4Packet, ServiceId), DropReason> {
        let (ethernet, payload) = ethernet::split(frame).ok_or(DropReason::Truncated)?;
        self.admit(ethernet)?;
        let Packet::V4(packet) = Packet::within(ethernet.ethertype(), payload)?;
        let (vip, port) = (packet.destination, packet.ports.destination);
        let service = self.snapshot.services.find(packet.protocol, vip, port);
        Ok((packet, service.ok_or(DropReason::NoService)?))
    }

    /// Takes only frames for this station that it has not sent itself.
    #[inline]
    fn admit(&self, ethernet: ethernet::Header<'_>) -> Result<(), DropReason> {
        if self.stations.contains(&ethernet.source_bits()) {
            return Err(DropReason::Looped);
        }
        let own = self.stations[usize::from(ArmIndex::CLIENT.0)] == ethernet.destination_bits();
        own.then_some(()).ok_or(DropReason::OtherHost)
    }

    /// What the second pass needs of frame `index`; its table lines are called for.
    #[inline]
    fn candidate(&self, packet: &V4Packet, service: ServiceId, index: usize) -> Candidate {
        let key = V4Key::new(packet.source, packet.ports.source, service);
        let homes = self.v4.homes(key);
        self.v4.prefetch(homes);
        let V4Packet { bytes, flags, protocol, .. } = *packet;
        Candidate { key, homes, bytes, flags, protocol, hint: Hint::NONE, index: index as u8 } // below BATCH
    }

    /// Decides about a frame that has been staged.
    #[inline]
    fn settle(&mut self, candidate: &Candidate, frame: &mut [u8], now: Tick) -> Verdict {
        let decided = self.forward(candidate, frame, now);
        decided.map_or_else(|reason| self.tally.dropped(reason), Verdict::Forward)
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
        match self.snapshot.route(server) {
            Route::Via(arm, addresses) => {
                addresses.write(frame);
                self.tally.forwarded(server, candidate.bytes);
                Ok(*arm)
            }
            Route::Unresolved => Err(DropReason::Unresolved),
            Route::Gone => Err(DropReason::ServerGone),
        }
    }

    /// The server of the frame's connection, which it opens if there is none.
    #[inline]
    fn server_for(&mut self, candidate: &Candidate, now: Tick) -> Result<ServerId, DropReason> {
        let Some(Found { deadline, state, server }) =
            self.v4.find(candidate.key, candidate.homes, candidate.hint)
        else {
            return self.open(candidate, now);
        };
        let next = state.after(candidate.flags);
        let over = now.reached(*deadline);
        if next != *state || over {
            if over || state.gives_way_to(candidate.flags) {
                return self.renew(candidate, now);
            }
            let pool = self.snapshot.pool(candidate.key.service());
            self.tally.moved(pool, server, (*state, next));
            *state = next;
        }
        *deadline = now.after(self.lifetimes[next as usize]);
        Ok(server)
    }

    /// Closes a connection that is over, and opens another one in its stead.
    fn renew(&mut self, candidate: &Candidate, now: Tick) -> Result<ServerId, DropReason> {
        if let Some(old) = self.v4.remove(candidate.key, candidate.homes) {
            self.tally.expired(self.snapshot.pool(candidate.key.service()), &old);
        }
        self.open(candidate, now)
    }

    fn open(&mut self, candidate: &Candidate, now: Tick) -> Result<ServerId, DropReason> {
        let state = first_state(candidate.protocol, candidate.flags).ok_or(DropReason::NoConnection)?;
        let pool = self.snapshot.pool(candidate.key.service());
        let server = pool.and_then(|pool| self.tally.pick(pool)).ok_or(DropReason::NoServer)?;
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
        tally.entries(self.v4.len());
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
