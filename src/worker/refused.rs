//! Frames whose sender gets an answer from the director: an ICMP error or a TCP reset.
//!
//! A worker copies the head of such a frame. The control thread limits the rate, builds the answers and sends them.

use crate::stats::DropReason;
use crossbeam::queue::ArrayQueue;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use tokio::sync::Notify;

/// Most frames that wait for an answer.
const WAITING: usize = 256;
/// Bytes kept of a frame. An ICMP error quotes at least the headers and eight bytes (RFC 792); RFC 4443 section 2.4 asks
/// for more, which a refused SYN does not have.
pub const HEAD_MAX: usize = 256;

/// Head of a refused frame, which came from the client interface.
#[derive(Clone, Debug)]
pub struct RefusedFrame {
    /// Reason of the drop.
    pub reason: DropReason,
    head: [u8; HEAD_MAX],
    len: usize,
}

/// Refused frames of all workers, for the control thread.
#[derive(Debug)]
pub struct RefusedFrames {
    waiting: ArrayQueue<RefusedFrame>,
    /// True from a notification until the control thread takes the frames: one wake-up serves many frames.
    notified: AtomicBool,
    notify: Notify,
}

impl RefusedFrame {
    /// The head of `frame`.
    #[must_use]
    pub fn new(reason: DropReason, frame: &[u8]) -> Self {
        let len = frame.len().min(HEAD_MAX);
        let mut head = [0; HEAD_MAX];
        head[..len].copy_from_slice(&frame[..len]);
        Self { reason, head, len }
    }

    /// The first bytes of the frame, from the Ethernet header on.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.head[..self.len]
    }
}

impl Default for RefusedFrames {
    fn default() -> Self {
        Self { waiting: ArrayQueue::new(WAITING), notified: AtomicBool::new(false), notify: Notify::new() }
    }
}

impl RefusedFrames {
    /// Adds a frame. Returns false, and drops it, if too many wait.
    pub fn push(&self, frame: RefusedFrame) -> bool {
        self.waiting.push(frame).is_ok()
    }

    /// Notifies the control thread of added frames, once until it takes them.
    pub fn notify(&self) {
        if !self.notified.swap(true, SeqCst) {
            self.notify.notify_one();
        }
    }

    /// Waits for a notification.
    pub async fn notified(&self) {
        self.notify.notified().await;
    }

    /// Takes the waiting frames.
    pub fn take(&self) -> impl Iterator<Item = RefusedFrame> {
        // First: a frame added from here on is notified of again. Bounded, as workers may add frames faster.
        self.notified.store(false, SeqCst);
        (0..WAITING).map_while(|_| self.waiting.pop())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(n: u8) -> RefusedFrame {
        RefusedFrame::new(DropReason::NoServer, &[n; 300])
    }

    #[test]
    fn heads_are_kept_and_excess_frames_dropped() {
        let refused = RefusedFrames::default();
        assert!((0..WAITING).all(|n| refused.push(frame(n as u8))));
        assert!(!refused.push(frame(0)));
        let taken: Vec<_> = refused.take().collect();
        assert_eq!(taken.len(), WAITING);
        assert_eq!(taken[7].head(), [7; HEAD_MAX]);
    }

    #[tokio::test]
    async fn one_notification_serves_many_frames() {
        let refused = RefusedFrames::default();
        for n in 0..3 {
            assert!(refused.push(frame(n)));
            refused.notify();
        }
        refused.notified().await;
        assert_eq!(refused.take().count(), 3);
        let waits = tokio::time::timeout(std::time::Duration::from_millis(20), refused.notified());
        assert!(waits.await.is_err(), "no second notification");
        assert!(refused.push(frame(3)));
        refused.notify();
        refused.notified().await;
    }
}
