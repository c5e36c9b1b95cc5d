//! The control socket, used by its own client and by malicious clients. Needs root, to change to other users.

#[path = "control_socket/access.rs"]
mod access;
mod fake_director;
#[path = "control_socket/versions.rs"]
mod versions;

use directrix::control::api::{self, path};
use directrix::control::client::{Blocking, Client};
use directrix::control::http::limits::{CLIENTS_MAX, REPLY_TIMEOUT, REQUEST_TIMEOUT};
use directrix::control::http::socket;
use directrix::control::query::Query;
use directrix::model::{Diagnostic, DiagnosticKind};
use fake_director::{Answers, Director, fixtures};
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

fn answers() -> Answers {
    let latency = api::Latency { samples: 9, p50_ns: 1, p90_ns: 2, p99_ns: 3, max_ns: 4 };
    let port = api::Port {
        interface: "eth0".into(),
        queue: 1,
        mode: "ring".into(),
        receive: 5,
        transmit: 6,
        fill: 7,
    };
    let worker = api::Worker {
        worker: 0,
        core: Some(1),
        backend: "packet".into(),
        ports: vec![port],
        received: 10,
        forwarded: 9,
        dropped: 1,
        lost: 3,
        batches: 4,
        sleeps: 3,
        entries: 2,
        expired: 1,
        evicted: 0,
        handed_over: 0,
        latency,
    };
    let drop = api::Drops { reason: "looped".into(), frames: 8, explanation: "A loop.".into() };
    Answers {
        services: fixtures::made_up(),
        connections: fixtures::connections(2500),
        drops: vec![drop],
        workers: vec![worker],
        ..Answers::default()
    }
}

fn collect(director: &Blocking) -> Result<Vec<api::Connection>, Diagnostic> {
    let mut seen = Vec::new();
    director.connections(|connection| {
        seen.push(connection);
        ControlFlow::Continue(())
    })?;
    Ok(seen)
}

/// Sends `request` and reads until the server closes.
fn exchange(socket: &Path, request: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    // The server may refuse before it has read all.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(socket: &Path, path: &str) -> String {
    exchange(socket, format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes())
}

fn assert_alive(director: &Director) {
    assert_eq!(Blocking::new(&director.socket()).unwrap().timeouts().unwrap().tcp, 900);
}

#[test]
fn every_answer_arrives_as_it_was_given() {
    let given = answers();
    let director = Director::answering(given.clone());
    let client = Blocking::new(&director.socket()).unwrap();
    assert_eq!(client.services().unwrap(), given.services);
    assert_eq!(client.drops().unwrap(), given.drops);
    assert_eq!(client.workers().unwrap(), given.workers);
    assert_eq!(client.timeouts().unwrap(), given.timeouts);
    assert_eq!(collect(&client).unwrap(), given.connections);
    let text = client.text(path::TIMEOUTS).unwrap();
    assert_eq!(text, r#"{"tcp":900,"tcp_fin":120,"udp":300}"#);
}

#[test]
fn answers_of_an_older_director_lack_newer_fields() {
    let text = r#"{"capacity":1,"services":[{"protocol":"tcp","address":"192.0.2.10:80","scheduler":"wlc",
        "state":"claimed","stats":{"connections":0,"in_packets":0,"out_packets":0,"in_bytes":0,"out_bytes":0},
        "rates":{"connections":0,"in_packets":0,"out_packets":0,"in_bytes":0,"out_bytes":0},
        "servers":[{"address":"10.0.0.1:80","weight":1,"active":0,"inactive":0,"state":"reachable","mac":null,
        "stats":{"connections":0,"in_packets":0,"out_packets":0,"in_bytes":0,"out_bytes":0},
        "rates":{"connections":0,"in_packets":0,"out_packets":0,"in_bytes":0,"out_bytes":0}}]}]}"#;
    let services: api::Services = serde_json::from_str(text).unwrap();
    let expected = fixtures::service(
        directrix::wire::Protocol::Tcp,
        "192.0.2.10:80",
        "wlc",
        vec![fixtures::server("10.0.0.1:80", 1, 0, 0)],
    );
    assert_eq!(services.services, [api::Service { available: 0, ..expected }]);
}

