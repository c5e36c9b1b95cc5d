//! The decision in memory, from the first header byte to the rewritten address: established frames, other protocols,
//! new connections, complete connections, floods, and two workers in parallel.
//!
//! `cargo bench --bench pipeline`. An iteration is a batch of 64 frames; divide by 64 or read `thrpt`.
//! Frames are in the cache, as right after reception. The flow table is not, once it is larger than the
//! cache.
#![allow(missing_docs)]

mod traffic;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use directrix::forward::BATCH;
use directrix::time::Span;
use directrix::worker::latency_histogram;
use std::sync::Barrier;
use std::time::{Duration, Instant};
use traffic::{ACK, Kind, Lives, Pipeline, Site};

const FLOWS: u32 = 1_000_000;

fn established(criterion: &mut Criterion) {
    let mut group = group(criterion, "established");
    for flows in [10_000, 100_000, 1_000_000, 10_000_000] {
        let mut pipeline = Pipeline::established(flows, 10);
        hits(&mut group, &format!("flows/{flows}"), &mut pipeline);
    }
    for servers in [10, 100, 1000, 10_000] {
        let mut pipeline = Pipeline::established(FLOWS, servers);
        hits(&mut group, &format!("servers/{servers}"), &mut pipeline);
    }
    group.finish();
}

fn hits(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, pipeline: &mut Pipeline) {
    bench(group, name, || {
        let time = one(pipeline, |pipeline| pipeline.refill(ACK));
        assert_eq!(pipeline.forwarded(), BATCH, "every frame has its connection");
        time
    });
}

/// Frames with wide keys, fragments, ICMP errors, and a mixture of all. IPv4 with the same
/// frames and numbers of flows is measured beside them.
fn protocols(criterion: &mut Criterion) {
    let mut group = group(criterion, "protocols");
    for flows in [FLOWS, 10 * FLOWS] {
        for (name, kind) in [("ipv4", Kind::Tcp), ("ipv6", Kind::TcpV6), ("wildcard", Kind::Wildcard)] {
            let mut pipeline = Pipeline::of_kinds(&[kind], flows);
            of_kinds(&mut group, &format!("{name}/{flows}"), &mut pipeline, &[kind]);
        }
    }
    let mut errors = Pipeline::of_kinds(&[Kind::Tcp], FLOWS);
    of_kinds(&mut group, "icmp_error", &mut errors, &[Kind::IcmpError]);
    let mut fragments = Pipeline::of_kinds(&[Kind::Udp], FRAGMENTED);
    bench(&mut group, "fragments/first_and_later", || {
        let time = one(&mut fragments, Pipeline::refill_with_fragments);
        assert_eq!(fragments.forwarded(), BATCH, "every fragment has its datagram");
        time
    });
    of_kinds(&mut group, "fragments/later", &mut fragments, &[Kind::LaterFragment]);
    let mut mixed = Pipeline::of_kinds(&[Kind::Tcp, Kind::Udp, Kind::TcpV6, Kind::Wildcard], FLOWS);
    of_kinds(&mut group, "mixed", &mut mixed, &MIXTURE);
    group.finish();
}

/// Datagrams in fragments: so few that a worker remembers all.
const FRAGMENTED: u32 = 256;

/// Half of the frames are of IPv4 TCP.
const MIXTURE: [Kind; 16] = [
    Kind::Tcp,
    Kind::TcpV6,
    Kind::Tcp,
    Kind::Udp,
    Kind::Tcp,
    Kind::TcpV6,
    Kind::Tcp,
    Kind::Wildcard,
    Kind::Tcp,
    Kind::TcpV6,
    Kind::Tcp,
    Kind::Udp,
    Kind::Tcp,
    Kind::TcpV6,
    Kind::Tcp,
    Kind::IcmpError,
];

fn of_kinds(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, pipeline: &mut Pipeline, kinds: &[Kind]) {
    bench(group, name, || {
        let time = one(pipeline, |pipeline| pipeline.refill_of(kinds));
        assert_eq!(pipeline.forwarded(), BATCH, "every frame has its connection");
        time
    });
}

/// SYNs of new clients, while the table has room.
fn new_connections(criterion: &mut Criterion) {
    let mut group = group(criterion, "syn");
    for servers in [10, 1000, 10_000] {
        let mut pipeline = Pipeline::empty(FLOWS, &Site::new(servers));
        let mut room = 0;
        bench(&mut group, &format!("servers/{servers}"), || {
            if room < BATCH as u32 {
                pipeline.now = pipeline.now.after(Span::from_secs(3600));
                pipeline.forwarder.sweep_all(pipeline.now);
                room = FLOWS;
            }
            room -= BATCH as u32;
            let time = one(&mut pipeline, Pipeline::refill_with_new_clients);
            assert_eq!(pipeline.forwarded(), BATCH, "there is room");
            time
        });
    }
    group.finish();
}

