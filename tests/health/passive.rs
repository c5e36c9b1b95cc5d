//! Passive health over virtual time: real servers and clients around the machine.

use crate::random::Random;
use crate::world::{server, service};
use directrix::health::passive::{
    PassingChecks, PassiveEffect, PassiveHealth, PassiveReport, PassiveState, ServerSample, ServiceSample,
};
use directrix::model::{PassiveMode, ServerId, Weight};
use directrix::stats::Handshakes;
use directrix::time::Tick;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Behaviour of a real server towards a SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behaviour {
    Answers,
    /// The client completes the handshake after two seconds.
    IsSlow,
    /// No answer: the client repeats its SYN after a second.
    IsSilent,
    /// A RST, which the director does not see.
    Refuses,
    /// One of four handshakes is completed.
    LosesMost,
}

/// Handshakes that workers have counted for a server, and those still to come, by second.
#[derive(Clone, Debug, Default)]
struct Counted {
    totals: Handshakes,
    completed_at: BTreeMap<u64, u64>,
    repeated_at: BTreeMap<u64, u64>,
    opened: u64,
}

struct World {
    health: PassiveHealth,
    second: u64,
    mode: PassiveMode,
    panic: u8,
    behaviours: Vec<Behaviour>,
    /// Servers that are down for another reason.
    down: BTreeSet<usize>,
    /// Servers whose health the operator holds.
    held: BTreeSet<usize>,
    counted: Vec<Counted>,
    reports: Vec<(u64, PassiveReport)>,
    turn: usize,
}

impl World {
    fn new(servers: usize, mode: PassiveMode) -> Self {
        Self {
            health: PassiveHealth::default(),
            second: 0,
            mode,
            panic: 50,
            behaviours: vec![Behaviour::Answers; servers],
            down: BTreeSet::new(),
            held: BTreeSet::new(),
            counted: vec![Counted::default(); servers],
            reports: Vec::new(),
            turn: 0,
        }
    }

    fn address(at: usize) -> IpAddr {
        server(1 + at as u8)
    }

    fn effect(&self, at: usize) -> PassiveEffect {
        self.health.views(service(80)).nth(at).map_or(PassiveEffect::None, |(_, view)| view.effect)
    }

    fn ejected(&self) -> Vec<usize> {
        (0..self.behaviours.len()).filter(|at| self.effect(*at) == PassiveEffect::Ejected).collect()
    }

    /// A client opens a handshake with the next server that takes connections.
    fn client(&mut self) {
        for _ in 0..self.behaviours.len() {
            self.turn += 1;
            let at = self.turn % self.behaviours.len();
            let on_probation = self.effect(at) == PassiveEffect::Probation && self.turn % 20 != at;
            if self.effect(at) != PassiveEffect::Ejected && !self.down.contains(&at) && !on_probation {
                return self.open(at);
            }
        }
    }

    fn open(&mut self, at: usize) {
        let (now, of) = (self.second, &mut self.counted[at]);
        of.totals.opened += 1;
        of.opened += 1;
        let completed = match self.behaviours[at] {
            Behaviour::Answers => Some(now),
            Behaviour::IsSlow => Some(now + 2),
            Behaviour::LosesMost if of.opened % 4 == 0 => Some(now),
            Behaviour::IsSilent | Behaviour::LosesMost => {
                *of.repeated_at.entry(now + 1).or_default() += 1;
                None
            }
            Behaviour::Refuses => None,
        };
        if let Some(at) = completed {
            *of.completed_at.entry(at).or_default() += 1;
        }
    }

    /// A SYN of a client that sends nothing else, to each server alike.
    fn flood(&mut self, syns: u64) {
        for (at, of) in self.counted.iter_mut().enumerate() {
            if !self.down.contains(&at) {
                of.totals.opened += syns;
            }
        }
    }

    /// Ends a second in which so many clients came. Returns the number of new reports.
    fn end_second(&mut self, clients: u64) -> usize {
        (0..clients).for_each(|_| self.client());
        for of in &mut self.counted {
            of.totals.completed += of.completed_at.remove(&self.second).unwrap_or_default();
            of.totals.repeated += of.repeated_at.remove(&self.second).unwrap_or_default();
        }
        self.second += 1;
        self.sample()
    }

