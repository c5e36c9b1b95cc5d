//! Probes over sockets of the kernel: TCP and UDP. A probe has one deadline for all of it.

use super::error::outcome_of;
use super::http;
use super::shared::ProbeShared;
use crate::health::{CheckKey, ProbeFailure, ProbeOutcome};
use crate::model::{CheckKind, HttpCheck, HttpsCheck, UdpCheck};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};

/// Runs one probe, for as long as the timeout of its check.
pub(super) async fn run(key: &CheckKey, shared: &ProbeShared) -> ProbeOutcome {
    let limit = Duration::from_millis(key.timing.timeout.millis().into());
    let (to, deadline) = (key.destination(), Instant::now() + limit);
    let outcome = match &*key.kind {
        CheckKind::Udp(check) => udp(check, to, deadline).await,
        CheckKind::Tcp => connect(to, deadline).await.map(drop),
        CheckKind::Http(check) => http(check, to, deadline).await,
        CheckKind::Https(check) => https(key, check, shared, deadline).await,
    };
    outcome.map_or_else(|outcome| outcome, |()| ProbeOutcome::Passed)
}

async fn connect(to: SocketAddr, deadline: Instant) -> Result<TcpStream, ProbeOutcome> {
    match timeout_at(deadline, TcpStream::connect(to)).await {
        Ok(connected) => connected.map_err(|error| outcome_of(&error)),
        Err(_) => Err(ProbeOutcome::Failed(ProbeFailure::Silent)),
    }
}

async fn http(check: &HttpCheck, to: SocketAddr, deadline: Instant) -> Result<(), ProbeOutcome> {
    let stream = connect(to, deadline).await?;
    let answer = timeout_at(deadline, http::request(check, to, stream)).await;
    answer.unwrap_or(Err(ProbeFailure::Stalled)).map_err(ProbeOutcome::Failed)
}

async fn https(
    key: &CheckKey,
    check: &HttpsCheck,
    shared: &ProbeShared,
    deadline: Instant,
) -> Result<(), ProbeOutcome> {
    let stream = connect(key.destination(), deadline).await?;
    let answer = timeout_at(deadline, shared.https(key, check, stream)).await;
    answer.unwrap_or(Err(ProbeOutcome::Failed(ProbeFailure::Stalled)))
}

/// Sends a datagram and waits for any answer, or for none and no ICMP error.
async fn udp(check: &UdpCheck, to: SocketAddr, deadline: Instant) -> Result<(), ProbeOutcome> {
    match timeout_at(deadline, exchange(&check.payload, to)).await {
        Ok(exchanged) => exchanged.map_err(|error| outcome_of(&error)),
        Err(_) if check.reply => Err(ProbeOutcome::Failed(ProbeFailure::Silent)),
        Err(_) => Ok(()),
    }
}

async fn exchange(payload: &[u8], to: SocketAddr) -> io::Result<()> {
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(to).await?;
    socket.send(payload).await?;
    socket.recv(&mut [0; 1]).await.map(drop) // the rest of the datagram is cut off
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::CheckTiming;
    use crate::time::Span;
    use std::io::{Read, Write};
    use std::net::{TcpListener, UdpSocket as StdUdpSocket};
    use std::sync::Arc;
    use std::thread;

    fn probe(to: SocketAddr, kind: CheckKind) -> ProbeOutcome {
        let timing = CheckTiming::every(Span::from_millis(300));
        let key = CheckKey { server: to.ip(), vip: None, port: to.port(), kind: Arc::new(kind), timing };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(&key, &ProbeShared::new()))
    }

    fn http(path: &str, body: Option<&str>) -> CheckKind {
        let (path, body) = (path.to_owned(), body.map(str::to_owned));
        CheckKind::Http(HttpCheck { path, body, ..HttpCheck::default() })
    }

    /// A server that takes one connection and sends `answer` after the request, if there is one.
    fn answering(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(answer.as_bytes());
            if answer.is_empty() {
                thread::sleep(Duration::from_secs(1));
            }
        });
        address
    }

    /// An address that nothing listens on.
    fn closed() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    #[test]
    fn tcp_is_open_or_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(probe(listener.local_addr().unwrap(), CheckKind::Tcp), ProbeOutcome::Passed);
        assert_eq!(probe(closed(), CheckKind::Tcp), ProbeOutcome::Failed(ProbeFailure::Refused));
    }

    #[test]
    fn http_answers_are_judged_by_status_and_body() {
        let good = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nalive";
        assert_eq!(probe(answering(good), http("/", None)), ProbeOutcome::Passed);
        assert_eq!(probe(answering(good), http("/", Some("alive"))), ProbeOutcome::Passed);
        let parts = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n-al\r\n1\r\ni\r\n3\r\nve-\r\n0\r\n\r\n";
        assert_eq!(probe(answering(parts), http("/", Some("alive"))), ProbeOutcome::Passed);
        let failure = |answer, body| match probe(answering(answer), http("/", body)) {
            ProbeOutcome::Failed(failure) => failure,
            other => panic!("{other:?}"),
        };
        assert_eq!(failure(good, Some("dead")), ProbeFailure::Body("alive".into()));
        assert_eq!(failure("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", None), ProbeFailure::Status(503));
        assert_eq!(failure("", None), ProbeFailure::Stalled);
        assert_eq!(
            failure("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nal", Some("alive")),
            ProbeFailure::Closed
        );
        assert!(matches!(failure("SSH-2.0-OpenSSH_9.2\r\n", None), ProbeFailure::Malformed(_)));
    }

    #[test]
    fn udp_needs_an_answer_or_no_refusal() {
        let echo = StdUdpSocket::bind("127.0.0.1:0").unwrap();
        let to = echo.local_addr().unwrap();
        thread::spawn(move || {
            let (_, from) = echo.recv_from(&mut [0; 16]).unwrap();
            echo.send_to(b"pong", from).unwrap();
        });
        let check = |reply| CheckKind::Udp(UdpCheck { payload: b"ping".to_vec(), reply });
        assert_eq!(probe(to, check(true)), ProbeOutcome::Passed);
        let silent = StdUdpSocket::bind("127.0.0.1:0").unwrap();
        let to = silent.local_addr().unwrap();
        assert_eq!(probe(to, check(true)), ProbeOutcome::Failed(ProbeFailure::Silent));
        assert_eq!(probe(to, check(false)), ProbeOutcome::Passed);
        drop(silent);
        assert_eq!(probe(to, check(false)), ProbeOutcome::Failed(ProbeFailure::Refused));
    }
}
