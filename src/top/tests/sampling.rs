//! The thread that asks.

use super::super::sampler::{Clock, Sampler};
use super::super::{Drain, Event};
use super::fixtures::{Fake, sample};
use std::time::Duration;

/// A director that is there every other time, and drains nothing.
fn fickle() -> Fake {
    Fake::new(|time| time.is_multiple_of(2), |drain| Err(format!("no {}", drain.server)))
}

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn goes_on_asking_whether_or_not_the_director_is_there() {
    let sampler = Sampler::start(fickle(), Duration::from_millis(1), Clock::start()).unwrap();
    let mut times = Vec::new();
    for turn in 0..6 {
        match sampler.events.recv_timeout(PATIENCE).unwrap() {
            Event::Sample(sample) if turn % 2 == 0 => times.push(sample.at),
            Event::Gone(why) if turn % 2 == 1 => assert!(why.starts_with("no director is running"), "{why}"),
            other => panic!("{turn}: {other:?}"),
        }
    }
    assert!(times.is_sorted_by(|one, other| one < other), "{times:?}");
    sampler.bury();
}

#[test]
fn a_drain_does_not_wait_for_the_next_turn() {
    let sampler = Sampler::start(fickle(), Duration::from_secs(3600), Clock::start()).unwrap();
    let drain = Drain {
        service: sample().services.services[0].address,
        server: "10.0.0.1:80".parse().unwrap(),
        deadline: Some(9),
    };
    sampler.drains.send(drain).unwrap();
    let Event::Drained(drained, result) = sampler.events.recv_timeout(PATIENCE).unwrap() else { panic!() };
    assert_eq!((drained, result), (drain, Err("no 10.0.0.1:80".to_owned())));
    let next = sampler.events.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(next, Event::Sample(_)), "what the drain changed is seen at once: {next:?}");
    sampler.bury();
}
