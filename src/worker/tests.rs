use super::hand_over::HandOver;
use super::*;
use crate::forward::{NextHop, Route, ServiceMap};
use crate::hash::Seed;
use crate::io::Levels;
use crate::io::memory::{MemoryPorts, MemoryShape};
use crate::model::{InterfaceIndex, MatchId, ServerId, ServiceAddress, ServiceId};
use crate::schedule::{Candidate, Loads, Pool, Templates};
use crate::stats::WorkerCounters;
use crate::wire::{MacAddr, Protocol};
use crossbeam::channel::bounded;
use etherparse::PacketBuilder;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;

const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const VIP: [u8; 4] = [192, 0, 2, 1];

fn snapshot() -> Snapshot {
    let service = ServiceAddress { protocol: Protocol::Udp, address: SocketAddr::from((VIP, 53)) };
    let server = NextHop { interface: InterfaceIndex::CLIENT, mac: Some(MacAddr([2, 0, 0, 0, 0, 3])) };
    let own_macs = vec![OWN];
    Snapshot {
        routes: vec![Route::new(&own_macs, Some(server))],
        own_macs,
        services: ServiceMap::new(&[(service, MatchId(0))]),
        matches: vec![ServiceId(0)],
        pools: vec![Pool::new([Candidate::new(ServerId(0), 1)])],
        ..Snapshot::default()
    }
}

fn datagram(port: u16) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2; 6], OWN.0).ipv4([192, 0, 2, 9], VIP, 64).udp(port, 53);
    let mut frame = Vec::new();
    builder.write(&mut frame, b"question").unwrap();
    frame
}

/// A worker with `flows` connections, and its request channel.
fn worker(connections: usize, flows: u16) -> (Worker<MemoryPorts>, Sender<WorkerRequest>) {
    let (ports, wire) = MemoryPorts::new(MemoryShape { transmit: flows.into(), ..MemoryShape::default() });
    let counters = Arc::new(WorkerCounters::new(1, 1));
    let seed = Seed([0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb, 1]);
    let (loads, templates) = (Arc::new(Loads::new(1)), Arc::new(Templates::new(1, 1, seed)));
    let forwarder = Forwarder::new(connections, seed, loads, templates, Arc::clone(&counters));
    let snapshot = Arc::new(ArcSwap::from_pointee(snapshot()));
    let shared = Shared {
        snapshot,
        counters,
        stop: Arc::default(),
        epoch: Instant::now(),
        hand_over: HandOver::alone(),
        refused: Arc::default(),
    };
    let (requests, inbox) = bounded(1);
    let mut worker = Worker::new(ports, forwarder, shared, inbox, Wait::Adaptive);
    (1..=flows).for_each(|port| wire.push(0, datagram(port)));
    while worker.serve_ports(Instant::now()) {}
    (worker, requests)
}

/// Lists the client port of every connection, and the number of requests.
fn list(
    worker: &mut Worker<MemoryPorts>,
    requests: &Sender<WorkerRequest>,
    room: usize,
) -> (Vec<u16>, usize) {
    let (reply, answers) = bounded(1);
    let mut listing =
        ConnectionListing { from: Some(0), entries: Vec::with_capacity(room), reply: Arc::new(reply) };
    let (mut ports, mut requested) = (Vec::new(), 0);
    while listing.from.is_some() {
        listing.entries.clear();
        requests.send(WorkerRequest::Connections(listing)).unwrap();
        while worker.answer() {}
        listing = answers.try_recv().unwrap();
        ports.extend(listing.entries.iter().map(|entry| entry.key.client_port));
        requested += 1;
    }
    ports.sort_unstable();
    (ports, requested)
}

#[test]
fn a_sparse_table_is_listed_in_few_answers() {
    let (mut worker, requests) = worker(4 * LISTED_STRETCH, 100); // more than 1 bucket for 4 connections
    let (ports, requested) = list(&mut worker, &requests, 4096);
    assert_eq!(ports, (1..=100).collect::<Vec<u16>>());
    assert_eq!(requested, 2, "one stretch, and its end");
}

