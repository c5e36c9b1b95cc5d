//! The configuration file and reloads.

use super::page::{self, MetricsPage};
use super::readings::ConfigReadings;
use prometheus_client::registry::Unit;
use std::fmt;
use std::time::UNIX_EPOCH;

pub(super) fn write(config: &ConfigReadings, page: &mut MetricsPage<'_>) -> fmt::Result {
    let ConfigReadings { unsaved, reload_successful, taken_over } = *config;
    let help = "Differences between the configuration file and the running rules; no sample while the file cannot be used.";
    page.gauges(("config_unsaved_changes", None), help, unsaved.map(|count| ([("", ""); 0], count)))?;
    let help = "1 if the configuration file can be used, 0 if a restart would fail.";
    page.gauges(("config_file_valid", None), help, page::alone(u32::from(unsaved.is_some())))?;
    let help = "1 if the last reload was applied or there was none, else 0.";
    page.gauges(("config_last_reload_successful", None), help, page::alone(u32::from(reload_successful)))?;
    let help =
        "When the configuration was last taken over, at the start or by a reload, in seconds since 1970.";
    let at = taken_over.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    page.gauges(("config_last_reload_success_timestamp", Some(Unit::Seconds)), help, page::alone(at))
}
