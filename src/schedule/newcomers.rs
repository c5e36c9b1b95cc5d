//! Servers that start slowly: what they get of the new connections is a share by itself, not what the
//! scheduler would give them.
//!
//! To a scheduler that goes by connections a server without any looks best, whatever it weighs. So
//! it does not choose among these: each new connection is first put to them, and goes to one of them
//! as often as the part of its weight says; else the scheduler picks among the others.

use super::Loads;
use super::atomic::{AtomicU64, SeqCst};
use super::players::Players;
use super::pool::Candidate;
use crate::model::ServerId;

/// From turn to turn, of 2⁶⁴: the golden ratio, multiples of which lie as evenly as can be.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
/// Where turns begin: not with a newcomer.
const BEGIN: u64 = 1 << 63;

/// Those of a pool that start slowly.
#[derive(Debug)]
pub(super) struct Newcomers {
    players: Players,
    /// For each the sum of the parts of weights up to and with its own.
    sums: Box<[u64]>,
    /// With the weights of all others.
    total: u64,
    /// Where the last turn fell, which all workers share.
    turn: AtomicU64,
}

impl Newcomers {
    /// Those of `candidates` that start slowly; `None` if nobody does. Turns go on from `old`.
    pub(super) fn of(candidates: &[Candidate], old: Option<&Self>) -> Option<Box<Self>> {
        let new = || candidates.iter().filter(|of| of.part.is_some() && of.weight > 0);
        let weight = |of: &Candidate| u64::from(of.weight) * u64::from(of.part.unwrap_or(Candidate::WHOLE));
        let sums = new().scan(0, |sum, of| {
            *sum += weight(of);
            Some(*sum)
        });
        let (sums, total) = (sums.collect::<Box<_>>(), candidates.iter().map(weight).sum());
        let turn = AtomicU64::new(old.map_or(BEGIN, |old| old.turn.load(SeqCst)));
        (!sums.is_empty()).then(|| Box::new(Self { players: Players::new(new()), sums, total, turn }))
    }

    /// Whoever's turn it is, if that is one of them and it takes connections.
    pub(super) fn pick(&self, loads: &Loads) -> Option<ServerId> {
        let turn = self.turn.fetch_add(GOLDEN, SeqCst);
        let at = ((u128::from(turn) * u128::from(self.total)) >> 64) as u64;
        let place = self.sums.partition_point(|sum| *sum <= at);
        (place < self.sums.len() && self.players.takes(place, loads)).then(|| self.players.server(place))
    }

    /// One that takes connections: the others do not.
    pub(super) fn pick_any(&self, loads: &Loads) -> Option<ServerId> {
        let all = self.sums.len();
        let first = self.turn.fetch_add(GOLDEN, SeqCst) as usize % all;
        let mut round = (first..all).chain(0..first);
        round.find(|place| self.players.takes(*place, loads)).map(|place| self.players.server(place))
    }
}
