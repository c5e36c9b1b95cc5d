//! ClientAnswers to refused frames: ICMP errors and TCP resets, at a limited rate.

use super::token_bucket::TokenBucket;
use crate::control::log::limit::LogLimiter;
use crate::io::{FrameSender, Interface};
use crate::model::{Diagnostic, Reject};
use crate::stats::{Counter, DropReason};
use crate::wire::answer::{self, ANSWER_MAX, Answer};
use crate::worker::refused::RefusedFrame;
use std::time::Instant;

/// Most answers per second, and at once: Linux's `icmp_msgs_per_sec` and `icmp_msgs_burst`.
const RATE: u32 = 1000;
const BURST: u32 = 50;

/// The sender of answers on the client interface.
pub struct ClientAnswers {
    sender: FrameSender,
    bucket: TokenBucket,
    limiter: LogLimiter<&'static str>,
    /// ClientAnswers sent.
    pub sent: Counter,
    /// ClientAnswers not sent because of the rate limit.
    pub limited: Counter,
}

impl ClientAnswers {
    /// Opens the sender.
    ///
    /// # Errors
    /// Errors of [`FrameSender::open`].
    pub fn open(interface: &Interface) -> Result<Self, Diagnostic> {
        Ok(Self {
            sender: FrameSender::open(interface)?,
            bucket: TokenBucket::new(RATE, BURST, Instant::now()),
            limiter: LogLimiter::default(),
            sent: Counter::default(),
            limited: Counter::default(),
        })
    }

    /// ClientAnswers a refused frame, unless `reject` or the packet forbids it.
    pub fn answer(&mut self, refused: &RefusedFrame, reject: Reject, now: Instant) {
        let Some(kind) = kind(refused.reason, reject) else { return };
        if self.bucket.is_empty(now) {
            self.limited.add(1);
            return;
        }
        let mut frame = [0; ANSWER_MAX];
        let Some(len) = answer::write(kind, refused.head(), &mut frame) else { return };
        self.bucket.take(now);
        match self.sender.send(&frame[..len]) {
            Ok(()) => self.sent.add(1),
            Err(error) => {
                self.limiter.log("send", now, || tracing::warn!(%error, "sending an answer failed"))
            }
        }
    }
}

/// The answer to a frame that was dropped for this reason.
fn kind(reason: DropReason, reject: Reject) -> Option<Answer> {
    match (reason, reject) {
        (DropReason::TtlExceeded, _) => Some(Answer::TimeExceeded),
        (DropReason::NoServer, Reject::Icmp) => Some(Answer::PortUnreachable),
        (DropReason::NoServer, Reject::Reset) => Some(Answer::Reset),
        _ => None,
    }
}
