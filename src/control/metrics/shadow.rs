//! Metrics of the shadow table.

use super::page;
use super::page::MetricsPage;
use super::readings::ShadowReadings;
use std::fmt;

/// Writes all.
pub(super) fn write(readings: &ShadowReadings, page: &mut MetricsPage<'_>) -> fmt::Result {
    let ShadowReadings { entries, adopted, lost, full, kept, expired, refused, damaged } = *readings;
    let help = "Connections in the shadow table, of all workers.";
    page.gauges(("shadow_entries", None), help, page::alone(entries))?;
    let help = "Connections that a worker took over from the shadow table: of the process before, or of another worker.";
    page.counters(("shadow_adopted", None), help, page::alone(adopted))?;
    let help = "Records of connections that were lost since a worker's journal was full.";
    page.counters(("shadow_lost", None), help, page::alone(lost))?;
    let help = "Records of connections that found no room in the shadow table.";
    page.counters(("shadow_full", None), help, page::alone(full))?;
    let outcomes = [("kept", kept), ("expired", expired), ("refused", refused), ("damaged", damaged)];
    let help = "Connections of the process before, by what became of them at the start.";
    page.counters(
        ("shadow_recovered", None),
        help,
        outcomes.map(|(outcome, of)| ([("outcome", outcome)], of)),
    )
}
