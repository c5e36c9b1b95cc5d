//! Least-loaded picks by list and by tree. Other schedulers are in [`rules`].

mod rules;

use super::*;
use crate::schedule::ServerLoad;
use proptest::prelude::*;
use std::sync::Mutex;

/// IPVS's rule for wlc: walk the list, replace the best only if the later one is strictly less loaded for
/// its weight.
fn naive(candidates: &[Candidate], load: impl Fn(ServerId) -> ServerLoad) -> Option<ServerId> {
    let overhead = |server| u128::from(load(server).active) * 256 + u128::from(load(server).inactive);
    let mut best: Option<(&Candidate, u128)> = None;
    for candidate in candidates.iter().filter(|candidate| candidate.weight > 0) {
        let its = overhead(candidate.server);
        let replaces = best
            .is_none_or(|(best, least)| least * u128::from(candidate.weight) > its * u128::from(best.weight));
        if replaces {
            best = Some((candidate, its));
        }
    }
    best.map(|(best, _)| best.server)
}

fn candidates(weights: &[u16]) -> Vec<Candidate> {
    let candidate = |(weight, id): (&u16, u16)| Candidate::new(ServerId(id), *weight);
    weights.iter().zip(0..=u16::MAX).map(candidate).collect()
}

fn pool(weights: &[u16]) -> Pool {
    Pool::with_list_max(0, candidates(weights))
}

/// A service, its connections, and the pools in use: workers that are behind use an older one. Every step
/// is checked against the naive rule.
struct Service {
    loads: Loads,
    /// Expected loads.
    expected: Vec<ServerLoad>,
    /// Oldest first, each with its list.
    pools: Vec<(Pool, Vec<Candidate>)>,
    open: Vec<(ServerId, bool)>,
}

/// Step of a run. Numbers are taken modulo the number of pools or connections.
#[derive(Clone, Debug)]
enum Step {
    /// A worker opens a connection by this pool, active or not.
    Open(usize, bool),
    /// A worker moves this connection to active or inactive, by this pool.
    Move(usize, usize),
    /// A worker ends this connection, by this pool.
    End(usize, usize),
    /// New weights, 0 for removed servers; reverses the list if true.
    Change(Vec<u16>, bool),
    /// The workers with the oldest pool adopt the next one.
    Adopt,
}

impl Service {
    /// Pools with at most `list_max` servers are lists, the others trees.
    fn new(weights: &[u16], list_max: usize) -> Self {
        let (loads, expected) = (Loads::new(weights.len()), vec![ServerLoad::default(); weights.len()]);
        let pool = Pool::with_list_max(list_max, candidates(weights));
        Self { loads, expected, pools: vec![(pool, candidates(weights))], open: Vec::new() }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Open(pool, active) => self.start(*pool, *active),
            Step::Move(pool, at) => self.shift(*pool, *at),
            Step::End(pool, at) => self.end(*pool, *at),
            Step::Change(weights, reversed) => self.change(weights, *reversed),
            Step::Adopt if self.pools.len() > 1 => drop(self.pools.remove(0)),
            Step::Adopt => {}
        }
        self.check();
    }

    fn check(&self) {
        for (pool, list) in &self.pools {
            assert_eq!(
                pool.pick(&self.loads, ClientAddr::default()),
                naive(list, |server| self.expected[usize::from(server.0)])
            );
        }
    }

    fn pool(&self, number: usize) -> &Pool {
        &self.pools[number % self.pools.len()].0
    }

    fn start(&mut self, pool: usize, active: bool) {
        let Some(server) = self.pool(pool).pick(&self.loads, ClientAddr::default()) else { return };
        *self.count(server, active) += 1;
        self.loads.add(server, active);
        self.pool(pool).changed(server, &self.loads);
        self.open.push((server, active));
    }

    fn shift(&mut self, pool: usize, at: usize) {
        let at = at % self.open.len().max(1);
        let Some((server, active)) = self.open.get_mut(at) else { return };
        *active = !*active;
        let (server, active) = (*server, *active);
        *self.count(server, active) += 1;
        *self.count(server, !active) -= 1;
        self.loads.shift(server, active);
        self.pool(pool).changed(server, &self.loads);
    }

    fn end(&mut self, pool: usize, at: usize) {
        if self.open.is_empty() {
            return;
        }
        let (server, active) = self.open.swap_remove(at % self.open.len());
        *self.count(server, active) -= 1;
        self.loads.remove(server, active);
        self.pool(pool).changed(server, &self.loads);
    }

    fn change(&mut self, weights: &[u16], reversed: bool) {
        let mut list = candidates(&weights[..weights.len().min(self.expected.len())]);
        if reversed {
            list.reverse();
        }
        let newest = &self.pools.last().expect("one always stays").0;
        self.pools.push((newest.successor(Params::default(), list.iter().copied(), &self.loads), list));
    }

    fn count(&mut self, server: ServerId, active: bool) -> &mut u32 {
        let load = &mut self.expected[usize::from(server.0)];
        if active { &mut load.active } else { &mut load.inactive }
    }
}

