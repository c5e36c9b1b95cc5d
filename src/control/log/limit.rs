//! Rate limit of log messages: a token bucket per subject, with a count of suppressed messages.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Burst of messages about one subject: above the number of conflicting stations tracked per VIP.
pub const BURST: u32 = 20;
/// Time after which one more message is allowed.
pub const REFILL: Duration = Duration::from_secs(30);

/// Limits messages by subject.
#[derive(Debug)]
pub struct LogLimiter<T> {
    buckets: HashMap<T, SubjectBucket>,
}

/// The token bucket of one subject.
#[derive(Clone, Copy, Debug)]
struct SubjectBucket {
    tokens: u32,
    /// Time of the last refill.
    since: Instant,
    suppressed: u64,
}

impl<T> Default for LogLimiter<T> {
    fn default() -> Self {
        Self { buckets: HashMap::new() }
    }
}

impl<T: Copy + Eq + Hash + Display> LogLimiter<T> {
    /// Calls `write` for a message about `subject` and logs the number suppressed before it; or suppresses it.
    pub fn log(&mut self, subject: T, now: Instant, write: impl FnOnce()) {
        if let Some(suppressed) = self.admit(subject, now) {
            write();
            log_suppressed(subject, suppressed);
        }
    }

    /// Logs the numbers of suppressed messages that no message has followed. To be called periodically.
    pub fn report_suppressed(&mut self, now: Instant) {
        self.take_unreported(now)
            .into_iter()
            .for_each(|(subject, suppressed)| log_suppressed(subject, suppressed));
    }

    /// Takes a token; returns the number of messages suppressed before, or `None` if this one is to be suppressed.
    fn admit(&mut self, subject: T, now: Instant) -> Option<u64> {
        let full = SubjectBucket { tokens: BURST, since: now, suppressed: 0 };
        let bucket = self.buckets.entry(subject).or_insert(full);
        bucket.refill(now);
        let admitted = bucket.take();
        if admitted.is_none() {
            bucket.suppressed += 1;
        }
        admitted
    }

    /// Returns each subject with unreported suppressed messages and a token. Forgets subjects with a full bucket.
    fn take_unreported(&mut self, now: Instant) -> Vec<(T, u64)> {
        let mut unreported = Vec::new();
        self.buckets.retain(|subject, bucket| {
            bucket.refill(now);
            if bucket.suppressed > 0 {
                unreported.extend(bucket.take().map(|suppressed| (*subject, suppressed)));
            }
            bucket.tokens < BURST
        });
        unreported
    }
}

fn log_suppressed(about: impl Display, lines: u64) {
    if lines > 0 {
        tracing::warn!(%about, lines, "log messages suppressed (rate limit)");
    }
}

impl SubjectBucket {
    fn refill(&mut self, now: Instant) {
        let periods = now.saturating_duration_since(self.since).as_millis() / REFILL.as_millis();
        let periods = u32::try_from(periods).unwrap_or(u32::MAX);
        self.tokens = self.tokens.saturating_add(periods).min(BURST);
        self.since = if self.tokens == BURST { now } else { self.since + REFILL * periods };
    }

    /// Takes a token; returns the number of messages suppressed before.
    fn take(&mut self) -> Option<u64> {
        self.tokens = self.tokens.checked_sub(1)?;
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::log::capture::logged;

    /// Returns a function from seconds to times.
    fn times() -> impl Fn(u64) -> Instant {
        let start = Instant::now();
        move |seconds| start + Duration::from_secs(seconds)
    }

    fn flood(limiter: &mut LogLimiter<u8>, subject: u8, lines: u64, now: Instant) -> u64 {
        (0..lines).filter(|_| limiter.admit(subject, now).is_some()).count() as u64
    }

    #[test]
    fn burst_is_logged_and_the_rest_counted() {
        let (mut limiter, at) = (LogLimiter::default(), times());
        assert_eq!(flood(&mut limiter, 1, 1000, at(0)), u64::from(BURST));
        assert_eq!(limiter.admit(1, at(29)), None);
        assert_eq!(limiter.admit(1, at(30)), Some(1000 - u64::from(BURST) + 1));
        assert_eq!(limiter.admit(1, at(31)), None);
        assert_eq!(limiter.admit(1, at(60)), Some(1));
    }

    #[test]
    fn hour_of_flood_is_a_burst_and_two_messages_a_minute() {
        let (mut limiter, at) = (LogLimiter::default(), times());
        let (mut written, mut suppressed) = (0, 0);
        for second in 0..3600 {
            for _ in 0..100 {
                if let Some(before) = limiter.admit(1, at(second)) {
                    (written, suppressed) = (written + 1, suppressed + before);
                }
            }
        }
        assert_eq!(written, u64::from(BURST) + 119);
        let (_, rest) = limiter.take_unreported(at(3600))[0];
        assert_eq!(written + suppressed + rest, 360_000, "each is written or counted");
    }

    #[test]
    fn log_has_the_messages_and_the_suppressed_count() {
        let at = times();
        let text = logged("info", || {
            let mut limiter = LogLimiter::default();
            for _ in 0..500 {
                limiter.log("eth0", at(0), || tracing::warn!("it flaps"));
            }
            limiter.report_suppressed(at(29));
            limiter.report_suppressed(at(30));
            limiter.log("eth0", at(60), || tracing::warn!("it flaps"));
        });
        assert_eq!(text.matches("it flaps").count(), BURST as usize + 1, "{text}");
        let suppressed: Vec<_> = text.lines().filter(|line| line.contains("suppressed")).collect();
        assert_eq!(suppressed.len(), 1, "{text}");
        assert!(suppressed[0].contains("about=eth0") && suppressed[0].contains("lines=480"), "{text}");
    }

    #[test]
    fn subjects_are_independent() {
        let (mut limiter, at) = (LogLimiter::default(), times());
        flood(&mut limiter, 1, 1000, at(0));
        assert_eq!(limiter.admit(2, at(0)), Some(0));
    }

    #[test]
    fn suppressed_count_is_reported_without_a_next_message() {
        let (mut limiter, at) = (LogLimiter::default(), times());
        flood(&mut limiter, 1, u64::from(BURST) + 3, at(0));
        flood(&mut limiter, 2, u64::from(BURST), at(0));
        assert_eq!(limiter.take_unreported(at(1)), [], "no line is due");
        assert_eq!(limiter.take_unreported(at(30)), [(1, 3)]);
        assert_eq!(limiter.take_unreported(at(90)), [], "unreported once");
    }

    #[test]
    fn full_buckets_are_forgotten() {
        let (mut limiter, at) = (LogLimiter::default(), times());
        for subject in 0..200 {
            limiter.admit(subject, at(0));
        }
        limiter.take_unreported(at(29));
        assert_eq!(limiter.buckets.len(), 200);
        limiter.take_unreported(at(30));
        assert!(limiter.buckets.is_empty());
        assert_eq!(flood(&mut limiter, 1, 100, at(31)), u64::from(BURST), "at most a burst is saved up");
    }

    #[test]
    fn time_may_go_back_or_jump() {
        let (mut limiter, at) = (LogLimiter::default(), times());
        assert_eq!(limiter.admit(1, at(100)), Some(0));
        assert_eq!(limiter.admit(1, at(0)), Some(0), "earlier than before");
        assert_eq!(flood(&mut limiter, 1, 100, at(1 << 40)), u64::from(BURST));
    }
}
