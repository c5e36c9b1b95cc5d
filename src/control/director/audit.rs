//! The director's side of the auditor: its settings, its reports, and its findings for clients.

use super::Director;
use crate::audit::{AuditFinding, AuditReport, AuditSettings};
use crate::control::api;
use crate::control::neighbor::vlans::NeighborCommand;
use crate::control::neighbor::{findings, log};
use crate::model::DirectorConfig;
use crate::wire::MacAddr;
use std::net::IpAddr;
use std::time::Instant;
use tokio::sync::oneshot;

impl Director {
    /// Logs a report.
    pub(super) fn handle_audit_report(&mut self, report: &AuditReport) {
        let (AuditReport::Opened(finding) | AuditReport::Closed(finding)) = report;
        self.limiter.log(finding.address, Instant::now(), || log::log_audit(report));
    }

    /// Sends the neighbor driver the address from which the auditor asks: the client interface's own, never a VIP.
    pub(super) fn send_audit_sender(&self) {
        let own = self.host.interfaces[0].addresses.iter().map(|(own, _)| *own);
        let sender = own.into_iter().find(|own| !self.host.vips.contains(&IpAddr::V4(*own)));
        self.send_neighbor_event(NeighborCommand::Sender(sender));
    }

    /// Sends the neighbor driver the gateway whose entry for each VIP is tested. No notification tells of a new route.
    pub(super) fn send_gateway(&self) {
        self.send_neighbor_event(NeighborCommand::Gateway(self.host.interfaces[0].gateway()));
    }

    /// Requests the findings. Nothing comes without a driver.
    pub(super) fn audit_findings(&self) -> oneshot::Receiver<Vec<AuditFinding>> {
        let (reply, findings) = oneshot::channel();
        self.send_neighbor_event(NeighborCommand::Findings(reply));
        findings
    }

    /// Sends the findings to `reply`.
    pub(super) fn report_audit(&self, reply: oneshot::Sender<api::audit::Audit>) {
        let (received, interval) = (self.audit_findings(), self.settings.audit_interval.secs());
        tokio::spawn(async move {
            let found = received.await.unwrap_or_default(); // the driver may just have ended
            let _ = reply.send(findings::of(&found, interval)); // the client may have disconnected
        });
    }
}

/// Settings of the auditor by the configuration.
pub(super) fn audit_settings(
    settings: &DirectorConfig,
    own_macs: &[MacAddr],
) -> std::io::Result<AuditSettings> {
    Ok(AuditSettings {
        own_macs: own_macs.to_vec(),
        peers: settings.peers.clone(),
        interval: settings.audit_interval,
        seed: getrandom::u64().map_err(std::io::Error::other)?,
    })
}
