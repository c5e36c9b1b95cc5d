//! Answers to refused frames: ICMP errors and TCP resets, at a limited rate.

use super::log::limit::LogLimiter;
use super::token_bucket::TokenBucket;
use crate::io::{FrameSender, Interface};
use crate::model::{Diagnostic, Reject};
use crate::stats::{Counter, DropReason};
use crate::wire::answer::{self, ANSWER_MAX, Answer};
use crate::worker::refused::RefusedFrame;
use std::sync::Arc;
use std::time::Instant;

/// Most answers per second, and at once: Linux's `icmp_msgs_per_sec` and `icmp_msgs_burst`.
const RATE: u32 = 1000;
const BURST: u32 = 50;

/// The sender of answers on the client interface.
pub struct ClientAnswers {
    sender: FrameSender,
    /// MTU towards the real servers at the start, in bytes.
    start_mtu: u32,
    /// The present one, unless it is larger: AF_XDP keeps to the one of the start.
    mtu: u32,
    bucket: TokenBucket,
    limiter: LogLimiter<&'static str>,
    counters: Arc<AnswerCounters>,
}

/// Counters of answers, by kind. Readable by any thread.
#[derive(Debug, Default)]
pub struct AnswerCounters([KindCounters; KINDS.len()]);

/// Counters of one kind of answer.
#[derive(Debug, Default)]
pub struct KindCounters {
    /// Answers sent.
    pub sent: Counter,
    /// Answers not sent because of the rate limit.
    pub limited: Counter,
}

/// Names of the kinds in metrics.
const KINDS: [&str; 4] = ["port_unreachable", "time_exceeded", "reset", "too_big"];

impl AnswerCounters {
    /// The counters of each kind, by its name.
    pub fn by_kind(&self) -> impl Iterator<Item = (&'static str, &KindCounters)> {
        KINDS.into_iter().zip(&self.0)
    }

    fn of(&self, kind: Answer) -> &KindCounters {
        &self.0[match kind {
            Answer::PortUnreachable => 0,
            Answer::TimeExceeded => 1,
            Answer::Reset => 2,
            Answer::TooBig { .. } => 3,
        }]
    }
}

impl ClientAnswers {
    /// Opens the sender. `interfaces` are the client side, then the server side if it is another.
    ///
    /// # Errors
    /// Errors of [`FrameSender::open`].
    ///
    /// # Panics
    /// If there is no interface.
    pub fn open(interfaces: &[Interface]) -> Result<Self, Diagnostic> {
        let mtu = interfaces[interfaces.len() - 1].mtu;
        Ok(Self {
            sender: FrameSender::open(&interfaces[0])?,
            start_mtu: mtu,
            mtu,
            bucket: TokenBucket::new(RATE, BURST, Instant::now()),
            limiter: LogLimiter::default(),
            counters: Arc::default(),
        })
    }

    /// The counters.
    #[must_use]
    pub fn counters(&self) -> Arc<AnswerCounters> {
        Arc::clone(&self.counters)
    }

    /// Sets the present MTU towards the real servers, in bytes.
    pub fn set_mtu(&mut self, mtu: u32) {
        self.mtu = mtu.min(self.start_mtu);
    }

    /// Answers a refused frame, unless `reject` or the packet forbids it.
    pub fn answer(&mut self, refused: &RefusedFrame, reject: Reject, now: Instant) {
        let Some(kind) = self.kind(refused.reason, reject) else { return };
        if self.bucket.is_empty(now) {
            self.counters.of(kind).limited.add(1);
            return;
        }
        let mut frame = [0; ANSWER_MAX];
        let Some(written) = answer::write(kind, refused.head(), &mut frame) else { return };
        self.bucket.take(now);
        match self.sender.send(&frame[..written.len]) {
            Ok(()) => self.counters.of(written.kind).sent.add(1),
            Err(error) => {
                self.limiter.log("send", now, || tracing::warn!(%error, "sending an answer failed"))
            }
        }
    }

    /// The answer to a frame that was dropped for this reason.
    fn kind(&self, reason: DropReason, reject: Reject) -> Option<Answer> {
        match (reason, reject) {
            (DropReason::TtlExceeded, _) => Some(Answer::TimeExceeded),
            (DropReason::TooLong, _) => Some(Answer::TooBig { mtu: self.mtu }),
            (DropReason::NoServer, Reject::Icmp) => Some(Answer::PortUnreachable),
            (DropReason::NoServer, Reject::Reset) => Some(Answer::Reset),
            // An ICMP error ends no established connection of TCP (RFC 5461 section 3).
            (DropReason::ServerDown, Reject::Icmp | Reject::Reset) => Some(Answer::Reset),
            _ => None,
        }
    }
}
