//! The role of the director among several, and its readiness.

use super::page::{MetricsPage, alone};
use crate::control::api::role::RoleStatus;
use crate::model::Role;
use std::fmt;

pub(super) fn write((status, ready): (&RoleStatus, bool), page: &mut MetricsPage<'_>) -> fmt::Result {
    let help = "1 while the director can take traffic.";
    page.gauges(("ready", None), help, alone(u64::from(ready)))?;
    let roles = Role::ALL.map(|role| ([("role", role.name())], u64::from(role == status.role)));
    page.gauges(("role", None), "1 for the role of the director, 0 for the others.", roles)?;
    let help = "Changes of the role.";
    page.counters(("role_transitions", None), help, alone(status.transitions))?;
    let help = "Hosts that answer for a VIP although this director is master.";
    page.gauges(("split_brain", None), help, alone(status.split_brain.len() as u64))?;
    let lines = [("heard", status.heard), ("ignored", status.ignored), ("unknown", status.unknown)];
    let lines = lines.map(|(kind, count)| ([("kind", kind)], count));
    page.counters(("role_lines", None), "Lines of keepalived, and words of a role file.", lines)?;
    let help = "Ends of keepalived without a word.";
    page.counters(("role_source_deaths", None), help, alone(status.deaths))
}
