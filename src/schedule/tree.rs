//! A tournament tree over the servers of a pool, updated by all workers at once without a lock.
//!
//! ```text
//! root                 [ winner of all ]
//! level 1      [ w │ w │ … ]                 eight to a cache line
//! level 0  [ w │ w │ … ] [ w │ w │ … ] …     each the least loaded of eight servers
//! servers   ········ ········ ········       in list order, by their live loads
//! ```
//!
//! After a change of a server's load, the worker replays the matches from that server to the root. It
//! never stops early: another worker may have stalled on the way, with its change half propagated.
//!
//! **No change is lost.** A match is replayed until the node holds the winner among contestants that
//! were read *after* the node was written. The change of a load precedes the read of the node, the
//! write of a node precedes the read of the contestants, and all of these have one order (SeqCst). So
//! of a worker that changes a load and a worker that writes the node, either the first sees the write
//! and replays the match, or the second sees the changed load. Once all workers are done, the root is
//! exactly the server that a walk over the whole list would pick.
//!
//! **A pick is never unfair, even while a worker is stalled.** A node holds the winner *and* its load,
//! and the next match compares that load. While loads only grow, a node therefore holds a lower bound:
//! no server below it has less load for its weight. The bound never falls: a late writer's value was
//! made from contestants read after the value it replaces, and those had only grown. The picked server
//! is thus the least loaded one, at the load that the root holds for it. The root lacks only the
//! connections of workers between their pick and the end of their replay, one each. With W workers no
//! server gets more than W connections beyond what the root held at its last pick. If winners were
//! compared by their live loads, a worker that stalled between count and replay would hide the servers
//! in whose nodes its server still stands.

use super::atomic::{AtomicU64, SeqCst};
use super::least::Measure;
use super::servers::{PoolServer, Servers};
use super::{Loads, ServerLoad};
use crate::model::ServerId;

/// Contestants of a match. With four, a change costs least for ten servers; with eight, 4 % less for
/// ten thousand, and a third more for ten.
const FAN: usize = if cfg!(loom_model) { 2 } else { 4 };

/// The matches of a pool of servers.
#[derive(Debug)]
pub(super) struct Tournament {
    servers: Servers,
    by: Comparison,
    places: PlaceIndex,
    /// From the lowest to the root, which is alone on its level. Empty for a short list, which is walked.
    levels: Box<[Level]>,
}

/// One level: a node for each match among [`FAN`] servers or [`FAN`] nodes of the level below.
#[derive(Debug)]
struct Level {
    matches: usize,
    nodes: Box<[Siblings]>,
}

/// The nodes that are contestants of one match, in one cache line.
#[derive(Debug)]
#[repr(align(32))]
struct Siblings([AtomicU64; FAN]);

/// The winner at a node and its load, in one word: a bit for a server that is not eligible, 47 bits of
/// load, 16 bits of place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NodeState(u64);

impl Tournament {
    /// A tree of `servers`, none of weight 0. The caller must [rebuild](Tournament::rebuild) it, unless the
    /// scheduler is wlc and no server has a connection. Up to `list_max` servers make a tree without
    /// levels.
    pub(super) fn new(servers: Servers, measure: Measure, list_max: usize) -> Self {
        let (places, levels) = (PlaceIndex::new(servers.all()), levels(servers.all().len(), list_max));
        let by = Comparison { measure, limited: servers.limited() };
        Self { servers, by, places, levels }
    }

    /// The server with the least load for its share, the first of equals; `None` if no server is
    /// eligible.
    #[inline]
    pub(super) fn winner(&self, loads: &Loads) -> Option<ServerId> {
        let Some(root) = self.levels.last() else { return self.walk(loads) };
        let state = NodeState(root.node(0).load(SeqCst));
        (!state.is_out()).then(|| self.servers.id(state.place()))
    }

    /// Replays the matches of `server`, whose load has just changed. Does nothing for a server of another
    /// tree, or in a short list.
    #[inline]
    pub(super) fn replay(&self, server: ServerId, loads: &Loads) {
        if !self.levels.is_empty() {
            self.replay_levels(server, loads);
        }
    }

    fn replay_levels(&self, server: ServerId, loads: &Loads) {
        let Some(place) = self.places.find(server) else { return };
        if self.by == Comparison::PLAIN {
            self.replay_from::<true>(place, loads);
        } else {
            self.replay_from::<false>(place, loads);
        }
    }

