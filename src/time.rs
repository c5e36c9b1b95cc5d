//! Time as the data path sees it: a wrapping count of milliseconds that is passed in, never read.

#![forbid(unsafe_code)]

/// A moment, in milliseconds since the director started, modulo 2³².
///
/// The count wraps after 49.7 days. Two moments compare correctly while they lie less than
/// 24.8 days apart, which [`Span`] keeps true for every timeout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tick(pub u32);

/// A length of time in milliseconds, at most [`Span::MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(u32);

impl Tick {
    /// True once `self` is at or after `deadline`.
    #[inline]
    #[must_use]
    pub const fn reached(self, deadline: Tick) -> bool {
        (self.0.wrapping_sub(deadline.0) as i32) >= 0
    }

    /// The moment `span` after this one.
    #[inline]
    #[must_use]
    pub const fn after(self, span: Span) -> Tick {
        Tick(self.0.wrapping_add(span.0))
    }

    /// The earlier one of two moments.
    #[inline]
    #[must_use]
    pub const fn earlier(self, other: Tick) -> Tick {
        if other.reached(self) { self } else { other }
    }

    /// The later one of two moments.
    #[inline]
    #[must_use]
    pub const fn later(self, other: Tick) -> Tick {
        if self.reached(other) { self } else { other }
    }

    /// How long after `earlier` this moment lies; zero if it lies before it.
    #[inline]
    #[must_use]
    pub const fn since(self, earlier: Tick) -> Span {
        let gap = self.0.wrapping_sub(earlier.0);
        if (gap as i32) < 0 { Span(0) } else { Span(gap) }
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
    fn a_deadline_is_reached_on_the_tick_and_across_the_wrap() {
        let start = Tick(u32::MAX - 500);
        let deadline = start.after(Span::from_secs(1));
        assert_eq!(deadline, Tick(499));
        assert!(!start.reached(deadline));
        assert!(!Tick(498).reached(deadline));
        assert!(Tick(499).reached(deadline));
        assert_eq!(Tick(499).since(start), Span::from_secs(1));
    }

    #[test]
    fn of_two_moments_the_earlier_and_the_later_are_told_across_the_wrap() {
        let (before, after) = (Tick(u32::MAX), Tick(3));
        for (one, other) in [(before, after), (after, before), (before, before)] {
            assert_eq!(one.earlier(other), before);
        }
        assert_eq!((before.later(after), after.later(before)), (after, after));
    }

    #[test]
    fn time_before_the_start_of_a_span_counts_as_none() {
        assert_eq!(Tick(10).since(Tick(11)), Span::default());
    }

    #[test]
    fn spans_are_cut_where_comparison_would_turn_round() {
        assert_eq!(Span::from_secs(u32::MAX), Span::MAX);
        assert!(!Tick(7).reached(Tick(7).after(Span::MAX)));
    }
}
