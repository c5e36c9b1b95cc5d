//! Model check of a few workers and control. Here a match has two servers, so that three servers make two
//! levels.

use super::*;
use crate::schedule::{ServerLoad, Thresholds};
use loom::sync::Arc as Shared;

type Of = Shared<(Pool, Loads)>;

/// Explores every interleaving with a bounded number of preemptions per thread. Three find every fault that
/// these tests are for, in seconds.
const PREEMPTIONS: usize = 3;

fn explore(body: impl Fn() + Sync + Send + 'static) {
    explore_to(PREEMPTIONS, body);
}

fn explore_to(preemptions: usize, body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(body);
}

fn candidates(weights: &[u16]) -> Vec<Candidate> {
    let candidate = |(weight, id): (&u16, u16)| Candidate::new(ServerId(id), *weight);
    weights.iter().zip(0..).map(candidate).collect()
}

fn service(weights: &[u16]) -> Of {
    Shared::new((Pool::new(candidates(weights)), Loads::new(weights.len())))
}

fn open(pool: &Pool, loads: &Loads) -> ServerId {
    let server = pool.pick(loads, ClientAddr::default()).unwrap();
    count(pool, loads, server);
    server
}

fn open_many(times: usize, pool: &Pool, loads: &Loads) {
    for _ in 0..times {
        open(pool, loads);
    }
}

fn count(pool: &Pool, loads: &Loads, server: ServerId) {
    loads.add(server, true);
    pool.changed(server, loads);
}

fn end(pool: &Pool, loads: &Loads, server: ServerId) {
    loads.remove(server, true);
    pool.changed(server, loads);
}

fn active(loads: &Loads, server: ServerId) -> u64 {
    loads.get(server).active.into()
}

/// Checks that the pool picks what a walk over its list picks.
fn exact(pool: &Pool, loads: &Loads) {
    let mut list = pool.0.candidates.iter();
    let first = list.next().unwrap();
    let best = list.fold(first, |best, next| {
        let better = active(loads, next.server) * u64::from(best.weight)
            < active(loads, best.server) * u64::from(next.weight);
        if better { next } else { best }
    });
    assert_eq!(pool.pick(loads, ClientAddr::default()), Some(best.server));
}

/// Checks n₁/w₁ ≤ n₂/w₂ + W/w₁.
fn within_the_bound(pool: &Pool, loads: &Loads, workers: u64) {
    let list = &pool.0.candidates;
    for (i, j) in list.iter().flat_map(|i| list.iter().map(move |j| (i, j))) {
        let (w_i, w_j) = (u64::from(i.weight), u64::from(j.weight));
        let (n_i, n_j) = (active(loads, i.server), active(loads, j.server));
        assert!(n_i * w_j <= n_j * w_i + workers * w_j, "{i:?}: {n_i}, {j:?}: {n_j}");
    }
}

/// Servers of `weights` with `start` connections each, and one worker per number of openings.
fn opening(preemptions: usize, weights: &'static [u16], start: &'static [u32], openings: &'static [usize]) {
    explore_to(preemptions, move || {
        let service = service(weights);
        let (pool, loads) = &*service;
        for (id, connections) in (0..).zip(start) {
            (0..*connections).for_each(|_| count(pool, loads, ServerId(id)));
        }
        let work = |times: usize| {
            let service = Shared::clone(&service);
            move || open_many(times, &service.0, &service.1)
        };
        let others: Vec<_> = openings[1..].iter().map(|times| loom::thread::spawn(work(*times))).collect();
        work(openings[0])();
        others.into_iter().for_each(|other| other.join().unwrap());
        let opened: u64 = (0..weights.len()).map(|id| active(loads, ServerId(id as u16))).sum();
        let expected = start.iter().sum::<u32>() as usize + openings.iter().sum::<usize>();
        assert_eq!(opened, expected as u64, "no connection is lost");
        within_the_bound(pool, loads, openings.len() as u64);
        exact(pool, loads);
    });
}

