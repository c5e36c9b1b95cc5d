//! Share of new connections of a server that joins three loaded ones, second by second, with and without
//! slow start. Time is virtual; clients arrive at random, from a seed.
#![allow(missing_docs)]

use directrix::control::api::Stats;
use directrix::control::state::registry::Registry;
use directrix::forward::Snapshot;
use directrix::model::{
    RealServer, Rules, Scheduler, ServerId, ServiceAddress, ServiceId, VirtualService, Weight,
};
use directrix::schedule::{ClientAddr, Loads};
use directrix::time::Span;
use directrix::wire::{MacAddr, Protocol};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

/// New connections per second, on average.
const RATE: u64 = 400;
/// Time at which the server joins, in seconds: long after the first connections have expired.
const JOINS: u64 = 150;
/// Duration of slow start, in seconds.
const SLOW: u64 = 40;
const OTHERS: u16 = 3;
/// Share of one of four equal servers.
const WHOLE: f64 = 0.25;

/// Kind of connections.
#[derive(Clone, Copy)]
struct Kind {
    /// Mean time in an active state, in ms.
    active_ms: u64,
    /// Time in an inactive state: IPVS has 120 s after a FIN.
    inactive_ms: u64,
    /// Ends earlier, at any time, when the client reuses its port.
    reused: bool,
}

const SHORT: Kind = Kind { active_ms: 100, inactive_ms: 120_000, reused: false };
const SOON_FORGOTTEN: Kind = Kind { active_ms: 100, inactive_ms: 1000, reused: false };
const REUSED: Kind = Kind { active_ms: 100, inactive_ms: 60_000, reused: true };
const LONG: Kind = Kind { active_ms: 60_000, inactive_ms: 120_000, reused: false };

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Opens,
    Closes(u16),
    IsForgotten(u16),
    Joins,
}

struct Simulation {
    registry: Registry,
    snapshot: Snapshot,
    loads: Loads,
    epoch: Instant,
    now_ms: u64,
    events: BinaryHeap<Reverse<(u64, Event)>>,
    random: u64,
    kind: Kind,
    /// New connections per second: all, and those of the joining server.
    opened: Vec<[u64; 2]>,
    snapshots: usize,
}

impl Simulation {
    fn new(scheduler: Scheduler, slow_start: Option<u64>, kind: Kind) -> Self {
        let address = ServiceAddress { protocol: Protocol::Tcp, address: ([192, 0, 2, 1], 80).into() };
        let servers = (0..OTHERS).map(server).collect();
        let slow_start = slow_start.map(|seconds| Span::from_secs(seconds as u32));
        let service = VirtualService { scheduler, slow_start, ..VirtualService::new(address, servers) };
        let mut registry = Registry::new(vec![MacAddr([2, 0, 0, 0, 0, 1])]);
        let (loads, epoch) = (Loads::new(9), Instant::now());
        apply(&mut registry, vec![service]);
        (0..OTHERS).for_each(|id| registry.set_reachable(rip(id), MAC));
        let snapshot = registry.snapshot(&loads, epoch);
        let events = [(0, Event::Opens), (JOINS * 1000, Event::Joins)];
        let events = events.into_iter().map(Reverse).collect();
        let opened = Vec::new();
        Self { registry, snapshot, loads, epoch, now_ms: 0, events, random: 1, kind, opened, snapshots: 0 }
    }

    /// Advances by this many seconds.
    fn run(mut self, seconds: u64) -> Self {
        self.opened = vec![[0; 2]; seconds as usize];
        while let Some(Reverse((at_ms, event))) = self.events.pop().filter(|of| of.0.0 < seconds * 1000) {
            while let Some(step_ms) = self.next_step_ms().filter(|step_ms| *step_ms <= at_ms) {
                self.now_ms = step_ms;
                self.publish();
            }
            self.now_ms = at_ms;
            self.happen(event);
        }
        self
    }

