//! The dashboard and the alerts, held against a director and by a Prometheus that scrapes it.

use crate::documentation::alerts;
use crate::exposition::Exposition;
use crate::page::check_metrics;
use crate::prometheus::Prometheus;
use crate::promql::{legend_labels, names};
use crate::site::{config, site};
use crate::support::netns::wait_until;
use crate::support::site::end;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

const DASHBOARD: &str = include_str!("../../docs/grafana/directrix.json");
/// Labels that Prometheus adds to every series.
const TARGET_LABELS: [&str; 2] = ["instance", "job"];
const METRICS: &str = "metrics = \"127.0.0.1:9310\"";

/// Metric that needs a server with TLS.
const CERTIFICATES: &str = "directrix_check_certificate_expiry_timestamp_seconds";

/// A query of a panel.
struct Target {
    panel: String,
    expression: String,
    legend: String,
}

fn dashboard() -> Value {
    serde_json::from_str(DASHBOARD).expect("the dashboard is JSON")
}

fn targets() -> Vec<Target> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let dashboard = dashboard();
    let of = |panel: &Value| {
        let title = text(&panel["title"]);
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        targets.into_iter().map(move |target| Target {
            panel: title.clone(),
            expression: text(&target["expr"]),
            legend: text(&target["legendFormat"]),
        })
    };
    dashboard["panels"].as_array().unwrap().iter().flat_map(of).collect()
}

/// `label_values(metric{…}, label)` of each variable, as the metric's expression and the label.
fn variables() -> Vec<(String, String)> {
    let dashboard = dashboard();
    let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
    let queries = variables.filter(|variable| variable["type"] == "query").map(|variable| {
        let query = variable["query"]["query"].as_str().unwrap();
        let inside = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')).unwrap();
        let (metric, label) = inside.rsplit_once(", ").unwrap();
        (metric.to_owned(), label.to_owned())
    });
    queries.collect()
}

/// Panics unless every metric of `expression` is there, and has every label that it names, and
/// those of `more`.
#[track_caller]
fn assert_known(page: &Exposition, place: &str, expression: &str, more: &[&str]) {
    let (names, there) = (names(expression), page.labels());
    assert!(!names.metrics.is_empty(), "{place}: no metric in {expression}");
    for metric in &names.metrics {
        let labels = there.get(metric.as_str()).unwrap_or_else(|| panic!("{place}: there is no {metric}"));
        let wanted = names.labels.iter().map(String::as_str).chain(more.iter().copied());
        for label in wanted.filter(|label| !TARGET_LABELS.contains(label)) {
            assert!(labels.contains(label), "{place}: {metric} has no label {label}: {expression}");
        }
    }
}

/// A health check that no server passes, so that all stay in use.
const CHECK: &str =
    "[[service.check]]\ntype = \"tcp\"\ntarget = \"rip\"\nport = 80\ninterval = 0.1\ndown_interval = 0.1\n";

#[test]
fn dashboard_and_alerts_query_existing_metrics() {
    let site = site();
    let group = "[[service]]\nmark = 7\nmatch = [\"tcp:10.0.0.100:8000-8010\"]\n\
                 [[service.server]]\naddress = \"10.0.0.3\"\n";
    let _director = site.start_and_wait(&(config(METRICS) + CHECK + group + CHECK), "");
    site.send(3);
    let mut page = site.metrics();
    page.samples.extend(Exposition::read(&certificates()).samples);
    page.samples.extend(Exposition::read(&written("directrix_sync_")).samples);
    check_metrics(&site.page());
    check_metrics(&site.page_of_socket());
    let targets = targets();
    assert!(targets.len() > 30, "only {} queries were found", targets.len());
    for target in &targets {
        assert_known(&page, &target.panel, &target.expression, &legend_labels(&target.legend));
    }
    for (metric, label) in variables() {
        assert_known(&page, "variables", &metric, &[&label]);
    }
    alerts().iter().for_each(|alert| assert_known(&page, "docs/metrics.md", alert, &[]));
    everything_is_on_the_dashboard(&page, &targets);
}

/// The series of certificates in the written page: the site has no server with TLS.
fn certificates() -> String {
    written(CERTIFICATES)
}

