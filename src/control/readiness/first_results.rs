//! The first results of the health checks of the start.

use crate::health::CheckKey;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// Time beyond warm-up and timeout of a check: an external one may never have a result.
const MARGIN: Duration = Duration::from_secs(1);

/// The checks of the start without a result, which are waited for a limited time.
#[derive(Debug, Default)]
pub struct FirstResults {
    awaited: HashSet<CheckKey>,
    until: Option<Instant>,
}

impl FirstResults {
    /// Waits for these checks: for their warm-up and timeout, and a second.
    pub fn await_all(&mut self, checks: impl IntoIterator<Item = CheckKey>, now: Instant) {
        self.awaited = checks.into_iter().collect();
        let span = |key: &CheckKey| key.timing.warm_up.millis() + key.timing.timeout.millis();
        let longest = self.awaited.iter().map(span).max();
        self.until = longest.map(|span| now + Duration::from_millis(span.into()) + MARGIN);
    }

    /// A check has had a result.
    pub fn arrived(&mut self, check: &CheckKey) {
        self.awaited.remove(check);
    }

    /// True while a check is waited for.
    #[must_use]
    pub fn is_awaiting(&self, now: Instant) -> bool {
        !self.awaited.is_empty() && self.until.is_some_and(|until| now < until)
    }

    /// Time at which the wait ends at the latest; `None` if it has ended.
    #[must_use]
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|_| self.is_awaiting(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CheckKind, CheckTiming};
    use crate::time::Span;
    use std::sync::Arc;

    fn check(last: u8, warm_up: u32) -> CheckKey {
        let timing = CheckTiming { warm_up: Span::from_secs(warm_up), ..CheckTiming::default() };
        CheckKey {
            server: [192, 0, 2, last].into(),
            vip: None,
            port: 80,
            kind: Arc::new(CheckKind::Tcp),
            timing,
        }
    }

    #[test]
    fn each_check_is_waited_for_once() {
        let (mut results, now) = (FirstResults::default(), Instant::now());
        assert!(!results.is_awaiting(now), "without a check");
        results.await_all([check(1, 2), check(2, 2), check(1, 2)], now);
        for (last, awaiting) in [(1, true), (3, true), (2, false)] {
            results.arrived(&check(last, 2));
            assert_eq!(results.is_awaiting(now), awaiting, "{last}");
        }
        assert_eq!(results.deadline(now), None);
    }

    #[test]
    fn a_check_without_results_is_waited_for_a_while() {
        let (mut results, now) = (FirstResults::default(), Instant::now());
        results.await_all([check(1, 2), check(2, 7)], now);
        let deadline = results.deadline(now).unwrap();
        assert_eq!(deadline - now, Duration::from_secs(7 + 1 + 1), "warm-up, timeout, margin");
        assert!(!results.is_awaiting(deadline) && results.is_awaiting(deadline - MARGIN));
    }
}
