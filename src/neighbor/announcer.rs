//! Announcements of a claimed VIP: rounds after a claim and a defense, then one at a time.

use super::Outgoing;
use super::prober::Prober;
use super::turn::Turn;
use crate::model::{InterfaceIndex, Role};
use crate::time::{Span, Tick};
use std::net::IpAddr;

/// Gaps of a master's round of announcements, which are at 0, 50 ms, 1, 2 and 5 s. The first repetition reaches hosts
/// whose queue was full, the later ones those whose switch port did not forward yet.
const TAKEOVER_GAPS: [Span; 4] =
    [Span::from_millis(50), Span::from_millis(950), Span::from_secs(1), Span::from_secs(3)];

/// Announcements of a master's round by which the former master has let the VIP go.
const LET_GO: u8 = 2;

#[derive(Debug)]
pub(super) struct Announcer {
    /// Announcements sent in this round. A claim and a defense start a round.
    announced: u8,
    /// Next announcement.
    due: Option<Tick>,
    guard: DefenseTimer,
}

/// Enforces [`super::Timing::defend_interval`] between defenses.
#[derive(Clone, Copy, Debug)]
enum DefenseTimer {
    /// No recent defense: the next conflict is answered at once.
    Ready,
    /// Defended: none before `until`, then another one if `again`.
    Resting { until: Tick, again: bool },
}

impl Announcer {
    /// Announces the VIP for the first time.
    pub(super) fn new(vip: IpAddr, turn: &mut Turn<'_>) -> Self {
        let mut claim = Self { announced: 0, due: None, guard: DefenseTimer::Ready };
        claim.announce(vip, true, turn);
        claim
    }

    pub(super) fn deadline(&self) -> Option<Tick> {
        let guard = match self.guard {
            DefenseTimer::Ready => None,
            DefenseTimer::Resting { until, .. } => Some(until),
        };
        self.due.into_iter().chain(guard).reduce(Tick::earlier)
    }

    pub(super) fn run_due(&mut self, prober: &mut Prober, turn: &mut Turn<'_>) {
        let vip = prober.address();
        if self.due.is_some_and(|due| turn.now.reached(due)) {
            if self.probes_beside(turn) {
                // Linux ignores an announcement of its own address but answers a probe: this finds real
                // servers that have started to answer ARP, and another master.
                prober.probe(true, turn);
            }
            self.announce(vip, false, turn);
        }
        let DefenseTimer::Resting { until, again } = self.guard else { return };
        if turn.now.reached(until) {
            self.guard = DefenseTimer::Ready;
            if again {
                self.defend(vip, turn);
            }
        }
    }

    /// Starts a round of announcements. It lasts some seconds, by when a rival that yields has done so: the
    /// last announcement that routers receive is this director's.
    pub(super) fn defend(&mut self, vip: IpAddr, turn: &mut Turn<'_>) {
        if let DefenseTimer::Resting { again, .. } = &mut self.guard {
            *again = true;
            return;
        }
        self.guard = DefenseTimer::Resting { until: turn.later(turn.timing().defend_interval), again: false };
        self.restart(vip, turn);
    }

    /// Starts a round of announcements.
    pub(super) fn restart(&mut self, vip: IpAddr, turn: &mut Turn<'_>) {
        self.announced = 0;
        self.announce(vip, false, turn);
    }

    /// True while another defense has to wait.
    pub(super) fn has_defended(&self) -> bool {
        matches!(self.guard, DefenseTimer::Resting { .. })
    }

    /// Announces the VIP, and schedules the next announcement.
    fn announce(&mut self, address: IpAddr, is_first: bool, turn: &mut Turn<'_>) {
        turn.counters().announced.add(1);
        turn.send(InterfaceIndex::CLIENT, Outgoing::Announce { address, is_first });
        self.announced = self.announced.saturating_add(1);
        let interval = Some(turn.timing().announce_interval).filter(|span| *span > Span::default());
        self.due = self.gap(turn).or(interval).map(|span| turn.later(span));
    }

    /// True if a probe goes with the next announcement: after a round, and of a master once the former one has had time to
    /// let the VIP go.
    fn probes_beside(&self, turn: &Turn<'_>) -> bool {
        match turn.common.role {
            Role::Master => self.announced >= LET_GO,
            _ => self.gap(turn).is_none(),
        }
    }

    /// Time to the next announcement of the round; `None` if it was the last.
    fn gap(&self, turn: &Turn<'_>) -> Option<Span> {
        let sent = usize::from(self.announced);
        match turn.common.role {
            Role::Master => TAKEOVER_GAPS.get(sent.checked_sub(1)?).copied(),
            _ => (self.announced < turn.timing().announcements).then_some(turn.timing().announce_gap),
        }
    }
}
