//! Servers in turn: rr and wrr.
//!
//! Where the round stands is one word that all workers share. A pick is the step from one value to
//! the next, by compare-and-swap: so the picks of all workers together are one round, in which
//! nobody is left out or comes twice, and a worker that stands still holds up nobody.

use super::Loads;
use super::atomic::{AtomicU64, SeqCst};
use super::players::Players;
use crate::model::ServerId;
use std::collections::HashMap;

/// Takes the next server of the list that takes connections (`ip_vs_rr_schedule` in
/// net/netfilter/ipvs/ip_vs_rr.c).
#[derive(Debug)]
pub(super) struct RoundRobin {
    /// One more than the place of whoever came last; 0 at the head of the list.
    after: AtomicU64,
}

impl RoundRobin {
    pub(super) fn new() -> Self {
        Self::at(0)
    }

    fn at(after: usize) -> Self {
        Self { after: AtomicU64::new(after as u64) }
    }

    /// For another list of the same service: goes on behind whoever came last, or behind the one
    /// before if that one is gone (`ip_vs_rr_del_dest`).
    pub(super) fn next(&self, old: &Players, new: &Players) -> Self {
        let places: HashMap<ServerId, usize> = new.all().iter().map(|of| of.server).zip(1..).collect();
        let came = &old.all()[..self.after.load(SeqCst) as usize];
        let last = came.iter().rev().find_map(|of| places.get(&of.server));
        Self::at(last.copied().unwrap_or(0))
    }

    /// The place of whoever is next.
    #[inline]
    pub(super) fn pick(&self, players: &Players, loads: &Loads) -> Option<usize> {
        let mut after = self.after.load(SeqCst);
        loop {
            let mut round = (after as usize..players.all().len()).chain(0..after as usize);
            let place = round.find(|place| players.takes(*place, loads))?;
            match self.after.compare_exchange(after, place as u64 + 1, SeqCst, SeqCst) {
                Ok(_) => return Some(place),
                Err(now) => after = now,
            }
        }
    }
}

/// Goes round and round, each time down to a lower level, and takes those whose weight is at or
/// above it; from the lowest level, 1, it goes up to the highest again (`ip_vs_wrr_schedule` in
/// net/netfilter/ipvs/ip_vs_wrr.c). So in all rounds from the highest level to the lowest, each
/// server comes as often as its weight is a multiple of the step.
#[derive(Debug)]
pub(super) struct Weighted {
    mark: AtomicU64,
    /// From level to level: the greatest common divisor of the weights.
    step: u16,
    /// The highest level: the greatest weight, less what the lowest level is below the step. 0 if
    /// no server has a weight.
    top: u16,
}

/// Where the rounds stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    /// One more than the place of whoever came last; 0 at the head of the list.
    after: usize,
    level: u16,
}

impl Mark {
    const fn bits(self) -> u64 {
        (self.after as u64) << 16 | self.level as u64
    }

    const fn from_bits(bits: u64) -> Self {
        Self { after: (bits >> 16) as usize, level: bits as u16 }
    }
}

impl Weighted {
    /// A list's first rounds. They begin at the lowest level, as in IPVS, which gets its servers one
    /// by one: with the first one alone there is no other level.
    pub(super) fn new(players: &Players) -> Self {
        Self::at(Mark { after: 0, level: 0 }, players)
    }

    /// For another list of the same service: begins the round anew, on the same level or the next
    /// one that there is (`ip_vs_wrr_dest_changed`), unless it `goes_on`: then it is the same list.
    pub(super) fn next(&self, new: &Players, goes_on: bool) -> Self {
        let Mark { after, level } = Mark::from_bits(self.mark.load(SeqCst));
        Self::at(Mark { after: if goes_on { after } else { 0 }, level }, new)
    }

    fn at(Mark { after, level }: Mark, players: &Players) -> Self {
        let weights = || players.all().iter().map(|of| of.weight).filter(|weight| *weight > 0);
        let step = weights().reduce(gcd).unwrap_or(1);
        let top = weights().max().map_or(0, |most| most - (step - 1));
        let level = match level {
            _ if top == 0 => 0,
            0 => 1,
            _ if level > top => top,
            _ if step > 1 => level / step * step + 1,
            _ => level,
        };
        Self { mark: AtomicU64::new(Mark { after, level }.bits()), step, top }
    }

    /// The place of whoever is next.
    #[inline]
    pub(super) fn pick(&self, players: &Players, loads: &Loads) -> Option<usize> {
        let mut mark = self.mark.load(SeqCst);
        loop {
            let (next, place) = self.turn(Mark::from_bits(mark), players, loads);
            match self.mark.compare_exchange(mark, next.bits(), SeqCst, SeqCst) {
                Ok(_) => return place,
                Err(now) => mark = now,
            }
        }
    }

    /// Whoever comes after `mark`, and the mark after that.
    fn turn(&self, mark: Mark, players: &Players, loads: &Loads) -> (Mark, Option<usize>) {
        let from = |first: usize, level: u16| {
            let mut round = first..players.all().len();
            round.find(|place| players.weight(*place, loads) >= level)
        };
        let taken = |place: usize, level| (Mark { after: place + 1, level }, Some(place));
        if self.top == 0 {
            return (mark, None);
        }
        if let Some(place) = from(mark.after, mark.level) {
            return taken(place, mark.level);
        }
        loop {
            // Levels that nobody reaches need no round.
            let heaviest = players.heaviest(loads);
            if heaviest == 0 {
                return (self.after_all(mark), None);
            }
            let level = self.below(mark.level).min((heaviest - 1) / self.step * self.step + 1);
            if let Some(place) = from(0, level) {
                return taken(place, level);
            } // else whoever was heaviest has just been overloaded by another worker
        }
    }

    /// The next level down, or from the lowest the highest.
    fn below(&self, level: u16) -> u16 {
        if level > self.step { level - self.step } else { self.top }
    }

    /// Where IPVS stops when it has looked at everybody in vain.
    fn after_all(&self, mark: Mark) -> Mark {
        if mark.level == 1 && mark.after > 0 { mark } else { Mark { after: 0, level: self.top } }
    }
}

fn gcd(a: u16, b: u16) -> u16 {
    if b == 0 { a } else { gcd(b, a % b) }
}
