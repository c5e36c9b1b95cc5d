//! Look-ups of workers.

use super::key::ShadowKey;
use super::table::ShadowTable;
use super::value::{ShadowEntry, ShadowValue};
use super::words::{Region, Words};
use crate::time::SecondTick;
use std::sync::Arc;

/// Look-ups that meet a change until one gives up. The writer changes a bucket for some ten nanoseconds; it takes longer only if it is
/// preempted. A lost look-up costs a retransmission.
const ATTEMPTS: usize = 16;

/// Reader of a table, on any thread, beside its writer.
#[derive(Debug)]
pub struct ShadowReader<K, W = Region>(Arc<ShadowTable<K, W>>);

impl<K: ShadowKey, W: Words> ShadowReader<K, W> {
    pub(super) fn new(table: &Arc<ShadowTable<K, W>>) -> Self {
        Self(Arc::clone(table))
    }

    /// Looks up the value of `key`; `None` once its deadline is reached, and before it is checked. Takes no lock, and gives up after a bounded time.
    #[inline]
    #[must_use]
    pub fn find(&self, key: K, now: SecondTick) -> Option<ShadowValue> {
        for _ in 0..ATTEMPTS {
            if let Ok(found) = self.0.look_up(key) {
                return found.filter(|value| !now.reached(value.deadline));
            }
            std::hint::spin_loop();
        }
        None
    }

    /// Number of buckets, for [`ShadowReader::entries`].
    #[must_use]
    pub fn buckets(&self) -> usize {
        self.0.buckets()
    }

    /// The entries of a bucket, expired ones too; none before it is checked, and if the writer changes it at each attempt.
    pub fn entries(&self, bucket: usize) -> impl Iterator<Item = ShadowEntry<K>> + use<K, W> {
        let found = (0..ATTEMPTS).find_map(|_| self.0.entries(bucket).ok());
        found.into_iter().flatten().flatten()
    }

    /// Prefetches the first candidate bucket of `key`.
    #[inline]
    pub fn prefetch(&self, key: K) {
        self.0.prefetch(key);
    }
}

impl<K, W> Clone for ShadowReader<K, W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
