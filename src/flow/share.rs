//! Share of a table that each service may hold.

use crate::model::ServiceId;

/// Entries that a service may hold per vacant slot (dynamic thresholds, Choudhury and Hahne, 1998). A
/// single service stops at 8/9 of a shared table.
const TIMES_FREE: usize = 8;
/// Number of service ids.
const SERVICES: usize = 1 << 16;

/// Entries of each service, and whether several services share the table.
#[derive(Debug)]
pub(super) struct Shares {
    held: Box<[u32; SERVICES]>,
    shared: bool,
}

impl Shares {
    pub(super) fn new() -> Self {
        let held = vec![0; SERVICES].try_into().expect("it has that length");
        Self { held, shared: false }
    }

    /// Sets whether several services share the table.
    pub(super) fn set_shared(&mut self, shared: bool) {
        self.shared = shared;
    }

    /// True if `service` may take one of `free` vacant slots, if any is left.
    #[inline]
    pub(super) fn may_grow(&self, service: ServiceId, free: usize) -> bool {
        !self.shared || self.held[usize::from(service.0)] as usize <= TIMES_FREE * free
    }

    /// True if a new entry of `service` may evict one of `other`: the same service, or one that holds more.
    #[inline]
    pub(super) fn may_evict(&self, service: ServiceId, other: ServiceId) -> bool {
        let held = |of: ServiceId| self.held[usize::from(of.0)];
        !self.shared || (service == other) | (held(other) > held(service))
    }

    #[inline]
    pub(super) fn add(&mut self, service: ServiceId) {
        self.held[usize::from(service.0)] += 1;
    }

    #[inline]
    pub(super) fn remove(&mut self, service: ServiceId) {
        self.held[usize::from(service.0)] -= 1;
    }
}