fn weights(most: usize) -> impl Strategy<Value = Vec<u16>> {
    prop::collection::vec(prop_oneof![Just(0u16), Just(1), 1u16..10, any::<u16>()], 0..=most)
}

fn step(servers: usize) -> impl Strategy<Value = Step> {
    let number = || any::<usize>();
    prop_oneof![
        6 => (number(), any::<bool>()).prop_map(|(pool, active)| Step::Open(pool, active)),
        3 => (number(), number()).prop_map(|(pool, at)| Step::Move(pool, at)),
        3 => (number(), number()).prop_map(|(pool, at)| Step::End(pool, at)),
        1 => (weights(servers), any::<bool>()).prop_map(|(weights, back)| Step::Change(weights, back)),
        1 => Just(Step::Adopt),
    ]
}

proptest! {
    /// Trees of up to three levels, lists, and changes between them.
    #[test]
    fn every_pick_is_that_of_the_naive_rule(
        (start, steps) in weights(40).prop_flat_map(|start| {
            let steps = prop::collection::vec(step(start.len()), 1..300);
            (Just(start), steps)
        }),
        list_max in prop_oneof![Just(0), 1usize..40],
    ) {
        let mut service = Service::new(&start, list_max);
        steps.iter().for_each(|step| service.take(step));
    }
}

/// Generator: xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (((self.0 >> 32) * limit as u64) >> 32) as usize
    }

    fn weights(&mut self, servers: usize) -> Vec<u16> {
        (0..servers).map(|_| [0, 1, 1, 2, 7, 1000, u16::MAX][self.below(7)]).collect()
    }

    /// Mostly opens or mostly ends connections.
    fn step(&mut self, opening: bool, servers: usize) -> Step {
        let (pool, at) = (self.below(usize::MAX >> 32), self.below(usize::MAX >> 32));
        match self.below(1000) {
            0 => Step::Change(self.weights(servers), self.below(2) == 0),
            1..4 => Step::Adopt,
            4..300 => Step::Move(pool, at),
            300..400 => Step::End(pool, at),
            _ if opening => Step::Open(pool, self.below(3) > 0),
            _ => Step::End(pool, at),
        }
    }
}

#[test]
fn a_million_steps_match_the_naive_rule() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for (servers, list_max) in [(2, 0), (5, 0), (11, 0), (23, 0), (9, 6), (23, LIST_MAX)] {
        let mut service = Service::new(&random.weights(servers), list_max);
        for number in 0..250_000 {
            service.take(&random.step(number / 5000 % 3 < 2, servers));
        }
        assert!(service.open.len() > 1000 && service.loads.get(ServerId(0)) == service.expected[0]);
    }
}

#[test]
fn pools_of_any_16_bit_size_pick() {
    let mut random = Random(7);
    for servers in [1, 4, 5, 16, 17, 64, 65, 4096, 4097, 10_000, 1 << 16] {
        let mut service = Service::new(&random.weights(servers), LIST_MAX);
        let steps = (500_000 / servers).clamp(20, 2000);
        for number in 0..steps {
            service.take(&random.step(true, servers));
            if number == steps / 2 {
                service.take(&Step::Change(random.weights(servers), true));
            }
        }
    }
}

#[test]
fn equal_servers_are_picked_in_list_order() {
    let (pool, loads) = (pool(&[1; 9]), Loads::new(9));
    let picks: Vec<_> = (0..18)
        .map(|_| {
            let server = pool.pick(&loads, ClientAddr::default()).unwrap();
            loads.add(server, true);
            pool.changed(server, &loads);
            server.0
        })
        .collect();
    assert!(picks.iter().copied().eq((0..9).chain(0..9)));
}

