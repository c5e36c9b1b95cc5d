//! The part of a table that each service may hold.

use crate::model::ServiceId;

/// A service takes a free place only while it holds at most so many times what is free, so that one alone
/// stops at 8/9 of a shared table (dynamic thresholds, Choudhury and Hahne 1998).
const TIMES_FREE: usize = 8;
/// Every service number.
const SERVICES: usize = 1 << 16;

/// Connections of each service, and whether there is more than one that may open some.
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

    /// Says whether several services share the table.
    pub(super) fn set_shared(&mut self, shared: bool) {
        self.shared = shared;
    }

    /// True if `service` may have one more of the `free` places, if there is one.
    #[inline]
    pub(super) fn may_grow(&self, service: ServiceId, free: usize) -> bool {
        !self.shared || self.held[usize::from(service.0)] as usize <= TIMES_FREE * free
    }

    /// True if a new connection of `service` may evict one of `other`: its own, or one of a service that
    /// holds more.
    #[inline]
    pub(super) fn may_evict(&self, service: ServiceId, other: ServiceId) -> bool {
        let held = |of: ServiceId| self.held[usize::from(of.0)];
        !self.shared || service == other || held(other) > held(service)
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
