//! Guard against failures of the director's own host or network: when nearly all checks fail at once, no state changes
//! to down.

use super::entry::CheckEntry;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

/// Part of the checks that are up which must fail, in percent.
const SHARE: u64 = 90;
/// Least number of servers that fail.
const SERVERS_MIN: usize = 10;
/// Least number of services that fail.
const SERVICES_MIN: usize = 2;

/// Counts of the checks that are up, and of those among them that fail.
#[derive(Debug, Default)]
pub(super) struct FreezeGuard {
    pub(super) up: u32,
    pub(super) failing: u32,
    servers: CountsByKey<IpAddr>,
    services: CountsByKey<usize>,
    pub(super) frozen: bool,
}

/// A check's part in the counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct GuardShare {
    up: bool,
    failing: bool,
}

impl GuardShare {
    /// Nothing for a check that is paused.
    pub(super) fn of(entry: &CheckEntry) -> Self {
        let (counts, record) = (!entry.paused, &entry.record);
        Self { up: counts && record.is_up(), failing: counts && record.is_failing() }
    }
}

impl FreezeGuard {
    /// Replaces the part of a check of `server` that is in use by `services`.
    pub(super) fn replace(
        &mut self,
        before: GuardShare,
        after: GuardShare,
        server: IpAddr,
        services: impl Iterator<Item = usize>,
    ) {
        self.up = self.up + u32::from(after.up) - u32::from(before.up);
        if before.failing == after.failing {
            return;
        }
        self.failing = self.failing + u32::from(after.failing) - u32::from(before.failing);
        self.servers.change(server, after.failing);
        services.for_each(|service| self.services.change(service, after.failing));
    }

    /// Sets the counts to zero.
    pub(super) fn clear(&mut self) {
        *self = Self { frozen: self.frozen, ..Self::default() };
    }

    /// Sets the counts of failures to zero.
    pub(super) fn pardon(&mut self) {
        (self.failing, self.servers, self.services) = (0, CountsByKey::default(), CountsByKey::default());
    }

    /// Returns true if nearly all checks that are up fail, and they are of many servers and several services.
    pub(super) fn is_mass_failure(&self) -> bool {
        u64::from(self.failing) * 100 >= u64::from(self.up) * SHARE
            && self.servers.len() >= SERVERS_MIN
            && self.services.len() >= SERVICES_MIN
    }
}

/// Counts by key; without the keys that have none.
#[derive(Debug)]
struct CountsByKey<K>(HashMap<K, u32>);

impl<K> Default for CountsByKey<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Copy + Eq + Hash> CountsByKey<K> {
    fn change(&mut self, key: K, up: bool) {
        let count = self.0.entry(key).or_default();
        *count = if up { *count + 1 } else { *count - 1 };
        if *count == 0 {
            self.0.remove(&key);
        }
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}
