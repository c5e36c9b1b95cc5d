//! Frames whose sender gets an answer from the director: an ICMP error or a TCP reset.
//!
//! A worker copies the head of such a frame. The control thread limits the rate, builds the answers and sends them.

use crate::io::FrameHead;
use crate::stats::DropReason;
use crate::sys::{AsyncSleeper, Sleeper};
use crossbeam::queue::ArrayQueue;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most frames that wait for an answer.
const WAITING: usize = 256;
/// Shortest time between two wake-ups of the control thread, each a system call of a worker. Answers are limited to
/// one in that time anyway.
const INTERVAL: Duration = Duration::from_millis(1);

/// Head of a refused frame, which came from the client interface.
#[derive(Clone, Debug)]
pub struct RefusedFrame {
    /// Reason of the drop.
    pub reason: DropReason,
    head: FrameHead,
}

/// Refused frames of all workers, for the control thread.
#[derive(Debug)]
pub struct RefusedFrames {
    waiting: ArrayQueue<RefusedFrame>,
    /// The control thread's.
    sleeper: Arc<Sleeper>,
}

/// The control thread's end of [`RefusedFrames`].
#[derive(Debug)]
pub struct RefusedReceiver {
    frames: Arc<RefusedFrames>,
    sleeper: AsyncSleeper,
    /// Time before which the control thread does not wait for frames again.
    resumes_at: Instant,
}

impl RefusedFrame {
    /// The head of `frame`, with its MAC addresses as received.
    #[must_use]
    pub fn new(reason: DropReason, frame: &[u8]) -> Self {
        Self { reason, head: FrameHead::of(frame) }
    }

    /// The first bytes of the frame, from the Ethernet header on.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        self.head.bytes()
    }
}

impl RefusedFrames {
    /// Creates an empty queue.
    ///
    /// # Errors
    /// Errors of eventfd(2).
    pub fn new() -> io::Result<Self> {
        Ok(Self { waiting: ArrayQueue::new(WAITING), sleeper: Arc::new(Sleeper::new()?) })
    }

    /// Adds the head of a frame. Returns false, and drops it, if too many wait.
    pub fn push(&self, reason: DropReason, frame: &[u8]) -> bool {
        // First: in a flood most frames find no room, and are not copied.
        !self.waiting.is_full() && self.waiting.push(RefusedFrame::new(reason, frame)).is_ok()
    }

    /// Wakes the control thread for added frames, if it waits for some.
    pub fn notify(&self) {
        self.sleeper.wake();
    }
}

impl RefusedReceiver {
    /// Registers with the current runtime.
    ///
    /// # Errors
    /// Errors of epoll(7).
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub fn new(frames: Arc<RefusedFrames>) -> io::Result<Self> {
        let sleeper = AsyncSleeper::new(Arc::clone(&frames.sleeper))?;
        Ok(Self { frames, sleeper, resumes_at: Instant::now() })
    }

    /// Waits until there may be a frame, and for a millisecond since the last one.
    pub async fn ready(&self) {
        tokio::time::sleep_until(self.resumes_at.into()).await;
        self.sleeper.sleep_unless(|| !self.frames.waiting.is_empty()).await;
    }

    /// Takes the waiting frames.
    pub fn take(&mut self, now: Instant) -> impl Iterator<Item = RefusedFrame> {
        self.resumes_at = now + INTERVAL;
        // Bounded, as workers may add frames faster.
        (0..WAITING).map_while(|_| self.frames.waiting.pop())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::HEAD_MAX;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    fn queue() -> (Arc<RefusedFrames>, RefusedReceiver) {
        let frames = Arc::new(RefusedFrames::new().unwrap());
        (Arc::clone(&frames), RefusedReceiver::new(frames).unwrap())
    }

    fn push(frames: &RefusedFrames, n: u8) -> bool {
        frames.push(DropReason::NoServer, &[n; 400])
    }

    #[tokio::test]
    async fn heads_are_kept_and_excess_frames_dropped() {
        let (refused, mut receiver) = queue();
        assert!((0..WAITING).all(|n| push(&refused, n as u8)));
        assert!(!push(&refused, 0));
        let taken: Vec<_> = receiver.take(Instant::now()).collect();
        assert_eq!(taken.len(), WAITING);
        assert_eq!(taken[7].head(), [7; HEAD_MAX]);
    }

    #[tokio::test]
    async fn one_notification_serves_many_frames() {
        let (refused, mut receiver) = queue();
        for n in 0..3 {
            assert!(push(&refused, n));
            refused.notify();
        }
        receiver.ready().await;
        assert_eq!(receiver.take(Instant::now()).count(), 3);
        let waits = tokio::time::timeout(Duration::from_millis(20), receiver.ready());
        assert!(waits.await.is_err(), "no second notification");
        assert!(push(&refused, 3));
        refused.notify();
        receiver.ready().await;
        assert_eq!(receiver.take(Instant::now()).count(), 1);
    }

    #[tokio::test]
    async fn a_flood_wakes_the_control_thread_once_a_millisecond() {
        let (refused, mut receiver) = queue();
        let stop = Arc::new(AtomicBool::new(false));
        let flood = {
            let (refused, stop) = (Arc::clone(&refused), Arc::clone(&stop));
            std::thread::spawn(move || {
                while !stop.load(Relaxed) {
                    push(&refused, 0);
                    refused.notify();
                }
            })
        };
        let (begin, mut wake_ups) = (Instant::now(), 0);
        while begin.elapsed() < Duration::from_millis(100) {
            receiver.ready().await;
            wake_ups += 1;
            assert!(receiver.take(Instant::now()).count() <= WAITING);
        }
        stop.store(true, Relaxed);
        flood.join().unwrap();
        assert!((2..=begin.elapsed().as_millis() + 1).contains(&wake_ups), "{wake_ups}");
    }
}
