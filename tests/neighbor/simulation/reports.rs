//! Checks the director's reports: in order, and each change once.

use directrix::neighbor::NeighborReport;
use directrix::wire::MacAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// State according to the director's reports.
#[derive(Debug, Default)]
pub(super) struct Reported {
    pub(super) claimed: BTreeSet<IpAddr>,
    pub(super) rivals: BTreeSet<(IpAddr, MacAddr)>,
    pub(super) resolved: BTreeMap<IpAddr, Option<MacAddr>>,
    pub(super) disputes: BTreeSet<(IpAddr, MacAddr)>,
    /// Former addresses of a server, with their successors.
    pub(super) moves: Vec<(IpAddr, MacAddr, MacAddr)>,
}

impl Reported {
    pub(super) fn take(&mut self, report: NeighborReport) {
        match report {
            NeighborReport::Claimed { vip } => assert!(self.claimed.insert(vip), "claimed twice"),
            NeighborReport::Conflict { vip, mac, server } => {
                let known = !self.rivals.insert((vip, mac));
                assert!(!known || server.is_some(), "reported twice");
            }
            NeighborReport::ConflictOver { vip, mac, .. } => {
                assert!(self.rivals.remove(&(vip, mac)), "the end of no conflict");
            }
            NeighborReport::Resolved { rip, mac, .. } => {
                assert_ne!(self.resolved.insert(rip, Some(mac)), Some(Some(mac)), "reported twice");
            }
            NeighborReport::Standby { vip, .. } => drop(self.claimed.remove(&vip)),
            NeighborReport::Held { .. } => {}
            NeighborReport::Moved { rip, old, new, .. } => {
                assert_ne!(old, new);
                self.resolved.insert(rip, Some(new));
                self.disputes.remove(&(rip, new));
                self.moves.push((rip, old, new));
            }
            NeighborReport::Released { vip } => panic!("{vip}: the director stands alone"),
            NeighborReport::Disputed { rip, mac, claimant, .. } => {
                assert_eq!(self.resolved[&rip], Some(mac), "the known address");
                assert!(self.disputes.insert((rip, claimant)), "reported twice");
            }
            NeighborReport::DisputeOver { rip, claimant, .. } => {
                assert!(self.disputes.remove(&(rip, claimant)), "the end of no dispute");
            }
            NeighborReport::Lost { rip, .. } => {
                assert_ne!(self.resolved.insert(rip, None), Some(None), "reported twice");
            }
        }
    }
}
