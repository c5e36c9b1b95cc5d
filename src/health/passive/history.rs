//! The handshakes of a server by second.

use super::figures::{Figures, LAG, WINDOW};
use crate::model::ServerId;
use crate::stats::Handshakes;
use std::ops::Range;

/// Seconds that are kept.
const SECONDS: usize = 16;

/// The handshakes of a server by second.
#[derive(Debug)]
pub(super) struct HandshakeHistory {
    id: ServerId,
    totals: Handshakes,
    /// The latest second first.
    seconds: [Second; SECONDS],
}

/// Handshakes of a second.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    opened: u32,
    completed: u32,
    repeated: u32,
}

impl HandshakeHistory {
    /// A history that starts at these totals of the counters `id`.
    pub(super) fn new(id: ServerId, totals: Handshakes) -> Self {
        Self { id, totals, seconds: [Second::default(); SECONDS] }
    }

    /// Appends the handshakes since the last record, as those of the latest of `elapsed` seconds. Returns how many were
    /// completed. Other counters, and a pause longer than the history, start it anew.
    pub(super) fn record(&mut self, id: ServerId, totals: Handshakes, elapsed: usize) -> u32 {
        if id != self.id || elapsed >= SECONDS {
            *self = Self::new(id, totals);
            return 0;
        }
        let new = totals.since(std::mem::replace(&mut self.totals, totals));
        self.seconds.rotate_right(elapsed);
        self.seconds[..elapsed].fill(Second::default());
        let latest = &mut self.seconds[0];
        latest.opened = latest.opened.saturating_add(narrow(new.opened));
        latest.completed = latest.completed.saturating_add(narrow(new.completed));
        latest.repeated = latest.repeated.saturating_add(narrow(new.repeated));
        narrow(new.completed)
    }

    /// The handshakes that were opened in the window. A completion counts from the window's start to now: it belongs to
    /// one of them, or to a later one, which favors the server.
    pub(super) fn figures(&self) -> Figures {
        let (opened_in, until_now) = (LAG..LAG + WINDOW, 0..LAG + WINDOW);
        let completed = self.sum(until_now.clone(), |second| second.completed);
        let repeated = self.sum(until_now, |second| second.repeated);
        Figures::new(self.sum(opened_in, |second| second.opened), completed, repeated)
    }

    fn sum(&self, seconds: Range<usize>, of: impl Fn(&Second) -> u32) -> u32 {
        self.seconds[seconds].iter().map(of).fold(0, u32::saturating_add)
    }
}

fn narrow(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: ServerId = ServerId(7);

    fn totals(opened: u64, completed: u64) -> Handshakes {
        Handshakes { opened, completed, repeated: 0 }
    }

    /// Figures after each of some seconds in which so many handshakes were opened and completed.
    fn figures(seconds: &[(u64, u64)]) -> Vec<(u32, u32)> {
        let (mut history, mut sum) =
            (HandshakeHistory::new(ID, totals(u64::MAX - 50, u64::MAX - 50)), totals(0, 0));
        let each = seconds.iter().map(|(opened, completed)| {
            (sum.opened, sum.completed) = (sum.opened + opened, sum.completed + completed);
            let wrapped =
                totals((u64::MAX - 50).wrapping_add(sum.opened), (u64::MAX - 50).wrapping_add(sum.completed));
            history.record(ID, wrapped, 1);
            let Figures { opened, failed, .. } = history.figures();
            (opened, failed)
        });
        each.collect()
    }

    #[test]
    fn a_burst_counts_for_ten_seconds_after_three() {
        let mut seconds = vec![(100, 90)];
        seconds.extend([(0, 0); 14]);
        let seen = figures(&seconds);
        assert_eq!(seen[..3], [(0, 0); 3]);
        assert_eq!(seen[3..13], [(100, 10); 10], "its completions leave the window with it");
        assert_eq!(seen[13..], [(0, 0); 2]);
    }

    #[test]
    fn a_completion_after_three_seconds_is_in_time() {
        let mut seconds = vec![(100, 0), (0, 0), (0, 0), (0, 100)];
        seconds.extend([(0, 0); 12]);
        assert!(figures(&seconds).iter().all(|(_, failed)| *failed == 0));
    }

    #[test]
    fn other_counters_and_a_long_pause_start_anew() {
        for (id, pause) in [(ServerId(8), 1), (ID, 16), (ID, 3600)] {
            let mut history = HandshakeHistory::new(ID, totals(0, 0));
            history.record(ID, totals(100, 0), 1);
            history.record(id, totals(5, 0), pause);
            for _ in 0..4 {
                history.record(id, totals(5, 0), 1);
            }
            assert_eq!(history.figures(), Figures::default());
        }
    }

    proptest! {
        /// A server that completes each handshake within three seconds never has a failure, whatever the load.
        #[test]
        fn completions_in_time_leave_no_failure(
            load in proptest::collection::vec((0_u64..1000, 0_usize..=3), 1..60)
        ) {
            let mut seconds = vec![(0, 0); load.len() + 3];
            for (at, (opened, delay)) in load.iter().enumerate() {
                seconds[at].0 += opened;
                seconds[at + delay].1 += opened;
            }
            prop_assert!(figures(&seconds).iter().all(|(_, failed)| *failed == 0));
        }
    }
}
