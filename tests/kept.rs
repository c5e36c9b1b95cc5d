//! Connections that move between workers and outlive their process: workers and keeper in one thread, with a virtual clock.
#![allow(missing_docs)]

mod support;
#[path = "kept/synced.rs"]
mod synced;

use arc_swap::ArcSwap;
use directrix::control::api::Stats;
use directrix::control::keeper::keeping::{KeptConnections, LoadSources};
use directrix::control::keeper::memory::{self, OpenedShadow};
use directrix::control::state::registry::Registry;
use directrix::flow::FlowTable;
use directrix::forward::{Forwarder, Journal, ShadowAccess, Snapshot, Verdict};
use directrix::hash::Seed;
use directrix::model::{Rules, ServerId, parse};
use directrix::schedule::{Loads, Templates};
use directrix::shadow::{ShadowClock, ShadowParts, ShadowSession};
use directrix::stats::{DropReason, WorkerCounters};
use directrix::time::{SecondTick, Span, Tick};
use directrix::wire::MacAddr;
use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use support::frames::{self, ACK, FIN, SYN};

const SEED: Seed =
    Seed([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89]);
const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);
const VIP_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80);
const WORKERS: usize = 3;
const CAPACITY: usize = 4096;

/// A process: workers, keeper and their tables, over shared memory in a file.
struct Site {
    registry: Registry,
    workers: Vec<Forwarder>,
    counters: Vec<Arc<WorkerCounters>>,
    kept: KeptConnections,
    loads: Arc<Loads>,
    templates: Arc<Templates>,
    _session: ShadowSession,
    /// Tick 0 of this process, in seconds.
    started: u32,
    now: Tick,
}

fn rules(services: &str) -> Rules {
    parse(Path::new("d.toml"), &format!("[director]\ninterface = \"eth0\"\n{services}")).unwrap().rules()
}

/// A service with two servers.
fn service(protocol: &str, address: &str, settings: &str, servers: [&str; 2]) -> String {
    let server = |rip: &str| format!("[[service.server]]\naddress = \"{rip}\"\n");
    let [one, two] = servers.map(server);
    format!("[[service]]\nprotocol = \"{protocol}\"\naddress = \"{address}\"\n{settings}\n{one}{two}")
}

fn plain() -> String {
    [
        service("tcp", "192.0.2.80:80", "", ["192.0.2.10", "192.0.2.11"]),
        service("udp", "192.0.2.80:53", "", ["192.0.2.10", "192.0.2.11"]),
        service("tcp", "[2001:db8::80]:80", "", ["2001:db8::10", "2001:db8::11"]),
    ]
    .concat()
}

impl Site {
    /// A process that starts in second `started`, over the memory in `file`.
    fn start(file: &Path, services: &str, started: u32) -> Self {
        Self::start_with(file, services, started, CAPACITY)
    }

