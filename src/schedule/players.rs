//! The servers of a pool as the schedulers walk them.

use super::Loads;
use super::pool::Candidate;
use crate::model::ServerId;

/// A server and its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Player {
    pub(super) server: ServerId,
    pub(super) weight: u16,
}

/// Servers in list order. Their places in it are numbers below 65536, as server ids are.
#[derive(Debug)]
pub(super) struct Players {
    all: Box<[Player]>,
    /// One of them at least has a threshold.
    limited: bool,
}

impl Players {
    pub(super) fn new<'c>(candidates: impl Iterator<Item = &'c Candidate> + Clone) -> Self {
        let limited = candidates.clone().any(|candidate| candidate.thresholds.upper > 0);
        let all = candidates.map(|of| Player { server: of.server, weight: of.weight }).collect();
        Self { all, limited }
    }

    #[inline]
    pub(super) fn all(&self) -> &[Player] {
        &self.all
    }

    pub(super) fn limited(&self) -> bool {
        self.limited
    }

    #[inline]
    pub(super) fn server(&self, place: usize) -> ServerId {
        self.all[place].server
    }

    #[inline]
    pub(super) fn is_overloaded(&self, player: Player, loads: &Loads) -> bool {
        self.limited && loads.is_overloaded(player.server)
    }

    /// The weight of the server at `place` for new connections: 0 if it takes none.
    #[inline]
    pub(super) fn weight(&self, place: usize, loads: &Loads) -> u16 {
        let player = self.all[place];
        if self.is_overloaded(player, loads) { 0 } else { player.weight }
    }

    #[inline]
    pub(super) fn takes(&self, place: usize, loads: &Loads) -> bool {
        self.weight(place, loads) > 0
    }

    /// True if anybody takes new connections.
    pub(super) fn any_takes(&self, loads: &Loads) -> bool {
        (0..self.all.len()).any(|place| self.takes(place, loads))
    }

    /// The greatest weight that takes new connections; 0 if there is none.
    pub(super) fn heaviest(&self, loads: &Loads) -> u16 {
        (0..self.all.len()).map(|place| self.weight(place, loads)).max().unwrap_or(0)
    }
}