/// The series of the written page that begin with `name`, for what the site does not have.
fn written(name: &str) -> String {
    let lines = include_str!("page.prometheus").lines().filter(|line| line.starts_with(name));
    let page: String = lines.map(|line| format!("{line}\n")).collect();
    assert!(!page.is_empty());
    page
}

fn everything_is_on_the_dashboard(page: &Exposition, targets: &[Target]) {
    let queried: Vec<_> = targets.iter().flat_map(|target| names(&target.expression).metrics).collect();
    for family in page.types.keys() {
        assert!(queried.iter().any(|metric| metric.starts_with(family.as_str())), "{family} is in no panel");
    }
}

/// A check that accepts everything would be none.
#[test]
fn a_renamed_metric_or_label_is_noticed() {
    let page = Exposition::read("# TYPE a gauge\na{b=\"c\"} 1\n");
    assert_known(&page, "", "sum by (b) (a{instance=\"x\"})", &["b"]);
    let wrong = [("sum(d)", ""), ("a{d=\"c\"}", ""), ("sum by (d) (a)", ""), ("a", "d")];
    for (expression, legend) in wrong {
        let checked = std::panic::catch_unwind(|| assert_known(&page, "", expression, &[legend]));
        assert!(checked.is_err(), "{expression} {legend}");
    }
}

#[test]
fn prometheus_gets_an_answer_to_every_query() {
    let site = site();
    let _director = site.start_and_wait(&(config(METRICS) + CHECK), "");
    site.send(20);
    let prometheus = Prometheus::start(&site);
    prometheus.wait(1.0);
    site.send(20); // so that there are rates
    prometheus.wait(5.0);
    let fill = |expression: &str| {
        let filled = expression.replace("$instance", "127.0.0.1:9310").replace("$vip", ".*");
        filled.replace("$__rate_interval", "30s")
    };
    for Target { panel, expression, .. } in targets() {
        let result = prometheus.query(&fill(&expression));
        // Neither a server with TLS nor another director is there.
        let absent = [CERTIFICATES, "directrix_sync_peer_", "directrix_sync_refused"];
        let is_there = !absent.iter().any(|name| expression.contains(name));
        assert_eq!(!result.is_empty(), is_there, "{panel}: {expression}");
    }
    for (metric, label) in variables() {
        let result = prometheus.query(&fill(&metric));
        assert!(result.iter().all(|series| series["metric"][&label].is_string()), "{metric} {label}");
    }
    shares_follow_weights(&prometheus);
}

/// The panel of shares for a service of two servers with weights 1 and 2.
fn shares_follow_weights(prometheus: &Prometheus<'_>) {
    let share = targets().into_iter().find(|target| target.panel.starts_with("Share of new")).unwrap();
    let expression = share.expression.replace("$instance", "127.0.0.1:9310").replace("$vip", ".*");
    let result = prometheus.query(&expression);
    let of = |series: &Value| {
        let server =
            format!("{} {}", series["metric"]["protocol"], series["metric"]["server"]).replace('"', "");
        (server, series["value"][1].as_str().unwrap().parse::<f64>().unwrap())
    };
    let shares: BTreeMap<_, _> = result.iter().map(of).collect();
    let (one, two) = (shares["udp 10.0.0.2"], shares["udp 10.0.0.3"]);
    assert!((one + two - 1.0).abs() < 1e-9 && (0.25..0.42).contains(&one), "{shares:?}");
}

