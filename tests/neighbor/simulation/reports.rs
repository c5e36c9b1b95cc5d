//! Checks the director's reports: in order, and each change once.

use directrix::neighbor::ArpReport;
use directrix::wire::MacAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// State according to the director's reports.
#[derive(Debug, Default)]
pub(super) struct Reported {
    pub(super) claimed: BTreeSet<Ipv4Addr>,
    pub(super) rivals: BTreeSet<(Ipv4Addr, MacAddr)>,
    pub(super) resolved: BTreeMap<Ipv4Addr, Option<MacAddr>>,
    pub(super) disputes: BTreeSet<(Ipv4Addr, MacAddr)>,
    /// Former addresses of a server, with their successors.
    pub(super) moves: Vec<(Ipv4Addr, MacAddr, MacAddr)>,
}

impl Reported {
    pub(super) fn take(&mut self, report: ArpReport) {
        match report {
            ArpReport::Claimed { vip } => assert!(self.claimed.insert(vip), "claimed twice"),
            ArpReport::Conflict { vip, mac, server } => {
                let known = !self.rivals.insert((vip, mac));
                assert!(!known || server.is_some(), "reported twice");
            }
            ArpReport::ConflictOver { vip, mac, .. } => {
                assert!(self.rivals.remove(&(vip, mac)), "the end of no conflict");
            }
            ArpReport::Resolved { rip, mac, .. } => {
                assert_ne!(self.resolved.insert(rip, Some(mac)), Some(Some(mac)), "reported twice");
            }
            ArpReport::Standby { vip, .. } => drop(self.claimed.remove(&vip)),
            ArpReport::Held { .. } => {}
            ArpReport::Moved { rip, old, new, .. } => {
                assert_ne!(old, new);
                self.resolved.insert(rip, Some(new));
                self.disputes.remove(&(rip, new));
                self.moves.push((rip, old, new));
            }
            ArpReport::Disputed { rip, mac, claimant, .. } => {
                assert_eq!(self.resolved[&rip], Some(mac), "the known address");
                assert!(self.disputes.insert((rip, claimant)), "reported twice");
            }
            ArpReport::DisputeOver { rip, claimant, .. } => {
                assert!(self.disputes.remove(&(rip, claimant)), "the end of no dispute");
            }
            ArpReport::Lost { rip, .. } => {
                assert_ne!(self.resolved.insert(rip, None), Some(None), "reported twice");
            }
        }
    }
}
