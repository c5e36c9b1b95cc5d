//! The data path neither allocates nor frees memory: a counting allocator watches the deciding thread, over
//! a million frames of every kind.
#![allow(missing_docs, unsafe_code)] // an allocator needs it

mod support;

use arc_swap::ArcSwap;
use crossbeam::channel::bounded;
use directrix::control::workers::WorkerClient;
use directrix::flow::FlowTable;
use directrix::forward::{BATCH, Forwarder, Snapshot, Verdict};
use directrix::hash::Seed;
use directrix::io::{Levels, Ports, SendOutcome};
use directrix::model::{InterfaceIndex, Scheduler, SchedulerFlags, ServerId, Timeouts, Wait};
use directrix::schedule::{Candidate, ClientAddr, Loads, Params, Pool, Templates, Thresholds};
use directrix::stats::{DropReason, WorkerCounters};
use directrix::time::{Span, Tick};
use directrix::worker::hand_over::HandOver;
use directrix::worker::refused::RefusedFrames;
use directrix::worker::{Shared, Worker, WorkerRequest};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io;
use std::net::Ipv4Addr;
use std::ops::ControlFlow;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use support::traffic::{Frames, SERVERS, Traffic, next_snapshot, snapshot};

const FRAMES: u64 = 1_000_000;
/// Batches before the watch starts.
const WARM_UP: u64 = 1000;
const CONNECTIONS: usize = 1024;
const SEED: Seed = Seed([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 1]);

/// System allocator that counts the calls of watched threads.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    /// Calls since the watch started; `None` while there is none.
    static CALLS: Cell<Option<u64>> = const { Cell::new(None) };
}

fn count() {
    CALLS.set(CALLS.get().map(|calls| calls + 1));
}

// SAFETY: every call is passed to the system allocator with its arguments unchanged, so its guarantees
// hold. Counting uses a thread-local cell that needs neither initialization nor memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller keeps the contract of `GlobalAlloc::dealloc`, and `pointer` is System's.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `GlobalAlloc::realloc`, and `pointer` is System's.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn watch() {
    CALLS.set(Some(0));
}

fn calls() -> u64 {
    CALLS.take().expect("this thread is watched")
}

/// Checks that every kind of decision has occurred.
fn everything_happened(counters: &WorkerCounters) {
    let sum = |of: fn(&WorkerCounters, u16) -> u64| (0..SERVERS).map(|id| of(counters, id)).sum::<u64>();
    assert!(sum(|counters, id| counters.server(ServerId(id)).packets.get()) > FRAMES / 10);
    assert!(sum(|counters, id| counters.server(ServerId(id)).connections.get()) > FRAMES / 100);
    assert!(counters.expired.get() > 1000, "{} expired", counters.expired.get());
    assert!(counters.evicted.get() > 1000, "{} evicted", counters.evicted.get());
    for reason in [
        DropReason::Truncated,
        DropReason::Malformed,
        DropReason::Checksum,
        DropReason::EtherType,
        DropReason::Protocol,
        DropReason::OtherHost,
        DropReason::Looped,
        DropReason::NoService,
        DropReason::NoConnection,
    ] {
        assert!(counters.drops(reason).get() > 1000, "{reason:?}");
    }
}

/// With virtual time, so that minutes pass.
#[test]
fn decisions_do_not_allocate() {
    let loads = Arc::new(Loads::new(SERVERS.into()));
    let counters = Arc::new(WorkerCounters::new(SERVERS.into(), 1));
    let templates = Arc::new(Templates::new(8, SERVERS.into(), SEED));
    let shared = (Arc::clone(&loads), Arc::clone(&templates));
    let mut forwarder = Forwarder::new(CONNECTIONS, SEED, shared.0, shared.1, Arc::clone(&counters));
    let mut snapshots = vec![Arc::new(snapshot(0, Timeouts::default()))];
    snapshots.extend([1, 2].map(|absent| Arc::new(next_snapshot(&snapshots[0], absent, &loads))));
    let (mut traffic, mut batch) = (Traffic::new(1), Frames(vec![[0; 60]; BATCH]));
    let (mut verdicts, mut now) = (Vec::with_capacity(BATCH), Tick(u32::MAX - 60_000));
    forwarder.adopt(Arc::clone(&snapshots[0])); // frees the empty initial one
    forwarder.set_wide_table(FlowTable::new(CONNECTIONS, SEED));
    watch();
    for round in 0..FRAMES / BATCH as u64 {
        if round.is_multiple_of(100) {
            forwarder.adopt(Arc::clone(&snapshots[traffic.below(3) as usize]));
        }
        batch.0.iter_mut().for_each(|frame| traffic.write(frame));
        forwarder.decide(&mut batch, now, &mut verdicts);
        forwarder.sweep(now);
        now = now.after(Span::from_millis(traffic.below(100) as u32));
    }
    assert_eq!(calls(), 0);
    everything_happened(&counters);
    assert!(
        templates.unbound() > 0 && !templates.is_empty(),
        "templates were created, and refused for lack of room"
    );
    let listed = (0..).map_while(|bucket| forwarder.connections(bucket)).flatten();
    assert!(
        listed.filter(|entry| entry.key.port.is_some()).count() > 100,
        "connections to wildcard-port services"
    );
}

/// Ports that generate traffic, start the watch after a while, and stop the worker at the end.
struct Generator {
    traffic: Traffic,
    batch: Frames,
    batches: u64,
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
}

impl Ports for Generator {
    type Batch = Frames;

    fn count(&self) -> usize {
        1
    }

