//! Judgement of a probe of the VIP: the outcome of its socket, and the evidence of the probe programs.

use crate::health::{LocalError, ProbeFailure, ProbeOutcome};
use crate::io::probe::{ProbeEvidence, ProbeExchange, ProbeTarget, ProbeVerdict};

/// The outcome of a probe of the VIP. What the socket says of the answer counts only if the programs saw packets of the VIP.
pub(super) fn judge(
    outcome: ProbeOutcome,
    quiet: bool,
    target: &ProbeTarget,
    evidence: &ProbeEvidence,
) -> ProbeOutcome {
    let failed = ProbeOutcome::Failed;
    match ProbeVerdict::of(target, evidence, exchange(&outcome, quiet)) {
        ProbeVerdict::Answered | ProbeVerdict::Local(_) | ProbeVerdict::Broken(_) => outcome,
        ProbeVerdict::Bypassed => ProbeOutcome::Unknown(LocalError::Bypassed),
        ProbeVerdict::NeverLeft => failed(ProbeFailure::NoNeighbor),
        ProbeVerdict::Silent => failed(ProbeFailure::Silent),
        ProbeVerdict::Routed(_) => failed(ProbeFailure::Bounced),
        ProbeVerdict::Rejected(icmp) => failed(ProbeFailure::Unreachable(Some(icmp))),
        ProbeVerdict::Refused => failed(ProbeFailure::Refused),
        ProbeVerdict::Foreign(mac) => failed(ProbeFailure::ForeignMac(mac)),
        ProbeVerdict::FromRip => failed(ProbeFailure::AnsweredAsRip),
        ProbeVerdict::Incomplete => failed(ProbeFailure::Stalled),
    }
}

/// The exchange that leads to this outcome. An answer that is not the expected one is an answer.
fn exchange(outcome: &ProbeOutcome, quiet: bool) -> ProbeExchange {
    match outcome {
        ProbeOutcome::Passed if quiet => ProbeExchange::Quiet,
        ProbeOutcome::Passed | ProbeOutcome::Weighed(_) => ProbeExchange::Answered,
        ProbeOutcome::Unknown(_) => ProbeExchange::Failed(libc::EINVAL),
        ProbeOutcome::Failed(failure) => match failure {
            ProbeFailure::Silent | ProbeFailure::Stalled => ProbeExchange::TimedOut,
            ProbeFailure::Refused => ProbeExchange::Failed(libc::ECONNREFUSED),
            ProbeFailure::Closed => ProbeExchange::Failed(libc::ECONNRESET),
            ProbeFailure::Unreachable(_) | ProbeFailure::NoNeighbor | ProbeFailure::Bounced => {
                ProbeExchange::Failed(libc::EHOSTUNREACH)
            }
            _ => ProbeExchange::Answered,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::ProbeIcmp;
    use crate::io::probe::ProbeProtocol;
    use crate::wire::MacAddr;

    const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

    fn of(outcome: ProbeOutcome, evidence: ProbeEvidence) -> ProbeOutcome {
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        let [vip, rip, own] = [80, 11, 2].map(|host| [10, 9, 0, host].into());
        let target =
            ProbeTarget { protocol: ProbeProtocol::Tcp, vip, rip, port: 80, own, mac, reply_mac: mac };
        judge(outcome, false, &target, &evidence)
    }

    fn seen(sent: u64, replies: u64) -> ProbeEvidence {
        ProbeEvidence { sent, replies, ..ProbeEvidence::default() }
    }

    #[test]
    fn answers_count_only_if_the_programs_saw_them() {
        let status = ProbeOutcome::Failed(ProbeFailure::Status(503));
        let stalled = ProbeOutcome::Failed(ProbeFailure::Stalled);
        for outcome in [ProbeOutcome::Passed, status, stalled] {
            assert_eq!(of(outcome.clone(), seen(3, 2)), outcome);
        }
        for outcome in [ProbeOutcome::Passed, ProbeOutcome::Failed(ProbeFailure::Body("page".into()))] {
            assert_eq!(of(outcome, seen(0, 0)), ProbeOutcome::Unknown(LocalError::Bypassed));
        }
    }

    #[test]
    fn the_evidence_names_what_the_socket_cannot_tell() {
        let icmp = ProbeIcmp { kind: 1, code: 1, sender: [10, 9, 0, 11].into() };
        let routed = ProbeIcmp { kind: 11, code: 0, ..icmp };
        let error = |icmp| ProbeEvidence { errors: 1, icmp: Some(icmp), ..seen(1, 0) };
        let silent = || ProbeOutcome::Failed(ProbeFailure::Silent);
        for (outcome, evidence, failure) in [
            (silent(), seen(0, 0), ProbeFailure::NoNeighbor),
            (silent(), seen(2, 0), ProbeFailure::Silent),
            (silent(), ProbeEvidence { from_rip: 1, ..seen(1, 0) }, ProbeFailure::AnsweredAsRip),
            (
                silent(),
                ProbeEvidence { foreign: 1, foreign_mac: Some(OTHER), ..seen(1, 0) },
                ProbeFailure::ForeignMac(OTHER),
            ),
            (silent(), seen(3, 1), ProbeFailure::Stalled),
            (ProbeOutcome::Failed(ProbeFailure::Unreachable(None)), error(routed), ProbeFailure::Bounced),
            // The errno alone would be this host's.
            (
                ProbeOutcome::Unknown(LocalError::NotPermitted),
                error(icmp),
                ProbeFailure::Unreachable(Some(icmp)),
            ),
            (ProbeOutcome::Failed(ProbeFailure::Refused), seen(1, 1), ProbeFailure::Refused),
            (ProbeOutcome::Failed(ProbeFailure::Closed), seen(4, 3), ProbeFailure::Closed),
        ] {
            assert_eq!(of(outcome, evidence), ProbeOutcome::Failed(failure), "{evidence:?}");
        }
        let full = ProbeOutcome::Unknown(LocalError::NoResources);
        assert_eq!(of(full.clone(), seen(0, 0)), full);
    }
}
