//! Who gets room in a full table: floods of clients that never answer, beside clients that do.
#![allow(missing_docs)]

mod support;

use directrix::forward::{Arm, ArmIndex, Forwarder, Route, Server, ServiceMap, Snapshot, Verdict};
use directrix::model::{Persistence, ServerId, ServiceAddress, ServiceId, Timeouts};
use directrix::schedule::{Candidate, Loads, Pool, Rule, Templates};
use directrix::seed::Seed;
use directrix::stats::{DropReason, WorkerCounters};
use directrix::time::Tick;
use directrix::wire::{MacAddr, Protocol};
use std::net::Ipv4Addr;
use std::sync::Arc;
use support::frames::{self, ACK, DIRECTOR, End, SYN};

const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 150);
const WEB: End = (VIP, 80);
const DNS: End = (VIP, 53);
const CAPACITY: usize = 1024;
const SEED: Seed =
    Seed([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89]);

struct Bench {
    forwarder: Forwarder,
    counters: Arc<WorkerCounters>,
    templates: Arc<Templates>,
    verdicts: Vec<Verdict>,
}

impl Bench {
    /// Web (TCP) on server 0, DNS (UDP) on server 1, both persistent or none.
    fn new(persistence: Option<Persistence>) -> Self {
        let (loads, counters) = (Arc::new(Loads::new(2)), Arc::new(WorkerCounters::new(2, 1)));
        let templates = Arc::new(Templates::new(CAPACITY, 2, SEED));
        let forwarder = Forwarder::new(CAPACITY, SEED, Arc::clone(&loads), Arc::clone(&counters));
        let mut forwarder = forwarder.sharing(Arc::clone(&templates));
        let service =
            |protocol, end: End, id| (ServiceAddress { protocol, address: end.into() }, ServiceId(id));
        let arms = vec![Arm { mac: MacAddr(DIRECTOR) }];
        let server = |id| Some(Server { arm: ArmIndex(0), mac: Some(MacAddr([2, 1, 0, 0, 0, id])) });
        let rule = Rule { persistence, ..Rule::default() };
        let pool = |id| Pool::new([]).next(rule, [Candidate::new(ServerId(id), 1)], &loads);
        forwarder.adopt(Arc::new(Snapshot {
            routes: Route::to_all(&arms, [0, 1].map(server)),
            arms,
            services: ServiceMap::new(&[service(Protocol::Tcp, WEB, 0), service(Protocol::Udp, DNS, 1)]),
            pools: vec![pool(0), pool(1)],
            timeouts: Timeouts::default(),
            ..Snapshot::default()
        }));
        Self { forwarder, counters, templates, verdicts: Vec::new() }
    }

    fn passes(&mut self, frame: Vec<u8>) -> bool {
        self.forwarder.decide(&mut [frame][..], Tick(0), &mut self.verdicts);
        matches!(self.verdicts[0], Verdict::Forward(_))
    }

    /// So many datagrams of each of the clients.
    fn flood(&mut self, clients: std::ops::Range<u32>, datagrams: usize) {
        for n in clients {
            let from = (Ipv4Addr::from_bits(0x0a00_0000 + n), 1024);
            for _ in 0..datagrams {
                self.passes(frames::udp(from, DNS, b"query"));
            }
        }
    }

    /// Whether a client's handshake and request come through.
    fn connects(&mut self, port: u16) -> bool {
        let segment = |flags| frames::tcp((Ipv4Addr::new(198, 51, 100, 7), port), WEB, flags, b"");
        [SYN, ACK, ACK].map(|flags| self.passes(segment(flags))) == [true; 3]
    }

    fn goes_on(&mut self, port: u16) -> bool {
        self.passes(frames::tcp((Ipv4Addr::new(198, 51, 100, 7), port), WEB, ACK, b""))
    }

    fn full(&self) -> u64 {
        self.counters.drops(DropReason::TableFull).get()
    }
}

#[test]
fn clients_connect_through_a_flood_of_single_datagrams() {
    let mut bench = Bench::new(None);
    assert!((0..50).all(|port| bench.connects(port)));
    for round in 0..100 {
        bench.flood(round * 3000..(round + 1) * 3000, 1);
        assert!(bench.connects(1000 + round as u16), "{round}");
    }
    assert!((0..50).chain(1000..1100).all(|port| bench.goes_on(port)));
    assert_eq!(bench.full(), 0, "single datagrams were evicted");
}

#[test]
fn flows_that_answer_stay_through_a_flood_of_single_datagrams() {
    let mut bench = Bench::new(None);
    bench.flood(0..500, 2);
    bench.flood(10_000..40_000, 1);
    let before = bench.counters.server(ServerId(1)).connections.get();
    bench.flood(0..500, 1);
    assert_eq!(bench.counters.server(ServerId(1)).connections.get(), before, "each had its entry");
}

/// As many as an attacker sends twice each are confirmed, and have the service's share of the table.
#[test]
fn one_service_never_takes_the_room_of_the_others() {
    let mut bench = Bench::new(None);
    bench.flood(0..3000, 2);
    assert!(bench.full() > 0, "its own share is used up");
    let refused = bench.full();
    assert!((0..100).all(|port| bench.connects(port)), "a ninth is for the others");
    bench.flood(3000..6000, 1);
    assert!((0..100).all(|port| bench.goes_on(port)));
    assert!(bench.full() > refused);
}

#[test]
fn a_flood_of_datagrams_takes_no_template_of_a_client() {
    let mut bench = Bench::new(Some(Persistence { timeout: Persistence::TIMEOUT, prefix: 32 }));
    assert!(bench.connects(1));
    bench.flood(0..30_000, 1);
    let assured = bench.templates.list(Tick(0)).filter(|of| of.assured);
    assert_eq!(assured.count(), 1, "that of the client which has connected");
    assert!(bench.connects(2));
    assert_eq!(bench.templates.refused(), 0, "all others may give way");
    bench.flood(30_000..30_010, 2);
    assert_eq!(bench.templates.list(Tick(0)).filter(|of| of.assured).count(), 11);
}
