//! The servers of a pool as the schedulers read them.

use super::Loads;
use super::candidate::Candidate;
use crate::model::ServerId;

/// A server and its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PoolServer {
    pub(super) id: ServerId,
    pub(super) weight: u16,
}

/// Servers in list order. A place is an index into the list, below 65536 as server ids are.
#[derive(Debug)]
pub(super) struct Servers {
    all: Box<[PoolServer]>,
    /// At least one server has a threshold.
    limited: bool,
}

impl Servers {
    pub(super) fn new<'c>(candidates: impl Iterator<Item = &'c Candidate> + Clone) -> Self {
        let limited = candidates.clone().any(|candidate| candidate.thresholds.upper > 0);
        let all = candidates.map(|of| PoolServer { id: of.server, weight: of.weight }).collect();
        Self { all, limited }
    }

    #[inline]
    pub(super) fn all(&self) -> &[PoolServer] {
        &self.all
    }

    pub(super) fn limited(&self) -> bool {
        self.limited
    }

    #[inline]
    pub(super) fn id(&self, place: usize) -> ServerId {
        self.all[place].id
    }

    #[inline]
    pub(super) fn is_overloaded(&self, server: PoolServer, loads: &Loads) -> bool {
        self.limited && loads.is_overloaded(server.id)
    }

    /// The weight of the server at `place` for new connections: 0 while it is overloaded.
    #[inline]
    pub(super) fn weight(&self, place: usize, loads: &Loads) -> u16 {
        let server = self.all[place];
        if self.is_overloaded(server, loads) { 0 } else { server.weight }
    }

    /// True if the server at `place` may get a new connection.
    #[inline]
    pub(super) fn is_eligible(&self, place: usize, loads: &Loads) -> bool {
        self.weight(place, loads) > 0
    }

    /// True if at least one server may get a new connection.
    pub(super) fn any_eligible(&self, loads: &Loads) -> bool {
        (0..self.all.len()).any(|place| self.is_eligible(place, loads))
    }

    /// The greatest weight of an eligible server; 0 without one.
    pub(super) fn max_weight(&self, loads: &Loads) -> u16 {
        (0..self.all.len()).map(|place| self.weight(place, loads)).max().unwrap_or(0)
    }
}

/// Prefix sums of `weights`: each weight with all before it.
pub(super) fn prefix_sums(weights: impl Iterator<Item = u64>) -> Box<[u64]> {
    let sums = weights.scan(0, |sum, weight| {
        *sum += weight;
        Some(*sum)
    });
    sums.collect()
}