    #[inline]
    fn replay_from<const PLAIN: bool>(&self, mut at: usize, loads: &Loads) {
        for level in 0..self.levels.len() {
            at /= FAN;
            self.play::<PLAIN>(level, at, loads);
        }
    }

    /// Plays every match, from the lowest level up.
    pub(super) fn rebuild(&self, loads: &Loads) {
        for (level, results) in self.levels.iter().enumerate() {
            (0..results.matches).for_each(|at| self.play::<false>(level, at, loads));
        }
    }

    /// Plays match `at` of `level` until its node holds the winner among contestants read after the write.
    #[inline]
    fn play<const PLAIN: bool>(&self, level: usize, at: usize, loads: &Loads) {
        let node = self.levels[level].node(at);
        let mut held = NodeState(node.load(SeqCst));
        let mut contestants = self.contestants::<PLAIN>(level, at, loads);
        loop {
            let winner = self.best::<PLAIN>(&contestants);
            if winner == held {
                return;
            }
            let written = node.compare_exchange(held.0, winner.0, SeqCst, SeqCst);
            held = written.map_or_else(NodeState, |_| winner);
            let now = self.contestants::<PLAIN>(level, at, loads);
            if written.is_ok() && now == contestants {
                return;
            }
            contestants = now;
        }
    }

    /// The contestants of match `at` of `level`. The first one fills missing places: it never beats
    /// itself.
    #[inline]
    fn contestants<const PLAIN: bool>(&self, level: usize, at: usize, loads: &Loads) -> [NodeState; FAN] {
        let first = at * FAN;
        let Some(below) = level.checked_sub(1) else {
            let servers = &self.servers.all()[first..self.servers.all().len().min(first + FAN)];
            return std::array::from_fn(|slot| {
                let slot = if slot < servers.len() { slot } else { 0 };
                self.by::<PLAIN>().node_state(first + slot, servers[slot], loads)
            });
        };
        let (nodes, count) = (&self.levels[below].nodes[at].0, self.levels[below].matches - first);
        std::array::from_fn(|slot| NodeState(nodes[if slot < count { slot } else { 0 }].load(SeqCst)))
    }

    #[inline]
    fn best<const PLAIN: bool>(&self, contestants: &[NodeState; FAN]) -> NodeState {
        let by = self.by::<PLAIN>();
        let ratio = |state: NodeState| by.ratio_of(state, self.servers.all()[state.place()].weight);
        let mut round = contestants.map(|state| (state, ratio(state)));
        let mut left = FAN;
        while left > 1 {
            left /= 2;
            for pair in 0..left {
                round[pair] = better(round[2 * pair], round[2 * pair + 1]);
            }
        }
        round[0].0
    }

    /// The winner of a list without levels.
    #[inline]
    fn walk(&self, loads: &Loads) -> Option<ServerId> {
        if self.by == Comparison::PLAIN { self.least::<true>(loads) } else { self.least::<false>(loads) }
    }

    #[inline]
    fn least<const PLAIN: bool>(&self, loads: &Loads) -> Option<ServerId> {
        let by = self.by::<PLAIN>();
        let (first, others) = self.servers.all().split_first()?;
        let reader = loads.reader();
        let (mut least, mut id) = (by.ratio_with(*first, reader.get(first.id), loads), first.id);
        for server in others {
            let ratio = by.ratio_with(*server, reader.get(server.id), loads);
            if ratio.is_less(least) {
                (least, id) = (ratio, server.id);
            }
        }
        (!least.is_out()).then_some(id)
    }

    /// The comparison; the plain one as a constant, so that the compiler removes the rest.
    #[inline]
    fn by<const PLAIN: bool>(&self) -> Comparison {
        if PLAIN { Comparison::PLAIN } else { self.by }
    }
}

/// Comparison of servers by load and share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Comparison {
    measure: Measure,
    /// At least one server has a threshold.
    limited: bool,
}

impl Comparison {
    /// Of most services: wlc without thresholds. Compiled by itself.
    const PLAIN: Self = Self { measure: Measure::Wlc, limited: false };

    /// The node state of `server` with its load of now.
    #[inline]
    fn node_state(self, place: usize, server: PoolServer, loads: &Loads) -> NodeState {
        let ratio = self.ratio(server, loads);
        if ratio.is_out() { NodeState::out(place) } else { NodeState::new(ratio.load, place) }
    }

    /// The load of `server` now, for its share.
    #[inline]
    fn ratio(self, server: PoolServer, loads: &Loads) -> Ratio {
        self.ratio_with(server, loads.get(server.id), loads)
    }

