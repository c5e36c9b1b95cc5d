use super::hand_over::HandOver;
use super::refused::{RefusedFrames, RefusedReceiver};
use super::*;
use crate::forward::{NextHop, Route, ServiceMap};
use crate::hash::Seed;
use crate::io::memory::{MemoryPorts, MemoryShape};
use crate::io::{Levels, LongFrames};
use crate::model::{InterfaceIndex, MatchId, ServerId, ServiceAddress, ServiceId};
use crate::schedule::{Candidate, Loads, Pool, Templates};
use crate::stats::WorkerCounters;
use crate::wire::{MacAddr, Protocol};
use crossbeam::channel::bounded;
use etherparse::icmpv4::DestUnreachableHeader;
use etherparse::{Icmpv4Type, PacketBuilder};
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
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

/// A worker with `flows` connections from port 1001 on, and its request channel.
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
        hand_over: HandOver::alone().unwrap(),
        refused: Arc::new(RefusedFrames::new().unwrap()),
    };
    let (requests, inbox) = bounded(1);
    let mut worker = Worker::new(ports, forwarder, shared, inbox, Wait::Adaptive);
    (1001..=1000 + flows).for_each(|port| wire.push(0, datagram(port)));
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
    assert_eq!(ports, (1001..=1100).collect::<Vec<u16>>());
    assert_eq!(requested, 2, "one stretch, and its end");
}

