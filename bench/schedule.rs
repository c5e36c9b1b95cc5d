//! Picks: the tournament tree of `schedule/` beside a walk over the list of servers, by number of servers
//! and of threads that share loads and pool.
//!
//! `cargo bench --bench schedule`. `open` picks a server and counts the connection there. `life` also moves
//! a connection to inactive and ends another one, so that the number of connections stays. With two threads
//! the time is that of one such step of each, both at once. `pick` is a pick, counted and ended, by every
//! scheduler of IPVS, with 10 and 1000 servers of different weights, one in ten of them quiesced; `limited`
//! likewise with thresholds that are not reached. `cargo bench --bench schedule -- --count SERVERS STEPS`
//! opens that often and does nothing else, for a profiler that counts instructions.
#![allow(missing_docs)]

use criterion::{BenchmarkId, Criterion, criterion_group};
use directrix::model::{self, ServerId};
use directrix::schedule::{Candidate, ClientAddr, Loads, Params, Pool, Thresholds};
use std::collections::VecDeque;
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Barrier;
use std::time::{Duration, Instant};

const SERVERS: [u16; 4] = [10, 100, 1000, 10_000];

/// Loads with a way to pick by them.
trait Scheduler: Sync {
    fn loads(&self) -> &Loads;
    fn pick(&self) -> ServerId;
    fn changed(&self, server: ServerId);
}

struct Tree(Pool, Loads);
struct List(Vec<Candidate>, Loads);

impl Scheduler for Tree {
    fn loads(&self) -> &Loads {
        &self.1
    }

    #[inline]
    fn pick(&self) -> ServerId {
        self.0.pick(&self.1, ClientAddr::default()).expect("there are servers")
    }

    #[inline]
    fn changed(&self, server: ServerId) {
        self.0.changed(server, &self.1);
    }
}

impl Scheduler for List {
    fn loads(&self) -> &Loads {
        &self.1
    }

    #[inline]
    fn pick(&self) -> ServerId {
        let mut best = (self.0[0], self.1.get(self.0[0].server).overhead());
        for candidate in &self.0[1..] {
            let overhead = self.1.get(candidate.server).overhead();
            if best.1 * u64::from(candidate.weight) > overhead * u64::from(best.0.weight) {
                best = (*candidate, overhead);
            }
        }
        best.0.server
    }

    #[inline]
    fn changed(&self, _: ServerId) {}
}

fn candidates(servers: u16) -> impl Iterator<Item = Candidate> {
    (0..servers).map(|id| Candidate::new(ServerId(id), 1 + id % 7))
}

fn tree(servers: u16) -> Tree {
    Tree(Pool::new(candidates(servers)), Loads::new(servers.into()))
}

fn list(servers: u16) -> List {
    List(candidates(servers).collect(), Loads::new(servers.into()))
}

#[inline]
fn open(scheduler: &impl Scheduler) -> ServerId {
    let server = scheduler.pick();
    scheduler.loads().add(server, true);
    scheduler.changed(server);
    server
}

/// Opens a connection, moves the middle one of `held` to inactive, and ends the oldest.
#[inline]
fn live(scheduler: &impl Scheduler, held: &mut VecDeque<ServerId>) {
    held.push_back(open(scheduler));
    let closing = held[held.len() / 2];
    scheduler.loads().shift(closing, false);
    scheduler.changed(closing);
    let over = held.pop_front().expect("one was put there");
    scheduler.loads().remove(over, false);
    scheduler.changed(over);
}

/// Initial connections, as many per server as its weight; the older half is inactive.
fn held(scheduler: &impl Scheduler, servers: u16) -> VecDeque<ServerId> {
    let rounds = (1..=u16::MAX).map(|round| candidates(servers).filter(move |of| of.weight >= round));
    let all = rounds
        .map(|round| round.map(|of| of.server).collect())
        .take_while(|round: &Vec<_>| !round.is_empty());
    let held: VecDeque<_> = all.flatten().collect();
    for (at, server) in held.iter().enumerate() {
        scheduler.loads().add(*server, at >= held.len() / 2);
        scheduler.changed(*server);
    }
    held
}

