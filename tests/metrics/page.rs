//! The page as a function of readings.

use crate::exposition::Exposition;
use crate::fake_director::{Answers, fixtures};
use crate::support::netns::host;
use directrix::control::api;
use directrix::control::api::audit::{Audit, Finding};
use directrix::control::api::checks::{self, Certificate, Check, Checks};
use directrix::control::metrics::readings::Readings;
use directrix::control::metrics::{ExpositionFormat, page};
use directrix::model::HealthMode;
use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

/// The reference deployment after some connections, with two workers of which one does not answer.
pub(crate) fn readings() -> Readings {
    let totals = [[5091, 25_455, 1_669_848], [1697, 8485, 556_616], [3394, 16_970, 1_113_232]];
    let mut services = fixtures::reference(totals, [[0; 3]; 3], [1697, 3394]);
    services.services[0].servers[1].state = "unreachable".into();
    services.services[0].servers[1].suspected = true;
    services.services[0].servers[1].effective_weight = Some(0);
    services.services[0].servers[1].sorry_server = true;
    services.services[0].servers[1].handshakes = api::Handshakes { opened: 43, failed: 41, repeated: 39 };
    services.services[0].available = 1;
    let interface = |name: &str, up| api::Interface { name: name.into(), up };
    services.interfaces = vec![interface("eth0", true), interface("eth1", false)];
    let port = api::Port {
        interface: "eth0".into(),
        queue: 0,
        mode: "native, copy".into(),
        receive: 5,
        transmit: 6,
        fill: 2043,
    };
    let worker = |number| api::Worker {
        worker: number,
        core: (number == 0).then_some(3),
        backend: "xdp".into(),
        ports: vec![api::Port { queue: number as u32, ..port.clone() }],
        received: 25_455,
        forwarded: 25_450,
        dropped: 5,
        lost: 2,
        batches: 25_000,
        sleeps: 24_000,
        entries: 5091,
        expired: 17,
        evicted: 1,
        handed_over: 3,
        latency: api::Latency::default(),
    };
    let drop =
        |reason: &str, frames| api::Drops { reason: reason.into(), frames, explanation: String::new() };
    let drops = vec![drop("ring_full", 2), drop("no_connection", 5)];
    let checks = checks(&services);
    let answers = Answers {
        services,
        checks,
        audit: audit(),
        drops,
        workers: vec![worker(0), worker(1)],
        ..Answers::default()
    };
    let mut readings = answers.readings();
    for (ns, frames) in [(800, 3), (1500, 20_000), (40_000, 500)] {
        readings.workers[0].latency.as_mut().unwrap().record_n(ns, frames).unwrap();
    }
    readings.workers[1].latency = None;
    readings
}

/// A real server that answers for the VIP, and a probe of another host.
fn audit() -> Audit {
    let finding = |misuse: &str, level: &str, server: Option<[u8; 4]>| Finding {
        misuse: misuse.into(),
        level: level.into(),
        address: [192, 168, 195, 150].into(),
        mac: "02:00:00:00:00:07".into(),
        server: server.map(Into::into),
        other_interface: false,
        seen: "asked".into(),
        since_ms: 5000,
        last_ms: 1000,
        count: 3,
        text: String::new(),
        command: None,
        advice: None,
    };
    let server = Some([192, 168, 195, 171]);
    let findings = vec![finding("answers", "error", server), finding("probes", "warning", None)];
    Audit { interval: 300, findings }
}

/// A check of both servers of the first service, of which one is down and the other has no result yet.
fn checks(services: &api::Services) -> Checks {
    let service = &services.services[0];
    let server = |(number, server): (usize, &api::Server)| {
        let check = Check {
            check: "http /alive port 80".into(),
            decides: true,
            state: ["unknown", "down"][number].into(),
            since_ms: 7000,
            last_ms: (number == 1).then_some(1500),
            took_us: None,
            next_ms: None,
            paused: number == 0,
            weight: None,
            error: None,
            cause: None,
            reason: None,
            downs: 0,
            certificate: (number == 1).then_some(Certificate { expires: 1_796_012_130, days: 12 }),
        };
        checks::Server {
            address: server.address.ip(),
            down: number == 1,
            out: number == 1,
            dynamic_weight: None,
            mode: [HealthMode::Paused, HealthMode::Auto][number],
            checks: vec![check],
            passive: None,
        }
    };
    let servers = service.servers.iter().enumerate().map(server).collect();
    let services = vec![checks::Service {
        identity: service.identity,
        panic: false,
        flood: false,
        flood_reason: None,
        quorum: None,
        sorry_server: None,
        servers,
    }];
    Checks { frozen: false, checks: 2, in_flight: 1, services }
}

