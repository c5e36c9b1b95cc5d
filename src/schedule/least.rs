//! Least connection and its kin: wlc, lc, sed, nq, fo and ovf pick the server with the least load for its
//! share. Here are load and share of each; [`tree`](super::tree) finds the least.

use super::load::ServerLoad;
use crate::model::Scheduler;

/// A load that never falls as a server's connections grow. The least wins, the first of equals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    Wlc,
    Lc,
    Sed,
    Nq,
    Fo,
    Ovf,
}

impl Measure {
    /// The measure by which `scheduler` picks, if it picks by one.
    pub(super) fn of(scheduler: Scheduler) -> Option<Self> {
        Some(match scheduler {
            Scheduler::Wlc => Self::Wlc,
            Scheduler::Lc => Self::Lc,
            Scheduler::Sed => Self::Sed,
            Scheduler::Nq => Self::Nq,
            Scheduler::Fo => Self::Fo,
            Scheduler::Ovf => Self::Ovf,
            _ => return None,
        })
    }

    /// The load of a server, to be divided by its [`share`](Self::share); below 2⁴¹. `None` if it is
    /// full. In net/netfilter/ipvs: `ip_vs_dest_conn_overhead` for wlc and lc,
    /// `ip_vs_sed_dest_overhead`, `ip_vs_nq_schedule`, `ip_vs_fo_schedule`, `ip_vs_ovf_schedule`.
    #[inline]
    pub(super) fn load(self, load: ServerLoad, weight: u16) -> Option<u64> {
        let active = u64::from(load.active);
        match self {
            Self::Wlc | Self::Lc => Some(load.overhead()),
            Self::Sed => Some(active + 1),
            // The first idle server wins.
            Self::Nq => Some(if active == 0 { 0 } else { active + 1 }),
            Self::Fo => Some(lightness(weight)),
            Self::Ovf => (active <= u64::from(weight)).then(|| lightness(weight)),
        }
    }

    /// The divisor of the load.
    #[inline]
    pub(super) fn share(self, weight: u16) -> u16 {
        match self {
            Self::Wlc | Self::Sed | Self::Nq => weight,
            Self::Lc | Self::Fo | Self::Ovf => 1,
        }
    }
}

/// Least for the greatest weight.
#[inline]
fn lightness(weight: u16) -> u64 {
    u64::from(u16::MAX - weight)
}
