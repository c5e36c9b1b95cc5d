//! The servers of one service that take new connections, and the wlc pick among them.

use super::Loads;
use super::lineage::Lineage;
use super::tree::Tree;
use crate::model::ServerId;
use std::sync::Arc;

/// A server that may be picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Who.
    pub server: ServerId,
    /// Its weight, never 0.
    pub weight: u16,
}

/// The longest list that is walked for every pick. A longer one keeps a tree instead, in which every
/// change of a load costs; with 32 servers, both take the same time, and workers that share a
/// short list get less into each other's way.
const LIST_MAX: usize = 32;

/// The candidates of one service in IPVS's list order, and always which of them is next.
///
/// A handle: clones are the same pool. Choosing costs one read; every change of a load that
/// [`Pool::changed`] is told of costs a few matches (logarithmic in the number of servers). Of few
/// servers nothing is kept: choosing walks the list.
#[derive(Clone, Debug)]
pub struct Pool(Arc<Member>);

#[derive(Debug)]
struct Member {
    tree: Arc<Tree>,
    lineage: Arc<Lineage>,
}

impl Pool {
    /// A service's first pool: `candidates` in list order, none of which has a connection yet.
    /// Those of weight 0 are quiesced and left out.
    ///
    /// Each server belongs to one service, and stands in the list once.
    #[must_use]
    pub fn new(candidates: impl IntoIterator<Item = Candidate>) -> Self {
        Self::with_list_max(LIST_MAX, candidates)
    }

    fn with_list_max(list_max: usize, candidates: impl IntoIterator<Item = Candidate>) -> Self {
        let tree = Arc::new(Tree::new(active(candidates), list_max));
        let lineage = Arc::new(Lineage::new(Arc::clone(&tree)));
        Self(Arc::new(Member { tree, lineage }))
    }

    /// The pool of the same service when its candidates have changed; this very one if they have not.
    ///
    /// Workers may go on with the old one meanwhile: both hear of every change until one is dropped.
    #[must_use]
    pub fn next(&self, candidates: impl IntoIterator<Item = Candidate>, loads: &Loads) -> Self {
        let candidates = active(candidates);
        if *candidates == *self.0.tree.candidates() {
            return self.clone();
        }
        let tree = Arc::new(Tree::new(candidates, self.0.tree.list_max()));
        let lineage = Arc::clone(&self.0.lineage);
        lineage.join(&tree);
        tree.settle(loads);
        Self(Arc::new(Member { tree, lineage }))
    }

    /// The weighted-least-connection pick: the server with the least overhead for its weight, the
    /// earlier one of equals (`ip_vs_wlc_schedule` in net/netfilter/ipvs/ip_vs_wlc.c).
    ///
    /// With several workers each pick may miss the connections that the others are just opening.
    #[inline]
    #[must_use]
    pub fn pick(&self, loads: &Loads) -> Option<ServerId> {
        self.0.tree.winner(loads)
    }

    /// To be called after every change of the load of `server`, by whoever has changed it.
    #[inline]
    pub fn changed(&self, server: ServerId, loads: &Loads) {
        self.0.lineage.replay(&self.0.tree, server, loads);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.lineage.leave(&self.tree);
    }
}

fn active(candidates: impl IntoIterator<Item = Candidate>) -> Box<[Candidate]> {
    candidates.into_iter().filter(|candidate| candidate.weight > 0).collect()
}

#[cfg(all(test, not(loom_model)))]
mod tests;

#[cfg(all(test, loom_model))]
mod loom_tests;
