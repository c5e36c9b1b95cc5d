//! Round robin: rr.
//!
//! The position in the round is one word that all workers share, and a pick advances it by
//! compare-and-swap. The picks of all workers form one round: no server is skipped or picked twice,
//! and a stalled worker delays no other.

use super::Loads;
use super::atomic::{AtomicU64, SeqCst};
use super::servers::Servers;
use crate::model::ServerId;
use std::collections::HashMap;

/// Picks the next eligible server of the list (`ip_vs_rr_schedule` in net/netfilter/ipvs/ip_vs_rr.c).
#[derive(Debug)]
pub(super) struct RoundRobin {
    /// One more than the place picked last; 0 at the head of the list.
    after: AtomicU64,
}

impl RoundRobin {
    pub(super) fn new() -> Self {
        Self::at(0)
    }

    fn at(after: usize) -> Self {
        Self { after: AtomicU64::new(after as u64) }
    }

    /// The state for another list of the same service: continues behind the server picked last, or
    /// behind its predecessor if that server was removed (`ip_vs_rr_del_dest`).
    pub(super) fn successor(&self, old: &Servers, new: &Servers) -> Self {
        let places: HashMap<ServerId, usize> = new.all().iter().map(|of| of.id).zip(1..).collect();
        let picked = &old.all()[..self.after.load(SeqCst) as usize];
        let last = picked.iter().rev().find_map(|of| places.get(&of.id));
        Self::at(last.copied().unwrap_or(0))
    }

    /// The place of the next eligible server.
    #[inline]
    pub(super) fn pick(&self, servers: &Servers, loads: &Loads) -> Option<usize> {
        let mut after = self.after.load(SeqCst);
        loop {
            let mut round = (after as usize..servers.all().len()).chain(0..after as usize);
            let place = round.find(|place| servers.is_eligible(*place, loads))?;
            match self.after.compare_exchange(after, place as u64 + 1, SeqCst, SeqCst) {
                Ok(_) => return Some(place),
                Err(now) => after = now,
            }
        }
    }
}