#[test]
fn the_numbers_are_those_of_the_frames() {
    for backend in ["xdp", "packet"] {
        let site = site();
        let _director = site.start_and_wait(&config(&format!("{METRICS}\nbackend = \"{backend}\"")), "");
        let before = site.metrics();
        assert_eq!(before.sum("directrix_service_state", &[("state", "claimed")]), 2.0);
        assert_eq!(before.sum("directrix_server_state", &[("state", "reachable")]), 3.0);
        assert_eq!(before.sum("directrix_worker_received_frames_total", &[]), 0.0);
        site.send(30);
        let udp = [("protocol", "udp"), ("vip", "10.0.0.100"), ("port", "53")];
        wait_until("31 connections", Duration::from_secs(10), || {
            site.metrics().sum("directrix_service_connections_total", &[]) >= 31.0
        });
        let page = site.metrics();
        assert_eq!(page.sum("directrix_service_packets_total", &udp), 30.0);
        assert_eq!(page.sum("directrix_service_bytes_total", &udp), 30.0 * 36.0, "IP, UDP and 8 bytes");
        assert_eq!(page.sum("directrix_server_packets_total", &udp), 30.0);
        assert_eq!(page.sum("directrix_server_connections_total", &[("server", "10.0.0.3")]), 20.0);
        assert_eq!(page.sum("directrix_table_entries", &[]), 31.0);
        assert_eq!(page.sum("directrix_table_capacity", &[]), 4096.0);
        let forwarded = page.sum("directrix_worker_forwarded_frames_total", &[]);
        assert_eq!(forwarded, page.sum("directrix_service_packets_total", &[]));
        assert_eq!(page.sum("directrix_worker_dropped_frames_total", &[]), 0.0);
        assert!(page.sum("directrix_neighbor_answered_total", &[]) >= 1.0);
        assert!(page.sum("directrix_neighbor_announced_total", &[]) >= 1.0);
        assert!(page.sum("directrix_neighbor_requested_total", &[]) >= 2.0);
        assert!(page.sum("directrix_worker_info", &[("backend", backend)]) >= 1.0);
        let started = page.sum("directrix_start_time_seconds", &[]);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((now - 60.0..now).contains(&started), "{started}, now it is {now}");
    }
}

#[test]
fn scrapes_without_end_hold_nothing_up() {
    let site = site();
    let _director = site.start_and_wait(&config(METRICS), "");
    let stop = AtomicBool::new(false);
    let scrapes: usize = std::thread::scope(|scope| {
        let scrape = || {
            let mut pages = 0;
            while !stop.load(Relaxed) {
                assert!(site.page().contains("directrix_build_info"));
                pages += 1;
            }
            pages
        };
        let scrapers: Vec<_> = (0..4).map(|_| scope.spawn(scrape)).collect();
        for _ in 0..20 {
            site.send(50);
            let begun = Instant::now();
            site.page_of_socket();
            assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        }
        stop.store(true, Relaxed);
        scrapers.into_iter().map(|scraper| scraper.join().unwrap()).sum()
    });
    assert!(scrapes > 20, "only {scrapes} pages");
    wait_until("all frames", Duration::from_secs(10), || {
        site.metrics().sum("directrix_service_packets_total", &[]) >= 1020.0
    });
    assert_eq!(site.metrics().sum("directrix_worker_dropped_frames_total", &[]), 0.0);
}

#[test]
fn port_in_use_is_reported_at_the_start() {
    let site = site();
    let _other = site.director.enter(|| std::net::TcpListener::bind("127.0.0.1:9310").unwrap());
    let mut director = site.start(&config(METRICS), "");
    assert_eq!(end(&mut director), Some(1));
    let log = site.log();
    let parts = ["metrics cannot be served at 127.0.0.1:9310", "ss -ltnp", "another port"];
    assert!(parts.iter().all(|part| log.contains(part)), "{log}");
    assert!(!site.file("control.sock").exists());
}

#[test]
fn without_the_key_only_the_control_socket_has_the_page() {
    let site = site();
    let _director = site.start_and_wait(&config(""), "");
    assert_eq!(site.director.run("ss -Hltn").trim(), "");
    assert!(site.page_of_socket().contains("directrix_build_info"));
}

#[test]
fn a_log_in_json_is_json_line_by_line_to_the_end() {
    let site = site();
    let director = site.start_and_wait(&config(""), "--log json");
    let pid = nix::unistd::Pid::from_raw(director.0.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let mut director = director;
    assert_eq!(end(&mut director), Some(0));
    let lines = json_lines(&site.log());
    let ready = lines.iter().find(|line| line["message"] == "ready").expect("it was ready");
    assert_eq!((&ready["level"], &ready["services"]), (&"INFO".into(), &2.into()), "{ready}");
    assert!(lines.iter().all(|line| line["timestamp"].is_string()));
    for (keys, status) in [("metrics = \"192.0.2.7:9310\"", 1), ("wait = 3\nmetrics = 1", 2)] {
        assert_eq!(end(&mut site.start(&config(keys), "--log json")), Some(status));
        let lines = json_lines(&site.log());
        assert!(lines.iter().any(|line| line["level"] == "ERROR"), "{lines:?}");
    }
}

fn json_lines(log: &str) -> Vec<Value> {
    log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
}
