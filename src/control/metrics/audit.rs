//! Findings of the address auditor.

use super::page::{MetricsPage, alone};
use super::readings::Readings;
use crate::audit::Misuse;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

pub(super) fn write(readings: &Readings, page: &mut MetricsPage<'_>) -> fmt::Result {
    let findings = &readings.audit.findings;
    // A series for each VIP is always there.
    let addresses = readings.services.services.iter().filter_map(|service| service.identity.address());
    let mut offenders: BTreeMap<(IpAddr, Option<IpAddr>), u64> =
        addresses.map(|of| ((of.address.ip(), None), 0)).collect();
    for finding in findings.iter().filter(|finding| finding.level == "error") {
        *offenders.entry((finding.address, finding.server)).or_default() += 1;
    }
    let offenders = offenders.into_iter().map(|((address, server), count)| {
        let server = server.map_or("other".to_owned(), |server| server.to_string());
        ([("address", address.to_string()), ("server", server)], count)
    });
    let help =
        "Findings of level error, by the misused address and the real server, or other hosts together.";
    page.gauges(("neighbor_offenders", None), help, offenders)?;
    let kinds = Misuse::ALL.map(|misuse| {
        let of_kind = findings.iter().filter(|finding| finding.misuse == misuse.name());
        ([("misuse", misuse.name())], of_kind.count() as u64)
    });
    page.gauges(("neighbor_findings", None), "Findings of the address auditor, by misuse.", kinds)?;
    let help = "Questions and test frames of the address auditor.";
    page.counters(("neighbor_audit_questions", None), help, alone(readings.audit_questions))
}
