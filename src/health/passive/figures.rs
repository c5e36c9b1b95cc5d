//! Figures of a server's handshakes in the window, and their meaning in words.

use super::cause::PassingChecks;
use std::fmt::Write;
use std::net::IpAddr;

/// Duration of the window, in seconds.
pub(super) const WINDOW: usize = 10;
/// Time that a handshake has to complete, in seconds: two repetitions of a lost SYN.
pub(super) const LAG: usize = 3;

/// Least number of handshakes that say something, if none of them was completed.
const OPENED_MIN: u32 = 5;
/// Least number of handshakes whose share of failures says something.
const SHARE_MIN: u32 = 20;
/// Share of failures from which on handshakes fail, in thousandths.
pub(super) const FAILING: u16 = 500;

/// Handshakes of one server that were opened in the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Opened by a SYN.
    pub opened: u32,
    /// Of these, the ones that no client completed until three seconds after the window.
    pub failed: u32,
    /// Of the failed ones, those whose SYN was repeated, at most.
    pub repeated: u32,
}

impl Figures {
    /// `completed` and `repeated` may count handshakes that were opened after the window: both are upper bounds.
    pub(super) fn new(opened: u32, completed: u32, repeated: u32) -> Self {
        let failed = opened.saturating_sub(completed);
        Self { opened, failed, repeated: repeated.min(failed) }
    }

    /// The failed part in thousandths; 0 without handshakes.
    #[must_use]
    pub fn failed_share(self) -> u16 {
        let share = u64::from(self.failed) * 1000 / u64::from(self.opened.max(1));
        share as u16 // at most 1000
    }

    /// Returns true if there are enough handshakes to compare another server with.
    pub(super) fn is_comparable(self) -> bool {
        self.opened >= OPENED_MIN
    }

    /// Returns true if the handshakes fail.
    pub(super) fn is_failing(self) -> bool {
        let none_completed = self.opened >= OPENED_MIN && self.failed == self.opened;
        none_completed || self.opened >= SHARE_MIN && self.failed_share() >= FAILING
    }
}

/// Figures of a server whose handshakes fail, and of the servers that it is compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PassiveFinding {
    /// Its own figures.
    pub figures: Figures,
    /// Median of the failed parts of the service's other servers, in thousandths; `None`: none of them has enough
    /// handshakes.
    pub others: Option<u16>,
    /// Its health checks that pass nevertheless.
    pub checks: PassingChecks,
}

impl PassiveFinding {
    /// The finding as a sentence with its numbers, its cause and the remedy.
    #[must_use]
    pub fn sentence(&self, server: IpAddr) -> String {
        let Figures { opened, failed, .. } = self.figures;
        let mut text = format!("{server}: {failed} of {opened} handshakes not completed in {WINDOW} s");
        match self.others {
            Some(others) => drop(write!(text, ", others {} %", percent(others))),
            None => text += ", no other server to compare with",
        }
        text += if self.is_silent() {
            "; SYNs repeated: silent, not refused"
        } else {
            "; SYNs not repeated: refused, or clients that do not wait"
        };
        text + self.checks.of_server(self.is_silent())
    }

    /// Returns true if the clients of most failed handshakes have repeated their SYN.
    fn is_silent(&self) -> bool {
        u64::from(self.figures.repeated) * 2 >= u64::from(self.figures.failed)
    }
}

/// Figures of a service with most of whose servers handshakes fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FloodFinding {
    /// Handshakes with all its servers that were opened in the window.
    pub opened: u64,
    /// Of these, the ones not completed.
    pub failed: u64,
    /// Of the failed ones, those whose SYN was repeated, at most.
    pub repeated: u64,
    /// The health checks of the servers that pass nevertheless.
    pub checks: PassingChecks,
}

impl FloodFinding {
    /// The finding about servers with these figures and checks.
    pub(super) fn of(servers: impl Iterator<Item = (Figures, PassingChecks)>) -> Self {
        let compared = servers.filter(|(figures, _)| figures.is_comparable());
        let sum = |sum: Option<Self>, (figures, checks): (Figures, PassingChecks)| {
            let of = sum.unwrap_or(Self { checks, ..Self::default() });
            Some(Self {
                opened: of.opened + u64::from(figures.opened),
                failed: of.failed + u64::from(figures.failed),
                repeated: of.repeated + u64::from(figures.repeated),
                checks: of.checks.min(checks),
            })
        };
        compared.fold(None, sum).unwrap_or_default()
    }

