//! Times of detection and of return, as intervals of virtual time.

use crate::rules::check;
use crate::world::{server, service, vip};
use directrix::health::{
    CheckState, CheckUse, Health, HealthAction, HealthConfig, HealthEvent, HealthReport, HealthSettings,
    ProbeFailure, ProbeId, ProbeOutcome, ServerChecks, ServiceChecks,
};
use directrix::model::{CheckTarget, CheckTiming, HealthCheck, Weight};
use directrix::time::{Span, Tick};
use std::time::Duration;

/// A failure, whose evidence comes at once or at the end of the timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Refused,
    Silent,
}
use Fault::{Refused, Silent};

/// One check of one server. An answer takes no time.
struct Watch {
    health: Health,
    timing: CheckTiming,
    now: u32,
    fault: Option<Fault>,
    /// The probe on its way, its end and its outcome.
    flight: Option<(ProbeId, u32, ProbeOutcome)>,
    state: CheckState,
}

impl Watch {
    /// A check that is up.
    fn new(timing: CheckTiming, seed: u64) -> Self {
        // Each address has another phase.
        let server = server((seed % 250) as u8);
        let checks = CheckUse::of(&HealthCheck { timing, ..check(CheckTarget::Rip) }, server, &[vip()], 80);
        let servers = vec![ServerChecks::new(server, Weight(1), checks)];
        let services = vec![ServiceChecks::new(service(80), 0, servers)];
        let health = Health::new(HealthSettings { in_flight_max: 1, seed });
        let mut watch =
            Self { health, timing, now: 0, fault: None, flight: None, state: CheckState::Unknown };
        watch.handle(HealthEvent::Configure(HealthConfig { number: 1, services }));
        watch.run_to(CheckState::Up);
        watch
    }

    /// Goes to the next start or end of a probe, and handles it.
    fn step(&mut self) {
        let event = match self.flight.take() {
            Some((probe, end, outcome)) => {
                self.now = end;
                HealthEvent::Finished { probe, outcome, rip: None, took: Duration::ZERO }
            }
            None => {
                self.now = self.health.next_deadline().expect("a probe is due").0;
                HealthEvent::Timer
            }
        };
        self.handle(event);
    }

    fn handle(&mut self, event: HealthEvent) {
        let mut actions = Vec::new();
        self.health.handle(event, Tick(self.now), &mut actions);
        for action in actions {
            match action {
                HealthAction::Start { probe, .. } => self.flight = Some(self.probe(probe)),
                HealthAction::Report(HealthReport::Check { state, .. }) => self.state = state,
                _ => {}
            }
        }
    }

    fn probe(&self, probe: ProbeId) -> (ProbeId, u32, ProbeOutcome) {
        match self.fault {
            None => (probe, self.now, ProbeOutcome::Passed),
            Some(Refused) => (probe, self.now, ProbeOutcome::Failed(ProbeFailure::Refused)),
            Some(Silent) => {
                let end = self.now + self.timing.timeout.millis();
                (probe, end, ProbeOutcome::Failed(ProbeFailure::Silent))
            }
        }
    }

    fn run_to(&mut self, state: CheckState) {
        while self.state != state {
            self.step();
        }
    }

    /// Runs on in this state, then to the moment of the next start, before it or after it.
    fn settle(&mut self, after_start: bool) {
        for _ in 0..8 {
            self.step();
        }
        while self.flight.is_some() {
            self.step();
        }
        self.now = self.health.next_deadline().unwrap().0;
        if after_start {
            self.step();
        }
    }

    /// Time from a change of the server, just before the start of a probe or just after it, to that of the state.
    fn time_to(&mut self, state: CheckState, fault: Option<Fault>, after_start: bool) -> u32 {
        self.settle(after_start);
        self.fault = fault;
        let since = self.now;
        self.run_to(state);
        self.now - since
    }
}