    fn next_step_ms(&self) -> Option<u64> {
        self.registry.next_step().map(|next| (next - self.epoch).as_millis() as u64)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Opens => self.open(),
            Event::Closes(server) => {
                self.loads.shift(ServerId(server), false);
                let Kind { inactive_ms, reused, .. } = self.kind;
                let after_ms = if reused { self.below(inactive_ms) } else { inactive_ms };
                self.after(after_ms, Event::IsForgotten(server));
                self.changed(server);
            }
            Event::IsForgotten(server) => {
                self.loads.remove(ServerId(server), false);
                self.changed(server);
            }
            Event::Joins => {
                let mut rules = self.registry.rules();
                rules.services[0].servers.push(server(OTHERS));
                apply(&mut self.registry, rules.services);
                self.registry.set_reachable(rip(OTHERS), MAC);
                self.publish();
            }
        }
    }

    fn open(&mut self) {
        let pool = self.snapshot.pool(ServiceId(0)).unwrap();
        let picked = pool.pick(&self.loads, ClientAddr::new(Ipv4Addr::LOCALHOST.into(), 0)).unwrap();
        self.loads.add(picked, true);
        self.changed(picked.0);
        let second = &mut self.opened[(self.now_ms / 1000) as usize];
        second[0] += 1;
        second[1] += u64::from(picked.0 == OTHERS);
        let active_ms = self.below(2 * self.kind.active_ms);
        self.after(active_ms, Event::Closes(picked.0));
        let gap_ms = self.below(2 * 1000 / RATE + 1);
        self.after(gap_ms, Event::Opens);
    }

    fn changed(&self, server: u16) {
        self.snapshot.pool(ServiceId(0)).unwrap().changed(ServerId(server), &self.loads);
    }

    fn publish(&mut self) {
        let now = self.epoch + Duration::from_millis(self.now_ms);
        self.snapshot = self.registry.snapshot(&self.loads, now);
        self.snapshots += 1;
    }

    fn after(&mut self, ms: u64, event: Event) {
        self.events.push(Reverse((self.now_ms + ms, event)));
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        ((self.random >> 32) * limit) >> 32
    }

    /// Share of the joining server between two seconds after it joined.
    fn share(&self, seconds: std::ops::Range<u64>) -> f64 {
        let opened = &self.opened[(JOINS + seconds.start) as usize..(JOINS + seconds.end) as usize];
        let [all, its] = [0, 1].map(|of| opened.iter().map(|second| second[of]).sum::<u64>());
        its as f64 / all as f64
    }
}

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

fn rip(id: u16) -> IpAddr {
    [192, 0, 2, 10 + id as u8].into()
}

fn server(id: u16) -> RealServer {
    RealServer::new(rip(id), Weight(1))
}

fn apply(registry: &mut Registry, services: Vec<VirtualService>) {
    registry.apply(&Rules { services, ..Rules::default() }, &|_| Stats::default());
}

/// Due share of a server with this part of its weight, beside three whole ones.
fn due(part: f64) -> f64 {
    part / (f64::from(OTHERS) + part)
}

fn joined(scheduler: Scheduler, slow_start: Option<u64>, kind: Kind, seconds: u64) -> Simulation {
    Simulation::new(scheduler, slow_start, kind).run(JOINS + seconds)
}

/// In each eighth of slow start the share is the due one, within a twentieth of the whole share.
#[track_caller]
fn rises_linearly(simulation: &Simulation) {
    let eighth = SLOW / 8;
    let shares: Vec<_> = (0..8).map(|n| simulation.share(n * eighth..(n + 1) * eighth)).collect();
    for (n, share) in shares.iter().enumerate() {
        let due = due((n as f64 + 0.5) / 8.0);
        assert!((share - due).abs() < WHOLE / 20.0, "eighth {n}: {share:.3}, due {due:.3}; {shares:.3?}");
    }
}

#[test]
fn the_share_rises_linearly() {
    for scheduler in [Scheduler::Wlc, Scheduler::Wrr, Scheduler::Sed, Scheduler::Nq, Scheduler::Twos] {
        for kind in [SHORT, SOON_FORGOTTEN, REUSED, LONG] {
            rises_linearly(&joined(scheduler, Some(SLOW), kind, SLOW));
        }
    }
}

/// With wlc, even while the server has fewer inactive connections.
#[test]
fn the_share_is_whole_afterwards() {
    for (scheduler, kind) in [
        (Scheduler::Wlc, SHORT),
        (Scheduler::Wlc, REUSED),
        (Scheduler::Wlc, SOON_FORGOTTEN),
        (Scheduler::Wrr, SHORT),
    ] {
        let simulation = joined(scheduler, Some(SLOW), kind, 6 * SLOW);
        let shares: Vec<_> = (1..6).map(|n| simulation.share(n * SLOW..(n + 1) * SLOW)).collect();
        assert!(
            shares.iter().all(|share| (share - WHOLE).abs() < WHOLE / 10.0),
            "{scheduler:?}: {shares:.3?}"
        );
    }
}

#[test]
fn without_slow_start_wlc_picks_the_new_server_only() {
    let wlc = joined(Scheduler::Wlc, None, SHORT, SLOW);
    assert!(wlc.share(0..SLOW / 8) > 0.95, "{}", wlc.share(0..SLOW / 8));
    let wrr = joined(Scheduler::Wrr, None, SHORT, SLOW);
    assert!((wrr.share(0..2) - WHOLE).abs() < 0.01, "{}", wrr.share(0..2));
}

/// Workers get one new pool per step, and none before or after.
#[test]
fn slow_start_takes_twenty_snapshots() {
    assert_eq!(joined(Scheduler::Wrr, Some(SLOW), SHORT, 2 * SLOW).snapshots, 21);
    let wlc = joined(Scheduler::Wlc, Some(SLOW), SOON_FORGOTTEN, 2 * SLOW).snapshots;
    assert!((21..=24).contains(&wlc), "until it has as many: {wlc}");
    assert_eq!(joined(Scheduler::Wlc, None, SHORT, SLOW).snapshots, 1);
}
