//! Takes the readings. Workers and control are asked for what they count anyway.

use super::{ArpReadings, Readings, WorkerReadings};
use crate::control::api;
use crate::control::crew::Line;
use crate::control::status::View;
use crate::neighbor::{Counters, Neighbors};
use crate::stats::DropReason;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::oneshot;

/// What readings need besides a [`View`].
#[derive(Debug)]
pub struct Meter {
    started: SystemTime,
    arp: Arc<Counters>,
}

impl Meter {
    /// The meter of a director that starts now and does ARP by `neighbors`.
    #[must_use]
    pub fn new(neighbors: &Neighbors) -> Self {
        Self { started: SystemTime::now(), arp: neighbors.counters() }
    }

    /// When the director started.
    #[must_use]
    pub fn started(&self) -> SystemTime {
        self.started
    }

    /// Sends the readings of this moment to `reply`, once every worker has told its latencies.
    /// Does not wait for that.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn answer(&self, view: &View<'_>, backend: &str, reply: oneshot::Sender<Readings>) {
        let mut readings = Readings {
            started: self.started,
            services: view.services(),
            workers: Vec::new(),
            unbound: view.templates.refused(),
            arp: self.arp(),
        };
        let workers = workers(view, backend);
        tokio::task::spawn_blocking(move || {
            readings.workers =
                workers.into_iter().map(|(worker, line)| with_latency(worker, &line)).collect();
            let _ = reply.send(readings); // whoever asked may be gone
        });
    }

    fn arp(&self) -> ArpReadings {
        let Counters { answered, announced, probed, requested, conflicts, disputed } = &*self.arp;
        ArpReadings {
            answered: answered.get(),
            announced: announced.get(),
            probed: probed.get(),
            requested: requested.get(),
            conflicts: conflicts.get(),
            disputed: disputed.get(),
        }
    }
}

fn workers(view: &View<'_>, backend: &str) -> Vec<(WorkerReadings, Line)> {
    let of = |((worker, line), member): ((api::Worker, Line), &crate::control::crew::Member)| {
        let frames = |reason: &DropReason| (reason.name(), member.counters.drops(*reason).get());
        let drops = DropReason::ALL.iter().map(frames).collect();
        (WorkerReadings { worker, drops, latency: None }, line)
    };
    view.workers(backend).into_iter().zip(view.crew.members()).map(of).collect()
}

/// Blocks until the worker has answered, or for a few seconds if it does not.
fn with_latency(worker: WorkerReadings, line: &Line) -> WorkerReadings {
    WorkerReadings { latency: line.latency(), ..worker }
}
