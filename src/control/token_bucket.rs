//! Rate limit of what the director sends to clients by itself.

use std::time::{Duration, Instant};

/// Token bucket: `burst` events at once, and `rate` per second.
#[derive(Debug)]
pub struct TokenBucket {
    /// Time for one token.
    interval: Duration,
    burst: u32,
    /// Time at which the bucket would be full. A token taken moves it later by one interval.
    full_at: Instant,
}

impl TokenBucket {
    /// Creates a full bucket. `rate` is at least 1.
    #[must_use]
    pub fn new(rate: u32, burst: u32, now: Instant) -> Self {
        Self { interval: Duration::from_secs(1) / rate, burst, full_at: now }
    }

    /// True if there is no token.
    #[must_use]
    pub fn is_empty(&self, now: Instant) -> bool {
        self.full_at.saturating_duration_since(now) > self.interval * self.burst.saturating_sub(1)
    }

    /// Takes a token. Returns false if there is none.
    pub fn take(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.max(now) + self.interval;
        let is_there = full_at.duration_since(now) <= self.interval * self.burst;
        if is_there {
            self.full_at = full_at;
        }
        is_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(1000, 50, start);
        let mut taken = |ms| (0..1000).filter(|_| bucket.take(start + Duration::from_millis(ms))).count();
        assert_eq!([taken(0), taken(1), taken(11), taken(11)], [50, 1, 10, 0]);
        assert_eq!(taken(10_000), 50, "never more than the burst");
        assert!(bucket.is_empty(start + Duration::from_millis(10_000)));
        assert!(!bucket.is_empty(start + Duration::from_millis(10_001)));
    }

    #[test]
    fn an_earlier_time_takes_no_token_twice() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(1, 1, start + Duration::from_secs(5));
        assert!(bucket.take(start + Duration::from_secs(5)));
        assert!(!bucket.take(start + Duration::from_secs(5)));
    }
}
