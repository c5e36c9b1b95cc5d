//! Active and inactive connections of every real server, shared by all workers without a lock.

use super::atomic::{AtomicU64, SeqCst};
use crate::model::ServerId;

/// Connections of one real server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// In ESTABLISHED, SYN_SENT, SYN_RECV or SYNACK.
    pub active: u32,
    /// In any other state.
    pub inactive: u32,
}

impl Load {
    /// IPVS's measure: an active connection weighs as much as 256 inactive ones
    /// (`ip_vs_dest_conn_overhead` in include/net/ip_vs.h).
    #[inline]
    #[must_use]
    pub const fn overhead(self) -> u64 {
        ((self.active as u64) << 8) + self.inactive as u64
    }

    const fn from_bits(bits: u64) -> Self {
        Self { active: (bits >> 32) as u32, inactive: bits as u32 }
    }
}

/// The loads of all servers, by [`ServerId`].
///
/// Both counts of a server live in one word, so a reader always sees a pair that was true at one
/// moment, and a move from active to inactive is one addition. Whoever changes a load tells the
/// server's pool ([`Pool::changed`](super::Pool::changed)), which is why changes and reads have one
/// order (SeqCst) with those of the pool.
#[derive(Debug)]
pub struct Loads(Box<[AtomicU64]>);

const ACTIVE: u64 = 1 << 32;
const INACTIVE: u64 = 1;

impl Loads {
    /// Counts for server ids below `servers`, all zero.
    #[must_use]
    pub fn new(servers: usize) -> Self {
        Self((0..servers).map(|_| AtomicU64::new(0)).collect())
    }

    /// The counts of `server` now.
    ///
    /// # Panics
    /// Like every method here, if `server` is not below the number given to [`Loads::new`].
    #[inline]
    #[must_use]
    pub fn get(&self, server: ServerId) -> Load {
        Load::from_bits(self.word(server).load(SeqCst))
    }

    /// Counts one more connection.
    #[inline]
    pub fn add(&self, server: ServerId, active: bool) {
        self.word(server).fetch_add(unit(active), SeqCst);
    }

    /// Counts one connection less.
    #[inline]
    pub fn remove(&self, server: ServerId, active: bool) {
        self.word(server).fetch_sub(unit(active), SeqCst);
    }

    /// Moves one connection to active (`true`) or to inactive (`false`).
    #[inline]
    pub fn shift(&self, server: ServerId, active: bool) {
        let change = unit(active).wrapping_sub(unit(!active));
        self.word(server).fetch_add(change, SeqCst);
    }

    #[inline]
    fn word(&self, server: ServerId) -> &AtomicU64 {
        &self.0[usize::from(server.0)]
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
        assert_eq!(loads.get(server), Load { active: 1, inactive: 1 });
        assert_eq!(loads.get(server).overhead(), 257);
        loads.shift(server, false);
        assert_eq!(loads.get(server), Load { active: 0, inactive: 2 });
        loads.remove(server, false);
        loads.shift(server, true);
        loads.remove(server, true);
        assert_eq!(loads.get(server), Load::default());
        assert_eq!(loads.get(ServerId(0)), Load::default());
    }
}