    /// Likewise, with a number of connections in the shadow memory.
    fn start_with(file: &Path, services: &str, started: u32, capacity: usize) -> Self {
        let (loads, rules) = (Arc::new(Loads::new(64)), rules(services));
        let templates = Arc::new(Templates::new(100, 64, SEED));
        let OpenedShadow { parts, ids, former, .. } = memory::open(Some(file), capacity).unwrap();
        let ShadowParts { compact, wide, templates: kept_templates, mut names, session } = parts;
        let mut registry = Registry::new(vec![MacAddr(frames::DIRECTOR)]);
        registry.recover(ids, &rules);
        registry.apply(&rules, &|_| Stats::default());
        memory::write_names(&mut names, &registry.names());
        for server in rules.services.iter().flat_map(|service| &service.servers) {
            let last = match server.address {
                std::net::IpAddr::V4(rip) => rip.octets()[3],
                std::net::IpAddr::V6(rip) => rip.octets()[15],
            };
            registry.set_reachable(server.address, MacAddr([2, 0, 0, 0, 0, last]));
        }
        let snapshot = Arc::new(ArcSwap::<Snapshot>::default());
        let clock = ShadowClock::new(Tick(0), SecondTick::new(started));
        let (journals, _) = Journal::of_workers(WORKERS).unwrap();
        let counters: Vec<_> = (0..WORKERS).map(|_| Arc::new(WorkerCounters::new(64, 1))).collect();
        let worker = |number: usize| {
            let own = Arc::clone(&counters[number]);
            let mut worker = Forwarder::new(CAPACITY, SEED, Arc::clone(&loads), Arc::clone(&templates), own);
            worker.set_wide_table(FlowTable::new(CAPACITY, SEED));
            let (journal, clock) = (journals[number].clone(), clock.clone());
            worker.set_shadow(ShadowAccess {
                worker: number as u8,
                journal,
                compact: compact.reader(),
                wide: wide.reader(),
                clock,
            });
            worker
        };
        let workers = (0..WORKERS).map(worker).collect();
        let sources = LoadSources {
            loads: Arc::clone(&loads),
            templates: Arc::clone(&templates),
            snapshot: Arc::clone(&snapshot),
            services: registry.services_of_servers(),
        };
        let kept = KeptConnections::new((compact, wide), sources, journals, clock)
            .with_templates(kept_templates)
            .with_former(former);
        let mut site = Self {
            registry,
            workers,
            counters,
            kept,
            loads,
            templates,
            _session: session,
            started,
            now: Tick(0),
        };
        snapshot.store(Arc::new(site.registry.snapshot(&site.loads, Instant::now())));
        site.workers.iter_mut().for_each(|worker| worker.adopt(snapshot.load_full()));
        while !site.kept.recover(64, site.now) {}
        site
    }

    /// Ends the process as a kill does: nothing is written any more.
    fn kill(self) {}

    /// The process after this one, which starts `pause` seconds later.
    fn restart(self, file: &Path, services: &str, pause: u32) -> Self {
        let second = self.started + self.now.0 / 1000;
        self.kill();
        Self::start(file, services, second + pause)
    }

    /// The last byte of the MAC address of the server that a frame goes to, or the drop reason.
    fn decide(&mut self, worker: usize, frame: &[u8]) -> Result<u8, DropReason> {
        let (mut batch, mut verdicts) = ([frame.to_vec()], Vec::new());
        self.workers[worker].decide(&mut batch[..], self.now, &mut verdicts);
        match verdicts[0] {
            Verdict::Forward(_) => Ok(batch[0][5]),
            Verdict::Drop(reason) => Err(reason),
            other => panic!("{other:?}"),
        }
    }

    /// Opens and confirms a connection at a worker; returns its server.
    fn open(&mut self, worker: usize, flow: TestFlow) -> u8 {
        let server = self.decide(worker, &flow.frame(SYN)).unwrap();
        assert_eq!(self.decide(worker, &flow.frame(ACK)), Ok(server));
        server
    }

    /// Lets the keeper take the events, and the workers what the keeper asks for.
    fn settle(&mut self) {
        while self.kept.take_events(self.now) > 0 {
            for worker in &mut self.workers {
                worker.sweep(self.now);
            }
        }
    }

    /// Lets time pass: the workers sweep every two seconds, and the keeper with them.
    fn wait(&mut self, seconds: u32) {
        let end = self.now.after(Span::from_secs(seconds));
        while !self.now.reached(end) {
            self.now = self.now.after(Span::from_secs(2)).earlier(end);
            self.kept.renew(self.now, self.second());
            for worker in &mut self.workers {
                while worker.sweep(self.now) {}
            }
            self.settle();
            self.kept.sweep(self.now);
        }
    }

    fn second(&self) -> SecondTick {
        SecondTick::new(self.started + self.now.0 / 1000)
    }

    /// Active and inactive connections of all servers.
    fn load(&self) -> (u32, u32) {
        let loads = (0..64).map(|id| self.loads.get(ServerId(id)));
        loads.fold((0, 0), |(active, inactive), load| (active + load.active, inactive + load.inactive))
    }