/// The shortest and the longest time of many, with other seeds.
fn measure(time: impl Fn(u64, bool) -> u32) -> [u32; 2] {
    let all: Vec<_> = (0..2_000).flat_map(|seed| [time(seed, false), time(seed, true)]).collect();
    [*all.iter().min().unwrap(), *all.iter().max().unwrap()]
}

/// Asserts that times are within an interval, and that it is wider by this part at most at each end.
fn assert_interval([shortest, longest]: [u32; 2], expected: [u32; 2], percent: u32, what: &str) {
    let slack = (expected[1] - expected[0]) * percent / 100;
    assert!(
        (expected[0]..=expected[0] + slack).contains(&shortest)
            && (expected[1] - slack..=expected[1]).contains(&longest),
        "{what}: {shortest} to {longest} ms, expected {expected:?}"
    );
}

/// Interval, timeout, fast interval and fall.
fn timing(interval: u32, timeout: u32, fast_interval: u32, fall: u16) -> CheckTiming {
    let [span, timeout, fast_interval] = [interval, timeout, fast_interval].map(Span::from_millis);
    let timing = CheckTiming { timeout, fast_interval, fall, ..CheckTiming::every(span) };
    assert_eq!(timing.check(), Ok(()));
    timing
}

#[test]
fn a_failure_is_detected_within_its_interval() {
    assert_eq!(timing(2_000, 1_000, 1_000, 3), CheckTiming::default());
    for (timing, fault, expected) in [
        (timing(2_000, 1_000, 1_000, 3), Refused, [2_000, 4_400]),
        (timing(2_000, 1_000, 1_000, 3), Silent, [3_000, 5_400]),
        (timing(2_000, 1_000, 1_000, 1), Refused, [0, 2_200]),
        (timing(2_000, 1_000, 1_000, 1), Silent, [1_000, 3_200]),
        (timing(2_000, 1_000, 200, 3), Refused, [400, 2_640]),
        (timing(1_000, 500, 500, 3), Silent, [1_500, 2_700]),
        (timing(1_000, 1_000, 1_000, 2), Silent, [2_000, 3_200]),
        (timing(5_000, 1_000, 1_000, 3), Refused, [2_000, 7_700]),
        (timing(5_000, 1_000, 1_000, 3), Silent, [3_000, 8_700]),
        // The next probe starts at the end of the one before.
        (timing(5_000, 2_000, 1_000, 3), Silent, [6_000, 11_500]),
        (timing(60_000, 1_000, 1_000, 3), Silent, [3_000, 69_200]),
    ] {
        let times = measure(|seed, after_start| {
            Watch::new(timing, seed).time_to(CheckState::Down, Some(fault), after_start)
        });
        assert_interval(times, expected, 5, &format!("{fault:?} {timing:?}"));
    }
}

/// With many probes, the shortest and the longest time are rare.
#[test]
fn a_return_is_detected_later_after_each_flap() {
    let all = [[1_000, 6_600], [3_000, 8_800], [7_000, 13_200], [15_000, 22_000], [31_000, 39_600]];
    for (flaps, expected) in all.into_iter().enumerate() {
        let times = measure(|seed, after_start| {
            let mut watch = Watch::new(CheckTiming::default(), seed);
            for _ in 0..flaps {
                watch.time_to(CheckState::Down, Some(Refused), after_start);
                watch.fault = None;
                watch.run_to(CheckState::Up);
            }
            watch.time_to(CheckState::Down, Some(Refused), after_start);
            watch.time_to(CheckState::Up, None, after_start)
        });
        assert_interval(times, expected, 20, &format!("after {flaps} returns"));
    }
}

/// The slots of a server that is down begin a fast interval after the change. They are near those of before, so that the
/// shortest time is rare.
#[test]
fn a_return_right_after_the_change_takes_longer() {
    let times = measure(|seed, after_start| {
        let mut watch = Watch::new(CheckTiming::default(), seed);
        watch.time_to(CheckState::Down, Some(Refused), after_start);
        let since = watch.now;
        watch.fault = None;
        watch.run_to(CheckState::Up);
        watch.now - since
    });
    assert_interval(times, [2_000, 7_600], 15, "right after the change");
}