/// All pairs of the least and greatest loads and weights, and their neighbors.
#[test]
fn extreme_loads_and_weights_do_not_overflow() {
    let counts = [0, 1, u32::MAX - 1, u32::MAX];
    let all = || counts.into_iter().flat_map(|active| counts.map(|inactive| ServerLoad { active, inactive }));
    let weights = [1, 2, u16::MAX - 1, u16::MAX];
    for (first, second) in all().flat_map(|first| all().map(move |second| (first, second))) {
        for (a, b) in weights.into_iter().flat_map(|a| weights.map(|b| (a, b))) {
            let (pool, loads, list) = (pool(&[a, b]), Loads::new(2), candidates(&[a, b]));
            for (id, load) in (0..).zip([first, second]) {
                reach(&loads, ServerId(id), load);
                pool.changed(ServerId(id), &loads);
            }
            assert_eq!(
                pool.pick(&loads, ClientAddr::default()),
                naive(&list, |server| loads.get(server)),
                "{first:?} {second:?} {a} {b}"
            );
        }
    }
}

/// Counts up to `load` in few steps: backwards from zero if that is shorter.
fn reach(loads: &Loads, server: ServerId, load: ServerLoad) {
    for (active, count) in [(true, load.active), (false, load.inactive)] {
        if count <= 1 {
            (0..count).for_each(|_| loads.add(server, active));
        } else {
            (count..=u32::MAX).for_each(|_| loads.remove(server, active));
        }
    }
    // An inactive count below zero borrows an active one.
    if load.inactive > 1 {
        loads.add(server, true);
    }
    assert_eq!(loads.get(server), load);
}

#[test]
fn an_empty_or_quiesced_pool_picks_none() {
    assert_eq!(pool(&[]).pick(&Loads::new(0), ClientAddr::default()), None);
    assert_eq!(pool(&[0, 0]).pick(&Loads::new(2), ClientAddr::default()), None);
    pool(&[0, 1]).changed(ServerId(0), &Loads::new(2));
    pool(&[]).changed(ServerId(0), &Loads::new(1));
}

#[test]
fn an_unchanged_list_gives_the_same_pool() {
    let (pool, loads) = (pool(&[3, 0, 1]), Loads::new(3));
    assert!(Arc::ptr_eq(&pool.0, &pool.successor(Params::default(), candidates(&[3, 0, 1]), &loads).0));
    assert!(!Arc::ptr_eq(&pool.0, &pool.successor(Params::default(), candidates(&[3, 1, 1]), &loads).0));
    assert!(!Arc::ptr_eq(&pool.0, &pool.successor(Params::default(), candidates(&[3]), &loads).0));
}

/// The last handle frees the whole pool.
#[test]
fn old_pools_are_freed() {
    let loads = Loads::new(2);
    let mut pool = pool(&[1, 1]);
    let trees: Vec<_> = (2..100)
        .map(|weight| {
            let tree = Arc::downgrade(&pool.0.tree);
            pool = pool.successor(Params::default(), candidates(&[1, weight]), &loads);
            tree
        })
        .collect();
    assert!(trees.iter().all(|tree| tree.strong_count() == 0));
    let tree_set = Arc::downgrade(&pool.0.tree_set);
    drop(pool);
    assert_eq!(tree_set.strong_count(), 0);
}

const WORKERS: usize = 4;

/// With W workers every pick misses at most the W − 1 concurrent picks of others. While connections only
/// open, no server is therefore ahead of another by more than W connections for its weight: n_i / w_i ≤ n_j
/// / w_j + W / w_i.
fn within_the_bound(loads: &Loads, list: &[Candidate]) {
    let opened = |of: &Candidate| u64::from(loads.get(of.server).active);
    for (i, j) in list.iter().flat_map(|i| list.iter().map(move |j| (i, j))) {
        let (w_i, w_j) = (u64::from(i.weight), u64::from(j.weight));
        let bounded = opened(i) * w_j <= opened(j) * w_i + WORKERS as u64 * w_j;
        assert!(bounded, "{i:?}: {}, but {j:?}: {}", opened(i), opened(j));
    }
}

fn open_many(times: usize, pool: &Pool, loads: &Loads) {
    for _ in 0..times {
        let server = pool.pick(loads, ClientAddr::default()).unwrap();
        loads.add(server, true);
        pool.changed(server, loads);
    }
}

