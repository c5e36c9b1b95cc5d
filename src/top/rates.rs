//! Rates of workers and drops per second, from two samples.

use super::director::Sample;
use crate::control::api;
use std::collections::BTreeMap;

/// Rates of one worker per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct WorkerRates {
    pub(super) received: f64,
    pub(super) dropped: f64,
    pub(super) lost: f64,
    pub(super) batches: f64,
    pub(super) sleeps: f64,
}

/// Rates per second. A worker or reason that is new has none.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct SampleRates {
    /// By the number of the worker.
    pub(super) workers: BTreeMap<usize, WorkerRates>,
    /// Frames by reason.
    pub(super) drops: BTreeMap<String, f64>,
}

impl SampleRates {
    /// Returns the averages between two samples; none if no time has passed or the director restarted between them.
    pub(super) fn between(before: &Sample, after: &Sample) -> Self {
        let seconds = after.at.saturating_sub(before.at).as_secs_f64();
        if seconds <= 0.0 || restarted(before, after) {
            return Self::default();
        }
        let rate = |earlier: u64, later: u64| later.saturating_sub(earlier) as f64 / seconds;
        let workers = pairs(before, after).map(|WorkerPair { earlier, later }| {
            let rates = WorkerRates {
                received: rate(earlier.received, later.received),
                dropped: rate(earlier.dropped, later.dropped),
                lost: rate(earlier.lost, later.lost),
                batches: rate(earlier.batches, later.batches),
                sleeps: rate(earlier.sleeps, later.sleeps),
            };
            (later.worker, rates)
        });
        let drops = after.drops.iter().filter_map(|later| {
            let earlier = frames(&before.drops, &later.reason)?;
            Some((later.reason.clone(), rate(earlier, later.frames)))
        });
        Self { workers: workers.collect(), drops: drops.collect() }
    }

    /// Returns dropped frames per second for all reasons; `None` if unknown yet.
    pub(super) fn dropped(&self) -> Option<f64> {
        (!self.drops.is_empty()).then(|| self.drops.values().sum())
    }
}

/// Whether the director restarted between the samples: its uptime or a counter decreased.
pub(super) fn restarted(before: &Sample, after: &Sample) -> bool {
    let younger = matches!((before.up, after.up), (Some(before), Some(after)) if after < before);
    let less =
        |later: &api::Drops| frames(&before.drops, &later.reason).is_some_and(|frames| later.frames < frames);
    younger || pairs(before, after).any(|pair| pair.has_restarted()) || after.drops.iter().any(less)
}

/// Returns the frames dropped for `reason`, if the list has it.
pub(super) fn frames(drops: &[api::Drops], reason: &str) -> Option<u64> {
    drops.iter().find(|drop| drop.reason == reason).map(|drop| drop.frames)
}

/// A worker in two samples.
struct WorkerPair<'a> {
    earlier: &'a api::Worker,
    later: &'a api::Worker,
}

impl WorkerPair<'_> {
    fn has_restarted(&self) -> bool {
        let Self { earlier, later } = self;
        later.received < earlier.received || later.batches < earlier.batches || later.sleeps < earlier.sleeps
    }
}

/// Returns the workers in both samples.
fn pairs<'a>(before: &'a Sample, after: &'a Sample) -> impl Iterator<Item = WorkerPair<'a>> {
    after.workers.iter().filter_map(|later| {
        let earlier = before.workers.iter().find(|earlier| earlier.worker == later.worker)?;
        Some(WorkerPair { earlier, later })
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::fixtures::{drops, sample, worker};
    use super::*;
    use std::time::Duration;

    fn at(seconds: f64, received: u64, checksum: u64) -> Sample {
        let worker = api::Worker { received, sleeps: received / 10, ..worker(0) };
        let drops = drops(&[("checksum", checksum), ("no_service", 7)]);
        Sample { at: Duration::from_secs_f64(seconds), workers: vec![worker], drops, ..sample() }
    }

    #[test]
    fn rates_are_differences_over_time() {
        let rates = SampleRates::between(&at(1.0, 1000, 4), &at(3.0, 6000, 5));
        assert_eq!((rates.workers[&0].received, rates.workers[&0].sleeps), (2500.0, 250.0));
        assert_eq!((rates.drops["checksum"], rates.drops["no_service"]), (0.5, 0.0));
        assert_eq!(rates.dropped(), Some(0.5));
    }

    #[test]
    fn new_workers_have_no_rates() {
        let before = Sample { workers: Vec::new(), ..at(1.0, 0, 0) };
        assert_eq!(SampleRates::between(&before, &at(2.0, 1000, 0)).workers.get(&0), None);
    }

    #[test]
    fn equal_times_have_no_rates() {
        assert_eq!(SampleRates::between(&at(1.0, 0, 0), &at(1.0, 1000, 0)), SampleRates::default());
        assert_eq!(SampleRates::default().dropped(), None);
    }

    #[test]
    fn restart_has_no_rates() {
        let before = at(1.0, 1000, 4);
        for (what, after) in [("frames", at(2.0, 900, 4)), ("drops", at(2.0, 2000, 3))] {
            assert!(restarted(&before, &after), "{what}");
            assert_eq!(SampleRates::between(&before, &after), SampleRates::default(), "{what}");
        }
        let up = |seconds, sample| Sample { up: Some(Duration::from_secs(seconds)), ..sample };
        assert!(restarted(&up(60, before.clone()), &up(2, at(2.0, 5000, 9))));
        assert!(!restarted(&up(60, before), &up(61, at(2.0, 5000, 9))));
    }
}