    fn adopted(&self) -> u64 {
        self.counters.iter().map(|counters| counters.adopted.get()).sum()
    }
}

/// A client's flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum TestFlow {
    V4(u16),
    V6(u16),
    Udp(u16),
}

impl TestFlow {
    /// A segment with `flags`; a datagram.
    fn frame(self, flags: u8) -> Vec<u8> {
        let client = Ipv4Addr::new(198, 51, 100, 7);
        let client_v6 = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 7);
        match self {
            Self::V4(port) => frames::tcp((client, port), (VIP, 80), flags, &[]),
            Self::V6(port) => frames::tcp_v6((client_v6, port), (VIP_V6, 80), flags, &[]),
            Self::Udp(port) => frames::udp((client, port), (VIP, 53), b"data"),
        }
    }

    fn of(number: usize) -> Self {
        let port = 40_000 + (number / 3) as u16;
        match number % 3 {
            0 => Self::V4(port),
            1 => Self::V6(port),
            _ => Self::Udp(port),
        }
    }
}

fn with_file(test: impl FnOnce(&Path)) {
    let directory = tempfile::tempdir().unwrap();
    test(&directory.path().join("control.shadow"));
}

#[test]
fn a_flow_goes_on_at_another_worker_and_counts_once() {
    with_file(|file| {
        for (number, flow) in [TestFlow::V4(1), TestFlow::V6(1), TestFlow::Udp(1)].into_iter().enumerate() {
            let mut site = Site::start(file, &plain(), 1000);
            let server = site.open(0, flow);
            if !matches!(flow, TestFlow::Udp(_)) {
                assert_eq!(site.decide(1, &flow.frame(ACK)), Err(DropReason::NoConnection), "not yet kept");
            }
            site.settle();
            assert_eq!(site.decide(1, &flow.frame(ACK)), Ok(server), "{flow:?}");
            assert_eq!(site.adopted(), 1);
            site.settle();
            let (active, inactive) = site.load();
            assert_eq!(active + inactive, 1, "the first worker has given it up");
            assert_eq!(site.decide(0, &flow.frame(ACK)), Ok(server), "and back");
            site.settle();
            site.wait(1000);
            assert_eq!(site.load(), (0, 0), "{number}");
            std::fs::remove_file(file).unwrap();
        }
    });
}

#[test]
fn a_syn_and_an_unconfirmed_connection_stay_with_their_worker() {
    with_file(|file| {
        let mut site = Site::start(file, &plain(), 1000);
        let flow = TestFlow::V4(1);
        site.decide(0, &flow.frame(SYN)).unwrap();
        site.settle();
        assert_eq!(site.decide(1, &flow.frame(ACK)), Err(DropReason::NoConnection));
        let server = site.open(0, flow);
        site.settle();
        site.decide(1, &flow.frame(SYN)).unwrap();
        assert_eq!((site.adopted(), site.load()), (0, (2, 0)), "a SYN opens another one, by the scheduler");
        assert!([10, 11].contains(&server));
    });
}

#[test]
fn an_idle_connection_ends_at_its_timeout() {
    with_file(|file| {
        let mut site = Site::start(file, &plain(), 1000);
        for (flow, timeout) in [(TestFlow::V4(1), 900), (TestFlow::V6(1), 900)] {
            let server = site.open(0, flow);
            site.settle();
            site.wait(timeout - 1);
            assert_eq!(site.decide(0, &flow.frame(ACK)), Ok(server));
            site.wait(timeout + 1);
            assert_eq!(site.decide(0, &flow.frame(ACK)), Err(DropReason::NoConnection));
        }
    });
}

