//! The decision in memory: time per frame by number of flows, per new connection, and per wlc pick
//! by number of servers.
//!
//! `cargo bench --bench pipeline`. An iteration is a batch of 64 frames; divide by 64 or read
//! `thrpt`. Frames lie in the cache, as they do just after they were received; the connection
//! table does not, once it is larger than the cache.
#![allow(missing_docs)]

mod traffic;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use directrix::forward::BATCH;
use directrix::model::ServerId;
use directrix::schedule::{Candidate, Loads, Pool};
use std::hint::black_box;
use std::time::{Duration, Instant};
use traffic::{ACK, Pipeline};

fn established(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("established");
    group.throughput(Throughput::Elements(BATCH as u64));
    for flows in [10_000, 100_000, 1_000_000] {
        let mut pipeline = Pipeline::established(flows, 10);
        group.bench_function(BenchmarkId::new("flows", flows), |bencher| {
            bencher.iter_custom(|batches| (0..batches).map(|_| one(&mut pipeline, |p| p.refill(ACK))).sum());
            assert_eq!(pipeline.forwarded(), BATCH, "every frame has its connection");
        });
    }
    group.finish();
}

/// SYNs of clients never seen before: while there is room, then in a table full of half-open ones.
fn new_connections(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("syn");
    group.throughput(Throughput::Elements(BATCH as u64));
    let mut next = 0;
    let mut pipeline = Pipeline::empty(1_000_000, 10);
    group.bench_function("flood", |bencher| {
        bencher.iter_custom(|batches| {
            (0..batches).map(|_| one(&mut pipeline, |p| p.refill_with_strangers(&mut next))).sum()
        });
        assert_eq!(pipeline.forwarded(), BATCH, "half-open connections give way");
    });
    group.finish();
}

/// The time of one decision, without that of making its frames.
fn one(pipeline: &mut Pipeline, prepare: impl FnOnce(&mut Pipeline)) -> Duration {
    prepare(pipeline);
    let start = Instant::now();
    pipeline.decide();
    start.elapsed()
}

fn pick(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wlc");
    for servers in [10u16, 1000, 10_000] {
        let loads = Loads::new(servers.into());
        let pool = Pool::new((0..servers).map(|id| Candidate { server: ServerId(id), weight: 1 + id % 7 }));
        (0..servers).for_each(|id| (0..id % 5).for_each(|_| loads.add(ServerId(id), true)));
        group.bench_function(BenchmarkId::new("servers", servers), |bencher| {
            bencher.iter(|| black_box(&pool).pick(&loads))
        });
    }
    group.finish();
}

criterion_group!(benches, established, new_connections, pick);
criterion_main!(benches);
