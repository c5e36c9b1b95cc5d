//! Slow start: a server that joins gets a growing share of the new connections.
//!
//! Schedulers that compare connections would give a server without any all new connections, whatever
//! its weight. Servers in slow start are therefore outside the scheduler. The golden-ratio low-discrepancy
//! sequence, whose points are the most evenly spread, gives each of them the share that its part of the
//! weight stands for. The scheduler picks among the others for the rest.

use super::Loads;
use super::atomic::{AtomicU64, SeqCst};
use super::candidate::Candidate;
use super::servers::{Servers, prefix_sums};
use crate::model::ServerId;
use crate::random::GOLDEN;

/// First point of the sequence: in the share of the other servers.
const START: u64 = 1 << 63;

/// The servers of a pool that are in slow start.
#[derive(Debug)]
pub(super) struct SlowStart {
    servers: Servers,
    /// Prefix sums of the parts of the weights.
    sums: Box<[u64]>,
    /// The same sum over all servers, those outside slow start with their whole weights.
    total: u64,
    /// The next point of the sequence, shared by all workers.
    point: AtomicU64,
}

impl SlowStart {
    /// The servers of `candidates` in slow start, `None` without one. The sequence continues from `old`.
    pub(super) fn of(candidates: &[Candidate], old: Option<&Self>) -> Option<Box<Self>> {
        let starting = || candidates.iter().filter(|of| of.part.is_some() && of.weight > 0);
        let weight = |of: &Candidate| u64::from(of.weight) * u64::from(of.part.unwrap_or(Candidate::WHOLE));
        let (sums, total) = (prefix_sums(starting().map(weight)), candidates.iter().map(weight).sum());
        let point = AtomicU64::new(old.map_or(START, |old| old.point.load(SeqCst)));
        (!sums.is_empty()).then(|| Box::new(Self { servers: Servers::new(starting()), sums, total, point }))
    }

    /// The server whose share the next point falls into, if it is eligible.
    pub(super) fn pick(&self, loads: &Loads) -> Option<ServerId> {
        let point = self.point.fetch_add(GOLDEN, SeqCst);
        let at = ((u128::from(point) * u128::from(self.total)) >> 64) as u64;
        let place = self.sums.partition_point(|sum| *sum <= at);
        let eligible = place < self.sums.len() && self.servers.is_eligible(place, loads);
        eligible.then(|| self.servers.id(place))
    }

    /// Any eligible server in slow start, for when no other is.
    pub(super) fn pick_any(&self, loads: &Loads) -> Option<ServerId> {
        let all = self.sums.len();
        let first = self.point.fetch_add(GOLDEN, SeqCst) as usize % all;
        let mut round = (first..all).chain(0..first);
        round.find(|place| self.servers.is_eligible(*place, loads)).map(|place| self.servers.id(place))
    }
}
