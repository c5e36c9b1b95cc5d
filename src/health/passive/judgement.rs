//! ServiceJudgement of the servers of a service: each only in comparison with the others.

use super::figures::{FAILING, Figures};

/// Difference to the others from which on a server is suspected, in thousandths.
const DIFFERENCE: u16 = 300;

/// ServiceJudgement of all servers of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServiceJudgement {
    /// Handshakes fail with most servers: of the clients' doing, or on the way back. Says nothing about a server.
    pub(super) flood: bool,
    /// In the order of the figures.
    pub(super) verdicts: Vec<PassiveVerdict>,
}

/// PassiveVerdict on a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PassiveVerdict {
    Fine,
    /// Its handshakes fail, and no other server has enough of them to compare.
    Alone,
    /// Its handshakes fail, and those of the others do not: their median, in thousandths.
    Suspect(u16),
}

impl ServiceJudgement {
    pub(super) fn of(servers: &[Figures]) -> Self {
        let comparable = servers.iter().filter(|figures| figures.is_comparable());
        let mut shares: Vec<_> = comparable.map(|figures| figures.failed_share()).collect();
        shares.sort_unstable();
        let flood = shares.len() > 1 && shares[(shares.len() - 1) / 2] >= FAILING;
        let verdict = |figures: &Figures| {
            if flood || !figures.is_failing() { PassiveVerdict::Fine } else { verdict(*figures, &shares) }
        };
        Self { flood, verdicts: servers.iter().map(verdict).collect() }
    }
}

/// The verdict on a server whose handshakes fail. `shares` has the failed part of each server that has enough of them,
/// this one included, in order.
fn verdict(figures: Figures, shares: &[u16]) -> PassiveVerdict {
    let own = figures.failed_share();
    match median_without(own, shares) {
        None => PassiveVerdict::Alone,
        Some(others) if own >= others + DIFFERENCE => PassiveVerdict::Suspect(others),
        Some(_) => PassiveVerdict::Fine,
    }
}

/// The upper median of `shares` without one that is `own`.
fn median_without(own: u16, shares: &[u16]) -> Option<u16> {
    let place = shares.partition_point(|share| *share < own);
    let middle = shares.len().checked_sub(1)? / 2;
    shares.get(if middle < place { middle } else { middle + 1 }).copied()
}

#[cfg(test)]
mod tests {
    use super::PassiveVerdict::{Alone, Fine, Suspect};
    use super::*;
    use proptest::prelude::*;

    /// Figures of servers by handshakes that were opened and that failed.
    fn judge(servers: &[(u32, u32)]) -> ServiceJudgement {
        let figures = servers.iter().map(|(opened, failed)| Figures::new(*opened, opened - failed, 0));
        ServiceJudgement::of(&figures.collect::<Vec<_>>())
    }

    #[test]
    fn a_server_is_compared_with_the_others() {
        for (servers, verdicts) in [
            (&[(43, 41), (40, 0), (50, 1)][..], &[Suspect(20), Fine, Fine][..]),
            (&[(5, 5), (40, 0)], &[Suspect(0), Fine]),
            (&[(4, 4), (40, 0)], &[Fine, Fine]),
            (&[(43, 43)], &[Alone]),
            (&[(43, 43), (4, 0)], &[Alone, Fine]),
            (&[(40, 20), (40, 9)], &[Fine, Fine]),
            (&[(40, 21), (40, 9)], &[Suspect(225), Fine]),
            (&[(40, 40), (40, 40), (40, 0), (40, 0)], &[Suspect(0), Suspect(0), Fine, Fine]),
        ] {
            let judgement = judge(servers);
            assert!(!judgement.flood, "{servers:?}");
            assert_eq!(judgement.verdicts, verdicts, "{servers:?}");
        }
    }

    #[test]
    fn failures_with_most_servers_are_a_flood() {
        for servers in [&[(40, 40), (40, 20)][..], &[(40, 40), (40, 30), (40, 0)], &[(5, 5), (9, 5), (4, 0)]]
        {
            let judgement = judge(servers);
            assert!(judgement.flood, "{servers:?}");
            assert!(judgement.verdicts.iter().all(|verdict| *verdict == Fine));
        }
        assert!(!judge(&[(40, 40)]).flood && !judge(&[]).flood);
    }

    fn servers() -> impl Strategy<Value = Vec<(u32, u32)>> {
        proptest::collection::vec((0_u32..60, 0_u32..=100), 0..9)
            .prop_map(|servers| servers.iter().map(|(opened, part)| (*opened, opened * part / 100)).collect())
    }

    proptest! {
        #[test]
        fn a_suspect_is_worse_than_half_of_the_others(servers in servers()) {
            let share = |of: &(u32, u32)| if of.0 == 0 { 0 } else { u64::from(of.1) * 1000 / u64::from(of.0) };
            let judgement = judge(&servers);
            for (at, verdict) in judgement.verdicts.iter().enumerate() {
                if let Suspect(_) = verdict {
                    let mut others = servers.clone();
                    let own = others.remove(at);
                    others.retain(|of| of.0 >= 5);
                    let better = others.iter().filter(|of| share(of) + 300 <= share(&own)).count();
                    prop_assert!(own.0 >= 5 && share(&own) >= 500);
                    prop_assert!(better * 2 > others.len(), "{own:?} beside {others:?}");
                }
            }
        }

        #[test]
        fn servers_that_fail_alike_are_no_suspects(opened in 0_u32..100, failed in 0_u32..100, n in 2_usize..9) {
            let judgement = judge(&vec![(opened, failed.min(opened)); n]);
            prop_assert!(judgement.verdicts.iter().all(|verdict| *verdict == Fine));
        }

        #[test]
        fn the_order_of_the_servers_does_not_matter(mut servers in servers()) {
            let before = judge(&servers);
            servers.reverse();
            let mut after = judge(&servers);
            after.verdicts.reverse();
            prop_assert_eq!(before, after);
        }
    }
}
