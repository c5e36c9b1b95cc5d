//! Keeps a log readable when the network repeats itself: a few lines about one thing at once, then
//! one now and then, with the number of those that were left out.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Lines about one thing that may come at once: as many rivals as are told apart for a VIP, and some.
pub const BURST: u32 = 20;
/// Time after which one more may come.
pub const REFILL: Duration = Duration::from_secs(30);

/// Decides line by line, for each thing that is written about by itself.
#[derive(Debug)]
pub struct LogLimiter<T> {
    things: HashMap<T, Allowance>,
}

/// What may still be written about one thing.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    lines: u32,
    /// When `lines` was last brought up to date; refills count from here.
    since: Instant,
    left_out: u64,
}

impl<T> Default for LogLimiter<T> {
    fn default() -> Self {
        Self { things: HashMap::new() }
    }
}

impl<T: Copy + Eq + Hash + Display> LogLimiter<T> {
    /// Has a line about `thing` written, and how many were left out before it; or leaves it out.
    pub fn log(&mut self, thing: T, now: Instant, write: impl FnOnce()) {
        if let Some(left_out) = self.admit(thing, now) {
            write();
            tell_left_out(thing, left_out);
        }
    }

    /// Writes how many lines were left out that no line has followed. To be called now and then.
    pub fn report_suppressed(&mut self, now: Instant) {
        self.unsettled(now).into_iter().for_each(|(thing, left_out)| tell_left_out(thing, left_out));
    }

    /// Whether a line about `thing` may be written now. If so, how many were left out before it.
    fn admit(&mut self, thing: T, now: Instant) -> Option<u64> {
        let full = Allowance { lines: BURST, since: now, left_out: 0 };
        let allowance = self.things.entry(thing).or_insert(full);
        allowance.refill(now);
        let admitted = allowance.take();
        if admitted.is_none() {
            allowance.left_out += 1;
        }
        admitted
    }

    /// Every thing of which lines were left out that nobody has been told of, and a line may be
    /// written now: each with their number. Forgets what has been quiet for long.
    fn unsettled(&mut self, now: Instant) -> Vec<(T, u64)> {
        let mut told = Vec::new();
        self.things.retain(|thing, allowance| {
            allowance.refill(now);
            if allowance.left_out > 0 {
                told.extend(allowance.take().map(|left_out| (*thing, left_out)));
            }
            allowance.lines < BURST
        });
        told
    }
}

fn tell_left_out(about: impl Display, lines: u64) {
    if lines > 0 {
        tracing::warn!(%about, lines, "log messages suppressed (rate limit)");
    }
}

impl Allowance {
    fn refill(&mut self, now: Instant) {
        let periods = now.saturating_duration_since(self.since).as_millis() / REFILL.as_millis();
        let periods = u32::try_from(periods).unwrap_or(u32::MAX);
        self.lines = self.lines.saturating_add(periods).min(BURST);
        self.since = if self.lines == BURST { now } else { self.since + REFILL * periods };
    }

    /// Takes a line; how many were left out before it.
    fn take(&mut self) -> Option<u64> {
        self.lines = self.lines.checked_sub(1)?;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::log::capture::logged;

    /// A moment at which everything begins, and one that is `seconds` later.
    fn times() -> impl Fn(u64) -> Instant {
        let start = Instant::now();
        move |seconds| start + Duration::from_secs(seconds)
    }

    fn flood(throttle: &mut LogLimiter<u8>, thing: u8, lines: u64, now: Instant) -> u64 {
        (0..lines).filter(|_| throttle.admit(thing, now).is_some()).count() as u64
    }

    #[test]
    fn a_burst_is_written_and_the_rest_counted() {
        let (mut throttle, at) = (LogLimiter::default(), times());
        assert_eq!(flood(&mut throttle, 1, 1000, at(0)), u64::from(BURST));
        assert_eq!(throttle.admit(1, at(29)), None);
        assert_eq!(throttle.admit(1, at(30)), Some(1000 - u64::from(BURST) + 1));
        assert_eq!(throttle.admit(1, at(31)), None);
        assert_eq!(throttle.admit(1, at(60)), Some(1));
    }

    #[test]
    fn an_hour_of_flood_is_a_burst_and_two_lines_a_minute() {
        let (mut throttle, at) = (LogLimiter::default(), times());
        let (mut written, mut left_out) = (0, 0);
        for second in 0..3600 {
            for _ in 0..100 {
                if let Some(before) = throttle.admit(1, at(second)) {
                    (written, left_out) = (written + 1, left_out + before);
                }
            }
        }
        assert_eq!(written, u64::from(BURST) + 119);
        let (_, rest) = throttle.unsettled(at(3600))[0];
        assert_eq!(written + left_out + rest, 360_000, "each is written or counted");
    }

    #[test]
    fn the_log_has_the_lines_and_the_number_of_the_others() {
        let at = times();
        let text = logged("info", || {
            let mut throttle = LogLimiter::default();
            for _ in 0..500 {
                throttle.log("eth0", at(0), || tracing::warn!("it flaps"));
            }
            throttle.report_suppressed(at(29));
            throttle.report_suppressed(at(30));
            throttle.log("eth0", at(60), || tracing::warn!("it flaps"));
        });
        assert_eq!(text.matches("it flaps").count(), BURST as usize + 1, "{text}");
        let left_out: Vec<_> = text.lines().filter(|line| line.contains("suppressed")).collect();
        assert_eq!(left_out.len(), 1, "{text}");
        assert!(left_out[0].contains("about=eth0") && left_out[0].contains("lines=480"), "{text}");
    }

    #[test]
    fn one_thing_does_not_silence_another() {
        let (mut throttle, at) = (LogLimiter::default(), times());
        flood(&mut throttle, 1, 1000, at(0));
        assert_eq!(throttle.admit(2, at(0)), Some(0));
    }

    #[test]
    fn what_was_left_out_is_told_even_if_nothing_follows() {
        let (mut throttle, at) = (LogLimiter::default(), times());
        flood(&mut throttle, 1, u64::from(BURST) + 3, at(0));
        flood(&mut throttle, 2, u64::from(BURST), at(0));
        assert_eq!(throttle.unsettled(at(1)), [], "no line is due");
        assert_eq!(throttle.unsettled(at(30)), [(1, 3)]);
        assert_eq!(throttle.unsettled(at(90)), [], "told once");
    }

    #[test]
    fn what_has_been_quiet_for_long_is_forgotten() {
        let (mut throttle, at) = (LogLimiter::default(), times());
        for thing in 0..200 {
            throttle.admit(thing, at(0));
        }
        throttle.unsettled(at(29));
        assert_eq!(throttle.things.len(), 200);
        throttle.unsettled(at(30));
        assert!(throttle.things.is_empty());
        assert_eq!(
            flood(&mut throttle, 1, 100, at(31)),
            u64::from(BURST),
            "no more than a burst is saved up"
        );
    }

    #[test]
    fn time_that_stands_still_or_jumps_far_does_no_harm() {
        let (mut throttle, at) = (LogLimiter::default(), times());
        assert_eq!(throttle.admit(1, at(100)), Some(0));
        assert_eq!(throttle.admit(1, at(0)), Some(0), "earlier than before");
        assert_eq!(flood(&mut throttle, 1, 100, at(1 << 40)), u64::from(BURST));
    }
}
