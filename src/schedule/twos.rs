//! Power of two choices, weighted: twos.

use super::Loads;
use super::atomic::{AtomicU64, SeqCst};
use super::servers::{Servers, prefix_sums};
use crate::random::{GOLDEN, mix};
use std::hash::{BuildHasher, RandomState};

/// Draws two servers at random in proportion to their weights, and picks the one with less overhead for its
/// weight. Of equals it picks the first (`ip_vs_twos_schedule` in net/netfilter/ipvs/ip_vs_twos.c).
#[derive(Debug)]
pub(super) struct Twos {
    /// State of SplitMix64, shared by all workers: every draw is a number of its own.
    random: AtomicU64,
    /// Prefix sums of the weights.
    sums: Box<[u64]>,
}

impl Twos {
    /// Starts from a random seed, so that clients cannot predict picks.
    pub(super) fn new(servers: &Servers) -> Self {
        Self::with_seed(RandomState::new().hash_one(0), servers)
    }

    /// The state for another list of the same service.
    pub(super) fn successor(&self, servers: &Servers) -> Self {
        Self::with_seed(self.random.load(SeqCst), servers)
    }

    fn with_seed(seed: u64, servers: &Servers) -> Self {
        let weights = servers.all().iter().map(|of| u64::from(of.weight));
        Self { random: AtomicU64::new(seed), sums: prefix_sums(weights) }
    }

    /// The random state before the next pick.
    #[cfg(all(test, not(loom_model)))]
    pub(super) fn seed(&self) -> u64 {
        self.random.load(SeqCst)
    }

    /// The place of the picked server. `servers` is the list given at creation, without weights of 0.
    #[inline]
    pub(super) fn pick(&self, servers: &Servers, loads: &Loads) -> Option<usize> {
        let total = if servers.limited() { eligible_weight(servers, loads) } else { *self.sums.last()? };
        if total == 0 {
            return None;
        }
        let seed = self.random.fetch_add(GOLDEN.wrapping_mul(2), SeqCst);
        let draw = |number: u64| {
            let drawn = mix(seed.wrapping_add(GOLDEN.wrapping_mul(number))) % (total + 1);
            self.place_of(drawn, servers, loads)
        };
        let (first, second) = (draw(1)?, draw(2)?);
        let overhead = |place: usize| loads.get(servers.id(place)).overhead();
        let weight = |place: usize| u64::from(servers.all()[place].weight);
        let second_better = overhead(first) * weight(second) > overhead(second) * weight(first);
        Some(if second_better { second } else { first })
    }

    /// The first place whose prefix sum is `drawn` or more.
    #[inline]
    fn place_of(&self, drawn: u64, servers: &Servers, loads: &Loads) -> Option<usize> {
        if !servers.limited() {
            return Some(self.sums.partition_point(|sum| *sum < drawn));
        }
        let (mut sum, mut last) = (0, None);
        for place in 0..servers.all().len() {
            let weight = servers.weight(place, loads);
            if weight > 0 {
                sum += u64::from(weight);
                last = Some(place);
            }
            if weight > 0 && sum >= drawn {
                break;
            }
        }
        last // also if another worker has just overloaded the rest
    }
}

fn eligible_weight(servers: &Servers, loads: &Loads) -> u64 {
    (0..servers.all().len()).map(|place| u64::from(servers.weight(place, loads))).sum()
}
