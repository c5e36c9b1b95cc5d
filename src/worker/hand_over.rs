//! Hand-over of frames between workers.
//!
//! An ICMP error arrives on another queue than the flow that it is about, and so does a fragment. A worker that does
//! not know the flow copies the frame and passes it on in a ring: each worker that does not know the flow either
//! passes it to the next one, and the frame ends where it began. So at any moment at most one worker has the frame,
//! and it is forwarded or counted as dropped once.
//!
//! A worker that sleeps is woken. All buffers are allocated at the start. A frame is dropped while every buffer is in use, or if it is longer than one.

use crate::sys::Sleeper;
use crate::time::Tick;
use crossbeam::queue::ArrayQueue;
use std::io;
use std::sync::Arc;

/// Buffers for each worker.
const BUFFERS: usize = 64;
/// Longest frame, in bytes: jumbo frames fit.
const FRAME_MAX: usize = 9216;

/// A copied frame on its way.
pub struct HandedFrame {
    bytes: Box<[u8]>,
    len: usize,
    /// Number of the worker that received it.
    origin: usize,
    /// Time until which a fragment waits for the first one of its packet, once it does.
    pub(super) held_until: Option<Tick>,
}

/// One worker's access to the ring.
#[derive(Clone)]
pub struct HandOver {
    ring: Arc<InboxRing>,
    /// Number of this worker.
    own: usize,
}

/// The inboxes of all workers.
struct InboxRing {
    free: ArrayQueue<HandedFrame>,
    /// By worker.
    inboxes: Box<[Inbox]>,
}

/// The frames for one worker.
struct Inbox {
    /// With room for all buffers.
    frames: ArrayQueue<HandedFrame>,
    sleeper: Sleeper,
}

impl HandedFrame {
    /// The frame, from the Ethernet header on.
    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}

impl HandOver {
    /// Creates the ring of `workers` workers. Returns the access of each, in order.
    ///
    /// # Errors
    /// Errors of eventfd(2).
    pub fn ring(workers: usize) -> io::Result<Vec<Self>> {
        let buffers = workers * BUFFERS;
        let free = ArrayQueue::new(buffers);
        for _ in 0..buffers {
            let bytes = vec![0; FRAME_MAX].into();
            let _ = free.push(HandedFrame { bytes, len: 0, origin: 0, held_until: None }); // there is room
        }
        let inbox = |_| Ok(Inbox { frames: ArrayQueue::new(buffers), sleeper: Sleeper::new()? });
        let inboxes = (0..workers).map(inbox).collect::<io::Result<_>>()?;
        let ring = Arc::new(InboxRing { free, inboxes });
        Ok((0..workers).map(|own| Self { ring: Arc::clone(&ring), own }).collect())
    }

    /// The access of a single worker.
    ///
    /// # Errors
    /// Errors of eventfd(2).
    pub fn alone() -> io::Result<Self> {
        Ok(Self::ring(1)?.remove(0))
    }

    /// Wakes every worker that sleeps.
    pub fn wake_all(&self) {
        self.ring.inboxes.iter().for_each(|inbox| inbox.sleeper.wake());
    }

    /// True if there is no other worker.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.ring.inboxes.len() < 2
    }

    /// Passes a copy of a received frame to the next worker. Returns false if it was not.
    #[must_use]
    pub fn begin(&self, frame: &[u8]) -> bool {
        let copy = if self.is_alone() { None } else { self.copy(frame) };
        copy.map(|copy| self.pass(copy)).is_some()
    }

    /// Copies a received frame; `None` if it is too long, or every buffer is in use.
    #[must_use]
    pub fn copy(&self, frame: &[u8]) -> Option<HandedFrame> {
        if frame.len() > FRAME_MAX {
            return None;
        }
        let mut copy = self.ring.free.pop()?;
        copy.bytes[..frame.len()].copy_from_slice(frame);
        (copy.len, copy.origin, copy.held_until) = (frame.len(), self.own, None);
        Some(copy)
    }

    /// Takes the next frame of this worker's inbox.
    #[must_use]
    pub fn take(&self) -> Option<HandedFrame> {
        self.inbox().frames.pop()
    }

    /// Calls `sleep` with the sleeper that a frame for this worker wakes, unless its inbox has one.
    ///
    /// # Errors
    /// Errors of `sleep`.
    pub fn sleep(&self, sleep: impl FnOnce(&Sleeper) -> io::Result<()>) -> io::Result<()> {
        let Inbox { frames, sleeper } = self.inbox();
        sleeper.announce();
        let slept = if frames.is_empty() { sleep(sleeper) } else { Ok(()) };
        sleeper.wake_up();
        slept
    }

    fn inbox(&self) -> &Inbox {
        &self.ring.inboxes[self.own]
    }

    /// True if a frame has been at every other worker.
    #[must_use]
    pub fn has_returned(&self, frame: &HandedFrame) -> bool {
        frame.origin == self.own
    }

    /// Passes a frame to the next worker, and wakes it if it sleeps.
    pub fn pass(&self, frame: HandedFrame) {
        let next = &self.ring.inboxes[(self.own + 1) % self.ring.inboxes.len()];
        let _ = next.frames.push(frame); // there is room for all buffers
        next.sleeper.wake();
    }

    /// Frees the buffer of a frame.
    pub fn release(&self, frame: HandedFrame) {
        let _ = self.ring.free.push(frame); // there is room for all buffers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_passes_every_worker_once() {
        let ring = HandOver::ring(3).unwrap();
        assert!(ring[1].begin(b"frame"));
        for worker in [2, 0] {
            let mut frame = ring[worker].take().unwrap();
            assert_eq!(frame.bytes(), b"frame");
            assert!(!ring[worker].has_returned(&frame));
            ring[worker].pass(frame);
        }
        let frame = ring[1].take().unwrap();
        assert!(ring[1].has_returned(&frame));
        ring[1].release(frame);
        assert!(ring.iter().all(|worker| worker.take().is_none()));
    }

    #[test]
    fn frames_beyond_the_buffers_are_refused() {
        let ring = HandOver::ring(2).unwrap();
        assert!(!ring[0].begin(&[0; FRAME_MAX + 1]));
        assert!((0..2 * BUFFERS).all(|n| ring[0].begin(&[n as u8])));
        assert!(!ring[0].begin(b"one too many"));
        let frame = ring[1].take().unwrap();
        ring[1].release(frame);
        assert!(ring[0].begin(b"a free buffer"));
    }

    #[test]
    fn a_single_worker_hands_nothing_over() {
        let ring = HandOver::ring(1).unwrap();
        assert!(ring[0].is_alone() && !ring[0].begin(b"frame"));
    }
}
