//! The decision: one pass over a batch to read headers and call for the table, one to decide.

use super::snapshot::{ARMS_MAX, ArmIndex, Route, Snapshot};
use super::tally::Tally;
use super::{BATCH, Batch, Verdict};
use crate::flow::{Entry, FlowTable, Found, Hint, Homes, Inserted, Key, State, V4Key};
use crate::model::{ServerId, ServiceId};
use crate::schedule::{Loads, Pool, Templates};
use crate::seed::Seed;
use crate::stats::{DropReason, WorkerCounters};
use crate::time::{Span, Tick};
use crate::wire::ethernet::Addresses;
use crate::wire::packet::{Packet, V4Packet};
use crate::wire::transport::TcpFlags;
use crate::wire::{Protocol, ethernet, glance};
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

/// What the first pass found out about a frame.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    key: V4Key,
    homes: Homes,
    bytes: u16,
    flags: TcpFlags,
    hint: Hint,
    kind: Kind,
}

/// What is to be done about a frame in the second pass.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Find or open its connection.
    Of(Protocol),
    /// Nothing more: it has been refused.
    Refused(DropReason),
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

    /// Binds the clients of persistent services by `templates`, which all workers share. To be called
    /// before the first of them comes: without, none has a template.
    #[must_use]
    pub fn sharing(mut self, templates: Arc<Templates>) -> Self {
        self.flows.tally.share(templates);
        self
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
        self.flows.v4.begin();
        let staged = &mut self.staged[..batch.len()];
        for (index, place) in staged.iter_mut().enumerate() {
            self.flows.stage(batch.frame(index), place);
        }
        for candidate in &mut *staged {
            candidate.hint = self.flows.v4.locate(candidate.key, candidate.homes);
        }
        let decided =
            staged.iter().enumerate().map(|(index, candidate)| match self.flows.way_for(candidate, now) {
                Ok((arm, addresses)) => {
                    addresses.write(batch.frame(index));
                    Verdict::Forward(arm)
                }
                Err(reason) => self.flows.tally.dropped(reason),
            });
        verdicts.extend(decided);
        self.flows.tally.entries(self.flows.v4.len());
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
        hint: Hint::NONE,
        kind: Kind::Refused(DropReason::NoService),
    };

    /// The state in which its connection begins, if it may begin one (`tcp_conn_schedule` in
    /// net/netfilter/ipvs/ip_vs_proto_tcp.c).
    fn first_state(&self) -> Result<State, DropReason> {
        match self.kind {
            Kind::Of(Protocol::Udp) => Ok(State::Udp),
            Kind::Of(Protocol::Tcp) if self.flags.any(TcpFlags::SYN) && !self.flags.any(TcpFlags::RST) => {
                Ok(State::None.after(self.flags))
            }
            Kind::Of(Protocol::Tcp) => Err(DropReason::NoConnection),
            Kind::Refused(reason) => Err(reason),
        }
    }
}

impl Flows {
    /// Reads one frame as far as it can be without the table, whose first line for it is then under way.
    #[inline]
    fn stage(&self, frame: &[u8], place: &mut Candidate) {
        match self.glance(frame) {
            Some((packet, service)) => *place = self.candidate(&packet, service),
            None => self.look_closer(frame, place),
        }
    }

    /// What nearly every frame needs.
    #[inline]
    fn glance(&self, frame: &[u8]) -> Option<(V4Packet, ServiceId)> {
        let packet = glance::packet(frame)?;
        self.admit(ethernet::split(frame)?.0).ok()?;
        Some((packet, self.service_of(&packet)?))
    }

    /// Header by header: there may be options.
    #[cold]
    fn look_closer(&self, frame: &[u8], place: &mut Candidate) {
        *place = match self.read(frame) {
            Ok((packet, service)) => self.candidate(&packet, service),
            Err(reason) => Candidate { kind: Kind::Refused(reason), ..Candidate::NOBODY },
        };
    }

