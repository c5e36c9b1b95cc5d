//! Answers to pings of VIPs, on the control thread: workers never see an echo request.

use super::log::limit::LogLimiter;
use super::token_bucket::TokenBucket;
use crate::io::{AsyncFrameSocket, FrameKind, FrameSocket, Interface};
use crate::model::Diagnostic;
use crate::stats::Counter;
use crate::wire::echo::EchoRequest;
use crate::wire::vlan::Vlans;
use std::collections::BTreeSet;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Instant;

/// Most replies a second, and at once.
const RATE: u32 = 1_000;
const BURST: u32 = 100;
/// Frames read before other events are served.
const READ_MAX: usize = 64;
/// Longest Ethernet header.
const LINK_MAX: usize = 14 + 8;

/// Counters of pings. Readable by any thread.
#[derive(Debug, Default)]
pub struct PingCounters {
    /// Replies sent.
    pub answered: Counter,
    /// Requests without a reply because of the rate limit.
    pub limited: Counter,
}

/// The socket for pings, not yet registered with a runtime.
#[derive(Debug)]
pub struct PingSocket {
    socket: FrameSocket,
    mtu: usize,
}

impl PingSocket {
    /// Opens it on the client side.
    ///
    /// # Errors
    /// As [`FrameSocket::open`].
    pub fn open(interface: &Interface) -> Result<Self, Diagnostic> {
        let socket = FrameSocket::open(interface, FrameKind::Echo)?;
        Ok(Self { socket, mtu: interface.mtu as usize })
    }
}

/// Reads echo requests and sends replies.
pub struct PingResponder {
    socket: AsyncFrameSocket,
    frame: Vec<u8>,
    bucket: TokenBucket,
    limiter: LogLimiter<&'static str>,
    counters: Arc<PingCounters>,
}

impl PingResponder {
    /// Registers the socket with the current runtime.
    ///
    /// # Errors
    /// Errors of epoll(7).
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub fn new(opened: PingSocket) -> io::Result<Self> {
        Ok(Self {
            socket: AsyncFrameSocket::new(opened.socket)?,
            frame: vec![0; opened.mtu + LINK_MAX],
            bucket: TokenBucket::new(RATE, BURST, Instant::now()),
            limiter: LogLimiter::default(),
            counters: Arc::default(),
        })
    }

    /// The counters.
    #[must_use]
    pub fn counters(&self) -> Arc<PingCounters> {
        Arc::clone(&self.counters)
    }

    /// Waits until there may be a request. An error of epoll(7) ends no wait: the sockets of neighbors report it.
    pub async fn readable(&self) {
        if poll_fn(|context| self.socket.poll_readable(context)).await.is_err() {
            std::future::pending().await
        }
    }

    /// Receives requests of these outer VLANs, too.
    pub fn select_vlans(&self, outer: &BTreeSet<u16>) {
        if let Err(error) = self.socket.socket().select_vlans(outer) {
            tracing::error!(%error, "selecting the pings of VLANs failed: they get no answer");
        }
    }

    /// Answers the requests that are there and that `answers` selects by their VLANs and addresses.
    pub fn serve(&mut self, mut answers: impl FnMut(Vlans, &EchoRequest) -> bool, now: Instant) {
        for _ in 0..READ_MAX {
            let request = match self.socket.receive(&mut self.frame) {
                Ok(frame) => Vlans::of_frame(frame).zip(EchoRequest::parse(frame).ok()),
                Err(error) => return self.log_failure(error, now),
            };
            let Some((_, request)) = request.filter(|(vlans, request)| answers(*vlans, request)) else {
                continue;
            };
            if !self.bucket.take(now) {
                self.counters.limited.add(1);
                continue;
            }
            let Some(reply) = request.reply(&mut self.frame) else { continue };
            // A reply that the interface does not take is lost, as any frame may be.
            if self.socket.send(reply).is_ok() {
                self.counters.answered.add(1);
            }
        }
    }

    fn log_failure(&mut self, error: io::Error, now: Instant) {
        if error.kind() != io::ErrorKind::WouldBlock {
            self.limiter.log("receiving pings", now, || tracing::warn!(%error, "receiving pings failed"));
        }
    }
}
