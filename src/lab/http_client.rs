//! The client: many connections, one request each, every answer checked and counted by server.

use super::page;
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::LocalSet;
use tokio::time::timeout;

/// So long may a connection take to open, and an answer to come.
const PATIENCE: Duration = Duration::from_secs(3);
/// More than one page, in bytes.
const ANSWER_MAX: u64 = 64 << 10;
/// So many failures without a success between them end the run: the rest would fail as well.
const FAILURES_MAX: u64 = 5;
/// Source ports are used in turn. Left to chance, one comes back while the director remembers its
/// last connection; the new one is then no new one to it, and the split drifts off the weights.
const PORTS: RangeInclusive<u16> = 10_000..=65_535;

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// Whole answers by real server.
    pub by_server: BTreeMap<String, u64>,
    /// The first thing that went wrong, if any did.
    pub failure: Option<String>,
}

impl Answers {
    /// Whole answers of all servers.
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
    let turns = Rc::new(Turns {
        left: Cell::new(connections),
        failures: Cell::new(0),
        port: Cell::new(*PORTS.start()),
    });
    LocalSet::new().block_on(&runtime, async {
        let workers: Vec<_> =
            (0..concurrency).map(|_| tokio::task::spawn_local(work(target, Rc::clone(&turns)))).collect();
        let mut answers = Answers::default();
        for worker in workers {
            answers = answers.add(worker.await.map_err(io::Error::other)?);
        }
        Ok(answers)
    })
}

/// What the workers share; they take turns on one thread.
struct Turns {
    left: Cell<u64>,
    /// In a row.
    failures: Cell<u64>,
    port: Cell<u16>,
}

impl Turns {
    /// Whether there is a connection left to open.
    fn next(&self) -> bool {
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

async fn work(target: SocketAddr, turns: Rc<Turns>) -> Answers {
    let mut answers = Answers::default();
    while turns.next() {
        let fetched = timeout(2 * PATIENCE, fetch(target, &turns)).await;
        match fetched.unwrap_or_else(|_| Err(format!("the answer of {target} did not come to an end"))) {
            Ok(server) => {
                turns.failures.set(0);
                *answers.by_server.entry(server).or_default() += 1;
            }
            Err(failure) => {
                turns.failures.set(turns.failures.get() + 1);
                answers.failure.get_or_insert(failure);
            }
        }
    }
    answers
}

/// One connection, one request; the name of the server that answered.
async fn fetch(target: SocketAddr, turns: &Turns) -> Result<String, String> {
    let told = |what: &'static str| move |error: io::Error| format!("{what} {target}: {error}");
    let mut stream = connect(target, turns).await.map_err(told("connecting to"))?;
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", target.ip());
    stream.write_all(request.as_bytes()).await.map_err(told("asking"))?;
    let mut answer = String::new();
    stream.take(ANSWER_MAX).read_to_string(&mut answer).await.map_err(told("reading the answer of"))?;
    check(&answer)
}

/// Connects from the next port that is free.
async fn connect(target: SocketAddr, turns: &Turns) -> io::Result<TcpStream> {
    for _ in PORTS {
        let socket = TcpSocket::new_v4()?;
        match socket.bind((Ipv4Addr::UNSPECIFIED, turns.next_port()).into()) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => continue,
            bound => bound?,
        }
        let opened = timeout(PATIENCE, socket.connect(target)).await;
        return opened.unwrap_or_else(|_| Err(io::Error::new(ErrorKind::TimedOut, "no answer to the SYN")));
    }
    Err(io::Error::new(ErrorKind::AddrInUse, "no source port is free"))
}

fn check(answer: &str) -> Result<String, String> {
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("an answer without an end to its head")?;
    let status = head.lines().next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 200 ") {
        return Err(format!("an answer that begins '{status}'"));
    }
    page::author(body)
        .map(str::to_owned)
        .ok_or_else(|| format!("an answer cut short at {} bytes", body.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn every_answer_of_the_built_in_server_is_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        std::thread::spawn(move || super::super::http_server::run("rs7", &[address]));
        let listening = || TcpStream::connect(address).is_ok();
        assert!((0..500).any(|_| listening() || {
            std::thread::sleep(PATIENCE / 300);
            false
        }));
        let answers = run(address, 50, 4).unwrap();
        assert_eq!(answers.by_server, BTreeMap::from([("rs7".to_owned(), 50)]));
        assert_eq!(answers.failure, None);
    }

    #[test]
    fn a_dead_target_ends_the_run_early() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let answers = run(address, u64::MAX, 1).unwrap();
        assert_eq!(answers.total(), 0);
        assert!(answers.failure.unwrap().starts_with("connecting to 127.0.0.1"));
    }

    #[test]
    fn short_and_strange_answers_are_failures() {
        let page = page::page("rs1");
        assert_eq!(check(&format!("HTTP/1.1 200 OK\r\n\r\n{page}")), Ok("rs1".into()));
        assert!(check(&format!("HTTP/1.1 404 Not Found\r\n\r\n{page}")).unwrap_err().contains("404"));
        assert!(check(&format!("HTTP/1.1 200 OK\r\n\r\n{}", &page[..99])).unwrap_err().contains("99 bytes"));
        assert!(check("").is_err());
    }
}