#[test]
fn loom_two_workers_open_on_two_servers() {
    opening(2, &[1, 1], &[0, 0], &[2, 2]);
}

#[test]
fn loom_two_workers_open_on_three_servers_of_two_levels() {
    opening(2, &[1, 1, 5], &[0, 0, 0], &[2, 2]);
}

#[test]
fn loom_three_workers_open() {
    opening(2, &[1, 1], &[0, 0], &[1, 1, 1]);
}

/// A worker that has counted at the first server and stalls before its replay must not hide the second
/// server from another worker. The other one would pick the third.
#[test]
fn loom_a_stalled_worker_hides_no_server() {
    opening(2, &[1, 1, 3], &[0, 1, 2], &[5, 1]);
}

#[test]
fn loom_one_opens_while_another_ends() {
    explore(|| {
        let service = service(&[1, 1, 2]);
        let old: Vec<_> = (0..3).map(|_| open(&service.0, &service.1)).collect();
        let ending = Shared::clone(&service);
        let other = loom::thread::spawn(move || {
            old.into_iter().take(2).for_each(|server| end(&ending.0, &ending.1, server));
        });
        let (pool, loads) = &*service;
        open_many(2, pool, loads);
        other.join().unwrap();
        exact(pool, loads);
    });
}

/// A connection that opens and ends leaves nothing behind, whatever others replay meanwhile.
#[test]
fn loom_the_same_server_goes_up_and_down() {
    explore(|| {
        let service = service(&[1, 1, 1]);
        let work = |server| {
            let service = Shared::clone(&service);
            move || {
                count(&service.0, &service.1, server);
                end(&service.0, &service.1, server);
            }
        };
        let other = loom::thread::spawn(work(ServerId(0)));
        work(ServerId(1))();
        other.join().unwrap();
        exact(&service.0, &service.1);
        assert_eq!(service.0.pick(&service.1, ClientAddr::default()), Some(ServerId(0)));
    });
}

/// Control makes new pools while a worker counts on the old one: no pool misses a change. A server that one
/// of them took for idle would be its next pick.
#[test]
fn loom_pools_are_replaced_while_connections_open() {
    explore(|| {
        let service = service(&[1, 1, 1]);
        let worker = Shared::clone(&service);
        let other = loom::thread::spawn(move || open_many(2, &worker.0, &worker.1));
        let (pool, loads) = &*service;
        let next = pool.successor(Params::default(), candidates(&[2, 2, 2]), loads);
        let newest = next.successor(Params::default(), candidates(&[3, 3]), loads);
        other.join().unwrap();
        [pool, &next, &newest].into_iter().for_each(|pool| exact(pool, loads));
    });
}

/// One worker has adopted the new pool, the other has not: the same servers, one bound.
#[test]
fn loom_the_bound_holds_across_pools() {
    explore(|| {
        let service = service(&[1, 1]);
        let (pool, loads) = &*service;
        let next = pool.successor(Params::default(), candidates(&[1, 1]).into_iter().rev(), loads);
        let behind = Shared::clone(&service);
        let other = loom::thread::spawn(move || open_many(2, &behind.0, &behind.1));
        open_many(2, &next, loads);
        other.join().unwrap();
        within_the_bound(pool, loads, 2);
        exact(pool, loads);
        exact(&next, loads);
    });
}

/// The old pool is dropped while a worker counts on the new one.
#[test]
fn loom_a_pool_is_dropped_while_connections_open() {
    explore(|| {
        let (first, loads) = (Pool::new(candidates(&[1, 1])), Loads::new(2));
        let next = first.successor(Params::default(), candidates(&[1, 2]), &loads);
        let adopted = Shared::new((next, loads));
        let worker = Shared::clone(&adopted);
        let other = loom::thread::spawn(move || open_many(2, &worker.0, &worker.1));
        drop(first);
        let (next, loads) = &*adopted;
        let newest = next.successor(Params::default(), candidates(&[2, 2]), loads);
        other.join().unwrap();
        exact(next, loads);
        exact(&newest, loads);
    });
}

