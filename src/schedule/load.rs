//! Active and inactive connections of every real server, shared by all workers without a lock.

use super::atomic::{AtomicU64, SeqCst};
use super::thresholds::{OverloadState, Thresholds};
use crate::model::ServerId;
use std::sync::atomic::{self, AtomicBool};

/// Connections of one real server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerLoad {
    /// In ESTABLISHED, SYN_SENT, SYN_RECV or SYNACK.
    pub active: u32,
    /// In any other state.
    pub inactive: u32,
}

impl ServerLoad {
    /// IPVS's measure: an active connection weighs as much as 256 inactive ones
    /// (`ip_vs_dest_conn_overhead` in include/net/ip_vs.h).
    #[inline]
    #[must_use]
    pub const fn overhead(self) -> u64 {
        ((self.active as u64) << 8) + self.inactive as u64
    }

    /// All connections, as thresholds count them.
    #[inline]
    #[must_use]
    pub const fn total(self) -> u64 {
        self.active as u64 + self.inactive as u64
    }

    const fn from_bits(bits: u64) -> Self {
        Self { active: (bits >> 32) as u32, inactive: bits as u32 }
    }
}

/// The loads of all servers, by [`ServerId`], with their overload states.
///
/// Both counts of a server share one word, so that a reader sees a pair that was true at one moment,
/// and a move from active to inactive is one addition. Every change must be followed by
/// [`Pool::changed`](super::Pool::changed); changes and reads are SeqCst, in one order with those of
/// the pool.
#[derive(Debug)]
pub struct Loads {
    counts: Box<[AtomicU64]>,
    overloads: Box<[OverloadState]>,
    /// True once a threshold has been set. Not modelled by loom, whose tests set them before they count.
    limited: AtomicBool,
}

const ACTIVE: u64 = 1 << 32;
const INACTIVE: u64 = 1;

impl Loads {
    /// Counts for server ids below `servers`, all zero.
    #[must_use]
    pub fn new(servers: usize) -> Self {
        Self {
            counts: (0..servers).map(|_| AtomicU64::new(0)).collect(),
            overloads: (0..servers).map(|_| OverloadState::none()).collect(),
            limited: AtomicBool::new(false),
        }
    }

    /// The counts of `server` now.
    ///
    /// # Panics
    /// Like every method here, if `server` is not below the number given to [`Loads::new`].
    #[inline]
    #[must_use]
    pub fn get(&self, server: ServerId) -> ServerLoad {
        self.reader().get(server)
    }

    /// For many reads in a row: the compiler cannot keep the fields of `Loads`, whose atomics may change, in registers.
    #[inline]
    pub(super) fn reader(&self) -> LoadReader<'_> {
        LoadReader(&self.counts)
    }

    /// Counts one more connection.
    #[inline]
    pub fn add(&self, server: ServerId, active: bool) {
        self.word(server).fetch_add(unit(active), SeqCst);
        self.update_overload(server);
    }

    /// Counts one connection less.
    #[inline]
    pub fn remove(&self, server: ServerId, active: bool) {
        self.word(server).fetch_sub(unit(active), SeqCst);
        self.update_overload(server);
    }

    /// Moves one connection to active (`true`) or to inactive (`false`).
    #[inline]
    pub fn shift(&self, server: ServerId, active: bool) {
        let change = unit(active).wrapping_sub(unit(!active));
        self.word(server).fetch_add(change, SeqCst);
    }

    /// Whether `server` has reached its upper threshold and not fallen below the lower one since.
    #[inline]
    #[must_use]
    pub fn is_overloaded(&self, server: ServerId) -> bool {
        self.overloads[usize::from(server.0)].is_overloaded()
    }

    /// Sets the thresholds of `server`; true if they differ from those before. Control thread only.
    pub(super) fn set_thresholds(&self, server: ServerId, thresholds: Thresholds) -> bool {
        // Before the thresholds: a worker that misses this has counted before they are evaluated.
        if thresholds != Thresholds::default() {
            self.limited.store(true, atomic::Ordering::SeqCst);
        }
        self.overloads[usize::from(server.0)].set(thresholds, || self.get(server).total())
    }

    #[inline]
    fn update_overload(&self, server: ServerId) {
        if self.limited.load(atomic::Ordering::SeqCst) {
            self.overloads[usize::from(server.0)].update(|| self.get(server).total());
        }
    }

    #[inline]
    fn word(&self, server: ServerId) -> &AtomicU64 {
        &self.counts[usize::from(server.0)]
    }
}

/// Reads the counts of servers.
#[derive(Clone, Copy)]
pub(super) struct LoadReader<'a>(&'a [AtomicU64]);

impl LoadReader<'_> {
    /// See [`Loads::get`].
    #[inline]
    pub(super) fn get(self, server: ServerId) -> ServerLoad {
        ServerLoad::from_bits(self.0[usize::from(server.0)].load(SeqCst))
    }
}

#[inline]
const fn unit(active: bool) -> u64 {
    if active { ACTIVE } else { INACTIVE }
}

#[cfg(all(test, not(loom_model)))]
mod tests {
    use super::*;

    #[test]
    fn counts_move_between_active_and_inactive() {
        let (loads, server) = (Loads::new(2), ServerId(1));
        loads.add(server, false);
        loads.add(server, false);
        loads.shift(server, true);
        assert_eq!(loads.get(server), ServerLoad { active: 1, inactive: 1 });
        assert_eq!(loads.get(server).overhead(), 257);
        loads.shift(server, false);
        assert_eq!(loads.get(server), ServerLoad { active: 0, inactive: 2 });
        loads.remove(server, false);
        loads.shift(server, true);
        loads.remove(server, true);
        assert_eq!(loads.get(server), ServerLoad::default());
        assert_eq!(loads.get(ServerId(0)), ServerLoad::default());
    }
}
