//! The flow table alone, in batches of 64 as the decision uses it: hits, misses, insertions and sweeps by
//! number of connections, and a datagram flood.
//!
//! `cargo bench --bench table`. Divide by 64 or read `thrpt`; a sweep is per bucket of four.
#![allow(missing_docs)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use directrix::flow::{ConnState, FlowEntry, FlowTable, Hint, Inserted, TableKey, V4Key};
use directrix::forward::BATCH;
use directrix::hash::{BucketPair, Seed};
use directrix::model::{MatchId, ServerId};
use directrix::time::{Span, Tick};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

const SIZES: [u32; 4] = [10_000, 100_000, 1_000_000, 10_000_000];
const SEED: Seed =
    Seed([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89]);
const NOW: Tick = Tick(0);
const SWEPT: usize = 256;

fn key(n: u32) -> V4Key {
    V4Key::new(Ipv4Addr::from_bits(0x0a00_0000 | n >> 14), 1024 + (n & 0x3fff) as u16, MatchId(0))
}

fn full(connections: u32) -> FlowTable<V4Key> {
    let mut table = FlowTable::new(connections as usize, SEED);
    (0..connections).for_each(|n| insert(&mut table, n));
    table
}

fn insert(table: &mut FlowTable<V4Key>, n: u32) {
    let deadline = NOW.after(Span::from_secs(900));
    let entry =
        FlowEntry { key: key(n), deadline, server: ServerId(0), state: ConnState::Established, template: 0 };
    table.insert(entry, table.bucket_pair(entry.key), NOW);
}

/// A batch of look-ups: prefetches all buckets, then looks up all keys. Returns the hits.
#[inline(never)]
fn look_up(table: &mut FlowTable<V4Key>, keys: &[V4Key; BATCH]) -> usize {
    let mut places = [(V4Key::VACANT, BucketPair::UNSET, Hint::NONE); BATCH];
    for (place, key) in places.iter_mut().zip(keys) {
        *place = (*key, table.bucket_pair(*key), Hint::NONE);
        table.prefetch(place.1);
    }
    for (key, pair, hint) in &mut places {
        *hint = table.locate(*key, *pair);
    }
    places.iter().filter(|(key, pair, hint)| table.find(*key, *pair, *hint).is_some()).count()
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) * u64::from(bound)) >> 32) as u32
    }
}

fn find(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("table");
    group.throughput(Throughput::Elements(BATCH as u64));
    for size in SIZES {
        let (mut table, mut random) = (full(size), Random(1));
        for (name, first, hits) in [("find", 0, BATCH), ("miss", 1 << 31, 0)] {
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter_custom(|batches| {
                    let batch = |_| {
                        let keys = std::array::from_fn(|_| key(first + random.below(size)));
                        timed(|| assert_eq!(look_up(&mut table, &keys), hits))
                    };
                    (0..batches).map(batch).sum()
                });
            });
        }
    }
    group.finish();
}

/// From empty to full: the mean over all loads.
fn fill(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("table");
    group.throughput(Throughput::Elements(BATCH as u64));
    for size in SIZES {
        let (mut table, mut next) = (FlowTable::new(size as usize, SEED), 0);
        group.bench_function(BenchmarkId::new("insert", size), |bencher| {
            bencher.iter_custom(|batches| {
                let batch = |_| {
                    if next + BATCH as u32 > size {
                        table.sweep(NOW.after(Span::from_secs(3600)), usize::MAX, |_| {});
                        next = 0;
                    }
                    next += BATCH as u32;
                    timed(|| (next - BATCH as u32..next).for_each(|n| insert(&mut table, n)))
                };
                (0..batches).map(batch).sum()
            });
        });
    }
    group.finish();
}

/// Sweep of a full table without expired entries.
fn sweep(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("table");
    group.throughput(Throughput::Elements(SWEPT as u64));
    for size in SIZES {
        let mut table = full(size);
        group.bench_function(BenchmarkId::new("sweep", size), |bencher| {
            bencher.iter(|| table.sweep(NOW, SWEPT, |entry| assert_ne!(entry.key, V4Key::VACANT)));
        });
        assert_eq!(table.len(), size as usize);
    }
    group.finish();
}

/// New UDP flows of one datagram. Their service holds its share of a table beside established TCP, so each
/// evicts another one of them.
fn flood(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("table");
    group.throughput(Throughput::Elements(BATCH as u64));
    for size in SIZES {
        let mut table = FlowTable::new(size as usize, SEED);
        table.set_shared(true);
        (0..size / 2).for_each(|n| insert(&mut table, n));
        let mut next = 1 << 31;
        let mut datagrams = |table: &mut FlowTable<V4Key>| {
            next += BATCH as u32;
            let deadline = NOW.after(Span::from_secs(300));
            table.renew_eviction_budget();
            let each = (next..next + BATCH as u32).map(|n| {
                let key = V4Key::new(key(n).source(), key(n).port(), MatchId(1));
                let entry =
                    FlowEntry { key, deadline, server: ServerId(1), state: ConnState::UdpNew, template: 0 };
                table.insert(entry, table.bucket_pair(key), NOW)
            });
            each.filter(|inserted| matches!(inserted, Inserted::Replaced(_))).count()
        };
        for _ in 0..size as usize / BATCH {
            datagrams(&mut table);
        }
        group.bench_function(BenchmarkId::new("udp_flood", size), |bencher| {
            bencher.iter_custom(|batches| {
                let batch = |_| timed(|| assert!(datagrams(&mut table) > 0, "it evicts"));
                (0..batches).map(batch).sum()
            });
        });
    }
    group.finish();
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = find, fill, sweep, flood
}
criterion_main!(benches);
