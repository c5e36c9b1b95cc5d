//! Weighted round robin: wrr.
//!
//! The position, place and level, is one word that all workers share, and a pick advances it by
//! compare-and-swap, as in [`rr`](super::rr).

use super::Loads;
use super::atomic::{AtomicU64, SeqCst};
use super::servers::Servers;

/// Walks the list once for each level, from the highest down to 1, and picks the servers whose weight
/// reaches the level. Over all levels each server is picked as often as its weight is a multiple of the
/// step (`ip_vs_wrr_schedule` in net/netfilter/ipvs/ip_vs_wrr.c).
#[derive(Debug)]
pub(super) struct WeightedRoundRobin {
    position: AtomicU64,
    /// From level to level: the greatest common divisor of the weights.
    step: u16,
    /// The highest level: the greatest weight, less what the lowest level is below the step. 0 if
    /// no server has a weight.
    top: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    /// One more than the place picked last; 0 at the head of the list.
    after: usize,
    level: u16,
}

impl Position {
    const fn bits(self) -> u64 {
        (self.after as u64) << 16 | self.level as u64
    }

    const fn from_bits(bits: u64) -> Self {
        Self { after: (bits >> 16) as usize, level: bits as u16 }
    }
}

impl WeightedRoundRobin {
    /// The state of a service's first list. Starts at the lowest level, as IPVS does: its servers are
    /// added one by one, and with a single server there is no other level.
    pub(super) fn new(servers: &Servers) -> Self {
        Self::at(Position { after: 0, level: 0 }, servers)
    }

    /// The state for another list of the same service: starts the round again on the same or the next
    /// lower level (`ip_vs_wrr_dest_changed`). With `unchanged`, the list is the same and the round
    /// continues.
    pub(super) fn successor(&self, new: &Servers, unchanged: bool) -> Self {
        let Position { after, level } = Position::from_bits(self.position.load(SeqCst));
        Self::at(Position { after: if unchanged { after } else { 0 }, level }, new)
    }

    fn at(Position { after, level }: Position, servers: &Servers) -> Self {
        let weights = || servers.all().iter().map(|of| of.weight).filter(|weight| *weight > 0);
        let step = weights().reduce(gcd).unwrap_or(1);
        let top = weights().max().map_or(0, |most| most - (step - 1));
        let level = match level {
            _ if top == 0 => 0,
            0 => 1,
            _ if level > top => top,
            _ if step > 1 => level / step * step + 1,
            _ => level,
        };
        Self { position: AtomicU64::new(Position { after, level }.bits()), step, top }
    }

    /// The place of the next eligible server.
    #[inline]
    pub(super) fn pick(&self, servers: &Servers, loads: &Loads) -> Option<usize> {
        let mut position = self.position.load(SeqCst);
        loop {
            let (next, place) = self.advance(Position::from_bits(position), servers, loads);
            match self.position.compare_exchange(position, next.bits(), SeqCst, SeqCst) {
                Ok(_) => return place,
                Err(now) => position = now,
            }
        }
    }

    /// The place picked from `position`, and the position after it.
    fn advance(&self, position: Position, servers: &Servers, loads: &Loads) -> (Position, Option<usize>) {
        let find = |first: usize, level: u16| {
            let mut round = first..servers.all().len();
            round.find(|place| servers.weight(*place, loads) >= level)
        };
        let picked = |place: usize, level| (Position { after: place + 1, level }, Some(place));
        if self.top == 0 {
            return (position, None);
        }
        if let Some(place) = find(position.after, position.level) {
            return picked(place, position.level);
        }
        loop {
            // Levels above every eligible weight are skipped.
            let max = servers.max_weight(loads);
            if max == 0 {
                return (self.exhausted(position), None);
            }
            let level = self.below(position.level).min((max - 1) / self.step * self.step + 1);
            if let Some(place) = find(0, level) {
                return picked(place, level);
            } // else another worker has just overloaded the heaviest server
        }
    }

    /// The next level down; from the lowest, the highest.
    fn below(&self, level: u16) -> u16 {
        if level > self.step { level - self.step } else { self.top }
    }

    /// The position at which IPVS stops after a search without an eligible server.
    fn exhausted(&self, position: Position) -> Position {
        if position.level == 1 && position.after > 0 {
            position
        } else {
            Position { after: 0, level: self.top }
        }
    }
}

/// The greatest common divisor, by Euclid's algorithm.
pub(super) fn gcd(a: u16, b: u16) -> u16 {
    if b == 0 { a } else { gcd(b, a % b) }
}
