//! HTTP client: many connections with one request each. Answers are validated and counted by server.

use super::page;
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::LocalSet;
use tokio::time::timeout;

/// Time limit for the handshake, and half that of a request.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Maximum length of an answer in bytes, larger than a page.
const ANSWER_MAX: u64 = 64 << 10;
/// Consecutive failures that end the run.
const FAILURES_MAX: u64 = 5;
/// Source ports, used in turn. A random port may repeat while its last connection is still in the director's flow table;
/// the new connection would not be scheduled, and the shares would differ from the weights.
const PORTS: RangeInclusive<u16> = 10_000..=65_535;

/// Result of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// Complete answers by real server.
    pub by_server: BTreeMap<String, u64>,
    /// First failure, if any.
    pub failure: Option<String>,
}

impl Answers {
    /// Complete answers of all servers.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_server.values().sum()
    }

    fn add(mut self, other: Self) -> Self {
        for (server, count) in other.by_server {
            *self.by_server.entry(server).or_default() += count;
        }
        self.failure = self.failure.or(other.failure);
        self
    }
}

/// Opens `connections` connections to `target`, `concurrency` at a time.
///
/// # Errors
/// If the process has no descriptor left for the runtime.
pub fn run(target: SocketAddr, connections: u64, concurrency: u16) -> io::Result<Answers> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let shared = Rc::new(ClientRun {
        left: Cell::new(connections),
        failures: Cell::new(0),
        port: Cell::new(*PORTS.start()),
    });
    LocalSet::new().block_on(&runtime, async {
        let workers: Vec<_> =
            (0..concurrency).map(|_| tokio::task::spawn_local(work(target, Rc::clone(&shared)))).collect();
        let mut answers = Answers::default();
        for worker in workers {
            answers = answers.add(worker.await.map_err(io::Error::other)?);
        }
        Ok(answers)
    })
}

/// State shared by the workers, which run on one thread.
struct ClientRun {
    left: Cell<u64>,
    /// Consecutive failures.
    failures: Cell<u64>,
    port: Cell<u16>,
}

impl ClientRun {
    /// Takes one of the remaining connections; false if there is none.
    fn take(&self) -> bool {
        let left = if self.failures.get() < FAILURES_MAX { self.left.get() } else { 0 };
        self.left.set(left.saturating_sub(1));
        left > 0
    }

    fn next_port(&self) -> u16 {
        let port = self.port.get();
        self.port.set(port.checked_add(1).unwrap_or(*PORTS.start()));
        port
    }
}

async fn work(target: SocketAddr, shared: Rc<ClientRun>) -> Answers {
    let mut answers = Answers::default();
    while shared.take() {
        let fetched = timeout(2 * TIMEOUT, fetch(target, &shared)).await;
        match fetched.unwrap_or_else(|_| Err(format!("the answer of {target} is incomplete"))) {
            Ok(server) => {
                shared.failures.set(0);
                *answers.by_server.entry(server).or_default() += 1;
            }
            Err(failure) => {
                shared.failures.set(shared.failures.get() + 1);
                answers.failure.get_or_insert(failure);
            }
        }
    }
    answers
}

/// Sends one request over a new connection. Returns the name of the server.
async fn fetch(target: SocketAddr, shared: &ClientRun) -> Result<String, String> {
    let failed = |what: &'static str| move |error: io::Error| format!("{what} {target}: {error}");
    let mut stream = connect(target, shared).await.map_err(failed("connecting to"))?;
    let request = format!("GET / HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(failed("requesting from"))?;
    let mut answer = String::new();
    stream.take(ANSWER_MAX).read_to_string(&mut answer).await.map_err(failed("reading the answer of"))?;
    check(&answer)
}

/// Connects from the next free source port.
async fn connect(target: SocketAddr, shared: &ClientRun) -> io::Result<TcpStream> {
    for _ in PORTS {
        let (socket, any) = match target {
            SocketAddr::V4(_) => (TcpSocket::new_v4()?, IpAddr::from(Ipv4Addr::UNSPECIFIED)),
            SocketAddr::V6(_) => (TcpSocket::new_v6()?, IpAddr::from(Ipv6Addr::UNSPECIFIED)),
        };
        match socket.bind((any, shared.next_port()).into()) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => continue,
            bound => bound?,
        }
        let opened = timeout(TIMEOUT, socket.connect(target)).await;
        return opened.unwrap_or_else(|_| Err(io::Error::new(ErrorKind::TimedOut, "no answer to the SYN")));
    }
    Err(io::Error::new(ErrorKind::AddrInUse, "no source port is free"))
}

fn check(answer: &str) -> Result<String, String> {
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("an answer with an incomplete head")?;
    let status = head.lines().next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 200 ") {
        return Err(format!("an answer that begins '{status}'"));
    }
    page::server_of(body)
        .map(str::to_owned)
        .ok_or_else(|| format!("an answer cut short at {} bytes", body.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn answers_of_the_built_in_server_are_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        std::thread::spawn(move || super::super::http_server::run("rs7", &[address]));
        let listening = || TcpStream::connect(address).is_ok();
        assert!((0..500).any(|_| listening() || {
            std::thread::sleep(TIMEOUT / 300);
            false
        }));
        let answers = run(address, 50, 4).unwrap();
        assert_eq!(answers.by_server, BTreeMap::from([("rs7".to_owned(), 50)]));
        assert_eq!(answers.failure, None);
    }

    #[test]
    fn unreachable_target_ends_the_run_early() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let answers = run(address, u64::MAX, 1).unwrap();
        assert_eq!(answers.total(), 0);
        assert!(answers.failure.unwrap().starts_with("connecting to 127.0.0.1"));
    }

    #[test]
    fn truncated_and_unknown_answers_are_failures() {
        let page = page::page("rs1");
        assert_eq!(check(&format!("HTTP/1.1 200 OK\r\n\r\n{page}")), Ok("rs1".into()));
        assert!(check(&format!("HTTP/1.1 404 Not Found\r\n\r\n{page}")).unwrap_err().contains("404"));
        assert!(check(&format!("HTTP/1.1 200 OK\r\n\r\n{}", &page[..99])).unwrap_err().contains("99 bytes"));
        assert!(check("").is_err());
    }
}
