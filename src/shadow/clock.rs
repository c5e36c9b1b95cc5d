//! Clock of the shadow table beside that of the workers.

use crate::time::{SecondTick, Span, Tick};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Converts between ticks, whose zero is the start of a process, and seconds of CLOCK_MONOTONIC, which all processes of a
/// boot have in common. Its clones share one pair of readings, which is renewed more often than ticks wrap.
#[derive(Clone, Debug)]
pub struct ShadowClock(Arc<AtomicU64>);

impl ShadowClock {
    /// Creates a clock from two readings of the same moment.
    #[must_use]
    pub fn new(tick: Tick, second: SecondTick) -> Self {
        Self(Arc::new(AtomicU64::new(word(tick, second))))
    }

    /// Renews the readings, at least every few days.
    pub fn renew(&self, tick: Tick, second: SecondTick) {
        self.0.store(word(tick, second), Relaxed);
    }

    /// The second of a tick that is not before the last renewal, or a few seconds at most.
    #[must_use]
    pub fn second(&self, tick: Tick) -> SecondTick {
        let (at, second) = self.readings();
        second.after(tick.since(at).secs())
    }

    /// The tick of a deadline; `now` once it is reached.
    #[must_use]
    pub fn tick(&self, deadline: SecondTick, now: Tick) -> Tick {
        now.after(Span::from_secs(deadline.since(self.second(now))))
    }

    /// The second of a deadline, rounded up: an entry lives no shorter than its connection.
    #[must_use]
    pub fn deadline(&self, deadline: Tick, now: Tick) -> SecondTick {
        self.second(now).after(deadline.since(now).millis().div_ceil(1000))
    }

    fn readings(&self) -> (Tick, SecondTick) {
        let word = self.0.load(Relaxed);
        (Tick((word >> 32) as u32), SecondTick::new(word as u32))
    }
}

fn word(tick: Tick, second: SecondTick) -> u64 {
    u64::from(tick.0) << 32 | u64::from(second.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_convert_both_ways_across_both_wraps() {
        let start = (Tick(u32::MAX - 1500), SecondTick::new((1 << 24) - 2));
        let clock = ShadowClock::new(start.0, start.1);
        let now = start.0.after(Span::from_secs(3));
        assert_eq!(clock.second(now), SecondTick::new(1));
        let deadline = now.after(Span::from_secs(900));
        assert_eq!(clock.deadline(deadline, now), SecondTick::new(901));
        assert_eq!(clock.tick(SecondTick::new(901), now), deadline);
        assert_eq!(clock.tick(SecondTick::new(0), now), now, "it is reached");
        assert_eq!(clock.deadline(now.after(Span::from_millis(1)), now), SecondTick::new(2), "rounded up");
        clock.renew(now, SecondTick::new(1));
        assert_eq!(clock.second(now.after(Span::from_secs(5))), SecondTick::new(6));
    }
}
