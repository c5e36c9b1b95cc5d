//! Traffic for the in-memory benches: batches of frames, and a forwarder that decides them.
#![allow(unreachable_pub, dead_code)] // shared by the benches, each uses its part

#[path = "frames.rs"]
mod frames;
#[path = "keeping.rs"]
mod keeping;

pub use frames::{Kind, SYN};
pub use keeping::BenchKeeper;

use directrix::flow::FlowTable;
use directrix::forward::{BATCH, Forwarder, NextHop, Route, ServiceMap, Snapshot, Verdict};
use directrix::hash::Seed;
use directrix::model::{InterfaceIndex, MatchId, ServerId, ServiceAddress, ServiceId, Timeouts};
use directrix::schedule::{Candidate, Loads, Pool, Templates};
use directrix::stats::WorkerCounters;
use directrix::time::{Span, Tick};
use directrix::wire::{MacAddr, Protocol};
use frames::{DIRECTOR, VIP};
use std::net::SocketAddr;
use std::sync::Arc;

pub const SEED: Seed =
    Seed([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89]);
/// First flow number without an established connection: clients from 138.0.0.0 on.
pub const NEW_CLIENTS: u32 = 1 << 31;

pub const FIN: u8 = 0x11;
pub const ACK: u8 = 0x10;

/// State shared by several workers.
#[derive(Clone)]
pub struct Site {
    pub loads: Arc<Loads>,
    pub snapshot: Arc<Snapshot>,
    servers: u16,
}

impl Site {
    /// One service on `servers` equal servers.
    pub fn new(servers: u16) -> Self {
        Self::of(&[(Protocol::Tcp, (VIP, 80).into())], servers)
    }

    /// A TCP and a UDP service, each on `servers` servers of its own.
    pub fn with_udp(servers: u16) -> Self {
        Self::of(&[(Protocol::Tcp, (VIP, 80).into()), (Protocol::Udp, (VIP, 53).into())], servers)
    }

    /// A service for each of `kinds`, each on `servers` servers of its own.
    pub fn of_kinds(kinds: &[Kind], servers: u16) -> Self {
        Self::of(&kinds.iter().map(|kind| kind.service()).collect::<Vec<_>>(), servers)
    }

    fn of(services: &[(Protocol, SocketAddr)], servers: u16) -> Self {
        let all = servers * services.len() as u16;
        let snapshot = Arc::new(snapshot(services, servers));
        Self { loads: Arc::new(Loads::new(all.into())), snapshot, servers: all }
    }
}

/// Whole connections at a constant rate, each with five client frames, 64 ms apart.
pub struct Lives {
    per_ms: u32,
    newest: u32,
}

impl Lives {
    const FRAMES: [u8; 5] = [SYN, ACK, ACK, FIN, ACK];
    const GAP_MS: u32 = 64;

    pub fn new(per_ms: u32) -> Self {
        Self { per_ms, newest: 0 }
    }

    /// Opens 64 connections more, and advances the time. Returns the first flow and the flags of each of
    /// the five batches that are due.
    pub fn round(&mut self, pipeline: &mut Pipeline) -> impl Iterator<Item = (u32, u8)> + use<> {
        let Self { per_ms, .. } = *self;
        self.newest = self.newest.wrapping_add(BATCH as u32) % NEW_CLIENTS;
        pipeline.now = Tick(self.newest / per_ms);
        let newest = self.newest;
        let first = move |stage: u32| newest.wrapping_sub(stage * Self::GAP_MS * per_ms) % NEW_CLIENTS;
        Self::FRAMES.into_iter().zip(0..).map(move |(flags, stage)| (first(stage), flags))
    }

    /// Number of connections that were opened.
    pub fn opened(&self) -> u32 {
        self.newest
    }

    /// True once every batch belongs to connections that were opened.
    pub fn all_open(&self) -> bool {
        self.newest >= 5 * Self::GAP_MS * self.per_ms
    }
}

/// Forwarder with a table for `flows` connections, a batch of frames and its verdicts.
pub struct Pipeline {
    pub forwarder: Forwarder,
    batch: Vec<Vec<u8>>,
    verdicts: Vec<Verdict>,
    random: u64,
    flows: u32,
    new_client: u32,
    pub now: Tick,
    site: Site,
    keeper: Option<BenchKeeper>,
}

