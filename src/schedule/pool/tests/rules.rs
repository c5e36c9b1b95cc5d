//! Every scheduler against a naive one: random loads, weights, thresholds and changes, pick by pick.

use super::*;
use crate::model::SchedulerFlags;
use crate::schedule::{Thresholds, maglev};
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

const VIP: [u8; 4] = [192, 0, 2, 77];

/// Server of the naive model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Server {
    id: ServerId,
    weight: u16,
    /// Last weight other than 0.
    last_weight: u16,
    upper: u32,
    lower: u32,
    load: ServerLoad,
    overloaded: bool,
}

impl Server {
    fn takes(&self) -> bool {
        self.weight > 0 && !self.overloaded
    }

    /// Updates the overload after a change of load or thresholds.
    fn update_overload(&mut self) {
        let total = self.load.total();
        let low = if self.lower > 0 {
            total < u64::from(self.lower)
        } else {
            total * 4 < u64::from(self.upper) * 3
        };
        if self.upper == 0 || low {
            self.overloaded = false;
        }
        if self.upper > 0 && total >= u64::from(self.upper) {
            self.overloaded = true;
        }
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, self.id.0 as u8], 80))
    }
}

/// Naive service with one worker.
struct Naive {
    params: Params,
    list: Vec<Server>,
    /// Last pick of rr and wrr.
    last: Option<usize>,
    /// Level of wrr.
    level: u16,
}

impl Naive {
    fn weights(&self) -> Vec<u16> {
        self.list.iter().map(|server| server.weight).filter(|weight| *weight > 0).collect()
    }

    fn step(&self) -> u16 {
        let divides = |step: &u16| self.weights().iter().all(|weight| weight % step == 0);
        (1..=self.weights().into_iter().max().unwrap_or(1)).rev().find(divides).expect("1 does")
    }

    fn top(&self) -> u16 {
        self.weights().into_iter().max().map_or(0, |most| most - self.step() + 1)
    }

    fn change(&mut self, params: Params, mut list: Vec<Server>) {
        for new in &mut list {
            let old = self.list.iter().find(|old| old.id == new.id);
            new.last_weight = if new.weight > 0 { new.weight } else { old.map_or(0, |old| old.last_weight) };
        }
        let came = self.last.map_or(&[][..], |last| &self.list[..=last]);
        let survivor = came.iter().rev().find_map(|old| list.iter().position(|new| new.id == old.id));
        let same = params.scheduler == self.params.scheduler;
        (self.params, self.list) = (params, list);
        self.last = if same && params.scheduler == Scheduler::Rr { survivor } else { None };
        let (step, top) = (self.step(), self.top());
        self.level = match self.level {
            _ if top == 0 => 0,
            level if !same || level == 0 => 1,
            level if level > top => top,
            level if step > 1 => level / step * step + 1,
            level => level,
        };
    }

    fn pick(&mut self, client: (IpAddr, u16), seed: u64) -> Option<ServerId> {
        let place = match self.params.scheduler {
            Scheduler::Rr => self.rr(),
            Scheduler::Wrr => self.wrr(),
            Scheduler::Wlc => self.least(|load, weight| (load.overhead(), weight)),
            Scheduler::Lc => self.least(|load, _| (load.overhead(), 1)),
            Scheduler::Sed => self.least(|load, weight| (u64::from(load.active) + 1, weight)),
            Scheduler::Nq => {
                let idle = self.list.iter().position(|server| server.takes() && server.load.active == 0);
                idle.or_else(|| self.least(|load, weight| (u64::from(load.active) + 1, weight)))
            }
            Scheduler::Fo => self.heaviest(|_| true),
            Scheduler::Ovf => self.heaviest(|server| server.load.active <= u32::from(server.weight)),
            Scheduler::Sh | Scheduler::Mh | Scheduler::Dh => self.hashed(client),
            Scheduler::Twos => self.twos(seed),
        };
        place.map(|place| self.list[place].id)
    }

    fn rr(&mut self) -> Option<usize> {
        let n = self.list.len();
        let first = self.last.map_or(0, |last| last + 1);
        let next = (first..first + n).map(|at| at % n).find(|at| self.list[*at].takes());
        self.last = next.or(self.last);
        next
    }