    /// The finding as a sentence with its numbers, its cause and the remedy.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Self { opened, failed, repeated, checks } = *self;
        let silent = repeated * 2 >= failed;
        let meaning = if silent { "SYNs repeated" } else { "SYNs not repeated" };
        let numbers = format!("{failed} of {opened} handshakes with its servers not completed in {WINDOW} s");
        format!("{numbers}; {meaning}{}", checks.of_service(silent))
    }
}

fn percent(share: u16) -> u16 {
    (share + 5) / 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_handshakes_or_few_failures_say_nothing() {
        let failing = |opened, completed| Figures::new(opened, completed, 0).is_failing();
        for (opened, completed, expected) in [
            (4, 0, false),
            (5, 0, true),
            (5, 1, false),
            (19, 1, false),
            (20, 10, true),
            (20, 11, false),
            (1000, 501, false),
            (1000, 500, true),
            (7, 9, false),
            (0, 0, false),
        ] {
            assert_eq!(failing(opened, completed), expected, "{completed} of {opened}");
        }
        let most = Figures::new(u32::MAX, 0, u32::MAX);
        assert_eq!((most.failed_share(), most.repeated), (1000, u32::MAX));
    }

    #[test]
    fn a_sentence_has_the_numbers_and_their_meaning() {
        let sentence = |repeated, others| {
            let figures = Figures::new(43, 2, repeated);
            PassiveFinding { figures, others, ..PassiveFinding::default() }
                .sentence("192.0.2.8".parse().unwrap())
        };
        assert_eq!(
            sentence(39, Some(12)),
            "192.0.2.8: 41 of 43 handshakes not completed in 10 s, others 1 %; SYNs repeated: silent, not refused"
        );
        assert_eq!(
            sentence(3, None),
            "192.0.2.8: 41 of 43 handshakes not completed in 10 s, no other server to compare with; \
             SYNs not repeated: refused, or clients that do not wait"
        );
    }

    #[test]
    fn passing_checks_point_at_the_clients_side() {
        let finding = |repeated, checks| {
            let figures = Figures::new(43, 2, repeated);
            PassiveFinding { figures, others: Some(12), checks }.sentence("192.0.2.8".parse().unwrap())
        };
        let silent = finding(39, PassingChecks::OfVip);
        assert!(silent.contains("41 of 43") && silent.contains("do not reach the clients"), "{silent}");
        assert!(finding(3, PassingChecks::OfVip).contains("a firewall that refuses the clients"));
        assert!(finding(39, PassingChecks::OfRip).ends_with("run there: directrix realserver check"));
    }

    #[test]
    fn a_service_that_fails_has_a_broken_way_back_or_a_flood() {
        let of = |repeated, checks: [PassingChecks; 3]| {
            let figures =
                [(50, 1), (40, 2), (4, 4)].map(|(opened, done)| Figures::new(opened, done, repeated));
            FloodFinding::of(figures.into_iter().zip(checks)).sentence()
        };
        let way_back = of(30, [PassingChecks::OfVip, PassingChecks::OfVip, PassingChecks::None]);
        assert!(
            way_back.starts_with(
                "87 of 90 handshakes with its servers not completed in 10 s; SYNs repeated: no SYN-ACK"
            ),
            "{way_back}"
        );
        assert!(way_back.contains("although the health checks of the VIP do not fail"), "{way_back}");
        let unchecked = of(30, [PassingChecks::OfVip, PassingChecks::None, PassingChecks::OfVip]);
        assert!(!unchecked.contains("health checks") && unchecked.contains("way back"), "{unchecked}");
        assert!(of(2, [PassingChecks::OfVip; 3]).contains("SYNs not repeated: a flood of SYNs"));
        assert_eq!(FloodFinding::of(std::iter::empty()), FloodFinding::default());
    }
}