impl Pipeline {
    /// A pipeline with `flows` established connections over `servers` equal servers.
    pub fn established(flows: u32, servers: u16) -> Self {
        let mut pipeline = Self::empty(flows, &Site::new(servers));
        pipeline.establish(flows);
        pipeline
    }

    /// A pipeline without connections.
    pub fn empty(flows: u32, site: &Site) -> Self {
        let counters = Arc::new(WorkerCounters::new(site.servers.into(), 1));
        let templates = Arc::new(Templates::new(1, 0, SEED));
        let mut forwarder =
            Forwarder::new(flows as usize, SEED, Arc::clone(&site.loads), templates, counters);
        forwarder.adopt(Arc::clone(&site.snapshot));
        let (batch, verdicts) = (vec![vec![0; 60]; BATCH], Vec::with_capacity(BATCH));
        Self {
            forwarder,
            batch,
            verdicts,
            random: 1,
            flows,
            new_client: NEW_CLIENTS,
            now: Tick(0),
            site: site.clone(),
            keeper: None,
        }
    }

    /// A pipeline with `flows` established connections of each kind.
    pub fn of_kinds(kinds: &[Kind], flows: u32) -> Self {
        let mut pipeline = Self::for_kinds(kinds, flows);
        pipeline.establish_kinds(kinds, flows);
        pipeline
    }

    /// A pipeline without connections, for `flows` of each kind.
    pub fn for_kinds(kinds: &[Kind], flows: u32) -> Self {
        // A service that shares a table may hold 8/9 of it.
        let room = if kinds.len() > 1 { 2 * flows * kinds.len() as u32 } else { flows };
        let mut pipeline = Self::empty(room, &Site::of_kinds(kinds, 10));
        pipeline.forwarder.set_wide_table(FlowTable::new(room as usize, SEED));
        pipeline
    }

    /// Gives the worker a journal and the shadow table, as in a running director. The events are taken by [`Self::keep`].
    #[must_use]
    pub fn shadowed(mut self) -> Self {
        // An entry of the shadow table outlives its connection by some seconds.
        let (keeper, access) = BenchKeeper::new(&self.site, 2 * self.flows as usize);
        self.forwarder.set_shadow(access);
        self.keeper = Some(keeper);
        self
    }

    /// The keeper for a thread of its own.
    pub fn take_keeper(&mut self) -> Option<BenchKeeper> {
        self.keeper.take()
    }

    /// Takes the events that wait in the journal, if there is one.
    pub fn keep(&mut self) {
        self.keeper.iter_mut().for_each(|keeper| keeper.keep(self.now));
    }

    /// Establishes `flows` connections of each kind.
    pub fn establish_kinds(&mut self, kinds: &[Kind], flows: u32) {
        kinds.iter().for_each(|kind| self.establish_of(*kind, flows));
    }

    /// Establishes the first `count` flows; only these are used from then on.
    pub fn establish(&mut self, count: u32) {
        self.establish_of(Kind::Tcp, count);
    }

    fn establish_of(&mut self, kind: Kind, count: u32) {
        for flags in [SYN, ACK] {
            for first in (0..count).step_by(BATCH) {
                for at in 0..BATCH as u32 {
                    kind.write(&mut self.batch[at as usize], (first + at).min(count - 1), flags);
                }
                self.decide();
                self.keep();
            }
        }
        self.flows = count;
    }

    /// Fills the batch with frames of random flows.
    pub fn refill(&mut self, flags: u8) {
        (0..BATCH).for_each(|at| self.place_random(at, Kind::Tcp, flags));
    }

    /// Fills the batch with frames of these kinds in turn, of random flows.
    pub fn refill_of(&mut self, kinds: &[Kind]) {
        (0..BATCH).for_each(|at| self.place_random(at, kinds[at % kinds.len()], ACK));
    }

