//! Process metrics, by the names of Prometheus's client libraries.

use super::page::{self, MetricsPage};
use crate::sys::ProcessUsage;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;
use std::fmt;

/// The metrics of a process; they have no prefix.
#[derive(Debug)]
pub(super) struct ProcessMetrics(pub(super) ProcessUsage);

impl Collector for ProcessMetrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (mut page, usage) = (MetricsPage::new(encoder), &self.0);
        let help = "CPU time of all threads, user and system, in seconds.";
        page.counters(("process_cpu", Some(Unit::Seconds)), help, page::alone(usage.cpu_seconds))?;
        for (name, help, bytes) in [
            ("process_resident_memory", "Resident memory in bytes.", usage.resident_bytes),
            ("process_virtual_memory", "Virtual memory in bytes.", usage.virtual_bytes),
        ] {
            page.gauges((name, Some(Unit::Bytes)), help, page::alone(bytes))?;
        }
        page.gauges(("process_open_fds", None), "Open file descriptors.", page::alone(usage.open_files))?;
        let most = usage.open_files_max.map(|limit| ([("", ""); 0], limit));
        page.gauges(("process_max_fds", None), "File descriptors that may be open at most.", most)?;
        let started = usage.started.map(|started| ([("", ""); 0], started));
        let help = "When the process started, in seconds since 1970.";
        page.gauges(("process_start_time", Some(Unit::Seconds)), help, started)
    }
}
