//! Health checks.

use super::page::{Buckets, Label, MetricsPage, alone};
use super::services::labels;
use crate::control::api::checks::{Check, Checks};
use crate::health::{ProbeTimes, TimeCounts};
use crate::model::HealthMode;
use prometheus_client::registry::Unit;
use std::fmt;

/// A check with its labels.
struct CheckRow<'a> {
    check: &'a Check,
    labels: [Label; 5],
}

pub(super) fn write(checks: &Checks, times: &ProbeTimes, page: &mut MetricsPage<'_>) -> fmt::Result {
    let rows = rows(checks);
    let up = rows.iter().map(|row| (row.labels.clone(), u64::from(row.check.state != "down")));
    page.gauges(("check_up", None), "0 while the health check is down, else 1.", up)?;
    let age = rows.iter().filter_map(|row| {
        let seconds = f64::from(row.check.last_ms?) / 1000.0;
        Some((row.labels.clone(), seconds))
    });
    page.gauges(("check_age", Some(Unit::Seconds)), "Time since the last result of the health check.", age)?;
    let end = |row: &CheckRow<'_>| Some((row.labels.clone(), row.check.certificate.as_ref()?.expires));
    let ends: Vec<_> = rows.iter().filter_map(end).collect();
    if !ends.is_empty() {
        let help = "End of the certificate that the health check has seen, in Unix time.";
        page.gauges(("check_certificate_expiry_timestamp", Some(Unit::Seconds)), help, ends)?;
    }
    let ignored = checks.services.iter().map(|of| (labels(of.identity), u64::from(of.panic)));
    let help = "1 while so much weight of the service is down that health is ignored.";
    page.gauges(("service_health_ignored", None), help, ignored)?;
    page.gauges(("checks", None), "Health checks.", alone(checks.checks as u64))?;
    page.gauges(("checks_in_flight", None), "Probes on their way.", alone(checks.in_flight as u64))?;
    let help = "1 while nearly all health checks fail at once, so that no server goes down.";
    page.gauges(("checks_frozen", None), help, alone(u64::from(checks.frozen)))?;
    write_times(times, page)?;
    let servers = checks.services.iter().flat_map(|of| &of.servers);
    let held = servers.filter(|server| server.mode != HealthMode::Auto).count();
    let help = "Real servers of services whose health is paused or forced by the operator.";
    page.gauges(("health_holds", None), help, alone(held as u64))
}

fn write_times(times: &ProbeTimes, page: &mut MetricsPage<'_>) -> fmt::Result {
    let ProbeTimes { durations, delays, unknown } = times;
    let help = "Durations of probes of health checks.";
    page.histograms(("check_probe_duration", Some(Unit::Seconds)), help, alone(buckets(durations)))?;
    let help = "Delays of the starts of probes: the director's host is busy.";
    page.histograms(("check_probe_delay", Some(Unit::Seconds)), help, alone(buckets(delays)))?;
    let help = "Probes that have proved nothing, for reasons of the director's host.";
    page.counters(("check_probes_unknown", None), help, alone(*unknown))
}

fn buckets(times: &TimeCounts) -> Buckets {
    let counts: Vec<_> = times.sizes().collect();
    Buckets { sum: times.sum().as_secs_f64(), count: counts.iter().map(|(_, count)| count).sum(), counts }
}

fn rows(checks: &Checks) -> Vec<CheckRow<'_>> {
    let mut rows = Vec::new();
    for service in &checks.services {
        let [first, second, third] = labels(service.identity);
        for server in &service.servers {
            rows.extend(server.checks.iter().map(|check| {
                let server = ("server", server.address.to_string());
                let name = ("check", check.check.clone());
                CheckRow { check, labels: [first.clone(), second.clone(), third.clone(), server, name] }
            }));
        }
    }
    rows
}