#[test]
fn a_full_table_is_listed_in_full_answers() {
    let (mut worker, requests) = worker(1100, 1000);
    let (ports, requested) = list(&mut worker, &requests, 64);
    assert_eq!(ports, (1001..=2000).collect::<Vec<u16>>());
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

/// Ports that lose frames, and sleep for `patience` unless they are woken.
struct TestPorts {
    memory: MemoryPorts,
    patience: Option<Duration>,
}

impl Ports for TestPorts {
    type Batch = <MemoryPorts as Ports>::Batch;

    fn count(&self) -> usize {
        self.memory.count()
    }

    fn receive(&mut self, port: usize) -> &mut Self::Batch {
        self.memory.receive(port)
    }

    fn finish(&mut self, verdicts: &[Verdict]) -> SendOutcome {
        self.memory.finish(verdicts)
    }

    fn long_frames(&mut self) -> Option<&mut LongFrames> {
        self.memory.long_frames()
    }

    fn send_copy(&mut self, interface: InterfaceIndex, frame: &[u8]) -> SendOutcome {
        self.memory.send_copy(interface, frame)
    }

    fn wait(&mut self, timeout: Duration, wake: BorrowedFd<'_>) -> std::io::Result<()> {
        self.memory.wait(self.patience.unwrap_or(timeout), wake)
    }

    fn levels(&mut self, port: usize) -> Levels {
        self.memory.levels(port)
    }

    fn lost(&mut self, _port: usize) -> Lost {
        LOST
    }
}

/// Worker over `memory`. The sender keeps its request channel open.
fn test_worker(
    memory: MemoryPorts,
    patience: Option<Duration>,
    shared: Shared,
) -> (Worker<TestPorts>, Sender<WorkerRequest>) {
    let seed = Seed([1, 2, 3, 4]);
    let (loads, templates) = (Arc::new(Loads::new(1)), Arc::new(Templates::new(1, 1, seed)));
    let forwarder = Forwarder::new(16, seed, loads, templates, Arc::clone(&shared.counters));
    let (requests, inbox) = bounded(1);
    let ports = TestPorts { memory, patience };
    (Worker::new(ports, forwarder, shared, inbox, Wait::Adaptive), requests)
}

fn shared(hand_over: HandOver, ports: usize, stop: &Arc<AtomicBool>) -> Shared {
    Shared {
        snapshot: Arc::new(ArcSwap::from_pointee(snapshot())),
        counters: Arc::new(WorkerCounters::new(1, ports)),
        stop: Arc::clone(stop),
        epoch: Instant::now(),
        hand_over,
        refused: Arc::new(RefusedFrames::new().unwrap()),
    }
}

/// Waits until `is_so`; panics after 20 s.
fn wait_until(is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn kernel_losses_are_counted_without_traffic() {
    let (ports, _wire) = MemoryPorts::new(MemoryShape { ports: 2, ..MemoryShape::default() });
    let stop = Arc::<AtomicBool>::default();
    let shared = shared(HandOver::alone().unwrap(), 2, &stop);
    let counters = Arc::clone(&shared.counters);
    let (mut worker, _requests) = test_worker(ports, None, shared);
    std::thread::scope(|scope| {
        let running = scope.spawn(move || worker.run());
        let no_buffer = counters.drops(DropReason::NoBuffer);
        wait_until(|| no_buffer.get() >= 3 * 2 * LOST.no_buffer); // three reads of two ports
        stop.store(true, Relaxed);
        running.join().unwrap().unwrap();
    });
    let [ring_full, no_buffer] =
        [DropReason::RingFull, DropReason::NoBuffer].map(|reason| counters.drops(reason).get());
    assert_eq!(ring_full * LOST.no_buffer, no_buffer * LOST.ring_full);
}

/// Error for the VIP about a datagram of port 53 to `port` of the client.
fn error(port: u16) -> Vec<u8> {
    let mut quote = Vec::new();
    PacketBuilder::ipv4(VIP, [192, 0, 2, 9], 64).udp(53, port).write(&mut quote, b"answer").unwrap();
    let kind = Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::Port);
    let builder = PacketBuilder::ethernet2([2; 6], OWN.0).ipv4([192, 0, 2, 9], VIP, 64).icmpv4(kind);
    let mut frame = Vec::new();
    builder.write(&mut frame, &quote).unwrap();
    frame
}

#[test]
fn a_sleeping_worker_is_woken_for_frames_of_others() {
    let stop = Arc::<AtomicBool>::default();
    let ring = HandOver::ring(2).unwrap();
    std::thread::scope(|scope| {
        let workers = ring.into_iter().map(|hand_over| {
            let (memory, wire) = MemoryPorts::new(MemoryShape::default());
            let shared = shared(hand_over, 1, &stop);
            let counters = Arc::clone(&shared.counters);
            let (mut worker, requests) = test_worker(memory, Some(Duration::from_secs(60)), shared);
            scope.spawn(move || worker.run());
            (wire, counters, requests)
        });
        let [(first, ..), (second, counters, _requests)] = &workers.collect::<Vec<_>>()[..] else {
            panic!("two workers")
        };
        second.push(0, datagram(7));
        for forwarded in 1..10 {
            wait_until(|| counters.forwarded.get() == forwarded);
            std::thread::sleep(3 * ATTENTION); // it sleeps then
            first.push(0, error(7));
        }
        wait_until(|| counters.forwarded.get() == 10);
        stop.store(true, Relaxed);
        // One that is awake may have ended already.
        first.wake();
        second.wake();
    });
}

#[tokio::test]
async fn a_long_frame_is_refused_with_the_addresses_it_came_with() {
    let (memory, wire) = MemoryPorts::new(MemoryShape { longest: 100, ..MemoryShape::default() });
    let shared = shared(HandOver::alone().unwrap(), 1, &Arc::default());
    let mut refused = RefusedReceiver::new(Arc::clone(&shared.refused)).unwrap();
    let (mut worker, _requests) = test_worker(memory, None, shared);
    let builder = PacketBuilder::ethernet2([2; 6], OWN.0).ipv4([192, 0, 2, 9], VIP, 64).udp(1, 53);
    let mut long = Vec::new();
    builder.write(&mut long, &[7; 100]).unwrap();
    wire.push(0, long.clone());
    assert!(worker.serve_ports(Instant::now()));
    assert_eq!(refused.take(Instant::now()).count(), 0, "its addresses were not recorded");
    wire.push(0, datagram(1));
    wire.push(0, long.clone());
    assert!(worker.serve_ports(Instant::now()));
    let taken: Vec<_> = refused.take(Instant::now()).collect();
    assert_eq!(taken.iter().map(|frame| frame.reason).collect::<Vec<_>>(), [DropReason::TooLong]);
    assert_eq!(taken[0].head()[..20], long[..20]);
    assert_eq!(worker.shared.counters.drops(DropReason::TooLong).get(), 2);
    assert_eq!(wire.forwarded(InterfaceIndex::CLIENT).len(), 1);
}
