//! The servers of one service, and the pick of one of them.

use super::Loads;
use super::candidate::Candidate;
use super::hashing::HashTable;
use super::least::Measure;
use super::params::{ClientAddr, Params, fold};
use super::rr::RoundRobin;
use super::servers::Servers;
use super::slow_start::SlowStart;
use super::tree::Tournament;
use super::tree_set::TreeSet;
use super::twos::Twos;
use super::wrr::WeightedRoundRobin;
use crate::model::{Persistence, Scheduler, ServerId};
use std::collections::HashMap;
use std::sync::Arc;

/// The longest list that is walked for every pick. A longer one has a tournament tree, in which every
/// change of a load costs. With 32 servers both take the same time, and with a list the workers write
/// fewer shared cache lines.
const LIST_MAX: usize = 32;

/// The servers of one service in IPVS's list order, with the state of its scheduler.
///
/// A handle: clones are the same pool. The cost of a pick depends on the scheduler:
/// - wlc, lc, sed, nq, fo and ovf pick the server with the least load. That is one read of the root of
///   the tournament tree; every change of a load ([`Pool::changed`]) costs a few matches, logarithmic
///   in the number of servers. A short list has no tree: a pick walks it.
/// - rr and wrr hold their position in one word: a pick advances it by compare-and-swap.
/// - sh, dh and mh look up a table that is built once.
/// - twos draws from the prefix sums of the weights.
/// - Servers in slow start come before the scheduler, with shares of their own.
///
/// With one worker each pick is IPVS's. With several, rr, wrr, sh, dh and mh pick as one worker
/// would; schedulers that compare loads may miss the connections that other workers are just opening,
/// one each.
#[derive(Clone, Debug)]
pub struct Pool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    params: Params,
    candidates: Box<[Candidate]>,
    /// Weights before quiescing (IPVS's `last_weight`).
    last_weights: Box<[u16]>,
    /// The servers that accept persistent clients, sorted. Empty for a service without persistence.
    persistent: Box<[ServerId]>,
    /// The servers outside slow start; for twos without those of weight 0.
    servers: Servers,
    algorithm: Algorithm,
    slow_start: Option<Box<SlowStart>>,
    /// Empty for schedulers that do not compare loads.
    tree: Arc<Tournament>,
    tree_set: Arc<TreeSet>,
}

/// The scheduler with its state.
#[derive(Debug)]
enum Algorithm {
    Least,
    RoundRobin(RoundRobin),
    WeightedRoundRobin(WeightedRoundRobin),
    Hashing(HashTable),
    Twos(Twos),
}

impl Pool {
    /// A service's first pool, with wlc: `candidates` in list order, without connections and thresholds.
    ///
    /// A server belongs to one service, and is in its list once.
    #[must_use]
    pub fn new(candidates: impl IntoIterator<Item = Candidate>) -> Self {
        Self::with_list_max(LIST_MAX, candidates)
    }

    fn with_list_max(list_max: usize, candidates: impl IntoIterator<Item = Candidate>) -> Self {
        let candidates: Box<[Candidate]> = candidates.into_iter().collect();
        let tree = Arc::new(Tournament::new(nonzero_weight(&candidates), Measure::Wlc, list_max));
        Self(Arc::new(Inner {
            params: Params::default(),
            last_weights: candidates.iter().map(|of| of.weight).collect(),
            servers: Servers::new(candidates.iter()),
            candidates,
            persistent: Box::default(),
            algorithm: Algorithm::Least,
            slow_start: None,
            tree_set: Arc::new(TreeSet::new(Arc::clone(&tree))),
            tree,
        }))
    }

    /// The pool of the same service after a change of its parameters or candidates; this very pool if
    /// nothing has changed. rr and wrr continue from their positions. Sets the candidates' thresholds.
    ///
    /// Workers may use the old pool meanwhile: both hear of every change of a load until one is dropped.
    /// Later picks of rr and wrr from the old pool do not advance the new one.
    #[must_use]
    pub fn successor(
        &self,
        params: Params,
        candidates: impl IntoIterator<Item = Candidate>,
        loads: &Loads,
    ) -> Self {
        let candidates: Box<[Candidate]> = candidates.into_iter().collect();
        if params == self.0.params && candidates == self.0.candidates {
            return self.clone();
        }
        for of in &candidates {
            if loads.set_thresholds(of.server, of.thresholds) {
                self.changed(of.server, loads);
            }
        }
        Self(Arc::new(self.0.successor(params, candidates, loads)))
    }

    /// The server for a new connection of `client`, by the service's scheduler (net/netfilter/ipvs/
    /// ip_vs_*.c, named in the files here); `None` if no server is eligible.
    #[inline]
    #[must_use]
    pub fn pick(&self, loads: &Loads, client: ClientAddr) -> Option<ServerId> {
        match &self.0.slow_start {
            None => self.0.pick(loads, client),
            Some(slow_start) => self.0.pick_with(slow_start, loads, client),
        }
    }

    /// True for one-packet scheduling ([`Params::one_packet`]).
    #[inline]
    #[must_use]
    pub fn one_packet(&self) -> bool {
        self.0.params.one_packet
    }

    /// The service's persistence ([`Params::persistence`]) and the generation of its templates; `None`
    /// without persistence.
    #[inline]
    #[must_use]
    pub fn persistence(&self) -> Option<(Persistence, u8)> {
        self.0.params.persistence.map(|persistence| (persistence, self.0.params.generation))
    }

    /// True if a client with a template for `server` may open more connections there.
    #[must_use]
    pub fn accepts_persistent(&self, server: ServerId) -> bool {
        self.0.persistent.binary_search(&server).is_ok()
    }