#[test]
fn answers_of_a_newer_director_may_have_more_fields() {
    let expected = fixtures::made_up();
    assert!(expected.services.iter().any(|service| service.persistence.is_some()));
    let text = serde_json::to_string(&expected).unwrap();
    let more = text.replace('}', r#","x":1}"#);
    assert!(more.matches(r#""x":1"#).count() > 20, "{more}");
    assert_eq!(serde_json::from_str::<api::Services>(&more).unwrap(), expected);
}

#[test]
fn http_requests_get_the_right_status_and_headers() {
    let director = Director::answering(answers());
    let socket = director.socket();
    let version = concat!("\r\nserver: directrix/", env!("CARGO_PKG_VERSION"), "\r\n");
    let ok = get(&socket, path::DROPS);
    assert!(ok.contains(version), "{ok}");
    assert!(ok.starts_with("HTTP/1.1 200 OK\r\n") && ok.contains("content-type: application/json"), "{ok}");
    let lines = get(&socket, path::CONNECTIONS);
    assert!(lines.contains("content-type: application/x-ndjson"), "{}", &lines[..300]);
    for path in ["/", "/v1", "/v1/service", "/v2/services", "/v1/services/"] {
        let missing = get(&socket, path);
        assert!(missing.starts_with("HTTP/1.1 404 ") && missing.contains(version), "{missing}");
        assert!(missing.contains(r#"{"error":"there is no "#), "{missing}");
    }
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let request = format!("{method} /v1/services HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
        let refused = exchange(&socket, request.as_bytes());
        assert!(refused.starts_with("HTTP/1.1 405 "), "{refused}");
        assert!(refused.contains(r#"{"error":"changes are requested by POST"#), "{refused}");
    }
}

#[test]
fn unknown_fields_of_a_request_are_refused_at_every_depth() {
    let director = Director::answering(answers());
    let answer = |request: &str| {
        let head = "POST /v1/changes HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
        let body = format!("[{request}]");
        exchange(&director.socket(), format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes())
    };
    for request in [
        r#"{"do":"clear","x":1}"#,
        r#"{"do":"add-service","service":{"protocol":"tcp","address":"192.0.2.1:443","x":1}}"#,
        r#"{"do":"add-service","service":{"protocol":"tcp","address":"192.0.2.1:443"},
            "settings":{"persistence":{"timeout":10,"prefix":24,"x":1}}}"#,
        r#"{"do":"zero","service":{"protocol":"tcp","address":"192.0.2.1:443","x":1}}"#,
    ] {
        let refused = answer(request);
        assert!(refused.starts_with("HTTP/1.1 422 ") && refused.contains("unknown field `x`"), "{refused}");
    }
    let taken = answer(r#"{"do":"add-service","service":{"protocol":"tcp","address":"192.0.2.1:443"}}"#);
    assert!(!taken.contains("unknown field"), "{taken}");
}

#[test]
fn the_socket_has_mode_0600_and_goes_when_the_director_does() {
    let mut director = Director::answering(answers());
    let socket = director.socket();
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o7777, 0o600);
    let refused = socket::bind(&socket).unwrap_err().to_string();
    assert!(refused.starts_with("another directrix listens on "), "{refused}");
    director.stop();
    assert!(!socket.exists());
    let failure = Blocking::new(&socket).unwrap().services().unwrap_err();
    assert_eq!(failure.kind, DiagnosticKind::DirectorUnreachable, "{failure}");
}

#[test]
fn a_stop_does_not_wait_for_clients_that_do_nothing() {
    let mut director = Director::answering(answers());
    let idle = UnixStream::connect(director.socket()).unwrap();
    assert_alive(&director);
    let begun = Instant::now();
    director.stop();
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    drop(idle);
}

#[test]
fn malformed_and_oversized_requests_get_an_answer() {
    let director = Director::answering(answers());
    let socket = director.socket();
    let garbage: Vec<u8> = (0..4096_u32).map(|byte| (byte * 7 % 256) as u8).collect();
    let refused = exchange(&socket, &garbage);
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
    let huge = format!("GET /v1/drops HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
    let refused = exchange(&socket, huge.as_bytes());
    assert!(refused.is_empty() || refused.starts_with("HTTP/1.1 431 "), "{refused}");
    let many = format!("GET /v1/drops HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(2000));
    let refused = exchange(&socket, many.as_bytes());
    assert!(refused.is_empty() || refused.starts_with("HTTP/1.1 431 "), "{refused}");
    let long = exchange(&socket, format!("GET /{} HTTP/1.1\r\n\r\n", "z".repeat(1 << 20)).as_bytes());
    assert!(long.is_empty() || long.starts_with("HTTP/1.1 4"), "{long}");
    let body = "GET /v1/drops HTTP/1.1\r\ncontent-length: 999999999999\r\n\r\n";
    assert!(exchange(&socket, body.as_bytes()).starts_with("HTTP/1.1 200 "));
    drop(UnixStream::connect(&socket).unwrap());
    assert_alive(&director);
}

#[test]
fn slow_clients_delay_others_by_the_request_timeout_only() {
    let director = Director::answering(answers());
    let slow: Vec<_> = (0..CLIENTS_MAX)
        .map(|_| {
            let mut stream = UnixStream::connect(director.socket()).unwrap();
            stream.write_all(b"GET /v1/services HT").unwrap();
            stream
        })
        .collect();
    let begun = Instant::now();
    assert_alive(&director);
    let waited = begun.elapsed();
    assert!(waited < REQUEST_TIMEOUT + Duration::from_secs(5), "{waited:?}");
    assert!(waited > REQUEST_TIMEOUT / 2, "the slow clients held every place: {waited:?}");
    drop(slow);
}

#[test]
fn a_missing_body_costs_its_sender_alone_the_answer() {
    let director = Director::answering(answers());
    let head = "POST /v1/changes HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    let begun = Instant::now();
    let answer = exchange(&director.socket(), format!("{head}content-length: 9\r\n\r\n[").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("did not arrive in time"), "{answer}");
    assert!(begun.elapsed() < REQUEST_TIMEOUT + Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn two_hundred_clients_at_once_are_all_served() {
    let director = Director::answering(answers());
    let client = Client::new(&director.socket());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let answers: Vec<_> = (0..200)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { client.services().await })
            })
            .collect();
        for answer in answers {
            assert_eq!(answer.await.unwrap().unwrap(), fixtures::made_up());
        }
    });
}

#[test]
fn a_hundred_thousand_connections_are_streamed() {
    let connections = fixtures::connections(100_000);
    let director = Director::answering(Answers { connections: connections.clone(), ..answers() });
    let client = Blocking::new(&director.socket()).unwrap();
    assert_eq!(collect(&client).unwrap(), connections);
    let mut seen = 0;
    let few = client.connections(|_| {
        seen += 1;
        if seen == 10 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    few.unwrap();
    assert_eq!(seen, 10);
    assert_alive(&director);
}

#[test]
fn a_control_loop_that_gives_no_answer_is_reported() {
    let stopping = Director::with(drop);
    let failure = Blocking::new(&stopping.socket()).unwrap().drops().unwrap_err().to_string();
    assert!(failure.contains("refused: the director is stopping"), "{failure}");

    let mut kept = Vec::new();
    let hanging = Director::with(move |query| kept.push(query));
    let begun = Instant::now();
    let (drops, list) = std::thread::scope(|scope| {
        let request =
            scope.spawn(|| Blocking::new(&hanging.socket()).unwrap().drops().unwrap_err().to_string());
        let list = collect(&Blocking::new(&hanging.socket()).unwrap()).unwrap_err().to_string();
        (request.join().unwrap(), list)
    });
    assert!(drops.contains("control loop does not answer"), "{drops}");
    assert!(list.contains("the list ends early"), "{list}");
    assert!(begun.elapsed() < REPLY_TIMEOUT + Duration::from_secs(5));
}

#[test]
fn a_list_that_breaks_off_is_no_whole_list() {
    let director = Director::with(|query| {
        let Query::Connections(to) = query else { return };
        tokio::spawn(async move {
            to.send(fixtures::connections(5)).await.unwrap();
            to.closed().await;
        });
    });
    let mut seen = 0;
    let result = Blocking::new(&director.socket()).unwrap().connections(|_| {
        seen += 1;
        ControlFlow::Continue(())
    });
    assert!(result.unwrap_err().to_string().contains("the list ends early"));
    assert_eq!(seen, 5);
}

/// Answers one request with `answer`, whatever it is.
fn impostor(answer: impl Into<String>) -> (tempfile::TempDir, std::path::PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let socket = place.path().join("control.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let answer = answer.into();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        drop(stream);
        let _ = listener.accept(); // it is still there
    });
    (place, socket)
}

#[test]
fn answers_that_are_none_are_reported() {
    for (answer, expected) in [
        (
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            concat!(
                "is an older directrix, or none, this is directrix/",
                env!("CARGO_PKG_VERSION"),
                ", and it has no /v1/services; use the binary"
            ),
        ),
        ("HTTP/1.1 500 No\r\ncontent-length: 5\r\n\r\nouch!", "refused: ouch!"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]", "its answer is not understood: "),
        (
            concat!(
                "HTTP/1.1 200 OK\r\nserver: directrix/",
                env!("CARGO_PKG_VERSION"),
                "\r\ncontent-length: 2\r\n\r\n[]"
            ),
            "cannot be used: its answer is not understood: ",
        ),
        (
            concat!(
                "HTTP/1.1 404 Not Found\r\nserver: directrix/",
                env!("CARGO_PKG_VERSION"),
                "\r\ncontent-length: 0\r\n\r\n"
            ),
            "cannot be used: it has no /v1/services; see its log",
        ),
        ("HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{\"capacity\":", "cannot be used: "),
        ("SSH-2.0-OpenSSH_9.2\r\n", "cannot be used: "),
        ("", "cannot be used: "),
    ] {
        let (_place, socket) = impostor(answer);
        let failure = Blocking::new(&socket).unwrap().services().unwrap_err().to_string();
        assert!(failure.contains(expected), "{answer}: {failure}");
    }
}

#[test]
fn director_that_ends_during_a_request_is_reported() {
    for answer in ["", "HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{\"capacity\":"] {
        let place = tempfile::tempdir().unwrap();
        let socket = place.path().join("control.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let director = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            drop(listener);
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let failure = Blocking::new(&socket).unwrap().services().unwrap_err().to_string();
        director.join().unwrap();
        let socket = socket.display();
        let wanted = format!("the director at {socket} has ended before its answer was whole; see its log");
        assert_eq!(failure, wanted);
    }
}

#[test]
fn a_list_that_ends_within_a_line_is_reported() {
    let (_place, socket) = impostor("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n{\"pr");
    let failure = collect(&Blocking::new(&socket).unwrap()).unwrap_err().to_string();
    assert!(failure.contains("the list ends within a line"), "{failure}");
}