    /// Walks server by server, level by level, through all levels once.
    fn wrr(&mut self) -> Option<usize> {
        let (n, step, top) = (self.list.len(), self.step(), self.top());
        if top == 0 {
            return None;
        }
        let (mut at, mut level) = (self.last.map_or(0, |last| last + 1), self.level);
        for _ in 0..n * (1 + usize::from(top / step)) + n {
            if at == n {
                (at, level) = (0, if level > step { level - step } else { top });
            }
            if self.list[at].takes() && self.list[at].weight >= level {
                (self.last, self.level) = (Some(at), level);
                return self.last;
            }
            at += 1;
        }
        if self.level != 1 || self.last.is_none() {
            (self.last, self.level) = (None, top);
        }
        None
    }

    /// The first server with the least load for its share.
    fn least(&self, measure: impl Fn(ServerLoad, u16) -> (u64, u16)) -> Option<usize> {
        let takers = (0..self.list.len()).filter(|at| self.list[*at].takes());
        takers.reduce(|best, at| {
            let of = |at: usize| measure(self.list[at].load, self.list[at].weight);
            let ((least, its), (load, share)) = (of(best), of(at));
            if least * u64::from(share) > load * u64::from(its) { at } else { best }
        })
    }

    fn heaviest(&self, may: impl Fn(&Server) -> bool) -> Option<usize> {
        let takers = (0..self.list.len()).filter(|at| self.list[*at].takes() && may(&self.list[*at]));
        takers.reduce(|best, at| if self.list[at].weight > self.list[best].weight { at } else { best })
    }

    fn hashed(&self, client: (IpAddr, u16)) -> Option<usize> {
        let Params { scheduler, flags, vip, .. } = self.params;
        let bits = |address| match address {
            IpAddr::V4(address) => u64::from(address.to_bits()),
            IpAddr::V6(_) => panic!("the test has none"),
        };
        let port = if flags.port { u64::from(client.1) } else { 0 };
        let number = bits(if scheduler == Scheduler::Dh { vip } else { client.0 });
        let number = if scheduler == Scheduler::Dh { number } else { number + port };
        let mut table = Vec::new();
        match scheduler {
            _ if self.list.is_empty() => return None,
            Scheduler::Mh => {
                let weights: Vec<_> = self.list.iter().map(|server| server.last_weight).collect();
                let addresses: Vec<_> =
                    self.list.iter().map(|server| bits(server.address().ip()) as u32 + 80).collect();
                table.extend(maglev::table(&weights, &addresses, u16::MAX));
            }
            _ => {
                while table.len() < 256 {
                    for (place, server) in self.list.iter().enumerate() {
                        let times = if scheduler == Scheduler::Dh { 1 } else { server.weight.max(1) };
                        (0..times).for_each(|_| table.push(place as u16));
                    }
                }
                table.truncate(256);
            }
        }
        let slot = |offset: u64| match scheduler {
            Scheduler::Mh => maglev::slot((number + offset) as u32),
            _ => ((((number * 0x61c8_8647) & 0xffff_ffff) >> 24) + offset) as usize % 256,
        };
        let takes = |slot: usize| {
            let place = usize::from(table[slot]);
            self.list.get(place).is_some_and(Server::takes).then_some(place)
        };
        let (home, size) = (slot(0), table.len());
        let fallback = flags.fallback && scheduler != Scheduler::Dh && table[home] != u16::MAX;
        let others = || (0..size).find_map(|offset| takes(slot(((offset + home) % size) as u64)));
        takes(home).or_else(|| if fallback { others() } else { None })
    }

    fn twos(&self, seed: u64) -> Option<usize> {
        let takers: Vec<_> = (0..self.list.len()).filter(|at| self.list[*at].takes()).collect();
        let weight = |at: usize| u64::from(self.list[at].weight);
        let total: u64 = takers.iter().map(|at| weight(*at)).sum();
        let drawn = |number: u64| {
            let mut left = splitmix(seed, number) % (total + 1);
            let mut takers = takers.iter().copied();
            takers.find(|at| {
                let found = left <= weight(*at);
                left = left.saturating_sub(weight(*at));
                found
            })
        };
        let (first, second) = (drawn(1)?, drawn(2)?);
        let overhead = |at: usize| self.list[at].load.overhead();
        let better = overhead(first) * weight(second) > overhead(second) * weight(first);
        Some(if better { second } else { first })
    }
}

