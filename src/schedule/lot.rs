//! The better of two that are drawn by lot: twos.

use super::Loads;
use super::atomic::{AtomicU64, SeqCst};
use super::players::Players;
use std::hash::{BuildHasher, RandomState};

/// Draws two servers, each in proportion to its weight, and takes the one with less overhead for
/// its weight, the first of equals (`ip_vs_twos_schedule` in net/netfilter/ipvs/ip_vs_twos.c).
#[derive(Debug)]
pub(super) struct Lot {
    /// SplitMix64 (Steele, Lea and Flood, 2014), which all workers share: each draws numbers that
    /// no other one gets.
    random: AtomicU64,
    /// For each server the sum of the weights up to and with its own.
    sums: Box<[u64]>,
}

/// From number to number.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Lot {
    /// A lottery that nobody outside can foresee.
    pub(super) fn new(players: &Players) -> Self {
        Self::with_seed(RandomState::new().hash_one(0), players)
    }

    /// For another list of the same service.
    pub(super) fn next(&self, players: &Players) -> Self {
        Self::with_seed(self.random.load(SeqCst), players)
    }

    fn with_seed(seed: u64, players: &Players) -> Self {
        let weights = players.all().iter().map(|of| u64::from(of.weight));
        let sums = weights.scan(0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        Self { random: AtomicU64::new(seed), sums: sums.collect() }
    }

    /// What the next pick begins with.
    #[cfg(all(test, not(loom_model)))]
    pub(super) fn seed(&self) -> u64 {
        self.random.load(SeqCst)
    }

    /// The place of whoever wins. `players` are those that this was made for, all with a weight.
    #[inline]
    pub(super) fn pick(&self, players: &Players, loads: &Loads) -> Option<usize> {
        let total = if players.limited() { weight_of_takers(players, loads) } else { *self.sums.last()? };
        if total == 0 {
            return None;
        }
        let seed = self.random.fetch_add(GOLDEN.wrapping_mul(2), SeqCst);
        let draw = |number: u64| {
            let drawn = mix(seed.wrapping_add(GOLDEN.wrapping_mul(number))) % (total + 1);
            self.winner_of(drawn, players, loads)
        };
        let (first, second) = (draw(1)?, draw(2)?);
        let overhead = |place: usize| loads.get(players.server(place)).overhead();
        let weight = |place: usize| u64::from(players.all()[place].weight);
        let second_better = overhead(first) * weight(second) > overhead(second) * weight(first);
        Some(if second_better { second } else { first })
    }

    /// The first server with which the sum of the weights is `drawn` or more.
    #[inline]
    fn winner_of(&self, drawn: u64, players: &Players, loads: &Loads) -> Option<usize> {
        if !players.limited() {
            return Some(self.sums.partition_point(|sum| *sum < drawn));
        }
        let (mut sum, mut last) = (0, None);
        for place in 0..players.all().len() {
            let weight = players.weight(place, loads);
            if weight > 0 {
                sum += u64::from(weight);
                last = Some(place);
            }
            if weight > 0 && sum >= drawn {
                break;
            }
        }
        last // also if the rest has just been overloaded by another worker
    }
}

fn weight_of_takers(players: &Players, loads: &Loads) -> u64 {
    (0..players.all().len()).map(|place| u64::from(players.weight(place, loads))).sum()
}

#[inline]
fn mix(seed: u64) -> u64 {
    let z = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