    /// If something is wrong, the outermost reason counts.
    fn read(&self, frame: &[u8]) -> Result<(V4Packet, ServiceId), DropReason> {
        let (ethernet, payload) = ethernet::split(frame).ok_or(DropReason::Truncated)?;
        self.admit(ethernet)?;
        let Packet::V4(packet) = Packet::within(ethernet.ethertype(), payload)?;
        Ok((packet, self.service_of(&packet).ok_or(DropReason::NoService)?))
    }

    #[inline]
    fn service_of(&self, packet: &V4Packet) -> Option<ServiceId> {
        self.snapshot.services.find(packet.protocol, packet.destination, packet.ports.destination)
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

    /// What the second pass needs of a packet; its first table line is called for.
    #[inline]
    fn candidate(&self, packet: &V4Packet, service: ServiceId) -> Candidate {
        let key = V4Key::new(packet.source, packet.ports.source, service);
        let homes = self.v4.homes(key);
        self.v4.prefetch(homes);
        let V4Packet { bytes, flags, protocol, .. } = *packet;
        Candidate { key, homes, bytes, flags, hint: Hint::NONE, kind: Kind::Of(protocol) }
    }

    /// Where a frame that has been staged goes, and with which addresses. It is counted as if it were
    /// there. A frame for a removed server is dropped without a trace, so that its connection ends in
    /// its time (`ip_vs_in` in net/netfilter/ipvs/ip_vs_core.c, without expire_nodest_conn).
    #[inline]
    fn way_for(&mut self, candidate: &Candidate, now: Tick) -> Result<(ArmIndex, &Addresses), DropReason> {
        if let Kind::Refused(reason) = candidate.kind {
            return Err(reason);
        }
        let found = self.v4.find(candidate.key, candidate.homes, candidate.hint);
        let unchanged = |found: &Found<'_>| found.state.after(candidate.flags) == *found.state;
        let Some(Found { deadline, state, server }) =
            found.filter(|found| unchanged(found) && !now.reached(*found.deadline))
        else {
            let server = self.open_or_advance(candidate, now)?;
            let way = self.snapshot.route(server).way()?;
            self.tally.forwarded(server, candidate.bytes);
            return Ok(way);
        };
        let route = self.snapshot.route(server);
        if *route == Route::Gone {
            return Err(DropReason::ServerGone);
        }
        *deadline = now.after(self.lifetimes[*state as usize]);
        let way = route.way()?;
        self.tally.forwarded(server, candidate.bytes);
        Ok(way)
    }

    /// The server of the frame's connection, which it opens if there is none, or moves to its next
    /// state, unless it gives way to a new one.
    #[inline(never)]
    fn open_or_advance(&mut self, candidate: &Candidate, now: Tick) -> Result<ServerId, DropReason> {
        let Some(Found { deadline, state, server }) =
            self.v4.find(candidate.key, candidate.homes, candidate.hint)
        else {
            return self.open(candidate, now);
        };
        if now.reached(*deadline) || state.gives_way_to(candidate.flags) {
            return self.renew(candidate, now);
        }
        if *self.snapshot.route(server) == Route::Gone {
            return Err(DropReason::ServerGone);
        }
        let next = state.after(candidate.flags);
        let entry = Entry { key: candidate.key, deadline: *deadline, server, state: *state };
        self.tally.moved(self.snapshot.pool(candidate.key.service()), &entry, next);
        (*state, *deadline) = (next, now.after(self.lifetimes[next as usize]));
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
        let state = candidate.first_state()?;
        let pool = self.snapshot.pool(candidate.key.service());
        let chosen = pool.and_then(|pool| self.tally.choose(pool, candidate.key, (state, now)));
        let server = chosen.ok_or(DropReason::NoServer)?;
        if pool.is_some_and(Pool::one_packet) {
            self.tally.passed(pool, server);
            self.tally.release(pool, candidate.key, server);
            return Ok(server);
        }
        let deadline = now.after(self.lifetimes[state as usize]);
        let entry = Entry { key: candidate.key, deadline, server, state };
        match self.v4.insert(entry, candidate.homes, now) {
            Inserted::Placed => {}
            Inserted::Replaced(old) => self.tally.replaced(self.snapshot.pool(old.key.service()), &old, now),
            Inserted::Full => {
                self.tally.release(pool, candidate.key, server);
                return Err(DropReason::TableFull);
            }
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
