//! Thresholds: the number of connections at which a server is overloaded, and at which no more.

use super::atomic::{AtomicBool, AtomicU64, SeqCst};

/// A server's thresholds, in connections, active and inactive ones alike (`ipvsadm -x`, `-y`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// Overloaded at this number or more; 0: never.
    pub upper: u32,
    /// No longer overloaded below this number; 0: below three quarters of `upper`. Never above `upper`.
    pub lower: u32,
}

impl Thresholds {
    /// Both thresholds in one word: the upper one in the high half, the lower one in the low half.
    const fn marks(self) -> u64 {
        let below = if self.lower > 0 { self.lower as u64 } else { (self.upper as u64 * 3).div_ceil(4) };
        if self.upper == 0 { 0 } else { (self.upper as u64) << 32 | below }
    }
}

/// The overload state of one server, shared by all workers.
///
/// Between the thresholds the state keeps its last value (hysteresis), so it cannot be derived from
/// the count. After a change of the count the worker evaluates the state, and evaluates again after
/// each write, until nothing changes. The last writer has therefore read a count after its write, and
/// the final state agrees with the final count. Lock-free: no worker waits for another.
#[derive(Debug)]
pub(super) struct OverloadState {
    marks: AtomicU64,
    overloaded: AtomicBool,
}

impl OverloadState {
    pub(super) fn none() -> Self {
        Self { marks: AtomicU64::new(0), overloaded: AtomicBool::new(false) }
    }

    #[inline]
    pub(super) fn is_overloaded(&self) -> bool {
        self.overloaded.load(SeqCst)
    }

    /// Evaluates the state after `total`, the number of connections, has changed.
    #[inline]
    pub(super) fn update(&self, total: impl Fn() -> u64) {
        if self.marks.load(SeqCst) != 0 {
            self.evaluate(total);
        }
    }

    /// Sets the thresholds; returns true if they differ from those before. They apply at once, also to
    /// present connections: IPVS would let one more in first. As with IPVS, a higher upper threshold
    /// ends the overload.
    pub(super) fn set(&self, thresholds: Thresholds, total: impl Fn() -> u64) -> bool {
        let (old, new) = (self.marks.load(SeqCst), thresholds.marks());
        if old == new {
            return false;
        }
        self.marks.store(new, SeqCst);
        if new >> 32 > old >> 32 {
            self.overloaded.store(false, SeqCst);
        }
        self.evaluate(total);
        true
    }

    fn evaluate(&self, total: impl Fn() -> u64) {
        loop {
            let was = self.overloaded.load(SeqCst);
            let is = next_state(self.marks.load(SeqCst), total(), was);
            if is == was {
                return;
            }
            self.overloaded.store(is, SeqCst);
        }
    }
}

/// The state for `total` connections (`ip_vs_bind_dest` and `ip_vs_unbind_dest` in
/// net/netfilter/ipvs/ip_vs_conn.c).
const fn next_state(marks: u64, total: u64, was: bool) -> bool {
    let (upper, below) = (marks >> 32, marks & 0xffff_ffff);
    upper > 0 && (total >= upper || (was && total >= below))
}

#[cfg(all(test, not(loom_model)))]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// The counts at which a server is overloaded as its connections go up to `most` and back.
    fn overloaded_at(upper: u32, lower: u32, most: u64) -> (Vec<u64>, Vec<u64>) {
        let (overload, total) = (OverloadState::none(), Cell::new(0));
        overload.set(Thresholds { upper, lower }, || total.get());
        let overloaded = |n: &u64| {
            total.set(*n);
            overload.update(|| total.get());
            overload.is_overloaded()
        };
        ((0..=most).filter(overloaded).collect(), (0..=most).rev().filter(overloaded).collect())
    }

    #[test]
    fn overload_has_hysteresis() {
        assert_eq!(overloaded_at(4, 2, 5), (vec![4, 5], vec![5, 4, 3, 2]));
        assert_eq!(overloaded_at(4, 4, 5), (vec![4, 5], vec![5, 4]));
        assert_eq!(overloaded_at(0, 0, 5), (vec![], vec![]));
        assert_eq!(overloaded_at(1, 0, 2), (vec![1, 2], vec![2, 1]), "three quarters of 1 are above 0");
        assert_eq!(overloaded_at(8, 0, 8), (vec![8], vec![8, 7, 6]), "5 is below 6");
        assert_eq!(overloaded_at(10, 0, 10), (vec![10], vec![10, 9, 8]), "7 is below 7.5");
    }

    #[test]
    fn new_thresholds_apply_at_once() {
        let (overload, total) = (OverloadState::none(), || 5);
        let set = |upper, lower| (overload.set(Thresholds { upper, lower }, total), overload.is_overloaded());
        assert_eq!(set(5, 0), (true, true));
        assert_eq!(set(5, 0), (false, true));
        assert_eq!(set(6, 0), (true, false), "a higher one ends the overload");
        assert_eq!(set(3, 0), (true, true));
        assert_eq!(set(0, 0), (true, false));
    }
}
