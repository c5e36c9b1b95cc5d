//! Fragments that arrived before the first fragment of their packet.

use super::hand_over::HandedFrame;
use crate::time::{Span, Tick};

/// Time for the first fragment to arrive.
const PATIENCE: Span = Span::from_millis(200);
/// Most fragments of a worker: half of its share of the buffers.
const HELD_MAX: usize = 32;
/// Most fragments of a packet.
const PER_PACKET: usize = 8;

/// Held fragments of a worker.
#[derive(Default)]
pub(super) struct HeldFragments(Vec<Held>);

struct Held {
    /// [`crate::forward::Forwarder::packet_digest`].
    digest: u64,
    until: Tick,
    frame: HandedFrame,
}

impl HeldFragments {
    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(HELD_MAX))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Holds a fragment, for the rest of its time if it has been held before. Returns it if there is no room or no time.
    pub(super) fn hold(&mut self, digest: u64, mut frame: HandedFrame, now: Tick) -> Option<HandedFrame> {
        let until = *frame.held_until.get_or_insert(now.after(PATIENCE));
        let of_packet = self.0.iter().filter(|held| held.digest == digest).count();
        if self.0.len() == HELD_MAX || of_packet == PER_PACKET || now.reached(until) {
            return Some(frame);
        }
        self.0.push(Held { digest, until, frame });
        None
    }

    /// Takes a fragment of one of these packets, in order of arrival.
    pub(super) fn take_of(&mut self, digests: &[u64]) -> Option<HandedFrame> {
        let at = self.0.iter().position(|held| digests.contains(&held.digest))?;
        Some(self.0.remove(at).frame)
    }

    /// Takes a fragment whose time is over.
    pub(super) fn take_expired(&mut self, now: Tick) -> Option<HandedFrame> {
        let at = self.0.iter().position(|held| now.reached(held.until))?;
        Some(self.0.remove(at).frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::hand_over::HandOver;

    const NOW: Tick = Tick(u32::MAX - 50);

    fn after(ms: u32) -> Tick {
        NOW.after(Span::from_millis(ms))
    }

    #[test]
    fn fragments_are_taken_by_packet_in_order() {
        let (pool, mut held) = (HandOver::alone().unwrap(), HeldFragments::new());
        for (digest, byte) in [(1, 10), (2, 20), (1, 11)] {
            assert!(held.hold(digest, pool.copy(&[byte]).unwrap(), NOW).is_none());
        }
        let mut take = |digests: &[u64]| held.take_of(digests).map(|mut frame| frame.bytes()[0]);
        assert_eq!([take(&[1, 3]), take(&[1, 3]), take(&[1, 3])], [Some(10), Some(11), None]);
        assert_eq!(take(&[2]), Some(20));
    }

    #[test]
    fn fragments_expire_and_are_not_held_longer_again() {
        let (pool, mut held) = (HandOver::alone().unwrap(), HeldFragments::new());
        assert!(held.hold(1, pool.copy(&[1]).unwrap(), NOW).is_none());
        assert!(held.take_expired(after(199)).is_none());
        let frame = held.take_of(&[1]).unwrap();
        assert!(held.hold(1, frame, after(150)).is_none());
        assert!(held.take_expired(after(199)).is_none());
        let frame = held.take_expired(after(200)).unwrap();
        assert!(held.hold(1, frame, after(200)).is_some(), "its time is over");
    }

    #[test]
    fn fragments_beyond_the_bounds_are_returned() {
        let (pool, mut held) = (HandOver::ring(2).unwrap().remove(0), HeldFragments::new());
        let mut accepted = |digest| held.hold(digest, pool.copy(&[0]).unwrap(), NOW).is_none();
        assert_eq!((0..10).filter(|_| accepted(1)).count(), PER_PACKET);
        assert_eq!((2..100).filter(|digest| accepted(*digest)).count(), HELD_MAX - PER_PACKET);
    }
}