    fn sample(&mut self) -> usize {
        let servers = self.counted.iter().enumerate().map(|(at, of)| ServerSample {
            server: Self::address(at),
            id: ServerId(at as u16),
            weight: Weight(1),
            out: self.down.contains(&at),
            held: self.held.contains(&at),
            checks: PassingChecks::OfVip,
            handshakes: of.totals,
        });
        let servers = servers.collect();
        let sample = ServiceSample { service: service(80), mode: self.mode, panic: self.panic, servers };
        let mut reports = Vec::new();
        let now = Tick((u32::MAX - 50_000).wrapping_add(self.second as u32 * 1000));
        self.health.sample(&[sample], now, &mut reports);
        let new = reports.len();
        self.reports.extend(reports.into_iter().map(|report| (self.second, report)));
        new
    }

    fn run(&mut self, seconds: u64, clients: u64) {
        for _ in 0..seconds {
            self.end_second(clients);
        }
    }

    fn states(&self) -> Vec<(IpAddr, PassiveState)> {
        let servers = self.health.status().into_iter().flat_map(|of| of.servers);
        servers.map(|of| (of.server, of.state)).collect()
    }

    fn count(&self, is: fn(&PassiveReport) -> bool) -> usize {
        self.reports.iter().filter(|(_, report)| is(report)).count()
    }
}

fn is_suspicion(report: &PassiveReport) -> bool {
    matches!(report, PassiveReport::Suspected { .. })
}

#[test]
fn a_silent_server_among_good_ones_is_soon_suspected() {
    for (behaviour, clients, longest) in [
        (Behaviour::IsSilent, 20, 10),
        (Behaviour::Refuses, 20, 10),
        (Behaviour::IsSilent, 3, 13),
        (Behaviour::LosesMost, 20, 13),
    ] {
        let mut world = World::new(4, PassiveMode::Watch);
        world.run(30, clients);
        assert_eq!(world.reports, [], "good servers are no news");
        world.behaviours[2] = behaviour;
        let since = world.second;
        while world.end_second(clients) == 0 {
            assert!(world.second < since + longest, "{behaviour:?} with {clients} clients a second");
        }
        assert_eq!(world.states(), [(World::address(2), PassiveState::Suspected)]);
        assert_eq!((world.reports.len(), world.ejected()), (1, vec![]), "watch ejects none");
        world.behaviours[2] = Behaviour::Answers;
        world.run(20, clients);
        assert!(matches!(world.reports[1..], [(_, PassiveReport::Cleared { .. })]), "{:?}", world.reports);
        assert_eq!(world.states(), []);
    }
}

#[test]
fn the_finding_says_how_many_and_whether_they_repeated() {
    for (behaviour, words) in
        [(Behaviour::IsSilent, "silent, not refused"), (Behaviour::Refuses, "not repeated")]
    {
        let mut world = World::new(3, PassiveMode::Watch);
        world.behaviours[1] = behaviour;
        world.run(20, 12);
        let status = &world.health.status()[0].servers[0];
        let sentence = status.finding.sentence(status.server);
        let numbers = "192.0.2.2: 40 of 40 handshakes not completed in 10 s, others 0 %";
        assert!(sentence.starts_with(numbers) && sentence.contains(words), "{sentence}");
    }
}

#[test]
fn slow_servers_and_bursts_are_no_suspects() {
    let mut world = World::new(4, PassiveMode::Eject);
    world.behaviours[1] = Behaviour::IsSlow;
    for load in [0, 100, 0, 3, 0, 0, 50, 1] {
        for _ in 0..40 {
            world.end_second(load);
        }
        world.end_second(500);
        world.run(20, 0);
    }
    assert_eq!(world.reports, []);
}

#[test]
fn a_flood_of_syns_ejects_no_server() {
    for behaviour in [Behaviour::Answers, Behaviour::IsSilent] {
        let mut world = World::new(5, PassiveMode::Eject);
        world.run(30, 50);
        world.behaviours[3] = behaviour;
        for _ in 0..120 {
            world.flood(1000);
            world.end_second(50);
        }
        let floods = world.count(|report| matches!(report, PassiveReport::Flood { on: true, .. }));
        assert_eq!((floods, world.count(is_suspicion)), (1, 0), "{:?}", world.reports);
        assert!(world.ejected().is_empty() && world.health.status()[0].flood.is_some());
    }
    // A flood into a service that has nearly no clients.
    let mut world = World::new(3, PassiveMode::Eject);
    for second in 0..200 {
        world.flood(1);
        world.end_second(u64::from(second % 7 == 0));
    }
    assert_eq!(world.count(is_suspicion), 0, "{:?}", world.reports);
}

#[test]
fn a_single_server_is_never_more_than_warned_of() {
    let mut world = World::new(1, PassiveMode::Eject);
    world.behaviours[0] = Behaviour::IsSilent;
    world.run(300, 10);
    assert_eq!(world.states(), [(World::address(0), PassiveState::Warned)]);
    let reports: Vec<_> = world.reports.iter().map(|(_, report)| report).collect();
    assert!(matches!(reports[..], [PassiveReport::Warned { .. }]), "{reports:?}");
}

