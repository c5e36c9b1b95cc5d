//! Timing of the neighbor state machine.

use crate::time::Span;

/// Intervals of probing, announcing and resolving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Longest random delay before the first probe (RFC 5227 `PROBE_WAIT`).
    pub probe_wait: Span,
    /// Probes before a VIP is claimed (`PROBE_NUM`).
    pub probes: u8,
    /// Least and most time from one probe to the next (`PROBE_MIN`, `PROBE_MAX`).
    pub probe_gap: (Span, Span),
    /// Time from the last probe to the claim (`ANNOUNCE_WAIT`).
    pub announce_wait: Span,
    /// Announcements right after the claim (`ANNOUNCE_NUM`), `announce_gap` apart.
    pub announcements: u8,
    /// `ANNOUNCE_INTERVAL`.
    pub announce_gap: Span,
    /// Interval of announcements after that; zero: none. At most a day.
    pub announce_interval: Span,
    /// Least time between two defences of a VIP (`DEFEND_INTERVAL`).
    pub defend_interval: Span,
    /// Interval of probes to the station that holds a VIP, plus up to a quarter of it at random. If it does
    /// not answer, the VIP is probed for and claimed.
    pub standby_interval: Span,
    /// Interval of probes that verify whether another station answers for a claimed VIP.
    pub verify_interval: Span,
    /// Interval of probes while it does.
    pub watch_interval: Span,
    /// Unanswered requests after which a real server is unreachable.
    pub attempts: u8,
    /// Interval of these requests.
    pub retry: Span,
    /// Interval of requests to an unreachable real server.
    pub unreachable_retry: Span,
    /// Interval of requests to a reachable real server that is silent, plus up to an eighth of it at
    /// random. At least 1 ms per real server, to limit the rate of requests.
    pub refresh: Span,
}

impl Timing {
    /// The intervals of RFC 5227 §1.1, for hosts that configure themselves: 5 to 7 s to claim.
    #[must_use]
    pub fn rfc5227() -> Self {
        Self {
            probe_wait: Span::from_secs(1),
            probe_gap: (Span::from_secs(1), Span::from_secs(2)),
            announce_wait: Span::from_secs(2),
            ..Self::default()
        }
    }

    /// Time after which a silent rival is dropped: two and a half times the longest interval of packets that
    /// it answers, so that one may be lost.
    pub(super) fn quiet(&self) -> Span {
        let round = self.announce_interval.max(self.watch_interval).max(self.standby_interval);
        Span::from_millis((u64::from(round.millis()) * 5 / 2).min(u64::from(u32::MAX)) as u32)
    }

    /// Limits spans to a day, so that deadlines stay comparable, see [`crate::time::Tick`].
    pub(super) fn bounded(mut self) -> Self {
        const DAY: Span = Span::from_secs(86_400);
        for span in [
            &mut self.probe_wait,
            &mut self.probe_gap.0,
            &mut self.probe_gap.1,
            &mut self.announce_wait,
            &mut self.announce_gap,
            &mut self.announce_interval,
            &mut self.defend_interval,
            &mut self.standby_interval,
            &mut self.verify_interval,
            &mut self.watch_interval,
            &mut self.retry,
            &mut self.unreachable_retry,
            &mut self.refresh,
        ] {
            *span = DAY.min(*span);
        }
        self
    }
}

impl Default for Timing {
    /// Claims a VIP about 1.2 s after it was added.
    ///
    /// RFC 5227's intervals are for hosts that choose addresses by themselves, all at once after a power
    /// failure, over radio links that are slow to come up. A VIP is chosen by an operator, on a wired
    /// segment where a kernel answers ARP within a millisecond. Three probes against loss and half a second
    /// for a slow host find the same conflicts. A conflict that stays hidden, behind a switch port that
    /// does not forward yet for instance, is found by the probe sent with each periodic announcement.
    ///
    /// A VIP whose holder fails is claimed within 2.7 s: at most 1.25 s until the holder is probed, 0.3 s
    /// for its reply, and 1.1 s to probe.
    ///
    /// A real server whose link is dead or whose MAC address has changed is noticed within 2.7 s: at most
    /// 1.125 s until it is requested, then three requests half a second apart.
    fn default() -> Self {
        Self {
            probe_wait: Span::from_millis(100),
            probes: 3,
            probe_gap: (Span::from_millis(200), Span::from_millis(300)),
            announce_wait: Span::from_millis(500),
            announcements: 3,
            announce_gap: Span::from_secs(2),
            announce_interval: Span::from_secs(60),
            defend_interval: Span::from_secs(10),
            standby_interval: Span::from_secs(1),
            verify_interval: Span::from_millis(500),
            watch_interval: Span::from_secs(5),
            attempts: 3,
            retry: Span::from_millis(500),
            unreachable_retry: Span::from_secs(5),
            refresh: Span::from_secs(1),
        }
    }
}
