//! The shadow table alone: entries stored, looked up beside no writer, and checked by the next process.
//!
//! `cargo bench --bench shadow`. Look-ups and stores are for batches of 64: divide by 64, or read `thrpt`. A recovery is for all
//! entries: it opens the file, finds the pages that are in use, and checks each entry.
#![allow(missing_docs)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use directrix::flow::{ConnState, V4Key};
use directrix::forward::BATCH;
use directrix::model::{MatchId, ServerId};
use directrix::schedule::Loads;
use directrix::shadow::{ShadowMemory, ShadowParts, ShadowPlace, ShadowShape, ShadowValue, Stored};
use directrix::time::SecondTick;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SIZES: [u32; 3] = [100_000, 1_000_000, 10_000_000];
const NOW: SecondTick = SecondTick::new(0);
const TIMEOUT: u32 = 900;
const SERVERS: u32 = 10;

fn key(n: u32) -> V4Key {
    V4Key::new(Ipv4Addr::from_bits(0x0a00_0000 | n >> 14), 1024 + (n & 0x3fff) as u16, MatchId(0))
}

fn value(n: u32) -> ShadowValue {
    let deadline = NOW.after(TIMEOUT);
    let (owner, server) = (Some((n % 8) as u8), ServerId((n % SERVERS) as u16));
    ShadowValue { deadline, owner, server, state: ConnState::Established, template: 0 }
}

/// Memory in a file, as that of a director.
fn memory(path: &Path, size: u32) -> ShadowParts {
    let shape = ShadowShape { compact: size as usize, wide: 64, templates: 64 };
    let memory = ShadowMemory::create(shape, &ShadowPlace::File(path.to_owned()));
    memory.expect("there is room in /dev/shm").split().expect("/proc is mounted")
}

fn fill(parts: &mut ShadowParts, size: u32) {
    for n in 0..size {
        assert_eq!(parts.compact.put(key(n), value(n), NOW), Stored::Placed);
    }
}

/// A file that is removed at the end.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir_in("/dev/shm").expect("/dev/shm can be written"))
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("shadow")
    }
}

/// From empty to full: the mean over all loads, with the pages that the kernel makes.
fn put(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("shadow");
    group.throughput(Throughput::Elements(BATCH as u64));
    for size in SIZES {
        let home = Home::new();
        let (mut parts, mut next) = (memory(&home.file(), size), 0);
        group.bench_function(BenchmarkId::new("put", size), |bencher| {
            bencher.iter_custom(|batches| {
                let batch = |_| {
                    if next + BATCH as u32 > size {
                        parts.compact.sweep(NOW.after(TIMEOUT), usize::MAX, drop);
                        next = 0;
                    }
                    next += BATCH as u32;
                    timed(|| {
                        for n in next - BATCH as u32..next {
                            parts.compact.put(key(n), value(n), NOW);
                        }
                    })
                };
                (0..batches).map(batch).sum()
            });
        });
    }
    group.finish();
}

/// Random look-ups, each waiting for its own cache misses, as a worker makes them one by one.
fn find(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("shadow");
    group.throughput(Throughput::Elements(BATCH as u64));
    for size in SIZES {
        let home = Home::new();
        let mut parts = memory(&home.file(), size);
        fill(&mut parts, size);
        let (reader, mut random) = (parts.compact.reader(), Random(1));
        for (name, first, hits) in [("find", 0, BATCH), ("miss", 1 << 31, 0)] {
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter_custom(|batches| {
                    let batch = |_| {
                        let keys: [_; BATCH] = std::array::from_fn(|_| key(first + random.below(size)));
                        timed(|| {
                            let found = keys.iter().filter(|key| reader.find(**key, NOW).is_some());
                            assert_eq!(found.count(), hits);
                        })
                    };
                    (0..batches).map(batch).sum()
                });
            });
        }
    }
    group.finish();
}

/// The next process: its judge counts the load of each entry, and gives it a new deadline.
fn recover(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("shadow");
    group.sample_size(10);
    for size in SIZES {
        let home = Home::new();
        let mut parts = memory(&home.file(), size);
        fill(&mut parts, size);
        drop(parts);
        let mut round = 0;
        group.throughput(Throughput::Elements(size.into()));
        group.bench_function(BenchmarkId::new("recover", size), |bencher| {
            bencher.iter_custom(|times| {
                let once = |_| {
                    round += 1;
                    timed(|| recovered(&home.file(), size, TIMEOUT + round))
                };
                (0..times).map(once).sum()
            });
        });
    }
    group.finish();
}

fn recovered(file: &Path, size: u32, timeout: u32) {
    let memory = ShadowMemory::open(file).expect("it is whole");
    let (mut parts, loads) = (memory.split().expect("/proc is mounted"), Loads::new(SERVERS as usize));
    let met = parts.compact.check(NOW, usize::MAX, |entry| {
        loads.add(entry.value.server, true);
        Some(ShadowValue { owner: None, deadline: NOW.after(timeout), ..entry.value })
    });
    assert_eq!(met.kept, u64::from(size));
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
    targets = put, find, recover
}
criterion_main!(benches);