    /// Likewise, of a load that was read before.
    #[inline]
    fn ratio_with(self, server: PoolServer, load: ServerLoad, loads: &Loads) -> Ratio {
        let out = self.limited && loads.is_overloaded(server.id);
        match self.measure.load(load, server.weight) {
            Some(load) if !out => Ratio { load, share: self.measure.share(server.weight).into() },
            _ => Ratio::OUT,
        }
    }

    /// The load in `state`, for the share of a server of `weight`.
    #[inline]
    fn ratio_of(self, state: NodeState, weight: u16) -> Ratio {
        if self != Self::PLAIN && state.is_out() {
            return Ratio::OUT;
        }
        Ratio { load: state.load(), share: self.measure.share(weight).into() }
    }
}

/// The levels of a tree of `servers`; none up to `list_max` servers.
fn levels(mut servers: usize, list_max: usize) -> Box<[Level]> {
    let (mut levels, mut below) = (Vec::new(), 1);
    let matches = servers > list_max;
    while matches && (servers > 1 || levels.is_empty()) {
        servers = servers.div_ceil(FAN);
        below *= FAN;
        levels.push(Level::new(servers, below));
    }
    levels.into()
}

/// The earlier one, unless the later one is strictly less loaded for its share.
#[inline]
fn better<T>(earlier: (T, Ratio), later: (T, Ratio)) -> (T, Ratio) {
    if later.1.is_less(earlier.1) { later } else { earlier }
}

/// A load, and the share of the connections that it is divided by.
#[derive(Clone, Copy, Debug)]
struct Ratio {
    /// Below 2⁴⁷: times a share it fits 64 bits.
    load: u64,
    /// Below 2¹⁶.
    share: u64,
}

impl Ratio {
    /// Of a server that is not eligible: infinite, so that any other is less.
    const OUT: Self = Self { load: 1, share: 0 };

    #[inline]
    const fn is_out(self) -> bool {
        self.share == 0
    }

    /// Compares without dividing (`ip_vs_wlc_schedule` in net/netfilter/ipvs/ip_vs_wlc.c).
    #[inline]
    fn is_less(self, other: Self) -> bool {
        self.load * other.share < other.load * self.share
    }
}

impl NodeState {
    const OUT: u64 = 1 << 63;

    #[inline]
    const fn new(load: u64, place: usize) -> Self {
        Self(load << 16 | place as u64) // places are below 65536, as server ids are
    }

    /// Of a server that is not eligible.
    #[inline]
    const fn out(place: usize) -> Self {
        Self(Self::OUT | place as u64)
    }

    #[inline]
    const fn is_out(self) -> bool {
        self.0 & Self::OUT != 0
    }

    /// Below 2⁴⁷, unless the server is out.
    #[inline]
    const fn load(self) -> u64 {
        self.0 >> 16
    }

    #[inline]
    const fn place(self) -> usize {
        (self.0 & 0xffff) as usize
    }
}

impl Level {
    /// Nodes with `below` servers under each, for servers without connections: the first of equals wins.
    fn new(matches: usize, below: usize) -> Self {
        let node = |at: usize| AtomicU64::new(NodeState::new(0, at * below).0);
        let siblings = |line: usize| Siblings(std::array::from_fn(|slot| node(line * FAN + slot)));
        Self { matches, nodes: (0..matches.div_ceil(FAN)).map(siblings).collect() }
    }

    #[inline]
    fn node(&self, at: usize) -> &AtomicU64 {
        &self.nodes[at / FAN].0[at % FAN]
    }
}

/// The place of each server in the list.
#[derive(Debug)]
struct PlaceIndex {
    lowest: u16,
    /// By server id less the lowest.
    places: Box<[Option<u16>]>,
}

impl PlaceIndex {
    fn new(servers: &[PoolServer]) -> Self {
        let ids = || servers.iter().map(|server| server.id.0);
        let (lowest, highest) = (ids().min().unwrap_or(0), ids().max());
        let mut places = vec![None; highest.map_or(0, |highest| usize::from(highest - lowest) + 1)];
        ids().zip(0..=u16::MAX).for_each(|(id, place)| places[usize::from(id - lowest)] = Some(place));
        Self { lowest, places: places.into() }
    }

    #[inline]
    fn find(&self, server: ServerId) -> Option<usize> {
        let place = *self.places.get(usize::from(server.0.wrapping_sub(self.lowest)))?;
        place.map(usize::from)
    }
}
