//! The sampling thread.

use super::super::clock::Clock;
use super::super::director::DrainRequest;
use super::super::event::ScreenEvent;
use super::super::sampler::Sampler;
use super::fixtures::{Fake, sample};
use crate::model::Diagnostic;
use std::time::Duration;

/// A director that answers every other request, and refuses drains.
fn intermittent() -> Fake {
    Fake::new(|time| time.is_multiple_of(2), |drain| Err(Diagnostic::system(format!("no {}", drain.server))))
}

const TIMEOUT: Duration = Duration::from_secs(20);

#[test]
fn sampling_continues_after_errors() {
    let sampler = Sampler::start(intermittent(), Duration::from_millis(1), Clock::start()).unwrap();
    let mut times = Vec::new();
    for turn in 0..6 {
        match sampler.events.recv_timeout(TIMEOUT).unwrap() {
            ScreenEvent::Sample(sample) if turn % 2 == 0 => times.push(sample.at),
            ScreenEvent::NoAnswer(reason) if turn % 2 == 1 => {
                assert!(reason.starts_with("no director is running"), "{reason}")
            }
            other => panic!("{turn}: {other:?}"),
        }
    }
    assert!(times.is_sorted_by(|one, other| one < other), "{times:?}");
    sampler.join();
}

#[test]
fn drain_is_sent_at_once() {
    let sampler = Sampler::start(intermittent(), Duration::from_secs(3600), Clock::start()).unwrap();
    let drain = DrainRequest {
        service: sample().services.services[0].identity,
        server: "10.0.0.1:80".parse().unwrap(),
        deadline: Some(9),
    };
    sampler.drains.send(drain).unwrap();
    let ScreenEvent::Drained(drained, result) = sampler.events.recv_timeout(TIMEOUT).unwrap() else {
        panic!()
    };
    assert_eq!((drained, result), (drain, Err(Diagnostic::system("no 10.0.0.1:80"))));
    let next = sampler.events.recv_timeout(TIMEOUT).unwrap();
    assert!(matches!(next, ScreenEvent::Sample(_)), "a sample follows at once: {next:?}");
    sampler.join();
}
