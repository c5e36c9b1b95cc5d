//! The client: many connections, one request each, every answer checked and counted by server.

use super::page;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// So long may a connection take to open, and an answer to come.
const PATIENCE: Duration = Duration::from_secs(3);
/// More than one page, in bytes.
const ANSWER_MAX: u64 = 64 << 10;
/// So many failures without a success between them end the run: the rest would fail as well.
const FAILURES_MAX: u64 = 5;

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
#[must_use]
pub fn run(target: SocketAddr, connections: u64, concurrency: u16) -> Answers {
    let turns = Turns { left: AtomicU64::new(connections), failures: AtomicU64::new(0) };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..concurrency).map(|_| scope.spawn(|| work(target, &turns))).collect();
        let answers = workers.into_iter().filter_map(|worker| worker.join().ok());
        answers.fold(Answers::default(), Answers::add)
    })
}

struct Turns {
    left: AtomicU64,
    /// In a row.
    failures: AtomicU64,
}

impl Turns {
    fn next(&self) -> bool {
        let hopeless = self.failures.load(Ordering::Relaxed) >= FAILURES_MAX;
        !hopeless
            && self
                .left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                .is_ok()
    }
}

fn work(target: SocketAddr, turns: &Turns) -> Answers {
    let mut answers = Answers::default();
    while turns.next() {
        match fetch(target) {
            Ok(server) => {
                turns.failures.store(0, Ordering::Relaxed);
                *answers.by_server.entry(server).or_default() += 1;
            }
            Err(failure) => {
                turns.failures.fetch_add(1, Ordering::Relaxed);
                answers.failure.get_or_insert(failure);
            }
        }
    }
    answers
}

/// One connection, one request; the name of the server that answered.
fn fetch(target: SocketAddr) -> Result<String, String> {
    let told = |what: &'static str| move |error: std::io::Error| format!("{what} {target}: {error}");
    let mut stream = TcpStream::connect_timeout(&target, PATIENCE).map_err(told("connecting to"))?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(told("waiting for"))?;
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", target.ip());
    stream.write_all(request.as_bytes()).map_err(told("asking"))?;
    let mut answer = String::new();
    stream.take(ANSWER_MAX).read_to_string(&mut answer).map_err(told("reading the answer of"))?;
    check(&answer)
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
    use std::net::TcpListener;

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
        let answers = run(address, 50, 4);
        assert_eq!(answers.by_server, BTreeMap::from([("rs7".to_owned(), 50)]));
        assert_eq!(answers.failure, None);
    }

    #[test]
    fn a_dead_target_ends_the_run_early() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let answers = run(address, u64::MAX, 1);
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
