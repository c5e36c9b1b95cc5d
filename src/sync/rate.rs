//! Limit of a rate: a token bucket with room for one second.

use crate::time::Tick;

#[derive(Clone, Copy, Debug)]
pub(super) struct RateLimit {
    per_second: u32,
    left: u32,
    filled_at: Tick,
}

impl RateLimit {
    pub(super) fn new(per_second: u32, now: Tick) -> Self {
        Self { per_second, left: per_second, filled_at: now }
    }

    /// Takes one; false if none is left.
    pub(super) fn take(&mut self, now: Tick) -> bool {
        let elapsed_ms = u64::from(now.since(self.filled_at).millis());
        let more = u64::from(self.per_second) * elapsed_ms / 1000;
        if more > 0 {
            self.left = (u64::from(self.left) + more).min(self.per_second.into()) as u32; // at most per_second
            self.filled_at = now;
        }
        let some = self.left > 0;
        self.left = self.left.saturating_sub(1);
        some
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_gives_as_many_as_the_rate() {
        let mut limit = RateLimit::new(100, Tick(0));
        let mut taken = |ms: u32| (0..1000).filter(|_| limit.take(Tick(ms))).count();
        assert_eq!((taken(0), taken(9), taken(20), taken(1020), taken(90_000)), (100, 0, 2, 100, 100));
    }
}