/// Output `number` of SplitMix64 from `seed`.
fn splitmix(seed: u64, number: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(number));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Event of a run. Numbers are taken modulo the number of connections or servers.
#[derive(Clone, Debug)]
enum Event {
    Open {
        client: u8,
        port: u16,
        active: bool,
    },
    Move(usize),
    End(usize),
    /// New list: weight, upper and lower threshold of its servers; and a new scheduler.
    Change(Vec<Option<(u16, u32, u32)>>, Option<Scheduler>),
}

struct Both {
    naive: Naive,
    pool: Pool,
    loads: Loads,
    open: Vec<(ServerId, bool)>,
    /// Naive servers, including those not in the list.
    all: Vec<Server>,
}

const SERVERS: usize = 12;

impl Both {
    fn new(list_max: usize) -> Self {
        let server = |id| Server {
            id: ServerId(id),
            weight: 0,
            last_weight: 0,
            upper: 0,
            lower: 0,
            load: ServerLoad::default(),
            overloaded: false,
        };
        Self {
            naive: Naive { params: Params::default(), list: Vec::new(), last: None, level: 0 },
            pool: Pool::with_list_max(list_max, []),
            loads: Loads::new(SERVERS),
            open: Vec::new(),
            all: (0..SERVERS as u16).map(server).collect(),
        }
    }

    fn take(&mut self, event: &Event) {
        match event {
            Event::Open { client, port, active } => self.start(*client, *port, *active),
            Event::Move(at) if !self.open.is_empty() => {
                let at = at % self.open.len();
                let (server, active) = self.open[at];
                self.open[at].1 = !active;
                self.count(server, |load| {
                    let (from, to) = if active {
                        (&mut load.active, &mut load.inactive)
                    } else {
                        (&mut load.inactive, &mut load.active)
                    };
                    (*from, *to) = (*from - 1, *to + 1);
                });
                self.loads.shift(server, !active);
                self.pool.changed(server, &self.loads);
            }
            Event::End(at) if !self.open.is_empty() => {
                let (server, active) = self.open.swap_remove(at % self.open.len());
                self.count(server, |load| *if active { &mut load.active } else { &mut load.inactive } -= 1);
                self.loads.remove(server, active);
                self.pool.changed(server, &self.loads);
            }
            Event::Move(_) | Event::End(_) => {}
            Event::Change(list, scheduler) => self.change(list, *scheduler),
        }
    }

    fn start(&mut self, client: u8, port: u16, active: bool) {
        let client = (IpAddr::from([198, 51, 100, client]), port);
        let seed = match &self.pool.0.algorithm {
            Algorithm::Twos(lot) => lot.seed(),
            _ => 0,
        };
        let picked = self.pool.pick(&self.loads, ClientAddr::new(client.0, client.1));
        assert_eq!(picked, self.naive.pick(client, seed), "{:?} {:#?}", self.naive.params, self.naive.list);
        let Some(server) = picked else { return };
        self.count(server, |load| *if active { &mut load.active } else { &mut load.inactive } += 1);
        self.loads.add(server, active);
        self.pool.changed(server, &self.loads);
        self.open.push((server, active));
    }

    /// Counts on the naive server, in the list or not.
    fn count(&mut self, server: ServerId, change: impl Fn(&mut ServerLoad)) {
        let lists = [&mut self.all, &mut self.naive.list];
        for known in lists.into_iter().flatten().filter(|known| known.id == server) {
            change(&mut known.load);
            known.update_overload();
        }
        let known = &self.all[usize::from(server.0)];
        assert_eq!(known.load.total() > 0, known.load != ServerLoad::default());
    }

    fn change(&mut self, list: &[Option<(u16, u32, u32)>], scheduler: Option<Scheduler>) {
        let mut params = self.naive.params;
        params.scheduler = scheduler.unwrap_or(params.scheduler);
        self.set(params, list);
    }

