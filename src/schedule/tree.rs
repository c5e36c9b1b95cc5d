//! A tournament among the servers of a pool, played on by all workers at once without a lock.
//!
//! ```text
//! root                 [ winner of all ]
//! level 1      [ w │ w │ … ]                 eight to a cache line
//! level 0  [ w │ w │ … ] [ w │ w │ … ] …     each the winner of eight servers
//! servers   ········ ········ ········       in list order, by their live loads
//! ```
//!
//! Whoever has changed a server's load replays the matches from that server up to the root, always
//! to the root: another worker may have stopped half-way with what it was told on the way.
//!
//! **No change is lost.** A match is replayed until what stands in its node is what came out when
//! the players were read *after* that was written. The change of a load comes before the reading of
//! the node, the writing of a node before the reading of the players, and all of that has one order
//! (SeqCst). So of a worker that changes a player and one that writes the node, either the first sees
//! what was written and replays it, or the second sees the changed player. Once nobody is at it any
//! more, the root is exactly the server that a walk over the whole list would choose.
//!
//! **A pick is never unfair, whoever stands still.** A node holds not only who won but with which
//! load, and that is what the next match goes by. So while loads only grow, a node holds a lower
//! bound: no server below it has less for its weight. And the bound never falls: what a late writer
//! puts there was made of players read after what it replaces, and those had only grown. Whoever is
//! picked is therefore least loaded, with the load that the root holds for it; and the root lacks
//! only the connections of workers that are between their pick and the end of their replay, one
//! each. With W workers no server gets more than W connections beyond what the root held when it
//! was last picked. Were winners compared by their live loads, then a worker that stopped after it
//! had counted, before it replayed, would hide the servers whose place its server still takes.

use super::Loads;
use super::atomic::{AtomicU64, SeqCst};
use super::measure::Measure;
use super::players::{Player, Players};
use crate::model::ServerId;

/// Players of a match. With four, a change costs least for ten servers; with eight, 4 % less for
/// ten thousand, and a third more for ten.
const FAN: usize = if cfg!(loom_model) { 2 } else { 4 };

/// The matches of a pool of servers.
#[derive(Debug)]
pub(super) struct Tree {
    players: Players,
    by: Comparison,
    places: Places,
    /// From the lowest to the root, which is alone on its level. None if no match is played.
    levels: Box<[Level]>,
    /// So many servers play no match: whoever picks looks at them all.
    list_max: usize,
}

/// The results of as many matches as [`FAN`] servers, or [`FAN`] of the level below, make one.
#[derive(Debug)]
struct Level {
    matches: usize,
    nodes: Box<[Siblings]>,
}

/// Nodes that meet in one match, in one cache line.
#[derive(Debug)]
#[repr(align(32))]
struct Siblings([AtomicU64; FAN]);

/// Who stands at a node, and with which load: a bit for whoever takes no connections, 47 of load,
/// 16 of place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing(u64);

impl Tree {
    /// A tree of `players`, each with a weight. It has to be settled ([`Tree::settle`]), unless it
    /// is wlc's and none of them has a connection. No more than `list_max` of them are a tree
    /// without a match.
    pub(super) fn new(players: Players, measure: Measure, list_max: usize) -> Self {
        let (places, levels) = (Places::new(players.all()), levels(players.all().len(), list_max));
        let by = Comparison { measure, limited: players.limited() };
        Self { players, by, places, levels, list_max }
    }

    /// As given to [`Tree::new`].
    pub(super) fn list_max(&self) -> usize {
        self.list_max
    }

    /// The server with the least load for its share, the earlier one of equals; `None` if nobody
    /// takes connections.
    #[inline]
    pub(super) fn winner(&self, loads: &Loads) -> Option<ServerId> {
        let Some(root) = self.levels.last() else { return self.walk(loads) };
        let standing = Standing(root.node(0).load(SeqCst));
        (!standing.is_out()).then(|| self.players.server(standing.place()))
    }

