//! The servers of one service that take new connections, and the wlc pick among them.

use super::Loads;
use crate::model::ServerId;

/// A server that may be picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Who.
    pub server: ServerId,
    /// Its weight, never 0.
    pub weight: u16,
}

/// The candidates of one service in IPVS's list order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool(Box<[Candidate]>);

impl Pool {
    /// A pool of `candidates` in list order. Those of weight 0 are quiesced and left out.
    #[must_use]
    pub fn new(candidates: impl IntoIterator<Item = Candidate>) -> Self {
        Self(candidates.into_iter().filter(|candidate| candidate.weight > 0).collect())
    }

    /// The weighted-least-connection pick: the server with the least overhead for its weight, the
    /// earlier one of equals (`ip_vs_wlc_schedule` in net/netfilter/ipvs/ip_vs_wlc.c).
    ///
    /// With several workers each pick may miss the connections that the others are just opening.
    #[inline]
    #[must_use]
    pub fn pick(&self, loads: &Loads) -> Option<ServerId> {
        let (first, rest) = self.0.split_first()?;
        let mut best = (*first, loads.get(first.server).overhead());
        for candidate in rest {
            let overhead = loads.get(candidate.server).overhead();
            if best.1 * u64::from(candidate.weight) > overhead * u64::from(best.0.weight) {
                best = (*candidate, overhead);
            }
        }
        Some(best.0.server)
    }
}

#[cfg(all(test, not(loom_model)))]
mod tests {
    use super::*;
    use crate::schedule::Load;
    use proptest::prelude::*;

    /// IPVS's rule written down as it is told: walk the list, replace the best only if the later
    /// one is strictly less loaded for its weight.
    fn naive(servers: &[(u16, Load)]) -> Option<usize> {
        let mut best: Option<usize> = None;
        for (index, (weight, load)) in servers.iter().enumerate() {
            if *weight == 0 {
                continue;
            }
            let overhead = |load: &Load| u128::from(load.active) * 256 + u128::from(load.inactive);
            let replaces = best.is_none_or(|best| {
                let (best_weight, best_load) = &servers[best];
                overhead(best_load) * u128::from(*weight) > overhead(load) * u128::from(*best_weight)
            });
            if replaces {
                best = Some(index);
            }
        }
        best
    }

    fn pool(weights: &[u16]) -> Pool {
        Pool::new(
            weights.iter().zip(0..).map(|(weight, id)| Candidate { server: ServerId(id), weight: *weight }),
        )
    }