#[test]
fn a_full_table_is_listed_in_full_answers() {
    let (mut worker, requests) = worker(1000, 1000);
    let (ports, requested) = list(&mut worker, &requests, 64);
    assert_eq!(ports, (1..=1000).collect::<Vec<u16>>());
    assert!((1000 / 64..1000 / 50).contains(&requested), "{requested}");
}

#[test]
fn a_listing_copies_a_bounded_part_between_batches() {
    let (mut worker, requests) = worker(3 * LISTED_STRETCH, 1);
    let (reply, answers) = bounded(1);
    let listing =
        ConnectionListing { from: Some(0), entries: Vec::with_capacity(4096), reply: Arc::new(reply) };
    requests.send(WorkerRequest::Connections(listing)).unwrap();
    assert!(worker.answer());
    assert_eq!(worker.listing.as_ref().unwrap().from, Some(LISTED_BUCKETS));
    assert!(answers.try_recv().is_err());
}

/// Losses between any two reads.
const LOST: Lost = Lost { ring_full: 3, no_buffer: 2, too_long: 5, not_delivered: 4 };

struct Lossy(MemoryPorts);

impl Ports for Lossy {
    type Batch = <MemoryPorts as Ports>::Batch;

    fn count(&self) -> usize {
        self.0.count()
    }

    fn receive(&mut self, port: usize) -> &mut Self::Batch {
        self.0.receive(port)
    }

    fn finish(&mut self, verdicts: &[Verdict]) -> SendOutcome {
        self.0.finish(verdicts)
    }

    fn send_copy(&mut self, interface: InterfaceIndex, frame: &[u8]) -> SendOutcome {
        self.0.send_copy(interface, frame)
    }

    fn wait(&mut self, timeout: Duration) -> std::io::Result<()> {
        self.0.wait(timeout)
    }

    fn levels(&mut self, port: usize) -> Levels {
        self.0.levels(port)
    }

    fn lost(&mut self, _port: usize) -> Lost {
        LOST
    }
}

#[test]
fn kernel_losses_are_counted_without_traffic() {
    let (ports, _wire) = MemoryPorts::new(MemoryShape { ports: 2, ..MemoryShape::default() });
    let counters = Arc::new(WorkerCounters::new(0, 2));
    let seed = Seed([1, 2, 3, 4]);
    let (loads, templates) = (Arc::new(Loads::new(0)), Arc::new(Templates::new(1, 0, seed)));
    let forwarder = Forwarder::new(16, seed, loads, templates, Arc::clone(&counters));
    let stop = Arc::<AtomicBool>::default();
    let (snapshot, epoch) = (Arc::default(), Instant::now());
    let shared = Shared {
        snapshot,
        counters: Arc::clone(&counters),
        stop: Arc::clone(&stop),
        epoch,
        hand_over: HandOver::alone(),
        refused: Arc::default(),
    };
    let (_requests, inbox) = bounded(1);
    let mut worker = Worker::new(Lossy(ports), forwarder, shared, inbox, Wait::Adaptive);
    std::thread::scope(|scope| {
        let running = scope.spawn(move || worker.run());
        while counters.drops(DropReason::NoBuffer).get() < 3 * 2 * LOST.no_buffer {
            assert!(epoch.elapsed() < Duration::from_secs(10), "three reads of two ports");
            std::thread::sleep(Duration::from_millis(1));
        }
        stop.store(true, Relaxed);
        running.join().unwrap().unwrap();
    });
    let [ring_full, no_buffer] =
        [DropReason::RingFull, DropReason::NoBuffer].map(|reason| counters.drops(reason).get());
    assert_eq!(ring_full * LOST.no_buffer, no_buffer * LOST.ring_full);
}