fn expected(text: &str) -> String {
    text.replace("VERSION", env!("CARGO_PKG_VERSION"))
}

#[test]
fn the_page_is_this_for_openmetrics() {
    assert_eq!(page(readings(), ExpositionFormat::OpenMetrics), expected(include_str!("page.openmetrics")));
}

#[test]
fn the_page_is_this_for_the_older_format() {
    assert_eq!(page(readings(), ExpositionFormat::Prometheus), expected(include_str!("page.prometheus")));
}

#[test]
fn both_formats_have_the_same_samples() {
    let [new, old] =
        [ExpositionFormat::OpenMetrics, ExpositionFormat::Prometheus].map(|format| page(readings(), format));
    let rows = |page: &str| {
        let samples = Exposition::read(page).samples.into_iter().map(|sample| {
            let bound = sample.labels.get("le").map(|bound| bound.parse::<f64>().unwrap().to_bits());
            let labels = sample.labels.into_iter().filter(|(key, _)| key != "le").collect::<Vec<_>>();
            (sample.name, labels, bound, sample.value.to_bits())
        });
        samples.collect::<BTreeSet<_>>()
    };
    assert_eq!(rows(&new), rows(&old));
}

#[test]
fn no_series_occurs_twice_and_every_family_has_help() {
    let mut readings = readings();
    readings.services = fixtures::made_up();
    let page = Exposition::read(&page(readings, ExpositionFormat::Prometheus));
    let series: BTreeSet<_> = page.samples.iter().map(|sample| (&sample.name, &sample.labels)).collect();
    assert_eq!(series.len(), page.samples.len());
    for family in page.types.keys() {
        assert!(page.help[family].ends_with(['.', ';']) || page.help[family].contains(' '), "{family}");
        assert!(family.starts_with("directrix_") || family.starts_with("process_"), "{family}");
    }
    assert_eq!(page.types.len(), page.help.len());
}

#[test]
fn sums_agree_with_the_readings() {
    let page = Exposition::read(&page(readings(), ExpositionFormat::Prometheus));
    let vip = [("protocol", "tcp"), ("vip", "192.168.195.150"), ("port", "80")];
    assert_eq!(page.sum("directrix_service_packets_total", &vip), 25_455.0);
    assert_eq!(page.sum("directrix_server_packets_total", &vip), 25_455.0);
    assert_eq!(page.sum("directrix_server_weight", &[("server", "192.168.195.171")]), 2.0);
    assert_eq!(page.sum("directrix_server_state", &[("state", "unreachable")]), 1.0);
    assert_eq!(page.sum("directrix_server_state", &[("state", "reachable")]), 1.0);
    assert_eq!(page.sum("directrix_worker_dropped_frames_total", &[("worker", "1")]), 7.0);
    assert_eq!(page.sum("directrix_worker_latency_seconds_count", &[]), 20_503.0);
    assert_eq!(page.sum("directrix_worker_latency_seconds_bucket", &[("le", "+Inf")]), 20_503.0);
}

#[test]
fn a_director_without_services_or_workers_has_a_page_too() {
    let page = page(Answers::default().readings(), ExpositionFormat::OpenMetrics);
    assert!(page.ends_with("# EOF\n"));
    assert_eq!(Exposition::read(&page).sum("directrix_table_capacity", &[]), 4096.0);
}

#[test]
fn promtool_finds_nothing_to_complain_about() {
    check_metrics(&page(readings(), ExpositionFormat::Prometheus));
}

/// Panics unless promtool accepts the page, of the older format, without a word. What Prometheus
/// scrapes is the other.
pub(crate) fn check_metrics(page: &str) {
    host("command -v promtool"); // of Debian's prometheus: tools/setup --tests installs it
    let mut command = Command::new("promtool");
    let piped = command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut promtool = piped.stderr(Stdio::piped()).spawn().unwrap();
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let output_text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && output_text.is_empty(), "{output_text}");
}
