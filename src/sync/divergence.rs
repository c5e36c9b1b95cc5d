//! Divergence of two tables, by the digests of successive hellos.

use super::digest::{GROUPS, GroupDigest, GroupSet, SyncDigest};
use std::ops::BitOr;

/// Hellos in turn after which a difference is none of records under way.
const STREAK: u8 = 4;
/// A peer lacks nothing worth a resync if it has less than 1/100 more connections of a busy group.
const TOLERANCE: u32 = 100;

/// Comparison of this director's table with a peer's.
///
/// Records under way make the digests of a busy group differ at every instant. So a difference counts when neither side
/// has changed since the last hello, or when the peer has clearly more connections.
#[derive(Clone, Debug, Default)]
pub(super) struct Divergence {
    own: SyncDigest,
    peers: SyncDigest,
    streaks: Streaks,
}

#[derive(Clone, Debug)]
struct Streaks([u8; GROUPS]);

impl Default for Streaks {
    fn default() -> Self {
        Self([0; GROUPS])
    }
}

impl Divergence {
    /// Compares the digests at the arrival of a hello.
    pub(super) fn observe(&mut self, own: &SyncDigest, peers: &SyncDigest) {
        for group in 0..GROUPS {
            let (mine, theirs) = (own.groups()[group], peers.groups()[group]);
            let unchanged = mine == self.own.groups()[group] && theirs == self.peers.groups()[group];
            let streak = &mut self.streaks.0[group];
            *streak = if lacks(mine, theirs, unchanged) { streak.saturating_add(1) } else { 0 };
        }
        (self.own, self.peers) = (own.clone(), peers.clone());
    }

    /// Groups that this director lacks connections of.
    pub(super) fn wanted(&self) -> GroupSet {
        let lasting = (0..GROUPS).filter(|group| self.streaks.0[*group] >= STREAK);
        lasting.map(GroupSet::one).fold(GroupSet::NONE, GroupSet::bitor)
    }

    /// Least number of connections that one of the two has and the other has not, at the last hello.
    pub(super) fn difference(&self) -> u64 {
        self.own.difference(&self.peers)
    }

    /// Begins again after a resync, so that its records have time to arrive.
    pub(super) fn forget(&mut self) {
        self.streaks = Streaks::default();
    }
}

fn lacks(mine: GroupDigest, theirs: GroupDigest, unchanged: bool) -> bool {
    let clearly_more = theirs.count > mine.count + mine.count / TOLERANCE;
    mine != theirs && (clearly_more || unchanged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(sum: u64, count: u32) -> SyncDigest {
        let mut groups = [GroupDigest::default(); GROUPS];
        groups[5] = GroupDigest { sum, count };
        SyncDigest::new(groups)
    }

    /// Hellos until a resync is wanted, of ten.
    fn wanted_after(own: impl Fn(u64) -> SyncDigest, peers: impl Fn(u64) -> SyncDigest) -> Option<u64> {
        let mut divergence = Divergence::default();
        (1..=10).find(|hello| {
            divergence.observe(&own(*hello), &peers(*hello));
            divergence.wanted() == GroupSet::one(5)
        })
    }

    #[test]
    fn records_under_way_are_no_divergence() {
        assert_eq!(wanted_after(|hello| digest(hello, 1000), |hello| digest(hello + 1, 1005)), None);
        assert_eq!(wanted_after(|_| digest(7, 7), |_| digest(7, 7)), None);
    }

    #[test]
    fn a_lasting_difference_is() {
        assert_eq!(wanted_after(|_| digest(1, 9), |_| digest(2, 9)), Some(5));
        assert_eq!(wanted_after(|_| digest(1, 9), |_| digest(2, 8)), Some(5));
        assert_eq!(wanted_after(|hello| digest(hello, 1000), |hello| digest(hello + 1, 1011)), Some(4));
    }
}