#[test]
fn an_ejected_server_returns_on_probation_and_is_ejected_longer() {
    let mut world = World::new(4, PassiveMode::Eject);
    world.run(20, 20);
    world.behaviours[0] = Behaviour::IsSilent;
    let mut out = Vec::new();
    for _ in 0..3 {
        while world.ejected().is_empty() {
            world.end_second(20);
        }
        let (since, opened) = (world.second, world.counted[0].opened);
        while !world.ejected().is_empty() {
            world.end_second(20);
        }
        assert_eq!(world.counted[0].opened, opened, "no client was sent to it");
        out.push(world.second - since);
        assert_eq!(world.states(), [(World::address(0), PassiveState::Probation)]);
    }
    assert_eq!(out, [30, 60, 90]);
    let before = world.counted[0].opened;
    world.run(3, 20);
    assert!(world.counted[0].opened < before + 5, "a small share at first");
    world.behaviours[0] = Behaviour::Answers;
    world.run(60, 20);
    assert_eq!((world.states(), world.effect(0)), (vec![], PassiveEffect::None));
    assert!(world.counted[0].opened > before + 100, "then as the others");
}

#[test]
fn an_ejection_ends_when_the_service_needs_the_server() {
    let mut world = World::new(3, PassiveMode::Eject);
    world.behaviours[0] = Behaviour::IsSilent;
    world.run(20, 20);
    assert_eq!(world.ejected(), [0]);
    world.down.insert(1);
    world.end_second(20);
    assert!(world.ejected().is_empty(), "two of three are more than half");
    world.run(60, 20);
    assert!(world.ejected().is_empty(), "and stays");
    world.down.clear();
    world.run(60, 20);
    assert_eq!(world.ejected(), [0]);
    world.held.insert(0);
    world.run(60, 20);
    assert!(world.ejected().is_empty() && world.states().len() == 1, "the operator wins");
    world.held.clear();
    world.run(60, 20);
    assert_eq!(world.ejected(), [0]);
    world.mode = PassiveMode::Watch;
    world.end_second(20);
    assert!(world.ejected().is_empty(), "it is no longer configured");
}

#[test]
fn limits_hold_whatever_happens() {
    let mut seen = BTreeSet::new();
    for seed in 1..=30 {
        let mut random = Random::new(seed);
        let servers = 1 + random.below(12) as usize;
        let mut world = World::new(servers, PassiveMode::Eject);
        world.panic = random.pick(&[0, 20, 50, 100]);
        for _ in 0..600 {
            let at = random.below(servers as u64) as usize;
            let behaviours = [
                Behaviour::Answers,
                Behaviour::Answers,
                Behaviour::IsSlow,
                Behaviour::IsSilent,
                Behaviour::Refuses,
                Behaviour::LosesMost,
            ];
            if random.one_in(12) {
                world.behaviours[at] = random.pick(&behaviours);
            }
            if random.one_in(20) && !world.down.remove(&at) {
                world.down.insert(at);
            }
            if random.one_in(40) {
                world.flood(random.below(500));
            }
            world.end_second(random.below(60));
            check_limits(&world, seed);
        }
        seen.extend(world.reports.iter().map(|(_, report)| kind(report)));
    }
    assert_eq!(
        seen.into_iter().collect::<Vec<_>>(),
        ["cleared", "ejected", "flood", "returned", "suspected", "warned"]
    );
}

fn check_limits(world: &World, seed: u64) {
    let (servers, ejected) = (world.behaviours.len(), world.ejected());
    let context = format!("seed {seed} at {} s", world.second);
    assert!(ejected.len() <= (servers / 5).max(1), "{context}: {ejected:?} of {servers}");
    let out = (0..servers).filter(|at| ejected.contains(at) || world.down.contains(at)).count();
    let taken = ejected.iter().any(|at| !world.down.contains(at));
    let share = world.panic > 0 && out * 100 > usize::from(world.panic) * servers;
    assert!(!taken || out < servers && !share, "{context}: {out} of {servers} are out");
}

fn kind(report: &PassiveReport) -> &'static str {
    match report {
        PassiveReport::Suspected { .. } => "suspected",
        PassiveReport::Warned { .. } => "warned",
        PassiveReport::Cleared { .. } => "cleared",
        PassiveReport::Ejected { .. } => "ejected",
        PassiveReport::Returned { .. } => "returned",
        PassiveReport::Flood { .. } => "flood",
    }
}