    fn set(&mut self, params: Params, list: &[Option<(u16, u32, u32)>]) {
        let mut servers = Vec::new();
        for (of, server) in list.iter().zip(&mut self.all) {
            let Some((weight, upper, lower)) = *of else { continue };
            if upper > server.upper {
                server.overloaded = false;
            }
            (server.weight, server.upper, server.lower) = (weight, upper, lower.min(upper));
            server.update_overload();
            servers.push(*server);
        }
        let candidate = |server: &Server| Candidate {
            thresholds: Thresholds { upper: server.upper, lower: server.lower },
            address: server.address(),
            ..Candidate::new(server.id, server.weight)
        };
        let candidates: Vec<_> = servers.iter().map(candidate).collect();
        let same = params == self.naive.params && *candidates == *self.pool.0.candidates;
        self.pool = self.pool.successor(params, candidates, &self.loads);
        if !same {
            self.naive.change(params, servers);
        }
    }
}

fn list() -> impl Strategy<Value = Vec<Option<(u16, u32, u32)>>> {
    let weight = prop_oneof![Just(0u16), Just(1), 1u16..9, (1u16..6).prop_map(|n| n * 3), 1u16..400];
    let upper = prop_oneof![4 => Just(0u32), 2 => 1u32..9, 1 => Just(1000)];
    let server = prop::option::weighted(0.8, (weight, upper, prop_oneof![Just(0u32), 0u32..9]));
    prop::collection::vec(server, 0..=SERVERS)
}

fn event() -> impl Strategy<Value = Event> {
    let open = (any::<u8>(), any::<u16>(), any::<bool>());
    let other = prop::option::weighted(0.2, prop::sample::select(Scheduler::ALL));
    prop_oneof![
        20 => open.prop_map(|(client, port, active)| Event::Open { client, port, active }),
        6 => any::<usize>().prop_map(Event::Move),
        9 => any::<usize>().prop_map(Event::End),
        1 => (list(), other).prop_map(|(list, other)| Event::Change(list, other)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn every_pick_is_that_of_the_naive_scheduler(
        scheduler in prop::sample::select(Scheduler::ALL),
        flags in (any::<bool>(), any::<bool>()),
        start in list(),
        events in prop::collection::vec(event(), 1..250),
        list_max in prop_oneof![Just(0), Just(LIST_MAX)],
    ) {
        let flags = SchedulerFlags { fallback: flags.0, port: flags.1 };
        let mut both = Both::new(list_max);
        both.set(Params { scheduler, flags, vip: VIP.into(), ..Params::default() }, &start);
        events.iter().for_each(|event| both.take(event));
        for server in &both.all {
            prop_assert_eq!(both.loads.get(server.id), server.load);
            prop_assert_eq!(both.loads.is_overloaded(server.id), server.overloaded);
        }
    }
}

fn pool_of(scheduler: Scheduler, weights: &[u16], loads: &Loads) -> Pool {
    Pool::new([]).successor(params_of(scheduler), located(weights), loads)
}

fn params_of(scheduler: Scheduler) -> Params {
    let flags = SchedulerFlags { fallback: true, port: false };
    Params { scheduler, flags, vip: VIP.into(), ..Params::default() }
}

fn located(weights: &[u16]) -> Vec<Candidate> {
    let at = |of: Candidate| Candidate { address: ([10, 0, 0, of.server.0 as u8], 80).into(), ..of };
    candidates(weights).into_iter().map(at).collect()
}

/// With the fallback, quiescing a server of mh moves only the clients of that server.
#[test]
fn quiescing_moves_only_that_server_s_clients() {
    let loads = Loads::new(5);
    let all = pool_of(Scheduler::Mh, &[1, 2, 1, 3, 1], &loads);
    let without = all.successor(params_of(Scheduler::Mh), located(&[1, 0, 1, 3, 1]), &loads);
    let back = without.successor(params_of(Scheduler::Mh), located(&[1, 2, 1, 3, 1]), &loads);
    let mut moved = 0;
    for number in 0..10_000u32 {
        let client = ClientAddr::new(IpAddr::from(number.to_be_bytes()), 0);
        let [was, is, later] = [&all, &without, &back].map(|pool| pool.pick(&loads, client));
        assert_eq!(was, later);
        assert!(is.is_some() && is != Some(ServerId(1)));
        assert!(was == is || was == Some(ServerId(1)), "{number}: {was:?}, then {is:?}");
        moved += u32::from(was != is);
    }
    assert!((2000..3000).contains(&moved), "two of eight parts: {moved}");
}

/// Power of two choices: the fullest of 100 servers has little more than the mean.
#[test]
fn two_choices_balance_loads() {
    let loads = Loads::new(100);
    let pool = pool_of(Scheduler::Twos, &[1; 100], &loads);
    for _ in 0..100_000 {
        loads.add(pool.pick(&loads, ClientAddr::default()).unwrap(), true);
    }
    let counts: Vec<_> = (0..100).map(|id| loads.get(ServerId(id)).active).collect();
    assert!(counts.iter().all(|count| (985..=1015).contains(count)), "{counts:?}");
}

#[test]
fn all_workers_share_one_round() {
    let loads = Loads::new(7);
    let picks = |pool: &Pool| {
        let counts: Vec<_> = (0..7).map(|_| std::sync::atomic::AtomicU32::new(0)).collect();
        std::thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    for _ in 0..7000 {
                        let server = pool.pick(&loads, ClientAddr::default()).unwrap();
                        counts[usize::from(server.0)].fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                });
            }
        });
        counts.into_iter().map(std::sync::atomic::AtomicU32::into_inner).collect::<Vec<_>>()
    };
    assert_eq!(picks(&pool_of(Scheduler::Rr, &[1, 9, 1, 1, 1, 1, 4], &loads)), [4000; 7]);
    let weighted = pool_of(Scheduler::Wrr, &[3, 6, 0, 12, 3, 3, 0], &loads); // nine picks per cycle
    assert_eq!(picks(&weighted).iter().sum::<u32>(), 28_000);
    let counts = picks(&weighted);
    for (count, times) in counts.iter().zip([1u32, 2, 0, 4, 1, 1, 0]) {
        let due = 28_000 / 9 * times;
        assert!(count.abs_diff(due) <= 2 * times, "{counts:?}");
    }
}

