//! Rates of workers and drops: what two samples say per second.

use super::Sample;
use crate::control::api;
use std::collections::BTreeMap;

/// What one worker does in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct WorkerRates {
    pub(super) received: f64,
    pub(super) dropped: f64,
    pub(super) lost: f64,
    pub(super) batches: f64,
    pub(super) sleeps: f64,
}

/// What happens in a second. Who is not named was not there before.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rates {
    /// By the worker's number.
    pub(super) workers: BTreeMap<usize, WorkerRates>,
    /// Frames, by reason.
    pub(super) drops: BTreeMap<String, f64>,
}

impl Rates {
    /// The averages between two samples; nothing if no time has passed, or the later sample is of
    /// a director that began anew.
    pub(super) fn between(before: &Sample, after: &Sample) -> Self {
        let seconds = after.at.saturating_sub(before.at).as_secs_f64();
        if seconds <= 0.0 || began_anew(before, after) {
            return Self::default();
        }
        let rate = |earlier: u64, later: u64| later.saturating_sub(earlier) as f64 / seconds;
        let workers = pairs(before, after).map(|(earlier, later)| {
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

    /// Frames dropped in a second, all reasons together; `None` if that is not known yet.
    pub(super) fn dropped(&self) -> Option<f64> {
        (!self.drops.is_empty()).then(|| self.drops.values().sum())
    }
}

/// True if the later sample is of another run of the director: it is younger, or a count went back.
pub(super) fn began_anew(before: &Sample, after: &Sample) -> bool {
    let younger = matches!((before.up, after.up), (Some(before), Some(after)) if after < before);
    let back = |(earlier, later): (&api::Worker, &api::Worker)| {
        later.received < earlier.received || later.batches < earlier.batches || later.sleeps < earlier.sleeps
    };
    let less =
        |later: &api::Drops| frames(&before.drops, &later.reason).is_some_and(|frames| later.frames < frames);
    younger || pairs(before, after).any(back) || after.drops.iter().any(less)
}

/// Frames dropped for `reason`, if the list names it.
pub(super) fn frames(drops: &[api::Drops], reason: &str) -> Option<u64> {
    drops.iter().find(|drop| drop.reason == reason).map(|drop| drop.frames)
}

/// Workers that are in both samples.
fn pairs<'a>(
    before: &'a Sample,
    after: &'a Sample,
) -> impl Iterator<Item = (&'a api::Worker, &'a api::Worker)> {
    after.workers.iter().filter_map(|later| {
        let earlier = before.workers.iter().find(|earlier| earlier.worker == later.worker)?;
        Some((earlier, later))
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
    fn are_differences_by_the_time_between() {
        let rates = Rates::between(&at(1.0, 1000, 4), &at(3.0, 6000, 5));
        assert_eq!((rates.workers[&0].received, rates.workers[&0].sleeps), (2500.0, 250.0));
        assert_eq!((rates.drops["checksum"], rates.drops["no_service"]), (0.5, 0.0));
        assert_eq!(rates.dropped(), Some(0.5));
    }

    #[test]
    fn of_a_worker_that_was_not_there_are_unknown() {
        let before = Sample { workers: Vec::new(), ..at(1.0, 0, 0) };
        assert_eq!(Rates::between(&before, &at(2.0, 1000, 0)).workers.get(&0), None);
    }

    #[test]
    fn need_time_between_the_samples() {
        assert_eq!(Rates::between(&at(1.0, 0, 0), &at(1.0, 1000, 0)), Rates::default());
        assert_eq!(Rates::default().dropped(), None);
    }

    #[test]
    fn of_another_run_are_unknown() {
        let before = at(1.0, 1000, 4);
        for (what, after) in [("frames", at(2.0, 900, 4)), ("drops", at(2.0, 2000, 3))] {
            assert!(began_anew(&before, &after), "{what}");
            assert_eq!(Rates::between(&before, &after), Rates::default(), "{what}");
        }
        let up = |seconds, sample| Sample { up: Some(Duration::from_secs(seconds)), ..sample };
        assert!(began_anew(&up(60, before.clone()), &up(2, at(2.0, 5000, 9))));
        assert!(!began_anew(&up(60, before), &up(61, at(2.0, 5000, 9))));
    }
}
