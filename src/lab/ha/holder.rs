//! Client of the drill: holds connections, and a flow of datagrams by which it measures silence.
//!
//! It takes a command from each line of its standard input, and answers each by a line of JSON.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, Write};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
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
}

/// Runs the client until its standard input ends.
///
/// # Errors
/// Errors of sockets, and of a command that is none.
pub fn run(target: SocketAddr) -> io::Result<()> {
    raise_file_limit();
    let silence = Arc::new(AtomicU64::new(0));
    let probed = Arc::clone(&silence);
    let socket = probe_socket(target)?;
    std::thread::spawn(move || probe(&socket, &probed));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut held, mut number) = (Vec::new(), 0);
    for line in io::stdin().lock().lines() {
        let before = held.len();
        match serde_json::from_str(&line?)? {
            HolderCommand::Open(count) => runtime.block_on(open(target, count, &mut held)),
            HolderCommand::Reset => silence.store(0, Relaxed),
            HolderCommand::Check => {
                number += 1;
                runtime.block_on(check(&mut held, number));
            }
        }
        let lost = before.saturating_sub(held.len());
        let answer = HolderAnswer { alive: held.len(), lost, silence_us: silence.load(Relaxed) };
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
    socket.set_read_timeout(Some(PROBE))?;
    Ok(socket)
}

/// Sends a datagram each millisecond, and keeps the longest time between two answers in microseconds.
fn probe(socket: &UdpSocket, silence: &AtomicU64) {
    let (mut answered, mut sent) = (Instant::now(), Instant::now());
    let mut bytes = [0; 16];
    loop {
        if sent.elapsed() >= PROBE {
            let _ = socket.send(&bytes); // no route, or a port that is not yet bound
            sent = Instant::now();
        }
        if socket.recv(&mut bytes).is_ok() {
            answered = Instant::now();
        }
        silence.fetch_max(answered.elapsed().as_micros() as u64, Relaxed);
    }
}

/// Raises the limit of open files as far as it may be.
pub(super) fn raise_file_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, FILES.min(hard), hard); // the default does for small drills
    }
}