    /// Replays the matches of `server`, whose load has just changed. Nothing if it does not play.
    pub(super) fn replay(&self, server: ServerId, loads: &Loads) {
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
    pub(super) fn settle(&self, loads: &Loads) {
        for (level, results) in self.levels.iter().enumerate() {
            (0..results.matches).for_each(|at| self.play::<false>(level, at, loads));
        }
    }

    /// Plays match `at` of `level` until its node holds what came out after it was written.
    #[inline]
    fn play<const PLAIN: bool>(&self, level: usize, at: usize, loads: &Loads) {
        let node = self.levels[level].node(at);
        let mut held = Standing(node.load(SeqCst));
        let mut players = self.players::<PLAIN>(level, at, loads);
        loop {
            let winner = self.best::<PLAIN>(&players);
            if winner == held {
                return;
            }
            let written = node.compare_exchange(held.0, winner.0, SeqCst, SeqCst);
            held = written.map_or_else(Standing, |_| winner);
            let now = self.players::<PLAIN>(level, at, loads);
            if written.is_ok() && now == players {
                return;
            }
            players = now;
        }
    }

    /// Who plays in match `at` of `level`. Where there are fewer, the first one stands in: it never
    /// beats itself.
    #[inline]
    fn players<const PLAIN: bool>(&self, level: usize, at: usize, loads: &Loads) -> [Standing; FAN] {
        let first = at * FAN;
        let Some(below) = level.checked_sub(1) else {
            let players = &self.players.all()[first..self.players.all().len().min(first + FAN)];
            return std::array::from_fn(|slot| {
                let slot = if slot < players.len() { slot } else { 0 };
                self.by::<PLAIN>().standing(first + slot, players[slot], loads)
            });
        };
        let (nodes, count) = (&self.levels[below].nodes[at].0, self.levels[below].matches - first);
        std::array::from_fn(|slot| Standing(nodes[if slot < count { slot } else { 0 }].load(SeqCst)))
    }

    #[inline]
    fn best<const PLAIN: bool>(&self, players: &[Standing; FAN]) -> Standing {
        let by = self.by::<PLAIN>();
        let ratio = |standing: Standing| by.ratio_of(standing, self.players.all()[standing.place()].weight);
        let mut round = players.map(|standing| (standing, ratio(standing)));
        let mut left = FAN;
        while left > 1 {
            left /= 2;
            for pair in 0..left {
                round[pair] = better(round[2 * pair], round[2 * pair + 1]);
            }
        }
        round[0].0
    }

    /// The winner of a list without a tree.
    #[inline]
    fn walk(&self, loads: &Loads) -> Option<ServerId> {
        if self.by == Comparison::PLAIN { self.least::<true>(loads) } else { self.least::<false>(loads) }
    }

    #[inline]
    fn least<const PLAIN: bool>(&self, loads: &Loads) -> Option<ServerId> {
        let by = self.by::<PLAIN>();
        let (first, others) = self.players.all().split_first()?;
        let (mut least, mut server) = (by.ratio(*first, loads), first.server);
        for player in others {
            let ratio = by.ratio(*player, loads);
            if ratio.is_less(least) {
                (least, server) = (ratio, player.server);
            }
        }
        (!least.is_out()).then_some(server)
    }

    /// The comparison; if it is the plain one, as a constant, of which little remains in the code.
    #[inline]
    fn by<const PLAIN: bool>(&self) -> Comparison {
        if PLAIN { Comparison::PLAIN } else { self.by }
    }
}

/// By what servers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Comparison {
    measure: Measure,
    /// Some of them can be overloaded.
    limited: bool,
}

impl Comparison {
    /// Of most services: wlc without thresholds. It is compiled for itself.
    const PLAIN: Self = Self { measure: Measure::Wlc, limited: false };

    /// How `player` stands now.
    #[inline]
    fn standing(self, place: usize, player: Player, loads: &Loads) -> Standing {
        let ratio = self.ratio(player, loads);
        if ratio.is_out() { Standing::out(place) } else { Standing::new(ratio.load, place) }
    }

    /// The load of `player` now, for its share.
    #[inline]
    fn ratio(self, player: Player, loads: &Loads) -> Ratio {
        let out = self.limited && loads.is_overloaded(player.server);
        match self.measure.load(loads.get(player.server), player.weight) {
            Some(load) if !out => Ratio { load, share: self.measure.share(player.weight) },
            _ => Ratio::OUT,
        }
    }

    /// The load that `standing` holds, for the share of a server of `weight`.
    #[inline]
    fn ratio_of(self, standing: Standing, weight: u16) -> Ratio {
        if self != Self::PLAIN && standing.is_out() {
            return Ratio::OUT;
        }
        Ratio { load: standing.load(), share: self.measure.share(weight) }
    }
}

/// The levels of a tree of `players`, none if there are no more than `list_max`.
fn levels(mut players: usize, list_max: usize) -> Box<[Level]> {
    let (mut levels, mut below) = (Vec::new(), 1);
    let matches = players > list_max;
    while matches && (players > 1 || levels.is_empty()) {
        players = players.div_ceil(FAN);
        below *= FAN;
        levels.push(Level::new(players, below));
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
    share: u16,
}

impl Ratio {
    /// Of a server that takes no connections: infinite, so that any other is less.
    const OUT: Self = Self { load: 1, share: 0 };

    #[inline]
    const fn is_out(self) -> bool {
        self.share == 0
    }

    /// Compares without dividing (`ip_vs_wlc_schedule` in net/netfilter/ipvs/ip_vs_wlc.c).
    #[inline]
    fn is_less(self, other: Self) -> bool {
        self.load * u64::from(other.share) < other.load * u64::from(self.share)
    }
}

impl Standing {
    const OUT: u64 = 1 << 63;

    #[inline]
    const fn new(load: u64, place: usize) -> Self {
        Self(load << 16 | place as u64) // places are below 65536, as server ids are
    }

    /// Of a server that takes no connections.
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
    /// Nodes with `below` servers under each. The first of equals wins while nobody has a load.
    fn new(matches: usize, below: usize) -> Self {
        let node = |at: usize| AtomicU64::new(Standing::new(0, at * below).0);
        let siblings = |line: usize| Siblings(std::array::from_fn(|slot| node(line * FAN + slot)));
        Self { matches, nodes: (0..matches.div_ceil(FAN)).map(siblings).collect() }
    }

    #[inline]
    fn node(&self, at: usize) -> &AtomicU64 {
        &self.nodes[at / FAN].0[at % FAN]
    }
}

/// Where in the list a server stands.
#[derive(Debug)]
struct Places {
    lowest: u16,
    /// By server id less the lowest.
    places: Box<[Option<u16>]>,
}

impl Places {
    fn new(players: &[Player]) -> Self {
        let ids = || players.iter().map(|player| player.server.0);
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
