//! Forwarder with three services whose servers and settings a test can change.

use super::frames::{self, DIRECTOR, End};
use directrix::forward::{Forwarder, NextHop, Route, ServiceMap, Snapshot, Verdict};
use directrix::hash::Seed;
use directrix::model::{InterfaceIndex, MatchId, Persistence, Policy, ServerId, ServiceAddress, ServiceId};
use directrix::schedule::{Candidate, Loads, Params, Pool, Templates};
use directrix::stats::{DropReason, WorkerCounters};
use directrix::time::{Span, Tick};
use directrix::wire::{MacAddr, Protocol};
use std::net::Ipv4Addr;
use std::sync::Arc;

pub const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 150);
pub const WEB: End = (VIP, 80);
pub const DNS: End = (VIP, 53);
pub const SIGNALLING: End = (VIP, 3868);
pub const CAPACITY: usize = 1024;
const SEED: Seed =
    Seed([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89]);
/// Servers per service.
const SERVERS: u16 = 2;

/// Web (TCP) and signalling (SCTP) on servers 0 and 1 in list order, DNS (UDP) on servers 2 and 3, by wlc with equal
/// weights.
pub struct Bench {
    pub forwarder: Forwarder,
    pub loads: Arc<Loads>,
    pub counters: Arc<WorkerCounters>,
    pub templates: Arc<Templates>,
    pub persistence: Option<Persistence>,
    pub policy: Policy,
    /// Weights of the servers; `None`: removed.
    pub weights: [Option<u16>; 4],
    pub now: Tick,
    pools: [Pool; 2],
    verdicts: Vec<Verdict>,
}

impl Bench {
    pub fn new(persistence: Option<Persistence>, policy: Policy) -> Self {
        let (loads, counters) = (Arc::new(Loads::new(4)), Arc::new(WorkerCounters::new(4, 1)));
        let templates = Arc::new(Templates::new(CAPACITY, 4, SEED));
        let shared = (Arc::clone(&loads), Arc::clone(&templates));
        let mut bench = Self {
            forwarder: Forwarder::new(CAPACITY, SEED, shared.0, shared.1, Arc::clone(&counters)),
            loads,
            counters,
            templates,
            persistence,
            policy,
            weights: [Some(1); 4],
            now: Tick(u32::MAX - 1000),
            pools: [0, 1].map(|_| Pool::new([])),
            verdicts: Vec::new(),
        };
        bench.publish();
        bench
    }

    /// Publishes the current settings to the forwarder.
    pub fn publish(&mut self) {
        let rule = Params { persistence: self.persistence, ..Params::default() };
        for (pool, first) in self.pools.iter_mut().zip([0, SERVERS]) {
            let servers = (first..first + SERVERS).filter_map(|id| {
                let weight = self.weights[usize::from(id)]?;
                let accepts_persistent = weight > 0 || !self.policy.expire_quiescent_template;
                Some(Candidate { accepts_persistent, ..Candidate::new(ServerId(id), weight) })
            });
            *pool = pool.successor(rule, servers.collect::<Vec<_>>(), &self.loads);
        }
        self.adopt();
    }

    fn adopt(&mut self) {
        let service =
            |protocol, end: End, id| (ServiceAddress { protocol, address: end.into() }, MatchId(id));
        let own_macs = vec![MacAddr(DIRECTOR)];
        let servers = (0..4u8).zip(self.weights).map(|(id, weight)| {
            let route = Route::new(
                &own_macs,
                weight.map(|_| NextHop { interface: InterfaceIndex(0), mac: Some(mac(id)) }),
            );
            let quiesced = weight == Some(0) && self.policy.expire_nodest_conn;
            if quiesced { route.quiesced() } else { route }
        });
        let routes = servers.collect();
        self.forwarder.adopt(Arc::new(Snapshot {
            routes,
            own_macs,
            services: ServiceMap::new(&[
                service(Protocol::Tcp, WEB, 0),
                service(Protocol::Udp, DNS, 1),
                service(Protocol::Sctp, SIGNALLING, 2),
            ]),
            matches: [0, 1, 2].map(ServiceId).into(),
            pools: [&self.pools[0], &self.pools[1], &self.pools[0]].map(Pool::clone).into(),
            policy: self.policy,
            ..Snapshot::default()
        }));
    }

    /// Publishes a pool for the web service, until [`Bench::publish`].
    pub fn set_web_pool(&mut self, pool: Pool) {
        self.pools[0] = pool;
        self.adopt();
    }

    /// Server of a frame, or its drop reason.
    pub fn decide(&mut self, frame: Vec<u8>) -> Result<u8, DropReason> {
        let mut batch = [frame];
        self.forwarder.decide(&mut batch[..], self.now, &mut self.verdicts);
        match self.verdicts[0] {
            Verdict::Forward(_) => Ok(batch[0][5]),
            Verdict::Drop(reason) => Err(reason),
            Verdict::HandOver | Verdict::Hold => panic!("there is one worker, and no early fragment"),
        }
    }

    /// A segment of one client to the web service.
    pub fn web(&mut self, port: u16, flags: u8) -> Result<u8, DropReason> {
        self.decide(frames::tcp((Ipv4Addr::new(198, 51, 100, 7), port), WEB, flags, b""))
    }

    /// A packet of one client to the signalling service, with chunks of these types.
    pub fn signalling(&mut self, port: u16, chunks: &[u8]) -> Result<u8, DropReason> {
        let chunks: Vec<_> = chunks.iter().map(|kind| (*kind, 20)).collect();
        self.decide(frames::sctp((Ipv4Addr::new(198, 51, 100, 7), port), SIGNALLING, &chunks))
    }

    /// A datagram of a client to the DNS service.
    pub fn dns(&mut self, client: u32) -> Result<u8, DropReason> {
        self.decide(frames::udp((Ipv4Addr::from_bits(0x0a00_0000 + client), 1024), DNS, b"query"))
    }

    pub fn wait(&mut self, span: Span) {
        self.now = self.now.after(span);
        self.forwarder.sweep_all(self.now);
    }

    /// Connections that were opened to a server.
    pub fn opened(&self, server: u16) -> u64 {
        self.counters.server(ServerId(server)).connections.get()
    }
}

fn mac(server: u8) -> MacAddr {
    MacAddr([2, 1, 0, 0, 0, server])
}
