//! The servers of one service that take new connections, and the wlc pick among them.

use super::Loads;
use crate::model::ServerId;

/// A server that may be picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Who.
    pub server: ServerId,
    /// Its weight, never 0.
    pub weight: u16,
}

/// The candidates of one service in IPVS's list order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool(Box<[Candidate]>);

impl Pool {
    /// A pool of `candidates` in list order. Those of weight 0 are quiesced and left out.
    #[must_use]
    pub fn new(candidates: impl IntoIterator<Item = Candidate>) -> Self {
        Self(candidates.into_iter().filter(|candidate| candidate.weight > 0).collect())
    }

    /// The weighted-least-connection pick: the server with the least overhead for its weight, the
    /// earlier one of equals (`ip_vs_wlc_schedule` in net/netfilter/ipvs/ip_vs_wlc.c).
    ///
    /// With several workers each pick may miss the connections that the others are just opening.
    #[inline]
    #[must_use]
    pub fn pick(&self, loads: &Loads) -> Option<ServerId> {
        let (first, rest) = self.0.split_first()?;
        let mut best = (*first, loads.get(first.server).overhead());
        for candidate in rest {
            let overhead = loads.get(candidate.server).overhead();
            if best.1 * u64::from(candidate.weight) > overhead * u64::from(best.0.weight) {
                best = (*candidate, overhead);
            }
        }
        Some(best.0.server)
    }
}
