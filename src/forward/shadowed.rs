//! A worker's access to the connections of all workers, and of the process before: the shadow table.

use super::journal::Journal;
use crate::flow::{AnyKey, FlowEntry, FlowKey, V4Key, WideKey};
use crate::shadow::{ShadowClock, ShadowReader, ShadowValue};
use crate::time::Tick;

/// A worker's access to the shadow table.
#[derive(Clone)]
pub struct ShadowAccess {
    /// Number of the worker, as entries have it.
    pub worker: u8,
    /// Takes the worker's own confirmed connections.
    pub journal: Journal,
    /// Connections with compact keys.
    pub compact: ShadowReader<V4Key>,
    /// Connections with wide keys.
    pub wide: ShadowReader<WideKey>,
    /// Converts deadlines.
    pub clock: ShadowClock,
}

/// Key with a shadow table.
pub(super) trait ShadowedKey: FlowKey + Into<AnyKey> {
    /// The value of the key in its shadow table.
    fn find(self, access: &ShadowAccess, now: Tick) -> Option<ShadowValue>;
}

impl ShadowedKey for V4Key {
    fn find(self, access: &ShadowAccess, now: Tick) -> Option<ShadowValue> {
        access.compact.find(self, access.clock.second(now))
    }
}

impl ShadowedKey for WideKey {
    fn find(self, access: &ShadowAccess, now: Tick) -> Option<ShadowValue> {
        access.wide.find(self, access.clock.second(now))
    }
}

impl ShadowAccess {
    /// The connection of `key` that this worker does not have, if it has not expired. Of one that this worker had, its own
    /// table says better that it is over.
    #[inline(never)] // not part of the code for known connections
    pub(super) fn find<K: ShadowedKey>(&self, key: K, now: Tick) -> Option<FlowEntry<K>> {
        let ShadowValue { deadline, owner, server, state, template } = key.find(self, now)?;
        if owner == Some(self.worker) {
            return None;
        }
        let deadline = self.clock.tick(deadline, now);
        Some(FlowEntry { key, deadline, server, state, template })
    }
}
