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
const LIST_MAX: usize = if cfg!(loom_model) { 0 } else { 32 };

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
    /// [`LIST_MAX`], except in tests.
    list_max: usize,
}

/// The parts from which a pool is built.
struct PoolSpec<'a> {
    params: Params,
    candidates: Box<[Candidate]>,
    list_max: usize,
    /// `None` for a service's first pool, which has wlc and no connection.
    previous: Option<(&'a Inner, &'a Loads)>,
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

    /// A service's first pool. This one and its successors have no tree up to `list_max` servers.
    fn with_list_max(list_max: usize, candidates: impl IntoIterator<Item = Candidate>) -> Self {
        let (params, candidates) = (Params::default(), candidates.into_iter().collect());
        Self(Arc::new(Inner::new(PoolSpec { params, candidates, list_max, previous: None })))
    }

    /// The pool of the same service after a change of its parameters or candidates; this very pool if
    /// nothing has changed. rr and wrr continue from their positions. Sets the candidates' thresholds.
    ///
    /// Workers may use the old pool meanwhile: both receive every change of a load until one is dropped.
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
        let (list_max, previous) = (self.0.list_max, Some((&*self.0, loads)));
        Self(Arc::new(Inner::new(PoolSpec { params, candidates, list_max, previous })))
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

    /// The server of every connection of `client`, by a scheduler that hashes addresses; `None` for the others.
    #[must_use]
    pub fn derive(&self, loads: &Loads, client: ClientAddr) -> Option<ServerId> {
        let hashes = matches!(self.0.algorithm, Algorithm::Hashing(_));
        if hashes { self.0.pick(loads, client) } else { None }
    }

    /// A digest of the table of a scheduler that hashes addresses; `None` for the others. Directors with the same digest send
    /// each client to the same server, while the same servers are overloaded or quiesced.
    #[must_use]
    pub fn table_digest(&self) -> Option<u64> {
        match &self.0.algorithm {
            Algorithm::Hashing(table) => Some(table.digest(&self.0.candidates)),
            _ => None,
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

    /// The pool of `spec`. Its tree joins that of the previous pool.
    fn new(spec: PoolSpec<'_>) -> Self {
        let (scheduler, previous) = (spec.params.scheduler, spec.previous());
        let slow_start = spec.slow_start();
        let settled = spec.settled();
        let servers = match scheduler {
            Scheduler::Twos => nonzero_weight(&settled),
            _ => Servers::new(settled.iter()),
        };
        // In IPVS a change of the list restarts wrr's round. A step of slow start is no such change.
        let unchanged = previous.is_some_and(|previous| {
            let step = previous.slow_start.is_some() || slow_start.is_some();
            step && previous.servers.all() == servers.all()
        });
        let last_weights = spec.last_weights();
        let algorithm = spec.algorithm(&servers, &last_weights, unchanged);
        let tree = Arc::new(spec.tree(&settled));
        let tree_set = spec.tree_set(&tree);
        let persistent = persistent(&spec.params, &spec.candidates);
        let PoolSpec { params, candidates, list_max, .. } = spec;
        Self {
            params,
            candidates,
            last_weights,
            persistent,
            servers,
            algorithm,
            slow_start,
            tree,
            tree_set,
            list_max,
        }
    }
}

impl<'a> PoolSpec<'a> {
    fn previous(&self) -> Option<&'a Inner> {
        self.previous.map(|(previous, _)| previous)
    }

    fn slow_start(&self) -> Option<Box<SlowStart>> {
        let previous = self.previous().and_then(|previous| previous.slow_start.as_deref());
        let starts_slowly = self.params.scheduler.starts_slowly();
        starts_slowly.then(|| SlowStart::of(&self.candidates, previous)).flatten()
    }

    /// The candidates outside slow start.
    fn settled(&self) -> Vec<Candidate> {
        let slow = self.params.scheduler.starts_slowly();
        self.candidates.iter().filter(|of| !slow || of.part.is_none()).copied().collect()
    }

    /// The scheduler's state, continued from the previous pool's if the scheduler is the same.
    fn algorithm(&self, servers: &Servers, last_weights: &[u16], unchanged: bool) -> Algorithm {
        let (scheduler, previous) = (self.params.scheduler, self.previous());
        match (scheduler, previous.map(|previous| (&previous.algorithm, &previous.servers))) {
            (Scheduler::Rr, Some((Algorithm::RoundRobin(round), before))) => {
                Algorithm::RoundRobin(round.successor(before, servers))
            }
            (Scheduler::Rr, _) => Algorithm::RoundRobin(RoundRobin::new()),
            (Scheduler::Wrr, Some((Algorithm::WeightedRoundRobin(rounds), _))) => {
                Algorithm::WeightedRoundRobin(rounds.successor(servers, unchanged))
            }
            (Scheduler::Wrr, _) => Algorithm::WeightedRoundRobin(WeightedRoundRobin::new(servers)),
            (Scheduler::Twos, Some((Algorithm::Twos(twos), _))) => Algorithm::Twos(twos.successor(servers)),
            (Scheduler::Twos, _) => Algorithm::Twos(Twos::new(servers)),
            _ => {
                let addresses = self.candidates.iter().map(|of| of.address);
                let addresses: Vec<_> =
                    addresses.map(|address| fold(address.ip()).wrapping_add(address.port().into())).collect();
                HashTable::new(&self.params, servers, last_weights, &addresses)
                    .map_or(Algorithm::Least, Algorithm::Hashing)
            }
        }
    }

    /// The tree of `settled`; of no server for schedulers that do not compare loads.
    fn tree(&self, settled: &[Candidate]) -> Tournament {
        match Measure::of(self.params.scheduler) {
            Some(measure) => Tournament::new(nonzero_weight(settled), measure, self.list_max),
            None => Tournament::new(nonzero_weight(&[]), Measure::Wlc, self.list_max),
        }
    }

    /// The service's set of trees, which `tree` joins.
    fn tree_set(&self, tree: &Arc<Tournament>) -> Arc<TreeSet> {
        let Some((previous, loads)) = self.previous else {
            return Arc::new(TreeSet::new(Arc::clone(tree)));
        };
        previous.tree_set.join(tree, loads);
        Arc::clone(&previous.tree_set)
    }

    /// The weights of the candidates; of quiesced ones the last they had in the previous pool
    /// (`last_weight` in `__ip_vs_update_dest`, net/netfilter/ipvs/ip_vs_ctl.c).
    fn last_weights(&self) -> Box<[u16]> {
        let mut known = HashMap::new();
        if let Some(previous) = self.previous() {
            let servers = previous.candidates.iter().map(|of| (of.server, of.address));
            known.extend(servers.zip(previous.last_weights.iter().copied()));
        }
        let weights = self.candidates.iter().map(|of| match of.weight {
            0 => known.get(&(of.server, of.address)).copied().unwrap_or(0),
            weight => weight,
        });
        weights.collect()
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