#[test]
fn connections_outlive_the_process_with_their_loads() {
    with_file(|file| {
        let mut site = Site::start(file, &plain(), 1000);
        let flows: Vec<_> = (0..90).map(TestFlow::of).collect();
        let servers: Vec<_> = flows.iter().map(|flow| site.open(0, *flow)).collect();
        site.settle();
        let before = site.load();
        let mut site = site.restart(file, &plain(), 2);
        assert_eq!(site.load(), before, "before any frame");
        for (flow, server) in flows.iter().zip(&servers) {
            assert_eq!(site.decide(1, &flow.frame(ACK)), Ok(*server), "{flow:?}");
        }
        site.settle();
        assert_eq!((site.load(), site.adopted()), (before, 90));
        site.wait(1000);
        assert_eq!(site.load(), (0, 0));
    });
}

#[test]
fn connections_are_moved_to_a_memory_of_another_capacity() {
    with_file(|file| {
        let mut site = Site::start(file, &plain(), 1000);
        let flows: Vec<_> = (0..90).map(TestFlow::of).collect();
        let servers: Vec<_> = flows.iter().map(|flow| site.open(0, *flow)).collect();
        site.settle();
        let before = site.load();
        let mut started = site.started + site.now.0 / 1000;
        for capacity in [2 * CAPACITY, CAPACITY / 4] {
            drop(site);
            started += 1;
            site = Site::start_with(file, &plain(), started, capacity);
            assert_eq!((site.load(), site.kept.counters().kept.get()), (before, 90), "{capacity}");
        }
        for (flow, server) in flows.iter().zip(&servers) {
            assert_eq!(site.decide(1, &flow.frame(ACK)), Ok(*server), "{flow:?}");
        }
        site.settle();
        site.wait(1000);
        assert_eq!(site.load(), (0, 0));
        drop(site);
        let site = Site::start_with(file, &plain(), started + 3000, 8);
        assert_eq!(site.load(), (0, 0), "nothing is left, and the file has been replaced");
    });
}

#[test]
fn a_connection_of_a_removed_server_is_refused() {
    with_file(|file| {
        let mut site = Site::start(file, &plain(), 1000);
        let flows: Vec<_> = (0..20).map(TestFlow::V4).collect();
        let servers: HashMap<_, _> = flows.iter().map(|flow| (*flow, site.open(0, *flow))).collect();
        site.settle();
        let other = [
            service("tcp", "192.0.2.80:80", "", ["192.0.2.12", "192.0.2.11"]),
            service("tcp", "192.0.2.81:80", "", ["192.0.2.10", "192.0.2.13"]),
        ];
        let mut site = site.restart(file, &other.concat(), 0);
        let kept = servers.values().filter(|server| **server == 11).count() as u64;
        assert_eq!(site.kept.counters().kept.get(), kept);
        assert_eq!(site.kept.counters().refused.get(), 20 - kept);
        for flow in flows {
            let verdict = site.decide(0, &flow.frame(ACK));
            let expected = if servers[&flow] == 11 { Ok(11) } else { Err(DropReason::NoConnection) };
            assert_eq!(verdict, expected);
        }
    });
}

#[test]
fn a_persistent_client_keeps_its_server_after_a_restart() {
    let services =
        service("tcp", "192.0.2.80:80", "persistence = { timeout = 300 }", ["192.0.2.10", "192.0.2.11"]);
    with_file(|file| {
        let mut site = Site::start(file, &services, 1000);
        let server = site.open(0, TestFlow::V4(1));
        site.settle();
        let mut site = site.restart(file, &services, 1);
        for port in 2..20 {
            assert_eq!(site.open(usize::from(port) % WORKERS, TestFlow::V4(port)), server);
        }
        assert_eq!(site.decide(2, &TestFlow::V4(1).frame(ACK)), Ok(server));
        site.settle();
        let template = site.templates.list(site.now).next().unwrap();
        assert_eq!(template.connections, 19, "each counts once");
        site.wait(2000);
        assert_eq!(site.load(), (0, 0));
        site.templates.sweep(site.now, |_| true);
        assert_eq!(site.templates.list(site.now).count(), 0, "no connection holds it");
    });
}