    fn receive(&mut self, _port: usize) -> &mut Frames {
        self.batches += 1;
        if self.batches == WARM_UP {
            watch();
        }
        self.batch.0.iter_mut().for_each(|frame| self.traffic.write(frame));
        &mut self.batch
    }

    fn finish(&mut self, verdicts: &[Verdict]) -> SendOutcome {
        if self.batches == WARM_UP + FRAMES / BATCH as u64 {
            self.calls.store(calls(), Relaxed);
            self.stop.store(true, Relaxed);
        }
        let forwarded = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Forward(_)));
        SendOutcome { forwarded: forwarded.count() as u32, ..SendOutcome::default() }
    }

    fn send_copy(&mut self, _interface: InterfaceIndex, _frame: &[u8]) -> SendOutcome {
        unreachable!("there is one worker")
    }

    fn wait(&mut self, _timeout: Duration, _wake: BorrowedFd<'_>) -> io::Result<()> {
        unreachable!("there is always a frame")
    }

    fn levels(&mut self, _port: usize) -> Levels {
        Levels { receive: self.batch.0.len() as u32, ..Levels::default() }
    }
}

/// Work of control on another thread: new snapshots, listings, histograms. Returns how many snapshots the
/// worker has adopted and released, and how many connections it has listed.
fn disturb(shared: &Shared, loads: &Loads, client: &WorkerClient, over: impl Fn() -> bool) -> (usize, usize) {
    let (mut retired, mut adopted, mut listed) = (Vec::<Arc<Snapshot>>::new(), 0, 0);
    for absent in (0..3).cycle().take_while(|_| !over()) {
        let next = next_snapshot(&shared.snapshot.load_full(), absent, loads);
        retired.push(shared.snapshot.swap(Arc::new(next)));
        let before = retired.len();
        retired.retain(|old| Arc::strong_count(old) > 1);
        adopted += before - retired.len();
        client.connections(|_| {
            listed += 1;
            ControlFlow::Continue(())
        });
        drop(client.latency());
    }
    (adopted, listed)
}

/// Timeouts that expire during the test.
fn brief() -> Timeouts {
    let ms = Span::from_millis;
    Timeouts { tcp: ms(20), tcp_fin: ms(1), udp: ms(5) }
}

#[test]
fn the_worker_loop_does_not_allocate() {
    let counters = Arc::new(WorkerCounters::new(SERVERS.into(), 1));
    let (stop, watched) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(u64::MAX)));
    let shared = Shared {
        snapshot: Arc::new(ArcSwap::from_pointee(snapshot(0, brief()))),
        counters: Arc::clone(&counters),
        stop: Arc::clone(&stop),
        epoch: Instant::now(),
        hand_over: HandOver::alone().unwrap(),
        refused: Arc::new(RefusedFrames::new().unwrap()),
    };
    let (requests, inbox) = bounded(1);
    let loads = Arc::new(Loads::new(SERVERS.into()));
    let worker = {
        let (shared, calls, loads) = (shared.clone(), Arc::clone(&watched), Arc::clone(&loads));
        std::thread::spawn(move || {
            let generator = Generator {
                traffic: Traffic::new(2),
                batch: Frames(vec![[0; 60]; BATCH]),
                batches: 0,
                stop,
                calls,
            };
            let templates = Arc::new(Templates::new(CONNECTIONS, SERVERS.into(), SEED));
            let counters = Arc::clone(&shared.counters);
            let forwarder = Forwarder::new(CONNECTIONS, SEED, loads, templates, counters);
            Worker::new(generator, forwarder, shared, inbox, Wait::Adaptive).run()
        })
    };
    requests.send(WorkerRequest::WideTable(FlowTable::new(CONNECTIONS, SEED))).expect("the worker runs");
    let (adopted, listed) = disturb(&shared, &loads, &WorkerClient::new(requests), || worker.is_finished());
    worker.join().expect("no panic").expect("no error");
    assert_eq!(watched.load(Relaxed), 0, "after {adopted} snapshots, {listed} connections listed");
    assert!(adopted > 10 && listed > 1000, "{adopted} snapshots, {listed} connections listed");
    everything_happened(&counters);
}

/// Picks of every scheduler, with overloaded servers, and with clients that need the fallback.
#[test]
fn picks_do_not_allocate() {
    for (scheduler, servers) in Scheduler::ALL.iter().flat_map(|of| [(*of, 5), (*of, SERVERS)]) {
        let loads = Loads::new(servers.into());
        let flags = SchedulerFlags { fallback: true, port: true };
        let rule = Params { scheduler, flags, ..Params::default() };
        let candidate = |id: u16| Candidate {
            thresholds: Thresholds { upper: 40, lower: 20 },
            address: (Ipv4Addr::from_bits(id.into()), 80).into(),
            ..Candidate::new(ServerId(id), (id + 1) % 7)
        };
        let pool = Pool::new([]).successor(rule, (0..servers).map(candidate), &loads);
        watch();
        let mut picked = 0;
        for client in 0..10_000u32 {
            let client = ClientAddr::new(Ipv4Addr::from_bits(client).into(), client as u16);
            if let Some(server) = pool.pick(&loads, client) {
                picked += 1;
                loads.add(server, true);
                pool.changed(server, &loads);
            }
        }
        assert_eq!(calls(), 0, "{}", scheduler.name());
        assert!(picked >= 10, "{}: {picked}", scheduler.name());
    }
}

#[test]
fn the_watch_counts_allocations() {
    watch();
    let memory = std::hint::black_box(Box::new(7));
    drop(memory);
    assert_eq!(calls(), 2);
}
