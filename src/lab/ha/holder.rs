//! Client of the drill: holds connections, and a flow of datagrams by which it measures silence.
//!
//! It takes a command from each line of its standard input, and answers each by a line of JSON.

use crate::sys::poll;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, Write};
use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Longest wait for an echo: TCP sends again for several times within it.
const ECHO_MAX: Duration = Duration::from_secs(15);
/// Interval of datagrams.
const PROBE: Duration = Duration::from_millis(1);
/// Descriptors of connections, and some more.
const FILES: u64 = 65_536;

/// Reason for which the lock is never poisoned.
const PROBED: &str = "the thread of the datagrams does not panic";

/// Command to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HolderCommand {
    /// Open connections until there are so many.
    Open(usize),
    /// Measure silence anew.
    Reset,
    /// Send over each connection, and drop those without an echo.
    Check,
}

/// Answer of the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderAnswer {
    /// Connections that have echoed or were opened.
    pub alive: usize,
    /// Connections that were dropped by this command.
    pub lost: usize,
    /// Longest time between two answers to datagrams, in microseconds, since the last reset.
    pub silence_us: u64,
    /// Datagrams without an answer between the last reset and this command.
    pub unanswered: u64,
}

/// The flow of numbered datagrams.
#[derive(Debug, Default)]
struct ProbeFlow {
    silence_us: AtomicU64,
    /// Number of the next datagram.
    next: AtomicU64,
    /// Numbers of the answers since the last reset.
    answered: Mutex<Vec<u64>>,
}

impl ProbeFlow {
    /// Measures anew. Returns the number of the next datagram.
    fn reset(&self) -> u64 {
        self.silence_us.store(0, Relaxed);
        self.answered.lock().expect(PROBED).clear();
        self.next.load(Relaxed)
    }

    /// Datagrams of these numbers without an answer.
    fn unanswered(&self, numbers: Range<u64>) -> u64 {
        let answered = self.answered.lock().expect(PROBED);
        let count = answered.iter().filter(|number| numbers.contains(number)).count() as u64;
        numbers.end.saturating_sub(numbers.start).saturating_sub(count)
    }
}

/// Runs the client until its standard input ends.
///
/// # Errors
/// Errors of sockets, and of a command that is none.
pub fn run(target: SocketAddr) -> io::Result<()> {
    raise_file_limit();
    let flow = Arc::new(ProbeFlow::default());
    let probed = Arc::clone(&flow);
    let socket = probe_socket(target)?;
    std::thread::spawn(move || probe(&socket, &probed));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut held, mut number, mut first) = (Vec::new(), 0, 0);
    for line in io::stdin().lock().lines() {
        let (before, next) = (held.len(), flow.next.load(Relaxed));
        match serde_json::from_str(&line?)? {
            HolderCommand::Open(count) => runtime.block_on(open(target, count, &mut held)),
            HolderCommand::Reset => first = flow.reset(),
            HolderCommand::Check => {
                number += 1;
                runtime.block_on(check(&mut held, number));
            }
        }
        let lost = before.saturating_sub(held.len());
        let (silence_us, unanswered) = (flow.silence_us.load(Relaxed), flow.unanswered(first..next));
        let answer = HolderAnswer { alive: held.len(), lost, silence_us, unanswered };
        println!("{}", serde_json::to_string(&answer)?);
        io::stdout().flush()?;
    }
    Ok(())
}

/// Opens connections, some at a time.
async fn open(target: SocketAddr, count: usize, held: &mut Vec<TcpStream>) {
    const AT_ONCE: usize = 100;
    while held.len() < count {
        let mut opening = JoinSet::new();
        for _ in 0..AT_ONCE.min(count - held.len()) {
            opening.spawn(timeout(ECHO_MAX, TcpStream::connect(target)));
        }
        let opened: Vec<_> = opening.join_all().await.into_iter().filter_map(|of| of.ok()?.ok()).collect();
        if opened.is_empty() {
            return; // nothing answers: the number tells
        }
        held.extend(opened);
    }
    check(held, 0).await;
}

/// Drops the connections that do not echo a number.
async fn check(held: &mut Vec<TcpStream>, number: u64) {
    let mut checks = JoinSet::new();
    for mut stream in held.drain(..) {
        checks.spawn(async move {
            let echoed = timeout(ECHO_MAX, echoes(&mut stream, number)).await;
            echoed.is_ok_and(|echoed| echoed.is_ok_and(|is_same| is_same)).then_some(stream)
        });
    }
    held.extend(checks.join_all().await.into_iter().flatten());
}

async fn echoes(stream: &mut TcpStream, number: u64) -> io::Result<bool> {
    stream.write_u64(number).await?;
    Ok(stream.read_u64().await? == number)
}

fn probe_socket(target: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr =
        if target.is_ipv4() { ([0; 4], 0).into() } else { (std::net::Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.connect(target)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Sends a datagram each millisecond, and keeps the longest time between two answers.
fn probe(socket: &UdpSocket, flow: &ProbeFlow) {
    let (mut answered, mut sent) = (Instant::now(), Instant::now());
    loop {
        if sent.elapsed() >= PROBE {
            let number = flow.next.fetch_add(1, Relaxed);
            let _ = socket.send(&number.to_be_bytes()); // no route, or a port that is not yet bound
            sent = Instant::now();
        }
        // The timeouts of sockets end with a tick of the kernel, which may be 10 ms long.
        let _ = poll::wait(&mut [poll::for_input(socket)], PROBE.saturating_sub(sent.elapsed())); // recv(2) returns its errors
        let mut number = [0; 8];
        while socket.recv(&mut number).is_ok() {
            answered = Instant::now();
            flow.answered.lock().expect(PROBED).push(u64::from_be_bytes(number));
        }
        flow.silence_us.fetch_max(answered.elapsed().as_micros() as u64, Relaxed);
    }
}

/// Raises the limit of open files as far as it may be.
pub(super) fn raise_file_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, FILES.min(hard), hard); // the default does for small drills
    }
}