    /// Fills the batch with the first and the second fragment of random datagrams.
    pub fn refill_with_fragments(&mut self) {
        for at in (0..BATCH).step_by(2) {
            let flow = self.random_flow();
            Kind::FirstFragment.write(&mut self.batch[at], flow, 0);
            Kind::LaterFragment.write(&mut self.batch[at + 1], flow, 0);
        }
    }

    /// Fills the batch with SYNs of new clients.
    pub fn refill_with_new_clients(&mut self) {
        (0..BATCH).for_each(|at| self.place_new_client(at));
    }

    /// Fills the batch with ACKs of random flows and SYNs of new clients alternately.
    pub fn refill_mixed(&mut self) {
        (0..BATCH).for_each(|at| {
            if at % 2 == 0 { self.place_random(at, Kind::Tcp, ACK) } else { self.place_new_client(at) }
        });
    }

    /// Fills the batch with UDP datagrams of new clients.
    pub fn refill_with_datagrams(&mut self) {
        (0..BATCH).for_each(|at| self.place_datagram(at));
    }

    /// Fills the batch with ACKs of random flows and UDP datagrams of new clients alternately.
    pub fn refill_mixed_with_datagrams(&mut self) {
        (0..BATCH).for_each(|at| {
            if at % 2 == 0 { self.place_random(at, Kind::Tcp, ACK) } else { self.place_datagram(at) }
        });
    }

    /// Fills the batch with one frame of each flow from `first` on.
    pub fn refill_with(&mut self, first: u32, flags: u8) {
        for at in 0..BATCH as u32 {
            Kind::Tcp.write(&mut self.batch[at as usize], first.wrapping_add(at), flags);
        }
    }

    /// Decides the batch: the measured code.
    #[inline(never)]
    pub fn decide(&mut self) {
        self.forwarder.decide(&mut self.batch[..], self.now, &mut self.verdicts);
    }

    /// Removes expired connections, as far as the sweep is due.
    #[inline(never)]
    pub fn sweep(&mut self) {
        while self.forwarder.sweep(self.now) {}
    }

    /// Number of forwarded frames of the last batch.
    pub fn forwarded(&self) -> usize {
        self.verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Forward(_))).count()
    }

    fn place_random(&mut self, at: usize, kind: Kind, flags: u8) {
        let flow = self.random_flow();
        kind.write(&mut self.batch[at], flow, flags);
    }

    fn place_new_client(&mut self, at: usize) {
        let flow = self.next_client();
        Kind::Tcp.write(&mut self.batch[at], flow, SYN);
    }

    fn place_datagram(&mut self, at: usize) {
        let flow = self.next_client();
        Kind::Udp.write(&mut self.batch[at], flow, 0);
    }

    fn next_client(&mut self) -> u32 {
        self.new_client = self.new_client.wrapping_add(1) | NEW_CLIENTS;
        self.new_client
    }

    fn random_flow(&mut self) -> u32 {
        // xorshift64*
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (((self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) * u64::from(self.flows)) >> 32) as u32
    }
}

fn snapshot(services: &[(Protocol, SocketAddr)], servers: u16) -> Snapshot {
    let timeouts = Timeouts { tcp_fin: Span::from_secs(1), ..Timeouts::default() };
    let numbers = 0..services.len() as u16;
    let pool = |number: u16| number * servers..(number + 1) * servers;
    let address = |number: u16| {
        let (protocol, address) = services[usize::from(number)];
        (ServiceAddress { protocol, address }, MatchId(number))
    };
    let mac = |id: u16| MacAddr([2, 1, 0, 0, (id >> 8) as u8, id as u8]);
    let own_macs = vec![MacAddr(DIRECTOR)];
    let server = |id| Some(NextHop { interface: InterfaceIndex(0), mac: Some(mac(id)) });
    Snapshot {
        routes: (0..numbers.end * servers).map(|id| Route::new(&own_macs, server(id))).collect(),
        own_macs,
        services: ServiceMap::new(&numbers.clone().map(address).collect::<Vec<_>>()),
        matches: (0..services.len() as u16).map(ServiceId).collect(),
        pools: numbers
            .map(|number| Pool::new(pool(number).map(|id| Candidate::new(ServerId(id), 1))))
            .collect(),
        timeouts,
        ..Snapshot::default()
    }
}