#[test]
fn a_persistent_client_without_a_connection_keeps_its_server() {
    let services =
        service("tcp", "192.0.2.80:80", "persistence = { timeout = 2000 }", ["192.0.2.10", "192.0.2.11"]);
    with_file(|file| {
        let mut site = Site::start(file, &services, 1000);
        let clients: Vec<_> = (1..20).map(TestFlow::V4).collect();
        let server = site.open(0, clients[0]);
        site.settle();
        site.wait(1000);
        assert_eq!(site.load(), (0, 0), "its connection is over");
        site.kept.keep_templates(site.now);
        let mut site = site.restart(file, &services, 1);
        assert_eq!(site.templates.list(site.now).count(), 1);
        for client in &clients {
            assert_eq!(site.open(0, *client), server);
        }
        site.kept.keep_templates(site.now);
        let started = site.started + site.now.0 / 1000;
        drop(site);
        let site = Site::start_with(file, &services, started + 1, 2 * CAPACITY);
        assert_eq!(site.templates.list(site.now).count(), 1, "also with another capacity");
        let without = service("tcp", "192.0.2.80:80", "", ["192.0.2.10", "192.0.2.11"]);
        let site = site.restart(file, &without, 1);
        assert_eq!(site.templates.list(site.now).count(), 0, "the service is no longer persistent");
    });
}

#[test]
fn a_refreshed_entry_lives_as_long_as_its_connection() {
    with_file(|file| {
        let mut site = Site::start(file, &plain(), 1000);
        let flow = TestFlow::V4(1);
        let server = site.open(0, flow);
        for _ in 0..36 {
            site.wait(100);
            assert_eq!(site.decide(0, &flow.frame(ACK)), Ok(server));
        }
        site.wait(70);
        site.settle();
        let mut site = site.restart(file, &plain(), 1);
        assert_eq!(site.decide(1, &flow.frame(ACK)), Ok(server), "after an hour without a change");
    });
}

/// Random segments of random flows at random workers, with restarts and pauses. Every confirmed connection keeps its server
/// within its timeout, and the loads equal the connections.
#[test]
fn random_sequences_lose_no_confirmed_connection() {
    for seed in 0..if cfg!(debug_assertions) { 12 } else { 100 } {
        with_file(|file| random_sequence(file, seed));
    }
}

fn random_sequence(file: &Path, seed: u64) {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut draw = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    let mut site = Site::start(file, &plain(), 1000);
    let (mut opened, mut known) = (0, Vec::<KnownFlow>::new());
    for step in 0..400 {
        let second = site.started + site.now.0 / 1000;
        known.retain(|of| second - of.last < of.sure_for());
        match draw(20) {
            0 => site = site.restart(file, &plain(), draw(3) as u32),
            1 => site.wait(draw(200) as u32),
            2..7 => {
                let flow = TestFlow::of(opened);
                opened += 1;
                known.push(KnownFlow { flow, server: site.open(draw(WORKERS), flow), last: second });
            }
            7 if !known.is_empty() => {
                let KnownFlow { flow, .. } = known.swap_remove(draw(known.len()));
                site.decide(draw(WORKERS), &flow.frame(FIN | ACK)).unwrap();
            }
            _ if !known.is_empty() => {
                let of = draw(known.len());
                let KnownFlow { flow, server, last } = &mut known[of];
                let verdict = site.decide(draw(WORKERS), &flow.frame(ACK));
                assert_eq!(verdict, Ok(*server), "seed {seed}, step {step}, {flow:?}");
                *last = second;
            }
            _ => {}
        }
        site.settle();
    }
    site.wait(1000);
    assert_eq!(site.load(), (0, 0), "seed {seed}: every load ends with its connection");
}

/// A confirmed connection of the model.
struct KnownFlow {
    flow: TestFlow,
    server: u8,
    /// Second of its last frame.
    last: u32,
}

impl KnownFlow {
    /// Seconds for which it has to be there, less a rounding.
    fn sure_for(&self) -> u32 {
        let timeout = if matches!(self.flow, TestFlow::Udp(_)) { 300 } else { 900 };
        timeout - 5
    }
}