/// Time for `steps` steps of each thread, of the slowest one.
fn time(threads: usize, steps: u64, scheduler: &impl Scheduler, opening: bool, servers: u16) -> Duration {
    let barrier = Barrier::new(threads);
    let work = || {
        let mut held = if opening { VecDeque::new() } else { held(scheduler, servers) };
        barrier.wait();
        let start = Instant::now();
        for _ in 0..steps {
            if opening {
                black_box(open(scheduler));
            } else {
                live(scheduler, &mut held);
            }
        }
        let elapsed = start.elapsed();
        end(scheduler, held);
        elapsed
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("no panic")).max().expect("a thread")
    })
}

/// Ends all connections; the older half is inactive.
fn end(scheduler: &impl Scheduler, held: VecDeque<ServerId>) {
    let half = held.len() / 2;
    for (at, server) in held.into_iter().enumerate() {
        scheduler.loads().remove(server, at >= half);
        scheduler.changed(server);
    }
}

fn schedule(criterion: &mut Criterion) {
    for (what, opening) in [("open", true), ("life", false)] {
        for threads in [1, 2] {
            let mut group = criterion.benchmark_group(format!("{what}/{threads}"));
            for servers in SERVERS {
                let (tree, list) = (tree(servers), list(servers));
                group.bench_function(BenchmarkId::new("tree", servers), |bencher| {
                    bencher.iter_custom(|steps| time(threads, steps, &tree, opening, servers));
                });
                group.bench_function(BenchmarkId::new("list", servers), |bencher| {
                    bencher.iter_custom(|steps| time(threads, steps, &list, opening, servers));
                });
            }
            group.finish();
        }
    }
}

/// Pool of `scheduler` with addresses, and with upper thresholds if `limited`.
fn rule(scheduler: model::Scheduler, servers: u16, limited: bool) -> Tree {
    let (loads, rule) = (Loads::new(servers.into()), Params { scheduler, ..Params::default() });
    let thresholds = Thresholds { upper: if limited { u32::MAX } else { 0 }, lower: 0 };
    let of = |of: Candidate| Candidate {
        thresholds,
        weight: if of.server.0 % 10 == 9 { 0 } else { of.weight },
        address: (Ipv4Addr::from_bits(0x0a00_0000 + u32::from(of.server.0)), 80).into(),
        ..of
    };
    let pool = Pool::new([]).successor(rule, candidates(servers).map(of), &loads);
    Tree(pool, loads)
}

/// Picks for one client after the other, and counts the connection if there is a server.
fn pick_for_clients(steps: u64, tree: &Tree) -> Duration {
    let start = Instant::now();
    for step in 0..steps {
        let client = ClientAddr::new(Ipv4Addr::from_bits(step as u32).into(), step as u16);
        if let Some(server) = black_box(tree.0.pick(&tree.1, client)) {
            tree.1.add(server, true);
            tree.changed(server);
            tree.1.remove(server, true);
            tree.changed(server);
        }
    }
    start.elapsed()
}

fn every_scheduler(criterion: &mut Criterion) {
    for (what, limited) in [("pick", false), ("limited", true)] {
        let mut group = criterion.benchmark_group(what);
        for (scheduler, servers) in
            model::Scheduler::ALL.iter().flat_map(|of| [10, 1000].map(|servers| (*of, servers)))
        {
            let tree = rule(scheduler, servers, limited);
            group.bench_function(BenchmarkId::new(scheduler.name(), servers), |bencher| {
                bencher.iter_custom(|steps| pick_for_clients(steps, &tree));
            });
        }
        group.finish();
    }
}

/// Numbers of servers and of steps, for a profiler.
fn counting() -> Option<(u16, u64)> {
    let arguments: Vec<_> = std::env::args().skip_while(|argument| argument != "--count").collect();
    Some((arguments.get(1)?.parse().ok()?, arguments.get(2)?.parse().ok()?))
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(1));
    targets = schedule, every_scheduler
}

fn main() {
    match counting() {
        Some((servers, steps)) => {
            let tree = tree(servers);
            for _ in 0..steps {
                black_box(open(&tree));
            }
        }
        None => {
            benches();
            Criterion::default().configure_from_args().final_summary();
        }
    }
}
