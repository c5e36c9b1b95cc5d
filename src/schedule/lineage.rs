//! The pools of one service that a worker may still pick from, one after the other.

use super::Loads;
use super::atomic::{AtomicBool, SeqCst};
use super::tree::Tree;
use crate::model::ServerId;
use arc_swap::ArcSwap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Trees = Vec<Arc<Tree>>;

/// The trees that must hear of every change, so that workers that are behind a change of the
/// configuration and those that have adopted it pick by the same loads.
///
/// Mostly that is one tree, the worker's own, and then a change costs one more read. A worker that
/// does not see a new tree here has counted before the tree was put here, and the tree is settled
/// after that: so either the worker sees the tree, or whoever settles it sees the count.
#[derive(Debug)]
pub(super) struct Lineage {
    several: AtomicBool,
    trees: ArcSwap<Trees>,
    /// Lists that a worker may still be reading: freed here, never on the data path.
    retired: Mutex<Vec<Arc<Trees>>>,
}

impl Lineage {
    /// A lineage of one.
    pub(super) fn new(tree: Arc<Tree>) -> Self {
        Self {
            several: AtomicBool::new(false),
            trees: ArcSwap::from_pointee(vec![tree]),
            retired: Mutex::default(),
        }
    }

    /// Replays the matches of `server` in `own`, a tree of this lineage, and in all others.
    #[inline]
    pub(super) fn replay(&self, own: &Tree, server: ServerId, loads: &Loads) {
        if self.several.load(SeqCst) {
            self.trees.load().iter().for_each(|tree| tree.replay(server, loads));
        } else {
            own.replay(server, loads);
        }
    }

    /// From now on `tree` hears of changes. It has to be settled afterwards.
    pub(super) fn join(&self, tree: &Arc<Tree>) {
        self.change(|trees| trees.push(Arc::clone(tree)));
    }

    /// `tree` is nobody's any more.
    pub(super) fn leave(&self, tree: &Arc<Tree>) {
        self.change(|trees| trees.retain(|other| !Arc::ptr_eq(other, tree)));
    }

    /// Control only, and only control ever waits here: for itself.
    fn change(&self, change: impl FnOnce(&mut Trees)) {
        let mut retired: MutexGuard<'_, _> = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        let mut trees = Trees::clone(&self.trees.load());
        change(&mut trees);
        let several = trees.len() > 1;
        // First of all, so that whoever finds a new tree in the list knows of it by this, too.
        self.several.store(true, SeqCst);
        retired.push(self.trees.swap(Arc::new(trees)));
        self.several.store(several, SeqCst);
        retired.retain(|old| Arc::strong_count(old) > 1);
    }
}
