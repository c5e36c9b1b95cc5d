//! Thresholds: from how many connections on a server gets no new ones, and until when.

use super::atomic::{AtomicBool, AtomicU64, SeqCst};

/// A server's thresholds, in connections, active and inactive ones alike (`ipvsadm -x`, `-y`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// With so many it is overloaded; 0: never.
    pub upper: u32,
    /// With fewer than so many it is not any more; 0: with fewer than three quarters of `upper`.
    /// Never above `upper`.
    pub lower: u32,
}

impl Thresholds {
    /// Both marks in one word: overloaded from the upper half on, no more below the lower half.
    const fn marks(self) -> u64 {
        let below = if self.lower > 0 { self.lower as u64 } else { (self.upper as u64 * 3).div_ceil(4) };
        if self.upper == 0 { 0 } else { (self.upper as u64) << 32 | below }
    }
}

/// Whether one server is overloaded.
///
/// Between the marks it stays what it was, so this is a state that all workers share. Whoever has
/// changed a count judges anew, and whoever writes the state judges once more afterwards, until
/// there is nothing to write: so whoever wrote last has read a count after that, and nobody leaves a
/// state that the last count contradicts. Nobody waits for anybody.
#[derive(Debug)]
pub(super) struct Limit {
    marks: AtomicU64,
    overloaded: AtomicBool,
}

impl Limit {
    pub(super) fn none() -> Self {
        Self { marks: AtomicU64::new(0), overloaded: AtomicBool::new(false) }
    }

    #[inline]
    pub(super) fn is_overloaded(&self) -> bool {
        self.overloaded.load(SeqCst)
    }

    /// To be called after the number of connections, `total`, has changed.
    #[inline]
    pub(super) fn judge(&self, total: impl Fn() -> u64) {
        if self.marks.load(SeqCst) != 0 {
            self.settle(total);
        }
    }

    /// Takes other thresholds; true if they are others. They count at once, also for connections
    /// that are there: IPVS would first let one more come. As with IPVS, a higher upper threshold
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
        self.settle(total);
        true
    }

    fn settle(&self, total: impl Fn() -> u64) {
        loop {
            let was = self.overloaded.load(SeqCst);
            let is = verdict(self.marks.load(SeqCst), total(), was);
            if is == was {
                return;
            }
            self.overloaded.store(is, SeqCst);
        }
    }
}

/// As `ip_vs_bind_dest` and `ip_vs_unbind_dest` in net/netfilter/ipvs/ip_vs_conn.c have it.
const fn verdict(marks: u64, total: u64, was: bool) -> bool {
    let (upper, below) = (marks >> 32, marks & 0xffff_ffff);
    upper > 0 && (total >= upper || (was && total >= below))
}

#[cfg(all(test, not(loom_model)))]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// What becomes of a server as its connections go up to `most` and back.
    fn overloaded_at(upper: u32, lower: u32, most: u64) -> (Vec<u64>, Vec<u64>) {
        let (limit, total) = (Limit::none(), Cell::new(0));
        limit.set(Thresholds { upper, lower }, || total.get());
        let overloaded = |n: &u64| {
            total.set(*n);
            limit.judge(|| total.get());
            limit.is_overloaded()
        };
        ((0..=most).filter(overloaded).collect(), (0..=most).rev().filter(overloaded).collect())
    }

    #[test]
    fn a_server_is_overloaded_from_the_upper_threshold_until_below_the_lower() {
        assert_eq!(overloaded_at(4, 2, 5), (vec![4, 5], vec![5, 4, 3, 2]));
        assert_eq!(overloaded_at(4, 4, 5), (vec![4, 5], vec![5, 4]));
        assert_eq!(overloaded_at(0, 0, 5), (vec![], vec![]));
        assert_eq!(overloaded_at(1, 0, 2), (vec![1, 2], vec![2, 1]), "three quarters of 1 are above 0");
        assert_eq!(overloaded_at(8, 0, 8), (vec![8], vec![8, 7, 6]), "5 is below 6");
        assert_eq!(overloaded_at(10, 0, 10), (vec![10], vec![10, 9, 8]), "7 is below 7.5");
    }

    #[test]
    fn new_thresholds_count_at_once() {
        let (limit, total) = (Limit::none(), || 5);
        let set = |upper, lower| (limit.set(Thresholds { upper, lower }, total), limit.is_overloaded());
        assert_eq!(set(5, 0), (true, true));
        assert_eq!(set(5, 0), (false, true));
        assert_eq!(set(6, 0), (true, false), "a higher one ends the overload");
        assert_eq!(set(3, 0), (true, true));
        assert_eq!(set(0, 0), (true, false));
    }
}