/// A reader never counts a connection twice or not at all while it moves to inactive.
#[test]
fn loom_a_move_is_atomic() {
    loom::model(|| {
        let loads = Shared::new(Loads::new(1));
        loads.add(ServerId(0), true);
        let mover = {
            let loads = Shared::clone(&loads);
            loom::thread::spawn(move || loads.shift(ServerId(0), false))
        };
        let ServerLoad { active, inactive } = loads.get(ServerId(0));
        assert_eq!(active + inactive, 1);
        mover.join().unwrap();
        assert_eq!(loads.get(ServerId(0)), ServerLoad { active: 0, inactive: 1 });
    });
}

/// Service of `scheduler` whose servers have `weights` and equal thresholds.
fn service_of(scheduler: Scheduler, weights: &[u16], thresholds: Thresholds) -> Of {
    let loads = Loads::new(weights.len());
    let limited = candidates(weights).into_iter().map(|of| Candidate { thresholds, ..of });
    let params = Params { scheduler, ..Params::default() };
    let pool = Pool::new([]).successor(params, limited, &loads);
    Shared::new((pool, loads))
}

/// Number of picks of each server by two workers together.
fn picks(service: &Of, [here, there]: [usize; 2]) -> Vec<usize> {
    let work = |times: usize| {
        let service = Shared::clone(service);
        move || (0..times).map(|_| service.0.pick(&service.1, ClientAddr::default()).unwrap()).collect()
    };
    let other = loom::thread::spawn(work(there));
    let mut all: Vec<ServerId> = work(here)();
    all.extend(other.join().unwrap());
    (0..service.0.0.candidates.len())
        .map(|id| all.iter().filter(|of| usize::from(of.0) == id).count())
        .collect()
}

#[test]
fn loom_two_workers_share_one_rr_round() {
    explore(|| {
        let service = service_of(Scheduler::Rr, &[1, 1, 1], Thresholds::default());
        assert_eq!(picks(&service, [2, 2]), [2, 1, 1]);
    });
}

#[test]
fn loom_two_workers_share_one_wrr_round() {
    explore(|| {
        let service = service_of(Scheduler::Wrr, &[1, 2], Thresholds::default());
        assert_eq!(picks(&service, [2, 1]), [1, 2]);
    });
}

/// In any order of two workers' counts, a server without connections is not overloaded, and one at its
/// upper threshold is.
#[test]
fn loom_overload_matches_the_last_count() {
    for (stays, upper) in [(false, 1), (false, 2), (true, 1), (true, 2)] {
        explore_to(2, move || {
            let service = service_of(Scheduler::Wlc, &[1], Thresholds { upper, lower: 0 });
            let work = || {
                let service = Shared::clone(&service);
                move || {
                    count(&service.0, &service.1, ServerId(0));
                    if !stays {
                        end(&service.0, &service.1, ServerId(0));
                    }
                }
            };
            let other = loom::thread::spawn(work());
            work()();
            other.join().unwrap();
            assert_eq!(service.1.is_overloaded(ServerId(0)), stays);
            assert_eq!(service.0.pick(&service.1, ClientAddr::default()).is_none(), stays);
        });
    }
}

/// No server exceeds its threshold by more than one connection per other worker.
#[test]
fn loom_workers_stop_at_the_threshold() {
    explore_to(2, || {
        let service = service_of(Scheduler::Wlc, &[1, 1], Thresholds { upper: 1, lower: 0 });
        let work = || {
            let service = Shared::clone(&service);
            move || {
                for _ in 0..2 {
                    let picked = service.0.pick(&service.1, ClientAddr::default());
                    picked.into_iter().for_each(|server| count(&service.0, &service.1, server));
                }
            }
        };
        let other = loom::thread::spawn(work());
        work()();
        other.join().unwrap();
        let (pool, loads) = &*service;
        let opened = [0, 1].map(|id| active(loads, ServerId(id)));
        assert!(opened.iter().all(|opened| (1..=2).contains(opened)), "{opened:?}");
        assert_eq!(pool.pick(loads, ClientAddr::default()), None);
    });
}
