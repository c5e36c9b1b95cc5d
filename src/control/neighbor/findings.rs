//! The listing of the auditor's findings, for the control socket and the metrics.

use crate::audit::{AuditFinding, AuditedHost};
use crate::control::api::audit;

/// Returns the listing of `findings`, asked for once in `interval` seconds.
pub(in crate::control) fn of(findings: &[AuditFinding], interval: u32) -> audit::Audit {
    audit::Audit { interval, findings: findings.iter().map(finding).collect() }
}

fn finding(of: &AuditFinding) -> audit::Finding {
    let remedy = of.remedy();
    audit::Finding {
        misuse: of.misuse.name().into(),
        level: of.level.name().into(),
        address: of.address,
        mac: of.mac.to_string(),
        server: of.rip(),
        other_interface: matches!(of.host, AuditedHost::RealServer { by_other_interface: true, .. }),
        seen: if of.asked { "asked" } else { "heard" }.into(),
        since_ms: of.since_ms,
        last_ms: of.last_ms,
        count: of.count,
        text: of.to_string(),
        command: remedy.command,
        advice: remedy.advice,
    }
}
