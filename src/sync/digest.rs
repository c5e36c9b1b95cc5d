//! Digest of a set of connections and templates: equal sets have equal digests, in whatever order they were made.

use super::{SyncEnds, SyncProtocol, SyncRecord};
use crate::random::{GOLDEN, mix};
use std::net::SocketAddr;
use std::ops::BitOr;

/// Number of groups that the names of connections fall into.
pub const GROUPS: usize = 64;

/// Set of groups, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupSet(pub u64);

impl GroupSet {
    /// Every group.
    pub const ALL: Self = Self(u64::MAX);
    /// No group.
    pub const NONE: Self = Self(0);

    /// The set of `group` alone, below [`GROUPS`].
    #[must_use]
    pub const fn one(group: usize) -> Self {
        Self(1 << group)
    }

    /// True if `group` is in the set.
    #[must_use]
    pub const fn has(self, group: usize) -> bool {
        self.0 >> group & 1 != 0
    }

    /// Number of groups in the set.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.0.count_ones()
    }

    /// True without a group.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for GroupSet {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Hash of a connection's names: protocol, ends, and whether it is a template. States and timeouts are left out: they
/// differ for a moment after each change. The same on every director, so no defence against chosen names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameHash(u64);

impl NameHash {
    /// Of the connection or template with these names.
    #[must_use]
    pub fn of(protocol: SyncProtocol, ends: &SyncEnds, is_template: bool) -> Self {
        let first = u64::from(protocol.number()) << 1 | u64::from(is_template);
        let hash = [ends.client(), ends.vip(), ends.server()].iter().fold(mix(first ^ GOLDEN), add_end);
        Self(hash)
    }

    /// The group of the names.
    #[must_use]
    pub const fn group(self) -> usize {
        (self.0 >> 58) as usize
    }
}

impl From<&SyncRecord> for NameHash {
    fn from(record: &SyncRecord) -> Self {
        Self::of(record.protocol, &record.ends, record.is_template())
    }
}

fn add_end(hash: u64, end: &SocketAddr) -> u64 {
    let (high, low) = match end {
        SocketAddr::V4(end) => (0, u64::from(end.ip().to_bits())),
        SocketAddr::V6(end) => ((end.ip().to_bits() >> 64) as u64, end.ip().to_bits() as u64),
    };
    let step = |hash: u64, word: u64| mix((hash ^ word).wrapping_add(GOLDEN));
    step(step(step(hash, high), low), end.port().into())
}

/// Sum of the hashes of a group, and their number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupDigest {
    /// Modulo 2⁶⁴.
    pub sum: u64,
    /// Connections and templates.
    pub count: u32,
}

/// Digest of all connections and templates of a director.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncDigest([GroupDigest; GROUPS]);

impl Default for SyncDigest {
    fn default() -> Self {
        Self([GroupDigest::default(); GROUPS])
    }
}

impl SyncDigest {
    /// Digest of these groups.
    #[must_use]
    pub fn new(groups: [GroupDigest; GROUPS]) -> Self {
        Self(groups)
    }

    /// Adds a connection that is new in the table.
    pub fn add(&mut self, name: NameHash) {
        let group = &mut self.0[name.group()];
        *group = GroupDigest { sum: group.sum.wrapping_add(name.0), count: group.count.wrapping_add(1) };
    }

    /// Takes out a connection that has been added.
    pub fn remove(&mut self, name: NameHash) {
        let group = &mut self.0[name.group()];
        *group = GroupDigest { sum: group.sum.wrapping_sub(name.0), count: group.count.wrapping_sub(1) };
    }

    /// The groups in order.
    #[must_use]
    pub fn groups(&self) -> &[GroupDigest; GROUPS] {
        &self.0
    }

    /// Connections and templates in all groups.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().map(|group| u64::from(group.count)).sum()
    }

    /// Least number of connections that one of two tables has and the other has not.
    #[must_use]
    pub fn difference(&self, other: &Self) -> u64 {
        let pairs = self.0.iter().zip(&other.0).filter(|(own, other)| own != other);
        pairs.map(|(own, other)| u64::from(own.count.abs_diff(other.count).max(1))).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Protocol;

    fn name(client: u32, is_template: bool) -> NameHash {
        let end = |address: u32, port| SocketAddr::new(std::net::Ipv4Addr::from_bits(address).into(), port);
        let ends = SyncEnds::new(end(client, 40000), end(0xc000_0201, 80), end(0xc000_020b, 80)).unwrap();
        NameHash::of(Protocol::Tcp.into(), &ends, is_template)
    }

    #[test]
    fn equal_sets_have_equal_digests_in_any_order() {
        let (mut one, mut other) = (SyncDigest::default(), SyncDigest::default());
        (0..1000).for_each(|client| one.add(name(client, false)));
        (0..1001).rev().for_each(|client| other.add(name(client, false)));
        assert_eq!(one.difference(&other), 1);
        other.remove(name(1000, false));
        assert_eq!((one.difference(&other), one.count()), (0, 1000));
        assert_eq!(one, other);
    }

    #[test]
    fn a_template_is_another_name_than_its_connection() {
        let (mut one, mut other) = (SyncDigest::default(), SyncDigest::default());
        one.add(name(7, false));
        other.add(name(7, true));
        assert_eq!(
            one.difference(&other),
            if name(7, false).group() == name(7, true).group() { 1 } else { 2 }
        );
    }

    #[test]
    fn names_spread_over_all_groups() {
        let mut digest = SyncDigest::default();
        (0..64_000).for_each(|client| digest.add(name(client, false)));
        assert!(digest.groups().iter().all(|group| (800..1200).contains(&group.count)), "{digest:?}");
    }
}
