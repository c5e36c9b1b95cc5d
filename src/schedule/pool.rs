//! The servers of one service, and the pick among them.

use super::Loads;
use super::hashed::Hashed;
use super::limit::Thresholds;
use super::lineage::Lineage;
use super::lot::Lot;
use super::measure::Measure;
use super::newcomers::Newcomers;
use super::players::Players;
use super::rule::{Client, Rule, fold};
use super::tree::Tree;
use super::turns::{RoundRobin, Weighted};
use crate::model::{Persistence, Scheduler, ServerId};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// A server that may be picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Who.
    pub server: ServerId,
    /// Its weight. With 0 it is quiesced: never picked, but it keeps its slots in hash tables, so
    /// that clients of the others stay where they are.
    pub weight: u16,
    /// From when to when it takes no connections.
    pub thresholds: Thresholds,
    /// RIP and port: what mh makes its table of.
    pub address: SocketAddr,
    /// Whether clients that a persistent service has bound to it may open more connections there. With
    /// weight 0 they still may unless expire_quiescent_template is set, while it drains they may not.
    pub keeps_clients: bool,
    /// While it starts slowly: how much of its weight counts, of [`Candidate::WHOLE`]. It then gets that
    /// share of the new connections, whatever it has already. Only with schedulers that
    /// [start slowly](Scheduler::starts_slowly); others take no account of it.
    pub part: Option<u16>,
}

impl Candidate {
    /// All of a weight, see [`Candidate::part`].
    pub const WHOLE: u16 = 10_000;

    /// A server without thresholds, and without an address, which only mh asks for.
    #[must_use]
    pub fn new(server: ServerId, weight: u16) -> Self {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let thresholds = Thresholds::default();
        Self { server, weight, thresholds, address, keeps_clients: true, part: None }
    }
}

/// The longest list that is walked for every pick. A longer one keeps a tree instead, in which every
/// change of a load costs; with 32 servers, both take the same time, and workers that share a
/// short list get less into each other's way.
const LIST_MAX: usize = 32;

/// The servers of one service in IPVS's list order, and always which of them is next.
///
/// A handle: clones are the same pool. What a pick costs is the scheduler's:
/// - wlc, lc, sed, nq, fo and ovf pick the server with the least of something. That is one read;
///   every change of a load that [`Pool::changed`] is told of costs a few matches, logarithmic in
///   the number of servers. Of few servers nothing is kept: choosing walks the list.
/// - rr and wrr keep their place in the round in one word: a pick steps on by compare-and-swap.
/// - sh, dh and mh have a table, which is made once.
/// - twos draws by lot from the sums of the weights.
/// - Servers that start slowly get turns of their own, before all that.
///
/// With one worker each pick is IPVS's. With several, rr, wrr, sh, dh and mh pick as one worker
/// would; those that compare loads may miss the connections that other workers are just opening,
/// one each.
#[derive(Clone, Debug)]
pub struct Pool(Arc<Member>);

#[derive(Debug)]
struct Member {
    rule: Rule,
    candidates: Box<[Candidate]>,
    /// Their weights before they were quiesced.
    lasting: Box<[u16]>,
    /// Those that keep their clients, by number. Empty if the service is not persistent.
    keepers: Box<[ServerId]>,
    /// All that do not start slowly; of twos those with a weight.
    players: Players,
    way: Way,
    newcomers: Option<Box<Newcomers>>,
    /// Empty if nobody picks by it.
    tree: Arc<Tree>,
    lineage: Arc<Lineage>,
}

/// How the next one is found.
#[derive(Debug)]
enum Way {
    Least,
    InTurn(RoundRobin),
    ByWeight(Weighted),
    Hashed(Hashed),
    Lot(Lot),
}

impl Pool {
    /// A service's first pool, by wlc: `candidates` in list order, none of which has a connection or
    /// thresholds yet.
    ///
    /// Each server belongs to one service, and stands in the list once.
    #[must_use]
    pub fn new(candidates: impl IntoIterator<Item = Candidate>) -> Self {
        Self::with_list_max(LIST_MAX, candidates)
    }

