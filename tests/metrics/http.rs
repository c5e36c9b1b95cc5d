//! The page on the control socket and on the metrics listener, for good clients and bad ones.

use crate::exposition::Exposition;
use crate::fake_director::{Answers, Director, fixtures};
use crate::page::readings;
use directrix::control::api;
use directrix::control::http::exporter::{Exporter, SCRAPERS_MAX};
use directrix::control::http::limits::REQUEST_TIMEOUT;
use directrix::control::metrics::{ExpositionFormat, page};
use directrix::control::query::Query;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// A metrics listener on a port of its own, behind a loop that answers from fixed data.
struct Listener {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Listener {
    fn answering() -> Self {
        Self::with(|query| match query {
            Query::Metrics(to) => drop(to.send(readings())),
            Query::Health(to) => drop(to.send(vec!["worker 1 is stalled".into()])),
            other => panic!("unexpected query: {other:?}"),
        })
    }

    fn with(mut respond: impl FnMut(Query) + Send + 'static) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (sender, address) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let exporter = Exporter::bind(([127, 0, 0, 1], 0).into()).unwrap();
                sender.send(exporter.address().unwrap()).unwrap();
                let (sender, mut queries) = mpsc::channel(16);
                tokio::spawn(exporter.serve(sender));
                let answering = async {
                    while let Some(query) = queries.recv().await {
                        respond(query);
                    }
                };
                tokio::select! {
                    _ = stopped => {}
                    () = answering => {}
                }
            });
        });
        Self { address: address.recv().unwrap(), stop: Some(stop), thread: Some(thread) }
    }

    fn exchange(&self, request: &[u8]) -> String {
        exchange(TcpStream::connect(self.address).unwrap(), request)
    }

    fn get(&self, path: &str) -> String {
        self.exchange(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes())
    }

    #[track_caller]
    fn assert_alive(&self) {
        assert!(self.get("/metrics").contains("directrix_build_info"));
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

/// Sends `request` and reads until the other end closes. It may refuse before it has read all.
fn exchange(mut stream: impl Read + Write, request: &[u8]) -> String {
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}")).1
}

const ASK_OPENMETRICS: &[u8] =
    b"GET /metrics HTTP/1.1\r\nhost: x\r\naccept: text/plain;q=0.1\r\naccept: application/openmetrics-text\r\n\r\n";

#[test]
fn the_requested_format_is_returned() {
    let listener = Listener::answering();
    let text = listener.get("/metrics");
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    assert!(text.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{text}");
    assert_eq!(body(&text), page(readings(), ExpositionFormat::Prometheus));
    let open = listener.exchange(ASK_OPENMETRICS);
    let content_type = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
    assert!(open.contains(content_type), "{open}");
    assert_eq!(body(&open), page(readings(), ExpositionFormat::OpenMetrics));
}

#[test]
fn the_control_socket_has_the_same_page() {
    let services = fixtures::made_up();
    let answers = Answers { services: services.clone(), ..Answers::default() };
    let director = Director::answering(answers.clone());
    let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n";
    let answer = exchange(UnixStream::connect(director.socket()).unwrap(), request);
    assert_eq!(body(&answer), page(answers.readings(), ExpositionFormat::Prometheus));
    let six = [("vip", "2001:db8::80"), ("server", "2001:db8:1::1")];
    assert_eq!(Exposition::read(body(&answer)).sum("directrix_server_weight", &six), 1.0);
}

#[test]
fn the_listener_has_metrics_and_health_and_nothing_else() {
    let listener = Listener::answering();
    let about = listener.get("/");
    assert!(
        about.starts_with("HTTP/1.1 200 ") && body(&about).ends_with(": /metrics, /healthz\n"),
        "{about}"
    );
    let health = listener.get(api::path::HEALTH);
    assert!(health.starts_with("HTTP/1.1 503 ") && body(&health) == "worker 1 is stalled\n", "{health}");
    let secrets = [api::path::SERVICES, api::path::CONNECTIONS, api::path::WORKERS, "/metrics/", "/v1"];
    for path in secrets {
        let missing = listener.get(path);
        assert!(missing.starts_with("HTTP/1.1 404 "), "{missing}");
        assert_eq!(
            body(&missing),
            format!(r#"{{"error":"there is no {path}; there are /metrics and /healthz"}}"#)
        );
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        for path in ["/metrics", "/"] {
            let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
            let refused = listener.exchange(request.as_bytes());
            assert!(refused.starts_with("HTTP/1.1 405 "), "{refused}");
        }
    }
}

#[test]
fn malformed_and_oversized_requests_hurt_nobody() {
    let listener = Listener::answering();
    let garbage: Vec<u8> = (0..4096_u32).map(|byte| (byte * 7 % 256) as u8).collect();
    let refused = listener.exchange(&garbage);
    assert!(refused.is_empty() || refused.starts_with("HTTP/1.1 400 "), "{refused}");
    for huge in [
        format!("GET /metrics HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(1 << 20)),
        format!("GET /metrics HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(2000)),
        format!("GET /{} HTTP/1.1\r\n\r\n", "z".repeat(1 << 20)),
    ] {
        let refused = listener.exchange(huge.as_bytes());
        assert!(refused.is_empty() || refused.starts_with("HTTP/1.1 4"), "{refused}");
    }
    drop(TcpStream::connect(listener.address).unwrap());
    listener.assert_alive();
}

#[test]
fn slow_clients_delay_others_by_the_request_timeout_only() {
    let listener = Listener::answering();
    let slow = |_| {
        let mut stream = TcpStream::connect(listener.address).unwrap();
        stream.write_all(b"GET /metrics HT").unwrap();
        stream
    };
    let slow: Vec<_> = (0..SCRAPERS_MAX).map(slow).collect();
    let begun = Instant::now();
    listener.assert_alive();
    let waited = begun.elapsed();
    assert!(waited > REQUEST_TIMEOUT / 2, "the slow clients held every place: {waited:?}");
    assert!(waited < REQUEST_TIMEOUT + Duration::from_secs(5), "{waited:?}");
    drop(slow);
}

#[test]
fn many_clients_at_once_are_served_one_page_after_the_other() {
    let (mut under_way, most) = (Vec::new(), std::sync::Arc::new(std::sync::Mutex::new(0)));
    let seen = std::sync::Arc::clone(&most);
    let listener = Listener::with(move |query| {
        let Query::Metrics(to) = query else { panic!("unexpected query: {query:?}") };
        under_way.retain(|open: &std::sync::Weak<()>| open.strong_count() > 0);
        let open = std::sync::Arc::new(());
        under_way.push(std::sync::Arc::downgrade(&open));
        let mut most = seen.lock().unwrap();
        *most = under_way.len().max(*most);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let _ = to.send(readings());
            drop(open);
        });
    });
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| listener.assert_alive());
        }
    });
    assert_eq!(*most.lock().unwrap(), 1);
}

#[test]
fn stopping_director_is_reported() {
    let listener = Listener::with(drop);
    let answer = listener.get("/metrics");
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("the director is stopping"), "{answer}");
}

#[test]
fn unusable_address_is_reported_with_a_remedy() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for (address, parts) in [
        (taken.local_addr().unwrap(), ["in use", &format!("ss -ltnp 'sport = :{port}'")]),
        (([192, 0, 2, 77], 9310).into(), ["192.0.2.77:9310", "ip address"]),
    ] {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let refused = runtime.block_on(async { Exporter::bind(address) }).unwrap_err().to_string();
        assert!(parts.iter().all(|part| refused.contains(part)), "{refused}");
    }
}
