//! Loss counters of a socket: the steering program's count compared with the socket's.

use crate::io::Lost;
use crate::io::bpf::RedirectCounts;
use std::time::{Duration, Instant};

/// Age of the program's count when the socket's is compared with it. A frame is in transit between them until
/// the end of the driver's poll, which takes far less.
const CONFIRM_AFTER: Duration = Duration::from_secs(1);

/// Counters of a socket at one moment, since it was opened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SocketCounters {
    /// Frames that the steering program has redirected, read last.
    pub(super) redirected: RedirectCounts,
    /// Frames received, with those in the receive ring.
    pub(super) received: u64,
    /// XDP_STATISTICS of linux/if_xdp.h: the receive ring was full.
    pub(super) rx_ring_full: u64,
    /// XDP_STATISTICS: the fill ring was empty, or the frame was too long.
    pub(super) rx_dropped: u64,
}

/// Reports each loss once.
#[derive(Debug)]
pub(super) struct LossMeter {
    reported: Lost,
    /// The program's count whose frames have all arrived or are lost.
    confirmed: u64,
    /// A later count of the program, with its time, that becomes `confirmed` after [`CONFIRM_AFTER`].
    pending: (u64, Instant),
}

impl LossMeter {
    /// A meter without losses at the time `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self { reported: Lost::default(), confirmed: 0, pending: (0, now) }
    }

    /// Returns the frames lost since the last call.
    ///
    /// `rx_dropped` counts frames that found the fill ring empty and frames that were too long (`xsk_rcv_check`
    /// and `__xsk_rcv` in net/xdp/xsk.c). The program counts the latter before the kernel does.
    pub(super) fn update(&mut self, sample: SocketCounters, now: Instant) -> Lost {
        if now.duration_since(self.pending.1) >= CONFIRM_AFTER {
            (self.confirmed, self.pending) = (self.pending.0, (sample.redirected.frames, now));
        }
        let SocketCounters { redirected, received, rx_ring_full, rx_dropped } = sample;
        let too_long = redirected.too_long.min(rx_dropped);
        let lost = Lost {
            ring_full: rx_ring_full,
            no_buffer: rx_dropped - too_long,
            too_long,
            not_delivered: self.confirmed.saturating_sub(received + rx_ring_full + rx_dropped),
        };
        self.reported.raise(lost)
    }
}

impl Lost {
    /// Raises each count to that of `now`, where it is higher. Returns the increases.
    fn raise(&mut self, now: Self) -> Self {
        let raise =
            |before: &mut u64, now: u64| now.saturating_sub(std::mem::replace(before, now.max(*before)));
        Self {
            ring_full: raise(&mut self.ring_full, now.ring_full),
            no_buffer: raise(&mut self.no_buffer, now.no_buffer),
            too_long: raise(&mut self.too_long, now.too_long),
            not_delivered: raise(&mut self.not_delivered, now.not_delivered),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Updates a meter with these counters every half second.
    fn losses(samples: &[SocketCounters]) -> Vec<Lost> {
        let start = Instant::now();
        let mut losses = LossMeter::new(start);
        let at = |number: usize| start + Duration::from_millis(500 * number as u64);
        samples.iter().enumerate().map(|(number, sample)| losses.update(*sample, at(number))).collect()
    }

    fn redirected(frames: u64, too_long: u64) -> RedirectCounts {
        RedirectCounts { frames, too_long }
    }

    #[test]
    fn too_long_frames_do_not_count_as_no_buffer() {
        let sample = |too_long, rx_dropped| SocketCounters {
            redirected: redirected(10, too_long),
            received: 10 - rx_dropped,
            rx_dropped,
            ..SocketCounters::default()
        };
        let lost = losses(&[sample(0, 2), sample(3, 2), sample(3, 5), sample(3, 5)]);
        let sum = |count: fn(&Lost) -> u64| lost.iter().map(count).sum::<u64>();
        assert_eq!((sum(|one| one.no_buffer), sum(|one| one.too_long)), (2, 3), "{lost:?}");
        assert_eq!(sum(|one| one.not_delivered), 0);
    }

    #[test]
    fn undelivered_frames_are_reported_after_a_second() {
        let sample = |frames, received| SocketCounters {
            redirected: redirected(frames, 0),
            received,
            ..SocketCounters::default()
        };
        let lost = losses(&[
            sample(0, 0),
            sample(7, 0),
            sample(7, 0),
            sample(7, 0),
            sample(7, 0),
            sample(9, 0),
            sample(9, 2),
        ]);
        let lost: Vec<u64> = lost.iter().map(|one| one.not_delivered).collect();
        assert_eq!(lost, [0, 0, 0, 0, 7, 0, 0]);
    }

    #[test]
    fn frames_in_transit_are_not_lost() {
        let sample = |frames, received| SocketCounters {
            redirected: redirected(frames, 0),
            received,
            ..SocketCounters::default()
        };
        let lost = losses(&[
            sample(100, 40),
            sample(200, 150),
            sample(300, 240),
            sample(400, 360),
            sample(400, 400),
        ]);
        assert!(lost.iter().all(|one| *one == Lost::default()), "{lost:?}");
    }
}