    fn with_list_max(list_max: usize, candidates: impl IntoIterator<Item = Candidate>) -> Self {
        let candidates: Box<[Candidate]> = candidates.into_iter().collect();
        let tree = Arc::new(Tree::new(active(&candidates), Measure::Wlc, list_max));
        Self(Arc::new(Member {
            rule: Rule::default(),
            lasting: candidates.iter().map(|of| of.weight).collect(),
            players: Players::new(candidates.iter()),
            candidates,
            keepers: Box::default(),
            way: Way::Least,
            newcomers: None,
            lineage: Arc::new(Lineage::new(Arc::clone(&tree))),
            tree,
        }))
    }

    /// The pool of the same service when its rule or its candidates have changed; this very one if
    /// they have not. rr and wrr go on where they were. The candidates' thresholds hold from now on.
    ///
    /// Workers may go on with the old one meanwhile: both hear of every change until one is dropped.
    /// What they pick in turn from the old one after this, the new one does not know of.
    #[must_use]
    pub fn next(&self, rule: Rule, candidates: impl IntoIterator<Item = Candidate>, loads: &Loads) -> Self {
        let candidates: Box<[Candidate]> = candidates.into_iter().collect();
        if rule == self.0.rule && candidates == self.0.candidates {
            return self.clone();
        }
        for of in &candidates {
            if loads.limit(of.server, of.thresholds) {
                self.changed(of.server, loads);
            }
        }
        Self(Arc::new(self.0.next(rule, candidates, loads)))
    }

    /// The server for a new connection of `client`, as the service's scheduler has it (see
    /// net/netfilter/ipvs/ip_vs_*.c, each named in its own file here); `None` if nobody takes it.
    #[inline]
    #[must_use]
    pub fn pick(&self, loads: &Loads, client: Client) -> Option<ServerId> {
        match &self.0.newcomers {
            None => self.0.pick(loads, client),
            Some(newcomers) => self.0.pick_with(newcomers, loads, client),
        }
    }

    /// Whether each datagram gets a pick of its own ([`Rule::one_packet`]).
    #[inline]
    #[must_use]
    pub fn one_packet(&self) -> bool {
        self.0.rule.one_packet
    }

    /// How long its clients stay with their servers, if they do ([`Rule::persistence`]), and the generation
    /// of the templates that say where.
    #[inline]
    #[must_use]
    pub fn persistence(&self) -> Option<(Persistence, u8)> {
        self.0.rule.persistence.map(|persistence| (persistence, self.0.rule.generation))
    }

    /// Whether a client whose template names `server` may open more connections there.
    #[must_use]
    pub fn keeps_clients(&self, server: ServerId) -> bool {
        self.0.keepers.binary_search(&server).is_ok()
    }

    /// To be called after every change of the load of `server`, by whoever has changed it.
    #[inline]
    pub fn changed(&self, server: ServerId, loads: &Loads) {
        self.0.lineage.replay(&self.0.tree, server, loads);
    }
}

impl Member {
    /// Among those that do not start slowly.
    #[inline]
    fn pick(&self, loads: &Loads, client: Client) -> Option<ServerId> {
        let players = &self.players;
        let place = match &self.way {
            Way::Least => return self.tree.winner(loads),
            Way::InTurn(round) => round.pick(players, loads),
            Way::ByWeight(rounds) => rounds.pick(players, loads),
            Way::Hashed(table) => table.pick(client, players, loads),
            Way::Lot(lot) => lot.pick(players, loads),
        };
        place.map(|place| players.server(place))
    }

    #[inline(never)]
    fn pick_with(&self, newcomers: &Newcomers, loads: &Loads, client: Client) -> Option<ServerId> {
        let due = newcomers.pick(loads);
        due.or_else(|| self.pick(loads, client)).or_else(|| newcomers.pick_any(loads))
    }

