//! The trees of one service that receive every change of a load.

use super::Loads;
use super::atomic::{AtomicBool, SeqCst};
use super::tree::Tournament;
use crate::model::ServerId;
use arc_swap::ArcSwap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Tournaments = Vec<Arc<Tournament>>;

/// The trees of the snapshots in use. While a new snapshot is being adopted, some workers pick by the
/// old tree and some by the new one; both must hold the same loads.
///
/// Usually there is one tree, and a change of a load costs one more read. No change is lost when a
/// tree joins: a worker that does not see the new tree has counted before the tree joined, and the
/// tree is rebuilt after that, from loads that include the count.
#[derive(Debug)]
pub(super) struct TreeSet {
    several: AtomicBool,
    trees: ArcSwap<Tournaments>,
    /// Old lists that a worker may still be reading. They are freed here, never on the data path.
    retired: Mutex<Vec<Arc<Tournaments>>>,
}

impl TreeSet {
    /// A set of one tree.
    pub(super) fn new(tree: Arc<Tournament>) -> Self {
        Self {
            several: AtomicBool::new(false),
            trees: ArcSwap::from_pointee(vec![tree]),
            retired: Mutex::default(),
        }
    }

    /// Replays the matches of `server` in `own`, a tree of this set, and in all others.
    #[inline]
    pub(super) fn replay(&self, own: &Tournament, server: ServerId, loads: &Loads) {
        if self.several.load(SeqCst) {
            self.replay_in_all(server, loads);
        } else {
            own.replay(server, loads);
        }
    }

    #[cold]
    fn replay_in_all(&self, server: ServerId, loads: &Loads) {
        self.trees.load().iter().for_each(|tree| tree.replay(server, loads));
    }

    /// Adds `tree`, and then rebuilds it.
    pub(super) fn join(&self, tree: &Arc<Tournament>, loads: &Loads) {
        self.change(|trees| trees.push(Arc::clone(tree)));
        tree.rebuild(loads);
    }

    /// Removes `tree`, which no pool uses any more.
    pub(super) fn leave(&self, tree: &Arc<Tournament>) {
        self.change(|trees| trees.retain(|other| !Arc::ptr_eq(other, tree)));
    }

    /// Called by the control thread alone: workers never take the lock.
    fn change(&self, change: impl FnOnce(&mut Tournaments)) {
        let mut retired: MutexGuard<'_, _> = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        let mut trees = Tournaments::clone(&self.trees.load());
        change(&mut trees);
        let several = trees.len() > 1;
        // Before the list: a worker must not take the path for a single tree once there are several.
        self.several.store(true, SeqCst);
        retired.push(self.trees.swap(Arc::new(trees)));
        self.several.store(several, SeqCst);
        retired.retain(|old| Arc::strong_count(old) > 1);
    }
}
