//! Log events of neighbor reports.

use crate::audit::{AuditLevel, AuditReport};
use crate::control::state::registry::{Registry, VipState};
use crate::model::{DirectorConfig, OnConflict, OnServerClaim};
use crate::neighbor::NeighborReport;
use crate::wire::MacAddr;
use std::net::IpAddr;

/// Logs a report with its consequence for the operator.
pub(in crate::control) fn log_report(
    report: &NeighborReport,
    registry: &Registry,
    settings: &DirectorConfig,
) {
    match report {
        NeighborReport::Claimed { vip } => tracing::info!(%vip, "VIP claimed"),
        NeighborReport::Released { .. } => {} // the change of the role has its event
        NeighborReport::Conflict { vip, mac, server: None } if !settings.ha.is_standalone() => {
            tracing::warn!(%vip, %mac, "another host claims the VIP, and this director is master: that host is asked");
        }
        NeighborReport::Conflict { vip, mac, server } => {
            conflict(&VipClaimant { vip: *vip, mac: *mac, server: *server }, registry, settings.on_conflict);
        }
        NeighborReport::Standby { vip, mac } => tracing::warn!(
            %vip, %mac,
            "standby: another host has the VIP; it is claimed when that host does not answer any more"
        ),
        NeighborReport::Held { vip, mac, server } => {
            held(&VipClaimant { vip: *vip, mac: *mac, server: *server }, settings.on_server_claim);
        }
        NeighborReport::ConflictOver { vip, mac, .. } => {
            tracing::info!(%vip, %mac, "the other host no longer answers for the VIP")
        }
        NeighborReport::Resolved { rip, mac, .. } => tracing::info!(%rip, %mac, "real server reachable"),
        NeighborReport::Moved { rip, old, new, .. } => {
            tracing::warn!(%rip, %old, %new, "real server changed its MAC address");
        }
        NeighborReport::Disputed { rip, mac, claimant, .. } => {
            tracing::warn!(%rip, %mac, %claimant, "another host claims the address of a real server: \
                its traffic stays with the MAC address that was known and still answers");
        }
        NeighborReport::DisputeOver { rip, claimant, .. } => {
            tracing::info!(%rip, %claimant, "the other host no longer claims the address of the real server");
        }
        NeighborReport::Lost { rip, .. } if rip.is_ipv6() => {
            tracing::warn!(
                %rip,
                "real server does not answer neighbor solicitations: it gets no new connections until it does"
            );
        }
        NeighborReport::Lost { rip, .. } => {
            tracing::warn!(%rip, "real server does not answer ARP: it gets no new connections until it does");
        }
    }
}

/// A station that claims a VIP.
struct VipClaimant {
    vip: IpAddr,
    mac: MacAddr,
    /// RIP, if it is a real server.
    server: Option<IpAddr>,
}

fn conflict(claimant: &VipClaimant, registry: &Registry, on_conflict: OnConflict) {
    let VipClaimant { vip, mac, server } = claimant;
    let rip = server.map(tracing::field::display);
    let claimed = registry.vip(*vip) == Some(VipState::Claimed);
    match (claimed, on_conflict, server) {
        (true, _, _) => {
            tracing::error!(%vip, %mac, rip, "another host answers for the VIP: this director defends it");
        }
        (false, OnConflict::Claim, _) => tracing::warn!(
            %vip, %mac, rip,
            "another host answers for the VIP: it is claimed all the same, as configured (on_conflict = \"claim\"); \
             connections that the other host directs will break"
        ),
        (false, OnConflict::Standby, Some(_)) => tracing::error!(
            %vip, %mac, rip,
            "another host answers for the VIP, a real server: the VIP is not served until it is quiet; \
             run there: directrix realserver setup"
        ),
        // The report of the standby has its own message.
        (false, OnConflict::Standby, None) => {}
    }
}

fn held(claimant: &VipClaimant, on_server_claim: OnServerClaim) {
    let VipClaimant { vip, mac, server: Some(rip) } = claimant else { return };
    match on_server_claim {
        OnServerClaim::Exclude => tracing::error!(
            %vip, %rip, %mac,
            "real server answers for the VIP: it gets no new connections of the VIP's services until it is \
             quiet; run there: directrix realserver setup"
        ),
        OnServerClaim::Ignore => tracing::error!(
            %vip, %rip, %mac,
            "real server answers for the VIP: run there: directrix realserver setup"
        ),
    }
}

/// Logs a report of the auditor.
pub(in crate::control) fn log_audit(report: &AuditReport) {
    let (AuditReport::Opened(finding) | AuditReport::Closed(finding)) = report;
    let (misuse, address, mac, count) = (finding.misuse.name(), finding.address, finding.mac, finding.count);
    let rip = finding.rip().map(tracing::field::display);
    if matches!(report, AuditReport::Closed(_)) {
        let since_s = finding.since_ms / 1000;
        tracing::info!(misuse, %address, %mac, rip, count, since_s, "audit finding is over");
        return;
    }
    let (what, remedy) = (finding.to_string(), finding.remedy());
    let (remedy, advice) = (remedy.command, remedy.advice);
    match finding.level {
        AuditLevel::Error => {
            tracing::error!(misuse, %address, %mac, rip, what, remedy, advice, "a host misuses an address");
        }
        AuditLevel::Warning => {
            tracing::warn!(misuse, %address, %mac, rip, what, remedy, advice, "a host may misuse an address");
        }
        AuditLevel::Info => {
            tracing::info!(misuse, %address, %mac, rip, what, remedy, advice, "a host has an address by design");
        }
    }
}