    fn next(&self, rule: Rule, candidates: Box<[Candidate]>, loads: &Loads) -> Self {
        let (lasting, list_max) = (self.lasting(&candidates), self.tree.list_max());
        let slow = rule.scheduler.starts_slowly();
        let newcomers = slow.then(|| Newcomers::of(&candidates, self.newcomers.as_deref())).flatten();
        let settled: Vec<_> = candidates.iter().filter(|of| !slow || of.part.is_none()).copied().collect();
        let players = match rule.scheduler {
            Scheduler::Twos => active(&settled),
            _ => Players::new(settled.iter()),
        };
        // To IPVS a change of the list begins wrr's round anew; a newcomer's next step is none.
        let step = self.newcomers.is_some() || newcomers.is_some();
        let goes_on = step && self.players.all() == players.all();
        let way = self.way(&rule, &players, &candidates, (&lasting, goes_on));
        let tree = match Measure::of(rule.scheduler) {
            Some(measure) => Tree::new(active(&settled), measure, list_max),
            None => Tree::new(active(&[]), Measure::Wlc, list_max),
        };
        let (tree, lineage) = (Arc::new(tree), Arc::clone(&self.lineage));
        lineage.join(&tree);
        tree.settle(loads);
        let keepers = keepers(&rule, &candidates);
        Self { rule, candidates, lasting, keepers, players, way, newcomers, tree, lineage }
    }

    /// How to find the next one, going on from where this pool stands if its scheduler is the same.
    fn way(
        &self,
        rule: &Rule,
        players: &Players,
        candidates: &[Candidate],
        (lasting, goes_on): (&[u16], bool),
    ) -> Way {
        match (rule.scheduler, &self.way) {
            (Scheduler::Rr, Way::InTurn(round)) => Way::InTurn(round.next(&self.players, players)),
            (Scheduler::Rr, _) => Way::InTurn(RoundRobin::new()),
            (Scheduler::Wrr, Way::ByWeight(rounds)) => Way::ByWeight(rounds.next(players, goes_on)),
            (Scheduler::Wrr, _) => Way::ByWeight(Weighted::new(players)),
            (Scheduler::Twos, Way::Lot(lot)) => Way::Lot(lot.next(players)),
            (Scheduler::Twos, _) => Way::Lot(Lot::new(players)),
            _ => {
                let address = |of: &Candidate| fold(of.address.ip()).wrapping_add(of.address.port().into());
                let addresses: Vec<_> = candidates.iter().map(address).collect();
                Hashed::new(rule, players, lasting, &addresses).map_or(Way::Least, Way::Hashed)
            }
        }
    }

    /// The weights of `candidates`, for those that are quiesced now the last they had here
    /// (`last_weight` in `__ip_vs_update_dest`, net/netfilter/ipvs/ip_vs_ctl.c).
    fn lasting(&self, candidates: &[Candidate]) -> Box<[u16]> {
        let known = self.candidates.iter().map(|of| (of.server, of.address)).zip(&self.lasting);
        let known: HashMap<_, _> = known.collect();
        let lasting = |of: &Candidate| match of.weight {
            0 => known.get(&(of.server, of.address)).map_or(0, |weight| **weight),
            weight => weight,
        };
        candidates.iter().map(lasting).collect()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.lineage.leave(&self.tree);
    }
}

fn keepers(rule: &Rule, candidates: &[Candidate]) -> Box<[ServerId]> {
    let keepers = candidates.iter().filter(|of| rule.persistence.is_some() && of.keeps_clients);
    let mut keepers: Box<[_]> = keepers.map(|of| of.server).collect();
    keepers.sort_unstable();
    keepers
}

/// Those that are not quiesced.
fn active(candidates: &[Candidate]) -> Players {
    Players::new(candidates.iter().filter(|candidate| candidate.weight > 0))
}

#[cfg(all(test, not(loom_model)))]
mod tests;

#[cfg(all(test, loom_model))]
mod loom_tests;