/// Many servers of very different weights.
#[test]
fn several_workers_stay_within_the_bound() {
    let (few, many) = ([1u16, 2, 5], [1, 1000, 1, 7, 1000, 1, 1, 3, 60_000, 1, 2, 1, 1, 1, 50, 1, 1, 9]);
    for (weights, list_max) in [(&few[..], 0), (&many, 0), (&few, LIST_MAX), (&many, LIST_MAX)] {
        let (loads, list) = (Loads::new(weights.len()), candidates(weights));
        let pool = Pool::with_list_max(list_max, list.iter().copied());
        for round in 1..=20 {
            std::thread::scope(|scope| {
                for _ in 0..WORKERS {
                    scope.spawn(|| open_many(1000, &pool, &loads));
                }
            });
            let total: u32 = list.iter().map(|of| loads.get(of.server).active).sum();
            assert_eq!(total as usize, round * WORKERS * 1000, "no connection is lost");
            within_the_bound(&loads, &list);
            assert_eq!(pool.pick(&loads, ClientAddr::default()), naive(&list, |server| loads.get(server)));
        }
    }
}

/// Workers open connections while control reverses the list repeatedly: the same servers in new pools. Each
/// worker adopts them at any time.
#[test]
fn the_bound_holds_while_pools_are_replaced() {
    let list = candidates(&[1, 300, 1, 5, 2, 1, 1]);
    let loads = Loads::new(list.len());
    let newest = Mutex::new(Pool::with_list_max(0, list.iter().copied()));
    let kept = Mutex::new(Vec::new()); // dropped at the end, or by control
    std::thread::scope(|scope| {
        let work = || {
            for _ in 0..200 {
                let adopted = newest.lock().unwrap().clone();
                open_many(100, &adopted, &loads);
                kept.lock().unwrap().push(adopted);
            }
        };
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        let mut turned = list.clone();
        while workers.iter().any(|worker| !worker.is_finished()) {
            turned.reverse();
            let next = newest.lock().unwrap().successor(Params::default(), turned.iter().copied(), &loads);
            *newest.lock().unwrap() = next;
            kept.lock().unwrap().clear();
        }
    });
    within_the_bound(&loads, &list);
    let newest = newest.into_inner().unwrap();
    assert_eq!(
        newest.pick(&loads, ClientAddr::default()),
        naive(&newest.0.candidates, |server| loads.get(server))
    );
}

/// All changes concurrently, on different sets of servers. When all threads are done, every remaining pool
/// picks the right server.
#[test]
fn the_root_is_exact_when_all_threads_are_done() {
    const SERVERS: usize = 30;
    let loads = Loads::new(SERVERS);
    for round in 0..50u64 {
        let mut random = Random(0x1234_5678 + round);
        let newest = Mutex::new(pool(&random.weights(SERVERS)));
        let held = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for number in 0..WORKERS as u64 {
                let (loads, newest, held) = (&loads, &newest, &held);
                scope.spawn(move || open_and_end(loads, newest, held, Random(round << 8 | number | 1 << 60)));
            }
            for _ in 0..20 {
                let weights = random.weights(SERVERS);
                let next = newest.lock().unwrap().successor(Params::default(), candidates(&weights), &loads);
                held.lock().unwrap().push(std::mem::replace(&mut *newest.lock().unwrap(), next));
            }
        });
        held.lock().unwrap().push(newest.into_inner().unwrap());
        for pool in held.into_inner().unwrap() {
            assert_eq!(
                pool.pick(&loads, ClientAddr::default()),
                naive(&pool.0.candidates, |server| loads.get(server))
            );
        }
    }
    assert!((0..SERVERS as u16).all(|id| loads.get(ServerId(id)) == ServerLoad::default()));
}

/// Opens connections, moves some, and ends all.
fn open_and_end(loads: &Loads, newest: &Mutex<Pool>, held: &Mutex<Vec<Pool>>, mut random: Random) {
    let mut open = Vec::new();
    for _ in 0..20 {
        let pool = newest.lock().unwrap().clone();
        for _ in 0..50 {
            let Some(server) = pool.pick(loads, ClientAddr::default()) else { continue };
            loads.add(server, true);
            pool.changed(server, loads);
            open.push(server);
            if random.below(2) == 0 {
                let server = open.swap_remove(random.below(open.len()));
                loads.shift(server, false);
                pool.changed(server, loads);
                loads.remove(server, false);
                pool.changed(server, loads);
            }
        }
        held.lock().unwrap().push(pool);
    }
    let pool = newest.lock().unwrap().clone();
    for server in open {
        loads.remove(server, true);
        pool.changed(server, loads);
    }
    held.lock().unwrap().push(pool);
}
