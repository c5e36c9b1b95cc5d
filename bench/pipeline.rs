//! The decision in memory: time per frame by number of flows, and per new connection.
//!
//! `cargo bench --bench pipeline`. An iteration is a batch of 64 frames; divide by 64 or read
//! `thrpt`. Frames lie in the cache, as they do just after they were received; the connection
//! table does not, once it is larger than the cache.
#![allow(missing_docs)]

mod traffic;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use directrix::forward::BATCH;
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

criterion_group!(benches, established, new_connections);
criterion_main!(benches);
