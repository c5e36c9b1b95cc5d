//! What ARP reports, for the log.

use super::registry::{Registry, VipState};
use crate::model::OnConflict;
use crate::neighbor::Report;
use std::net::Ipv4Addr;

/// One line for each change, with what it means for the operator.
pub(super) fn log(report: &Report, registry: &Registry, on_conflict: OnConflict) {
    let or_unknown = |server: &Option<Ipv4Addr>| {
        server.map_or("an unknown host".into(), |rip| format!("real server {rip}"))
    };
    match report {
        Report::Claimed { vip } => tracing::info!(%vip, "VIP claimed"),
        Report::Conflict { vip, mac, server } => {
            let ours = registry.vip((*vip).into()) == Some(VipState::Claimed);
            let outcome = match on_conflict {
                _ if ours => "this director defends it",
                OnConflict::Refuse => {
                    "it is not served; stop that host from answering ARP for it \
                                       (on a real server: directrix realserver setup), or set on_conflict = \"claim\""
                }
                OnConflict::Claim => "it is claimed all the same, as configured",
            };
            tracing::error!(%vip, %mac, host = or_unknown(server), "another host answers for the VIP: {outcome}");
        }
        Report::ConflictOver { vip, mac, .. } => {
            tracing::info!(%vip, %mac, "the other host no longer answers for the VIP")
        }
        Report::Resolved { rip, mac, .. } => tracing::info!(%rip, %mac, "real server reachable"),
        Report::Moved { rip, old, new, .. } => {
            tracing::warn!(%rip, %old, %new, "real server changed its MAC address");
        }
        Report::Disputed { rip, mac, claimant, .. } => {
            tracing::warn!(%rip, %mac, %claimant, "another host claims the address of a real server: \
                its traffic stays with the MAC address that was known and still answers");
        }
        Report::DisputeOver { rip, claimant, .. } => {
            tracing::info!(%rip, %claimant, "the other host no longer claims the address of the real server");
        }
        Report::Lost { rip, .. } => {
            tracing::warn!(%rip, "real server does not answer ARP: it gets no new connections until it does");
        }
    }
}
