//! Probes over sockets of the kernel. A probe has one deadline for all of it.

use super::error::{outcome_of, outcome_of_answer};
use super::shared::ProbeShared;
use super::sockets::ProbeSockets;
use super::way::{ProbeWay, VipWay};
use super::{dns, http, ping, smtp};
use crate::health::{CheckKey, LocalError, ProbeFailure, ProbeOutcome, WeightChange};
use crate::model::{CheckKind, DnsCheck, DnsTransport, HttpCheck, HttpsCheck, SmtpCheck, UdpCheck};
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Wait for this host's files and places that leaves a server less than its timeout.
const OWN_WAIT: Duration = Duration::from_millis(20);

const NO_PING: LocalError = LocalError::Setup(
    "the kernel permits this group no ping sockets: sysctl -w net.ipv4.ping_group_range=\"0 2147483647\"",
);
/// A probe that has ended.
#[derive(Debug)]
pub(super) struct Probed {
    /// Outcome.
    pub(super) outcome: ProbeOutcome,
    /// Time to it.
    pub(super) took: Duration,
    /// Outcome of the RIP, where the VIP failed and the RIP can tell more.
    pub(super) rip: Option<ProbeOutcome>,
}

/// Runs one probe, for as long as the timeout of its check.
pub(super) async fn run(key: &CheckKey, way: ProbeWay, shared: &ProbeShared) -> Probed {
    let (started, limit) = (Instant::now(), Duration::from_millis(key.timing.timeout.millis().into()));
    let probe = Probe { key, shared, deadline: started + limit };
    let mut rip = pin!(probe.of_rip());
    let (outcome, explained) = match way {
        ProbeWay::Rip => return Probed { outcome: rip.await, took: started.elapsed(), rip: None },
        ProbeWay::Closed(outcome) => (outcome, None),
        ProbeWay::Vip(way) => {
            // The RIP is asked only once the VIP has been silent for a while, or has refused.
            let (mut vip, patience) = (pin!(probe.of_vip(way)), started + limit / 2);
            let mut explained = None;
            let outcome = loop {
                tokio::select! {
                    biased;
                    outcome = &mut vip => break outcome,
                    () = tokio::time::sleep_until(patience), if Instant::now() < patience => {}
                    outcome = &mut rip, if explained.is_none() && Instant::now() >= patience => {
                        explained = Some(outcome);
                    }
                }
            };
            (outcome, explained)
        }
    };
    let took = started.elapsed();
    let explained = match explained {
        None if needs_explanation(&outcome) => Some(rip.await),
        explained => explained.filter(|_| needs_explanation(&outcome)),
    };
    Probed { outcome, took, rip: explained }
}

/// True for a failure of the VIP whose cause depends on what the RIP does.
fn needs_explanation(outcome: &ProbeOutcome) -> bool {
    matches!(outcome, ProbeOutcome::Failed(ProbeFailure::Silent | ProbeFailure::Refused))
}

/// A probe in progress.
struct Probe<'a> {
    key: &'a CheckKey,
    shared: &'a ProbeShared,
    deadline: Instant,
}