#[test]
fn an_overloaded_server_loses_to_the_heaviest_load() {
    let full = Thresholds { upper: 1, lower: 0 };
    for list_max in [0, LIST_MAX] {
        for [light, heavy] in [[0, 1], [1, 0]].map(|ids| ids.map(ServerId)) {
            let loads = Loads::new(2);
            reach(&loads, light, ServerLoad { active: u32::MAX, inactive: 0 });
            loads.add(heavy, false);
            let list = [0, 1].map(ServerId).map(|id| match id {
                _ if id == light => Candidate::new(id, 1),
                _ => Candidate { thresholds: full, ..Candidate::new(id, u16::MAX) },
            });
            let pool = Pool::with_list_max(list_max, []).successor(Params::default(), list, &loads);
            assert_eq!(pool.pick(&loads, ClientAddr::default()), Some(light));
            loads.remove(heavy, false);
            pool.changed(heavy, &loads);
            assert_eq!(pool.pick(&loads, ClientAddr::default()), Some(heavy));
        }
    }
}

/// The new scheduler starts from the present loads, also for workers that are behind.
#[test]
fn a_service_changes_its_scheduler_while_connections_open() {
    for list_max in [0, LIST_MAX] {
        let (loads, list) = (Loads::new(3), located(&[1, 1, 2]));
        let rr = Pool::with_list_max(list_max, []).successor(params_of(Scheduler::Rr), list.clone(), &loads);
        let wlc = rr.successor(params_of(Scheduler::Wlc), list.clone(), &loads);
        let behind = |pool: &Pool| {
            let server = pool.pick(&loads, ClientAddr::default()).unwrap();
            loads.add(server, true);
            pool.changed(server, &loads);
            server.0
        };
        assert_eq!([0; 3].map(|_| behind(&rr)), [0, 1, 2]);
        assert_eq!([0; 3].map(|_| behind(&wlc)), [2, 0, 1]);
        let again = wlc.successor(params_of(Scheduler::Rr), list, &loads);
        assert_eq!(behind(&again), 0, "from the head of the list");
    }
}

fn starting(weights: &[(u16, Option<u16>)]) -> Vec<Candidate> {
    let all = located(&weights.iter().map(|(weight, _)| *weight).collect::<Vec<_>>());
    all.into_iter().zip(weights).map(|(of, (_, part))| Candidate { part: *part, ..of }).collect()
}

const SLOW: [Scheduler; 5] = [Scheduler::Wlc, Scheduler::Wrr, Scheduler::Sed, Scheduler::Nq, Scheduler::Twos];

