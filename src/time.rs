//! Time of the data path: a wrapping count of milliseconds, passed as a parameter. Nothing here reads a clock.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

/// Point in time, in milliseconds since the director started, modulo 2³².
///
/// The count wraps after 49.7 days. Two ticks compare correctly while they are less than 24.8 days apart,
/// which [`Span`] guarantees for every timeout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tick(pub u32);

/// Duration in milliseconds, at most [`Span::MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(u32);

impl Tick {
    /// Converts `now` to a tick, with `epoch` as tick 0.
    #[must_use]
    pub fn from_instant(now: Instant, epoch: Instant) -> Self {
        Self(now.duration_since(epoch).as_millis() as u32) // wraps, as ticks do
    }

    /// True once `self` is at or after `deadline`.
    #[inline]
    #[must_use]
    pub const fn reached(self, deadline: Tick) -> bool {
        (self.0.wrapping_sub(deadline.0) as i32) >= 0
    }

    /// The tick `span` after this one.
    #[inline]
    #[must_use]
    pub const fn after(self, span: Span) -> Tick {
        Tick(self.0.wrapping_add(span.0))
    }

    /// The earlier of two ticks.
    #[inline]
    #[must_use]
    pub const fn earlier(self, other: Tick) -> Tick {
        if other.reached(self) { self } else { other }
    }

    /// The later of two ticks.
    #[inline]
    #[must_use]
    pub const fn later(self, other: Tick) -> Tick {
        if self.reached(other) { self } else { other }
    }

    /// The span since `earlier`; zero if this tick is before it.
    #[inline]
    #[must_use]
    pub const fn since(self, earlier: Tick) -> Span {
        let gap = self.0.wrapping_sub(earlier.0);
        if (gap as i32) < 0 { Span(0) } else { Span(gap) }
    }
}

/// Point in time in seconds of the boot's monotonic clock, modulo 2²⁴: the same for all processes of a boot.
///
/// The count wraps after 194 days. Two of them compare correctly while they are less than 97 days apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SecondTick(u32);

impl SecondTick {
    /// Bits of the count.
    pub const BITS: u32 = 24;
    const MASK: u32 = (1 << Self::BITS) - 1;

    /// The second `count`, of which the lower [`SecondTick::BITS`] are kept.
    #[must_use]
    pub const fn new(count: u32) -> Self {
        Self(count & Self::MASK)
    }

    /// The second of a reading of CLOCK_MONOTONIC.
    #[must_use]
    pub const fn from_monotonic(reading: Duration) -> Self {
        Self::new(reading.as_secs() as u32) // wraps, as these ticks do
    }

    /// The count, below 2²⁴.
    #[inline]
    #[must_use]
    pub const fn count(self) -> u32 {
        self.0
    }

    /// True once `self` is at or after `deadline`.
    #[inline]
    #[must_use]
    pub const fn reached(self, deadline: Self) -> bool {
        self.minus(deadline) >= 0
    }

    /// The second that is `seconds` after this one.
    #[inline]
    #[must_use]
    pub const fn after(self, seconds: u32) -> Self {
        Self::new(self.0.wrapping_add(seconds))
    }

    /// Seconds since `earlier`; 0 if this one is before it.
    #[inline]
    #[must_use]
    pub const fn since(self, earlier: Self) -> u32 {
        let gap = self.minus(earlier);
        if gap < 0 { 0 } else { gap as u32 }
    }

    /// The signed difference: 24 bits, moved to the upper end for their sign.
    #[inline]
    const fn minus(self, other: Self) -> i32 {
        const UNUSED: u32 = u32::BITS - SecondTick::BITS;
        ((self.0.wrapping_sub(other.0) << UNUSED) as i32) >> UNUSED
    }
}

impl Span {
    /// The longest span that still compares correctly: 2³¹ − 1 ms, 24.8 days.
    pub const MAX: Span = Span(i32::MAX as u32);

    /// A span of `ms` milliseconds, cut to [`Span::MAX`].
    #[must_use]
    pub const fn from_millis(ms: u32) -> Span {
        if ms > Self::MAX.0 { Self::MAX } else { Span(ms) }
    }

    /// A span of `secs` seconds, cut to [`Span::MAX`].
    #[must_use]
    pub const fn from_secs(secs: u32) -> Span {
        Self::from_millis(secs.saturating_mul(1000))
    }

    /// The span in milliseconds.
    #[must_use]
    pub const fn millis(self) -> u32 {
        self.0
    }

    /// The span in whole seconds, rounded down.
    #[must_use]
    pub const fn secs(self) -> u32 {
        self.0 / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_reached_across_the_wrap() {
        let start = Tick(u32::MAX - 500);
        let deadline = start.after(Span::from_secs(1));
        assert_eq!(deadline, Tick(499));
        assert!(!start.reached(deadline));
        assert!(!Tick(498).reached(deadline));
        assert!(Tick(499).reached(deadline));
        assert_eq!(Tick(499).since(start), Span::from_secs(1));
    }

    #[test]
    fn earlier_and_later_hold_across_the_wrap() {
        let (before, after) = (Tick(u32::MAX), Tick(3));
        for (one, other) in [(before, after), (after, before), (before, before)] {
            assert_eq!(one.earlier(other), before);
        }
        assert_eq!((before.later(after), after.later(before)), (after, after));
    }

    #[test]
    fn a_span_that_would_be_negative_is_zero() {
        assert_eq!(Tick(10).since(Tick(11)), Span::default());
    }

    #[test]
    fn seconds_compare_across_their_wrap() {
        let start = SecondTick::from_monotonic(Duration::from_millis((1 << 24) * 1000 - 1));
        assert_eq!(start.count(), (1 << 24) - 1);
        let deadline = start.after(900);
        assert_eq!(deadline, SecondTick::new(899));
        assert!(!start.reached(deadline) && deadline.reached(deadline));
        assert!(deadline.after((1 << 23) - 1).reached(deadline));
        assert_eq!((deadline.since(start), start.since(deadline)), (900, 0));
    }

    #[test]
    fn spans_are_cut_to_the_comparable_maximum() {
        assert_eq!(Span::from_secs(u32::MAX), Span::MAX);
        assert!(!Tick(7).reached(Tick(7).after(Span::MAX)));
    }
}