/// SYNs of new clients into a full table, alone and as every second frame.
fn floods(criterion: &mut Criterion) {
    let mut group = group(criterion, "full");
    let mut half_open = Pipeline::empty(FLOWS, &Site::new(10));
    fill(&mut half_open);
    flood(&mut group, "syn/all_half_open", &mut half_open, BATCH, Pipeline::refill_with_new_clients);
    let mut half = Pipeline::empty(FLOWS, &Site::new(10));
    half.establish(FLOWS / 2);
    hits(&mut group, "established/before", &mut half);
    fill(&mut half);
    hits(&mut group, "established/after", &mut half);
    flood(&mut group, "mixed/half_of_it_half_open", &mut half, BATCH, Pipeline::refill_mixed);
    let mut all = Pipeline::established(FLOWS, 10);
    flood(&mut group, "mixed/all_established", &mut all, BATCH / 2, Pipeline::refill_mixed);
    flood(&mut group, "syn/all_established", &mut all, 0, Pipeline::refill_with_new_clients);
    let mut udp = Pipeline::empty(FLOWS, &Site::with_udp(10));
    udp.establish(FLOWS / 2);
    fill_with(&mut udp, Pipeline::refill_with_datagrams);
    flood(&mut group, "udp/half_of_it_unconfirmed", &mut udp, BATCH, Pipeline::refill_with_datagrams);
    flood(
        &mut group,
        "mixed/udp_half_of_it_unconfirmed",
        &mut udp,
        BATCH,
        Pipeline::refill_mixed_with_datagrams,
    );
    group.finish();
}

/// Half-open connections are evicted for new ones, established ones are not: `forwarded` frames of each
/// batch must be forwarded.
fn flood(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    pipeline: &mut Pipeline,
    forwarded: usize,
    prepare: fn(&mut Pipeline),
) {
    bench(group, name, || {
        let time = one(pipeline, prepare);
        assert_eq!(pipeline.forwarded(), forwarded);
        time
    });
}

/// Fills the table with half-open connections.
fn fill(pipeline: &mut Pipeline) {
    fill_with(pipeline, Pipeline::refill_with_new_clients);
}

/// Fills the table with frames of new clients.
fn fill_with(pipeline: &mut Pipeline, prepare: fn(&mut Pipeline)) {
    for _ in 0..2 * FLOWS as usize / BATCH {
        prepare(pipeline);
        pipeline.decide();
    }
}

/// The five client frames of a connection, with a million connections a second. Includes the sweep that
/// removes connections one second after their end. Five batches per iteration: 64 connections.
fn lives(criterion: &mut Criterion) {
    let mut group = group(criterion, "life");
    let mut pipeline = Pipeline::empty(4_000_000, &Site::new(10));
    let mut lives = Lives::new(1000);
    bench(&mut group, "connections", || {
        let batches = lives.round(&mut pipeline);
        let decided =
            batches.map(|(first, flags)| one(&mut pipeline, |batch| batch.refill_with(first, flags)));
        let decided: Duration = decided.sum();
        assert!(!lives.all_open() || pipeline.forwarded() == BATCH, "they are open while frames come");
        let start = Instant::now();
        pipeline.sweep();
        decided + start.elapsed()
    });
    group.finish();
}

/// Time of a batch with one worker, and with two at the same time. Each has its own table; all share the
/// loads.
fn workers(criterion: &mut Criterion) {
    let mut group = group(criterion, "workers");
    for workers in [1, 2] {
        let site = Site::new(10);
        let mut pipelines: Vec<_> = (0..workers).map(|_| Pipeline::empty(FLOWS, &site)).collect();
        pipelines.iter_mut().for_each(|pipeline| pipeline.establish(FLOWS));
        group.bench_function(BenchmarkId::new("established", workers), |bencher| {
            bencher.iter_custom(|batches| together(&mut pipelines, batches, |pipeline| pipeline.refill(ACK)));
        });
        let mut pipelines: Vec<_> = (0..workers).map(|_| Pipeline::empty(FLOWS, &site)).collect();
        pipelines.iter_mut().for_each(fill);
        group.bench_function(BenchmarkId::new("syn", workers), |bencher| {
            bencher
                .iter_custom(|batches| together(&mut pipelines, batches, Pipeline::refill_with_new_clients));
        });
    }
    group.finish();
}

/// Time of the slowest worker for this many batches.
fn together(pipelines: &mut [Pipeline], batches: u64, prepare: impl Fn(&mut Pipeline) + Sync) -> Duration {
    let (barrier, prepare) = (&Barrier::new(pipelines.len()), &prepare);
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    std::thread::scope(|scope| {
        let mut workers = Vec::new();
        for (number, pipeline) in pipelines.iter_mut().enumerate() {
            let core = cores.get(number % cores.len().max(1)).copied();
            workers.push(scope.spawn(move || {
                core.map(core_affinity::set_for_current);
                barrier.wait();
                (0..batches).map(|_| one(&mut *pipeline, prepare)).sum::<Duration>()
            }));
        }
        workers.into_iter().map(|worker| worker.join().expect("no panic")).max().expect("a worker")
    })
}

/// Cost of the latency measurement, which is done once in 16 batches.
fn sample(criterion: &mut Criterion) {
    let (mut histogram, received_at) = (latency_histogram(), Instant::now());
    criterion.bench_function("latency/one_sample", |bencher| {
        bencher.iter(|| histogram.saturating_record_n(received_at.elapsed().as_nanos() as u64, BATCH as u64));
    });
}

/// Time of a decision, without building its frames.
fn one(pipeline: &mut Pipeline, prepare: impl FnOnce(&mut Pipeline)) -> Duration {
    prepare(pipeline);
    let start = Instant::now();
    pipeline.decide();
    start.elapsed()
}

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(BATCH as u64));
    group
}

fn bench(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, mut batch: impl FnMut() -> Duration) {
    group.bench_function(name, |bencher| bencher.iter_custom(|batches| (0..batches).map(|_| batch()).sum()));
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(50)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = established, protocols, new_connections, floods, lives, workers, sample
}
criterion_main!(benches);
