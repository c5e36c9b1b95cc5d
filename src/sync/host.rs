//! Surroundings of the sync machine.

use super::SyncRecord;
use super::digest::{GroupSet, SyncDigest};
use std::net::IpAddr;

/// Numbers of connections and of templates in a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncCounts {
    /// Connections.
    pub connections: u32,
    /// Templates.
    pub templates: u32,
}

/// Table and sockets of a director, as the sync machine uses them.
pub trait SyncHost {
    /// Sends a message to the group and to unicast peers.
    fn send(&mut self, message: &[u8]);

    /// Takes a record of the director at `source` into the table, or refuses it. A record at second hand, with
    /// [`super::SyncFlags::SYNCED`], must not change an entry that stands: it may be older.
    fn accept(&mut self, source: IpAddr, record: &SyncRecord);

    /// Digest of the table.
    fn digest(&self) -> &SyncDigest;

    /// Sizes of the table.
    fn counts(&self) -> SyncCounts;

    /// Appends the records of these groups in the next `budget` entries of the table, from the place `from` on; 0 is its
    /// beginning. Returns the next place, or `None` at the end. An entry that stands throughout is met; one that has itself come by
    /// sync is [`SyncRecord::synced`].
    fn walk(
        &mut self,
        groups: GroupSet,
        from: u64,
        budget: usize,
        found: &mut Vec<SyncRecord>,
    ) -> Option<u64>;
}
