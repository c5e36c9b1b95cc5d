//! Metrics for Prometheus: a pure function from [`Readings`] to the text of a page.
//!
//! Names and units follow Prometheus's conventions: base units (seconds, bytes), `_total` for counters, `_info` for
//! text. Label values come from the configuration, the interfaces or the program, never from the network, so that
//! clients cannot create series. docs/metrics.md describes each metric.

mod audit;
mod checks;
mod config;
mod format;
mod latency;
mod meter;
mod page;
mod process;
pub mod readings;
mod role;
mod services;
mod shadow;
mod sync;
mod workers;

pub use format::ExpositionFormat;
pub use meter::Meter;
pub(super) use meter::{ConfigReader, MeterSources};

use crate::control::api;
use page::MetricsPage;
use process::ProcessMetrics;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text, text};
use prometheus_client::registry::{Registry, Unit};
use readings::{AnswerReadings, NeighborReadings, PingReadings, Readings};
use std::fmt;
use std::time::UNIX_EPOCH;

/// Renders the page in `format`.
///
/// # Panics
/// Never: writing to a `String` does not fail.
#[must_use]
pub fn page(readings: Readings, format: ExpositionFormat) -> String {
    let (mut own, mut process) = (Registry::with_prefix("directrix"), Registry::default());
    if let Some(usage) = readings.process {
        process.register_collector(Box::new(ProcessMetrics(usage)));
    }
    own.register_collector(Box::new(readings));
    encode(&[own, process], format).expect("writing to a String does not fail")
}

fn encode(registries: &[Registry], format: ExpositionFormat) -> Result<String, fmt::Error> {
    let mut page = String::new();
    for registry in registries {
        match format {
            ExpositionFormat::OpenMetrics => text::encode_registry(&mut page, registry)?,
            ExpositionFormat::Prometheus => prometheus_text::encode(&mut page, registry)?,
        }
    }
    if format == ExpositionFormat::OpenMetrics {
        text::encode_eof(&mut page)?;
    }
    Ok(page)
}

impl Collector for Readings {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = MetricsPage::new(encoder);
        about(self, &mut page)?;
        config::write(&self.config, &mut page)?;
        interfaces(&self.services.interfaces, &mut page)?;
        services::write(&self.services, &mut page)?;
        checks::write(&self.checks, &self.probe_times, &mut page)?;
        audit::write(self, &mut page)?;
        workers::write(&self.workers, &mut page)?;
        table(self, &mut page)?;
        shadow::write(&self.shadow, &mut page)?;
        neighbors(&self.neighbors, &mut page)?;
        role::write((&self.role, self.ready), &mut page)?;
        sync::write(&self.sync, &mut page)?;
        clients(self, &mut page)
    }
}

fn about(readings: &Readings, page: &mut MetricsPage<'_>) -> fmt::Result {
    let version = [[("version", env!("CARGO_PKG_VERSION"))]];
    page.info("build", "The running program.", version)?;
    let started = readings.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let help = "When the director started, in seconds since 1970.";
    page.gauges(("start_time", Some(Unit::Seconds)), help, page::alone(started))
}

fn interfaces(interfaces: &[api::Interface], page: &mut MetricsPage<'_>) -> fmt::Result {
    let up =
        interfaces.iter().map(|interface| ([("interface", interface.name.clone())], u64::from(interface.up)));
    page.gauges(("interface_up", None), "1 while the interface has a carrier, else 0.", up)
}

fn table(readings: &Readings, page: &mut MetricsPage<'_>) -> fmt::Result {
    let help = "Connections that the connection tables of all workers hold together.";
    page.gauges(("table_capacity", None), help, page::alone(readings.services.capacity))?;
    workers::write_table(&readings.workers, page)?;
    let help =
        "Connections of persistent services that got no template since the table of templates was full.";
    page.counters(("table_unbound", None), help, page::alone(readings.unbound))?;
    let help =
        "Connections whose first frame had an unfinished TCP, UDP or SCTP checksum: real servers drop it.";
    page.counters(("checksum_unfinished", None), help, page::alone(readings.unfinished))
}

fn neighbors(neighbors: &NeighborReadings, page: &mut MetricsPage<'_>) -> fmt::Result {
    for (name, help, total) in [
        ("neighbor_answered", "Solicitations of a VIP that the director answered.", neighbors.answered),
        ("neighbor_announced", "Announcements of a VIP.", neighbors.announced),
        ("neighbor_probed", "Probes for a VIP before it is claimed.", neighbors.probed),
        ("neighbor_requested", "Solicitations of a real server.", neighbors.requested),
        (
            "neighbor_conflicts",
            "ARP packets and neighbor discovery messages of other hosts that act as if they had a VIP.",
            neighbors.conflicts,
        ),
        (
            "neighbor_disputed",
            "Messages that claim a reachable real server's address for another MAC address.",
            neighbors.disputed,
        ),
    ] {
        page.counters((name, None), help, page::alone(total))?;
    }
    Ok(())
}

fn clients(readings: &Readings, page: &mut MetricsPage<'_>) -> fmt::Result {
    let PingReadings { answered, limited } = readings.pings;
    page.counters(
        ("ping_answered", None),
        "Pings of a VIP that the director answered.",
        page::alone(answered),
    )?;
    let help = "Pings of a VIP without a reply because of the rate limit.";
    page.counters(("ping_limited", None), help, page::alone(limited))?;
    let of = |total: fn(&AnswerReadings) -> u64| {
        readings.answers.iter().map(move |answer| ([("kind", answer.kind)], total(answer)))
    };
    let help = "ICMP errors and TCP resets sent to clients, by kind.";
    page.counters(("answers_sent", None), help, of(|answer| answer.sent))?;
    let help = "ICMP errors and TCP resets not sent because of the rate limit, by kind.";
    page.counters(("answers_limited", None), help, of(|answer| answer.limited))
}
