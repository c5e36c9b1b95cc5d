//! Lag of a peer's messages: how much later they arrive than the fastest of the last minute or two.

use crate::time::{Span, Tick};

const WINDOW: Span = Span::from_secs(60);

/// Meter of the lag, from the sender's ticks. The clocks of both need not agree, only run alike for a minute.
#[derive(Clone, Copy, Debug)]
pub(super) struct LagMeter {
    /// Least distances of the clocks, in this window and in the one before.
    least: [u32; 2],
    window_since: Tick,
    last: Span,
}

impl LagMeter {
    pub(super) fn new(sent_at_ms: u32, now: Tick) -> Self {
        let distance = now.0.wrapping_sub(sent_at_ms);
        Self { least: [distance; 2], window_since: now, last: Span::default() }
    }

    pub(super) fn heard(&mut self, sent_at_ms: u32, now: Tick) {
        let distance = now.0.wrapping_sub(sent_at_ms);
        if now.since(self.window_since) >= WINDOW {
            (self.least, self.window_since) = ([distance, self.least[0]], now);
        }
        self.least[0] = lesser(self.least[0], distance);
        let base = lesser(self.least[0], self.least[1]);
        self.last = Span::from_millis(distance.wrapping_sub(base));
    }

    pub(super) fn last(&self) -> Span {
        self.last
    }
}

fn lesser(one: u32, other: u32) -> u32 {
    if (one.wrapping_sub(other) as i32) < 0 { one } else { other }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_what_the_fastest_message_did_not_take() {
        let offset = u32::MAX - 100_000;
        let mut meter = LagMeter::new(offset, Tick(3));
        let mut lag = |ms: u32, delay: u32| {
            meter.heard(ms.wrapping_add(offset), Tick(ms + delay));
            meter.last().millis()
        };
        assert_eq!((lag(500, 1), lag(1000, 41), lag(1500, 2)), (0, 40, 1));
        // After two windows the base is that of the last one.
        assert_eq!((lag(70_000, 11), lag(140_000, 11), lag(141_000, 11)), (10, 0, 0));
    }
}