    /// Takes note of a change of the load of `server`. To be called after every change.
    #[inline]
    pub fn changed(&self, server: ServerId, loads: &Loads) {
        self.0.tree_set.replay(&self.0.tree, server, loads);
    }
}

impl Inner {
    /// Picks among the servers outside slow start.
    #[inline]
    fn pick(&self, loads: &Loads, client: ClientAddr) -> Option<ServerId> {
        let servers = &self.servers;
        let place = match &self.algorithm {
            Algorithm::Least => return self.tree.winner(loads),
            Algorithm::RoundRobin(round) => round.pick(servers, loads),
            Algorithm::WeightedRoundRobin(rounds) => rounds.pick(servers, loads),
            Algorithm::Hashing(table) => table.pick(client, servers, loads),
            Algorithm::Twos(twos) => twos.pick(servers, loads),
        };
        place.map(|place| servers.id(place))
    }

    #[inline(never)]
    fn pick_with(&self, slow_start: &SlowStart, loads: &Loads, client: ClientAddr) -> Option<ServerId> {
        let due = slow_start.pick(loads);
        due.or_else(|| self.pick(loads, client)).or_else(|| slow_start.pick_any(loads))
    }

    fn successor(&self, params: Params, candidates: Box<[Candidate]>, loads: &Loads) -> Self {
        let (last_weights, list_max) = (self.last_weights(&candidates), self.tree.list_max());
        let slow = params.scheduler.starts_slowly();
        let slow_start = slow.then(|| SlowStart::of(&candidates, self.slow_start.as_deref())).flatten();
        let settled: Vec<_> = candidates.iter().filter(|of| !slow || of.part.is_none()).copied().collect();
        let servers = match params.scheduler {
            Scheduler::Twos => nonzero_weight(&settled),
            _ => Servers::new(settled.iter()),
        };
        // In IPVS a change of the list restarts wrr's round. A step of slow start is no such change.
        let step = self.slow_start.is_some() || slow_start.is_some();
        let unchanged = step && self.servers.all() == servers.all();
        let algorithm = self.algorithm(&params, &servers, &candidates, (&last_weights, unchanged));
        let tree = match Measure::of(params.scheduler) {
            Some(measure) => Tournament::new(nonzero_weight(&settled), measure, list_max),
            None => Tournament::new(nonzero_weight(&[]), Measure::Wlc, list_max),
        };
        let (tree, tree_set) = (Arc::new(tree), Arc::clone(&self.tree_set));
        tree_set.join(&tree);
        tree.rebuild(loads);
        let persistent = persistent(&params, &candidates);
        Self { params, candidates, last_weights, persistent, servers, algorithm, slow_start, tree, tree_set }
    }

    /// The scheduler's state, continued from this pool's if the scheduler is the same.
    fn algorithm(
        &self,
        params: &Params,
        servers: &Servers,
        candidates: &[Candidate],
        (last_weights, unchanged): (&[u16], bool),
    ) -> Algorithm {
        match (params.scheduler, &self.algorithm) {
            (Scheduler::Rr, Algorithm::RoundRobin(round)) => {
                Algorithm::RoundRobin(round.successor(&self.servers, servers))
            }
            (Scheduler::Rr, _) => Algorithm::RoundRobin(RoundRobin::new()),
            (Scheduler::Wrr, Algorithm::WeightedRoundRobin(rounds)) => {
                Algorithm::WeightedRoundRobin(rounds.successor(servers, unchanged))
            }
            (Scheduler::Wrr, _) => Algorithm::WeightedRoundRobin(WeightedRoundRobin::new(servers)),
            (Scheduler::Twos, Algorithm::Twos(twos)) => Algorithm::Twos(twos.successor(servers)),
            (Scheduler::Twos, _) => Algorithm::Twos(Twos::new(servers)),
            _ => {
                let address = |of: &Candidate| fold(of.address.ip()).wrapping_add(of.address.port().into());
                let addresses: Vec<_> = candidates.iter().map(address).collect();
                HashTable::new(params, servers, last_weights, &addresses)
                    .map_or(Algorithm::Least, Algorithm::Hashing)
            }
        }
    }

    /// The weights of `candidates`; of quiesced ones the last they had here
    /// (`last_weight` in `__ip_vs_update_dest`, net/netfilter/ipvs/ip_vs_ctl.c).
    fn last_weights(&self, candidates: &[Candidate]) -> Box<[u16]> {
        let known = self.candidates.iter().map(|of| (of.server, of.address)).zip(&self.last_weights);
        let known: HashMap<_, _> = known.collect();
        let last_weights = |of: &Candidate| match of.weight {
            0 => known.get(&(of.server, of.address)).map_or(0, |weight| **weight),
            weight => weight,
        };
        candidates.iter().map(last_weights).collect()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.tree_set.leave(&self.tree);
    }
}

fn persistent(params: &Params, candidates: &[Candidate]) -> Box<[ServerId]> {
    let persistent = candidates.iter().filter(|of| params.persistence.is_some() && of.accepts_persistent);
    let mut persistent: Box<[_]> = persistent.map(|of| of.server).collect();
    persistent.sort_unstable();
    persistent
}

/// The candidates that are not quiesced.
fn nonzero_weight(candidates: &[Candidate]) -> Servers {
    Servers::new(candidates.iter().filter(|candidate| candidate.weight > 0))
}

#[cfg(all(test, not(loom_model)))]
mod tests;

#[cfg(all(test, loom_model))]
mod loom_tests;