impl Probe<'_> {
    async fn of_rip(&self) -> ProbeOutcome {
        self.exchange(&mut ProbeSockets::to_rip(self.key.server, self.key.port)).await
    }

    async fn of_vip(&self, way: VipWay) -> ProbeOutcome {
        let mut sockets = ProbeSockets::to_vip(self.key.server, self.key.port, way);
        let outcome = self.exchange(&mut sockets).await;
        sockets.end(outcome)
    }

    /// Exchanges what the check needs. All sockets are closed when it returns.
    async fn exchange(&self, sockets: &mut ProbeSockets) -> ProbeOutcome {
        let exchanged = match &*self.key.kind {
            CheckKind::Udp(check) => self.udp(check, sockets).await,
            CheckKind::Tcp => sockets.tcp(self.deadline).await.map(drop),
            CheckKind::Http(check) => self.http(check, sockets).await,
            CheckKind::Https(check) => self.https(check, sockets).await,
            CheckKind::Dns(check) => self.dns(check, sockets).await,
            CheckKind::Smtp(check) => self.smtp(check, sockets).await,
            CheckKind::Ping => self.ping(sockets).await,
            CheckKind::Script(check) => {
                return weighed(self.shared.script(self.key, check, self.deadline).await);
            }
            CheckKind::File(check) => {
                return weighed(self.shared.file(self.key, check, self.deadline).await);
            }
            CheckKind::External(check) => self.shared.external(self.key, check),
        };
        exchanged.map_or_else(|outcome| outcome, |()| ProbeOutcome::Passed)
    }

    async fn http(&self, check: &HttpCheck, sockets: &mut ProbeSockets) -> Result<(), ProbeOutcome> {
        let stream = sockets.tcp(self.deadline).await?;
        let answer = timeout_at(self.deadline, http::request(check, self.key.destination(), stream)).await;
        answer.unwrap_or(Err(ProbeFailure::Stalled)).map_err(ProbeOutcome::Failed)
    }

    async fn https(&self, check: &HttpsCheck, sockets: &mut ProbeSockets) -> Result<(), ProbeOutcome> {
        let stream = sockets.tcp(self.deadline).await?;
        let connected = Instant::now();
        let verifier = self.shared.verifier(check, self.deadline).await?;
        let place = self.shared.handshake_place(self.deadline).await?;
        // A wait on this host has left the server less than its timeout.
        let stalled = match connected.elapsed() > OWN_WAIT {
            true => ProbeOutcome::Unknown(LocalError::Late),
            false => ProbeOutcome::Failed(ProbeFailure::Stalled),
        };
        let exchange = self.shared.https(self.key, check, (stream, verifier, place));
        timeout_at(self.deadline, exchange).await.unwrap_or(Err(stalled))
    }

    async fn dns(&self, check: &DnsCheck, sockets: &mut ProbeSockets) -> Result<(), ProbeOutcome> {
        let (answer, missing) = match check.transport {
            DnsTransport::Udp => {
                let socket = sockets.udp()?;
                (timeout_at(self.deadline, dns::over_udp(check, &socket)).await, ProbeFailure::Silent)
            }
            DnsTransport::Tcp => {
                let stream = sockets.tcp(self.deadline).await?;
                (timeout_at(self.deadline, dns::over_tcp(check, stream)).await, ProbeFailure::Stalled)
            }
        };
        answer.unwrap_or(Err(ProbeOutcome::Failed(missing)))
    }

    async fn smtp(&self, check: &SmtpCheck, sockets: &mut ProbeSockets) -> Result<(), ProbeOutcome> {
        let stream = sockets.tcp(self.deadline).await?;
        let talk = timeout_at(self.deadline, smtp::talk(check, self.deadline, stream)).await;
        talk.unwrap_or(Err(ProbeOutcome::Failed(ProbeFailure::Stalled)))
    }

    async fn ping(&self, sockets: &mut ProbeSockets) -> Result<(), ProbeOutcome> {
        let socket = sockets.ping().map_err(|outcome| match outcome {
            ProbeOutcome::Unknown(LocalError::NotPermitted) => ProbeOutcome::Unknown(NO_PING),
            other => other,
        })?;
        let reply = timeout_at(self.deadline, ping::exchange(self.key.server.is_ipv4(), &socket)).await;
        reply.unwrap_or(Err(ProbeOutcome::Failed(ProbeFailure::Silent)))
    }

    /// Sends a datagram and waits for any answer, or for none and no ICMP error.
    async fn udp(&self, check: &UdpCheck, sockets: &mut ProbeSockets) -> Result<(), ProbeOutcome> {
        let socket = sockets.udp()?;
        let exchange = async {
            socket.send(&check.payload).await.map_err(|error| outcome_of(&error))?;
            // The rest of the datagram is cut off.
            socket.recv(&mut [0; 1]).await.map(drop).map_err(|error| outcome_of_answer(&error))
        };
        match timeout_at(self.deadline, exchange).await {
            Ok(exchanged) => exchanged,
            Err(_) if check.reply => Err(ProbeOutcome::Failed(ProbeFailure::Silent)),
            Err(_) => {
                sockets.expect_silence();
                Ok(())
            }
        }
    }
}

/// The outcome of a probe that may change the weight.
fn weighed(probed: Result<Option<WeightChange>, ProbeOutcome>) -> ProbeOutcome {
    probed.map_or_else(|outcome| outcome, |change| change.map_or(ProbeOutcome::Passed, ProbeOutcome::Weighed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::CheckTiming;
    use crate::time::Span;
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, UdpSocket as StdUdpSocket};
    use std::sync::Arc;
    use std::thread;

    fn probe(to: SocketAddr, kind: CheckKind) -> ProbeOutcome {
        let timing = CheckTiming::every(Span::from_millis(300));
        let key = CheckKey { server: to.ip(), vip: None, port: to.port(), kind: Arc::new(kind), timing };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(&key, ProbeWay::Rip, &ProbeShared::new())).outcome
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