    proptest! {
        #[test]
        fn the_sequence_of_picks_is_that_of_the_naive_rule(
            weights in prop::collection::vec(prop_oneof![Just(0u16), Just(1), 1u16..10, any::<u16>()], 0..12),
            ends in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 1..300),
        ) {
            let (pool, loads) = (pool(&weights), Loads::new(weights.len()));
            let mut model: Vec<_> = weights.iter().map(|weight| (*weight, Load::default())).collect();
            let mut open = Vec::new();
            for (index, finishes) in ends {
                let expected = naive(&model);
                let picked = pool.pick(&loads);
                prop_assert_eq!(picked.map(|server| usize::from(server.0)), expected);
                if let (Some(server), Some(at)) = (picked, expected) {
                    loads.add(server, true);
                    model[at].1.active += 1;
                    open.push(at);
                }
                if finishes && !open.is_empty() {
                    let at = open.swap_remove(index.index(open.len()));
                    loads.shift(ServerId(at as u16), false);
                    model[at].1.active -= 1;
                    model[at].1.inactive += 1;
                }
            }
        }
    }

    #[test]
    fn equal_servers_take_turns_from_the_head_of_the_list() {
        let (pool, loads) = (pool(&[1, 1, 1]), Loads::new(3));
        let picks: Vec<_> = (0..6)
            .map(|_| {
                let server = pool.pick(&loads).unwrap();
                loads.add(server, true);
                server.0
            })
            .collect();
        assert_eq!(picks, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn the_heaviest_loads_and_weights_do_not_overflow() {
        let (pool, loads) = (pool(&[u16::MAX, 1]), Loads::new(2));
        for _ in 0..3 {
            loads.add(ServerId(0), true);
        }
        assert_eq!(pool.pick(&loads), Some(ServerId(1)));
        let heaviest = Load { active: u32::MAX, inactive: u32::MAX }.overhead();
        assert!(heaviest.checked_mul(u64::from(u16::MAX)).is_some());
    }

    #[test]
    fn nobody_is_picked_from_an_empty_or_quiesced_pool() {
        assert_eq!(pool(&[]).pick(&Loads::new(0)), None);
        assert_eq!(pool(&[0, 0]).pick(&Loads::new(2)), None);
    }

    /// With W workers every pick misses at most the W − 1 picks that others are making. So, while
    /// connections only open, no server is ahead of another by more than W connections for its
    /// weight: n_i / w_i ≤ n_j / w_j + W / w_i.
    #[test]
    fn several_workers_stay_within_the_stated_bound() {
        const WORKERS: u32 = 4;
        let weights = [1u16, 2, 5];
        let (pool, loads) = (pool(&weights), Loads::new(3));
        std::thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| (0..20_000).for_each(|_| loads.add(pool.pick(&loads).unwrap(), true)));
            }
        });
        let opened = |at: usize| f64::from(loads.get(ServerId(at as u16)).active);
        let total: f64 = (0..3).map(opened).sum();
        assert_eq!(total, f64::from(WORKERS * 20_000), "no connection is lost");
        for (i, w_i) in weights.iter().map(|weight| f64::from(*weight)).enumerate() {
            for (j, w_j) in weights.iter().map(|weight| f64::from(*weight)).enumerate() {
                let bound = opened(j) / w_j + f64::from(WORKERS) / w_i;
                assert!(opened(i) / w_i <= bound, "{i}: {} against {j}: {}", opened(i), opened(j));
            }
        }
    }
}

#[cfg(all(test, loom_model))]
mod loom_tests {
    use super::*;
    use crate::schedule::Load;
    use loom::sync::Arc;

    fn pool(weights: [u16; 2]) -> Pool {
        let candidate = |(id, weight)| Candidate { server: ServerId(id), weight };
        Pool::new((0..).zip(weights).map(candidate))
    }

    /// Every interleaving of two workers that open two connections each stays within the bound.
    #[test]
    fn loom_two_workers_stay_within_the_bound() {
        loom::model(|| {
            let loads = Arc::new(Loads::new(2));
            let work = |loads: Arc<Loads>| {
                move || {
                    let pool = pool([1, 1]);
                    (0..2).for_each(|_| loads.add(pool.pick(&loads).unwrap(), true));
                }
            };
            let other = loom::thread::spawn(work(Arc::clone(&loads)));
            work(Arc::clone(&loads))();
            other.join().unwrap();
            let [a, b] = [0, 1].map(|id| loads.get(ServerId(id)).active);
            assert_eq!(a + b, 4, "no connection is lost");
            assert!(a.abs_diff(b) <= 2, "{a} and {b}");
        });
    }

    /// A reader never sees a connection twice or not at all while it moves to inactive.
    #[test]
    fn loom_a_move_is_seen_whole() {
        loom::model(|| {
            let loads = Arc::new(Loads::new(1));
            loads.add(ServerId(0), true);
            let mover = {
                let loads = Arc::clone(&loads);
                loom::thread::spawn(move || loads.shift(ServerId(0), false))
            };
            let Load { active, inactive } = loads.get(ServerId(0));
            assert_eq!(active + inactive, 1);
            mover.join().unwrap();
            assert_eq!(loads.get(ServerId(0)), Load { active: 0, inactive: 1 });
        });
    }
}
