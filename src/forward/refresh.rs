//! Refresh pass: a slow walk over a flow table that records each confirmed connection.

use crate::flow::ConnState;
use crate::time::Span;

/// Longest time from one record of a connection to the next.
pub const REFRESH_PERIOD: Span = Span::from_secs(60);

/// Position in the pass. It advances with the sweep, so that it takes time only where that does.
#[derive(Debug, Default)]
pub(super) struct RefreshPass {
    /// Next bucket.
    cursor: usize,
    /// Swept buckets that do not yet make one of this pass.
    remainder: usize,
}

impl RefreshPass {
    /// Sweeps during one pass, with a sweep in `sweep`: in [`REFRESH_PERIOD`], or in a third of the shortest timeout of an
    /// established connection, so that a record is renewed before it expires.
    pub(super) fn sweeps(lifetimes: &[Span; ConnState::COUNT], sweep: Span) -> usize {
        let established = [ConnState::Established, ConnState::Udp, ConnState::SctpEstablished];
        let shortest = established.map(|state| lifetimes[state as usize].millis() / 3);
        let period = shortest.into_iter().fold(REFRESH_PERIOD.millis(), u32::min);
        (period / sweep.millis()).max(1) as usize
    }

    /// The buckets that are due after `swept` more have been swept, of a table of `buckets`.
    pub(super) fn advance(
        &mut self,
        swept: usize,
        sweeps: usize,
        buckets: usize,
    ) -> impl Iterator<Item = usize> + use<> {
        let swept = swept + self.remainder;
        self.remainder = swept % sweeps;
        let (from, due) = (self.cursor, swept / sweeps);
        self.cursor = (from + due) % buckets;
        (from..from + due).map(move |bucket| bucket % buckets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timeouts;

    #[test]
    fn each_bucket_is_due_once_in_a_pass() {
        let (mut pass, mut due) = (RefreshPass::default(), vec![0; 1000]);
        for _ in 0..30 * 4 {
            pass.advance(250, 30, due.len()).for_each(|bucket| due[bucket] += 1);
        }
        assert!(due.iter().all(|times| *times == 1), "{due:?}");
    }

    #[test]
    fn short_timeouts_make_the_pass_faster() {
        let sweeps = |tcp| {
            let timeouts = Timeouts { tcp: Span::from_secs(tcp), ..Timeouts::default() };
            RefreshPass::sweeps(&ConnState::timeouts(&timeouts), Span::from_secs(2))
        };
        assert_eq!([900, 180, 30, 1].map(sweeps), [30, 30, 5, 1]);
    }
}