proptest! {
    /// Over any number of connections in a row, a server in slow start gets its share of all counted
    /// weights, within a few. That holds for any present connections. The others get their shares of the
    /// rest.
    #[test]
    fn newcomers_get_their_shares_and_nobody_else_notices(
        (scheduler, weights) in (
            (0..SLOW.len()).prop_map(|index| SLOW[index]),
            prop::collection::vec((1..100u16, prop::option::of(500..=Candidate::WHOLE)), 1..7),
        ),
        (list_max, held) in (prop_oneof![Just(1), Just(LIST_MAX)], prop::collection::vec(0..5u32, 7)),
    ) {
        let loads = Loads::new(weights.len());
        let ids = || (0..).map(ServerId).take(weights.len());
        ids().zip(&held).for_each(|(id, held)| (0..*held).for_each(|_| loads.add(id, true)));
        let first = Pool::with_list_max(list_max, []);
        let pool = first.successor(params_of(scheduler), starting(&weights), &loads);
        let settled: Vec<_> = starting(&weights).into_iter().filter(|of| of.part.is_none()).collect();
        let alone = first.successor(params_of(scheduler), settled, &loads);
        let whole = u64::from(Candidate::WHOLE);
        let counts = |(weight, part): &(u16, Option<u16>)| u64::from(*weight) * part.map_or(whole, u64::from);
        let total: u64 = weights.iter().map(counts).sum();
        let mut picked = vec![0; weights.len()];
        for number in 1..=1000 {
            let next = pool.pick(&loads, ClientAddr::default()).unwrap();
            picked[usize::from(next.0)] += 1;
            for ((_, part), (its, of)) in weights.iter().zip(picked.iter().zip(&weights)) {
                let due = (number * counts(of)) as f64 / total as f64;
                let off = *its as f64 - due;
                prop_assert!(part.is_none() || off.abs() < 4.0, "{off} off after {number}");
            }
            let is_new = weights[usize::from(next.0)].1.is_some();
            if !is_new && scheduler != Scheduler::Twos {
                prop_assert_eq!(alone.pick(&loads, ClientAddr::default()), Some(next));
            }
            if !is_new {
                loads.add(next, true);
                pool.changed(next, &loads);
                alone.changed(next, &loads);
            }
        }
    }
}

#[test]
fn slow_start_respects_overload() {
    let loads = Loads::new(2);
    let pick = |weights: &[(u16, Option<u16>)], upper: [u32; 2]| {
        let candidates = starting(weights).into_iter().zip(upper);
        let limited = |(of, upper)| Candidate { thresholds: Thresholds { upper, lower: 0 }, ..of };
        let pool = Pool::new([]).successor(params_of(Scheduler::Wlc), candidates.map(limited), &loads);
        (0..100).map(|_| pool.pick(&loads, ClientAddr::default()).map(|of| of.0)).collect::<HashSet<_>>()
    };
    [0, 1].into_iter().for_each(|id| loads.add(ServerId(id), true));
    let weights = [(1, None), (1, Some(5000))];
    assert_eq!(pick(&weights, [0, 0]), HashSet::from([Some(0), Some(1)]));
    assert_eq!(pick(&weights, [0, 1]), HashSet::from([Some(0)]));
    assert_eq!(pick(&weights, [1, 0]), HashSet::from([Some(1)]));
    assert_eq!(pick(&weights, [1, 1]), HashSet::from([None]));
    assert_eq!(pick(&[(0, None), (1, Some(500))], [0, 0]), HashSet::from([Some(1)]));
    assert_eq!(pick(&[(0, None), (0, Some(500))], [0, 0]), HashSet::from([None]));
}

/// Even with a step for each pick: a round that restarted each time would never leave the head of the list.
#[test]
fn rounds_continue_across_slow_start_steps() {
    let loads = Loads::new(4);
    let mut pool = pool_of(Scheduler::Wrr, &[1, 1, 1], &loads);
    let mut picked = [0; 4];
    for step in 1..=40 {
        let weights = [(1, None), (1, None), (1, None), (1, Some(500 * step.min(20)))];
        pool = pool.successor(params_of(Scheduler::Wrr), starting(&weights), &loads);
        picked[usize::from(pool.pick(&loads, ClientAddr::default()).unwrap().0)] += 1;
    }
    assert!(
        picked[..3].iter().all(|its| (10..=12).contains(its)) && (7..=9).contains(&picked[3]),
        "{picked:?}"
    );
}
