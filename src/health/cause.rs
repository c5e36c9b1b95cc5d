//! Verdict on a failed check: its cause with the remedy, from the evidence of the VIP and of the RIP.

use super::key::CheckKey;
use super::outcome::{ProbeFailure, ProbeOutcome};
use crate::wire::MacAddr;
use std::fmt;
use std::net::IpAddr;

/// Cause of a failed check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailureCause {
    /// No station answers for the RIP.
    HostDown,
    /// The host refuses the port.
    ServiceDown,
    /// The host answers nothing at all, or a firewall drops the probes.
    Silent,
    /// The VIP is there, but nothing listens on it; the RIP's port is open.
    BoundToRip,
    /// Nothing listens on the VIP; the RIP was not probed.
    ClosedOnVip,
    /// The RIP answers, and the VIP does not.
    VipMissing,
    /// The VIP is not on the server, and the server routes: packets to it come back.
    VipMissingAndRouted,
    /// A router or a firewall refuses, with this ICMP code.
    Rejected(Option<u8>),
    /// The server translates the address instead of having the VIP.
    AnsweredAsRip,
    /// Another station answers.
    ForeignMac(MacAddr),
    /// The certificate is not valid, or not for this name; in words.
    Certificate(String),
    /// The service answers, but not as expected.
    WrongAnswer(ProbeFailure),
}

impl FailureCause {
    /// The cause of `failure` of the check `key`. `rip`: the last outcome of the same check of the RIP, if `key` is of
    /// the VIP.
    #[must_use]
    pub fn of(key: &CheckKey, failure: &ProbeFailure, rip: Option<&ProbeOutcome>) -> Self {
        let to_vip = key.vip.is_some();
        match failure {
            ProbeFailure::NoNeighbor => Self::HostDown,
            ProbeFailure::Refused if to_vip => match rip {
                Some(ProbeOutcome::Passed) => Self::BoundToRip,
                Some(ProbeOutcome::Failed(ProbeFailure::Refused)) => Self::ServiceDown,
                _ => Self::ClosedOnVip,
            },
            ProbeFailure::Refused => Self::ServiceDown,
            ProbeFailure::Silent if to_vip && rip == Some(&ProbeOutcome::Passed) => Self::VipMissing,
            ProbeFailure::Silent => match rip {
                Some(ProbeOutcome::Failed(ProbeFailure::NoNeighbor)) => Self::HostDown,
                _ => Self::Silent,
            },
            ProbeFailure::Bounced => Self::VipMissingAndRouted,
            ProbeFailure::Unreachable(code) => Self::Rejected(*code),
            ProbeFailure::AnsweredAsRip => Self::AnsweredAsRip,
            ProbeFailure::ForeignMac(mac) => Self::ForeignMac(*mac),
            ProbeFailure::Certificate(what) => Self::Certificate(what.clone()),
            ProbeFailure::Stalled
            | ProbeFailure::Closed
            | ProbeFailure::Status(_)
            | ProbeFailure::Body(_)
            | ProbeFailure::Malformed(_) => Self::WrongAnswer(failure.clone()),
        }
    }

    /// Name for metrics and scripts.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::HostDown => "host_down",
            Self::ServiceDown => "service_down",
            Self::Silent => "silent",
            Self::BoundToRip => "bound_to_rip",
            Self::ClosedOnVip => "closed_on_vip",
            Self::VipMissing => "vip_missing",
            Self::VipMissingAndRouted => "vip_missing_and_routed",
            Self::Rejected(_) => "rejected",
            Self::AnsweredAsRip => "answered_as_rip",
            Self::ForeignMac(_) => "foreign_mac",
            Self::Certificate(_) => "certificate",
            Self::WrongAnswer(_) => "wrong_answer",
        }
    }

    /// The cause as a sentence about the check `key`, with the remedy.
    #[must_use]
    pub fn sentence(&self, key: &CheckKey) -> String {
        let CheckKey { server, port, .. } = key;
        let of = key.destination();
        match self {
            Self::HostDown => {
                format!(
                    "{server} answers no {}: start the host, or correct the address",
                    solicitation(*server)
                )
            }
            Self::ServiceDown => format!("{of} is refused: start the service there, or correct port {port}"),
            Self::Silent => {
                format!(
                    "{of} does not answer: see whether the host runs, and whether its firewall drops port {port}"
                )
            }
            Self::BoundToRip => {
                format!(
                    "{of} is refused, but the RIP's port {port} is open: let the service listen on the VIP, too"
                )
            }
            Self::ClosedOnVip => format!("{of} is refused: let the service listen on the VIP"),
            Self::VipMissing => {
                format!(
                    "{of} does not answer, but the RIP does: put the VIP on lo there, directrix realserver check shows it"
                )
            }
            Self::VipMissingAndRouted => {
                format!(
                    "{server} routes packets to the VIP back: put the VIP on lo there, and set ip_forward=0"
                )
            }
            Self::Rejected(None) => {
                format!(
                    "{of} is unreachable: see whether the host runs, and whether its firewall refuses port {port}"
                )
            }
            Self::Rejected(Some(code)) => {
                format!(
                    "{of} is refused by a firewall or router (ICMP code {code}): permit port {port} there"
                )
            }
            Self::AnsweredAsRip => {
                format!(
                    "{server} answers with its own address: remove the address translation, and put the VIP on lo there"
                )
            }
            Self::ForeignMac(mac) => {
                format!("{mac} answers for {of}: find that host, or the server's second interface")
            }
            Self::Certificate(what) => format!("{of}: {what}"),
            Self::WrongAnswer(failure) => format!("{of}: {failure}"),
        }
    }
}

fn solicitation(server: IpAddr) -> &'static str {
    if server.is_ipv4() { "ARP request" } else { "neighbor solicitation" }
}

impl fmt::Display for FailureCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CheckKind, CheckTiming};
    use std::sync::Arc;

    const PASSED: ProbeOutcome = ProbeOutcome::Passed;
    const REFUSED: ProbeOutcome = ProbeOutcome::Failed(ProbeFailure::Refused);
    const NO_NEIGHBOR: ProbeOutcome = ProbeOutcome::Failed(ProbeFailure::NoNeighbor);

    fn key(vip: Option<&str>) -> CheckKey {
        CheckKey {
            server: "192.0.2.7".parse().unwrap(),
            vip: vip.map(|vip| vip.parse().unwrap()),
            port: 80,
            kind: Arc::new(CheckKind::Tcp),
            timing: CheckTiming::default(),
        }
    }

    #[test]
    fn evidence_of_vip_and_rip_together_names_the_cause() {
        let (vip, rip) = (key(Some("192.0.2.80")), key(None));
        for (of, failure, other, cause) in [
            (&rip, ProbeFailure::NoNeighbor, None, "host_down"),
            (&rip, ProbeFailure::Refused, None, "service_down"),
            (&rip, ProbeFailure::Silent, None, "silent"),
            (&rip, ProbeFailure::Unreachable(Some(13)), None, "rejected"),
            (&rip, ProbeFailure::Status(503), None, "wrong_answer"),
            (&rip, ProbeFailure::Certificate("it expired".into()), None, "certificate"),
            (&vip, ProbeFailure::Refused, Some(&PASSED), "bound_to_rip"),
            (&vip, ProbeFailure::Refused, Some(&REFUSED), "service_down"),
            (&vip, ProbeFailure::Refused, None, "closed_on_vip"),
            (&vip, ProbeFailure::Silent, Some(&PASSED), "vip_missing"),
            (&vip, ProbeFailure::Silent, Some(&NO_NEIGHBOR), "host_down"),
            (&vip, ProbeFailure::Silent, Some(&REFUSED), "silent"),
            (&vip, ProbeFailure::Bounced, Some(&PASSED), "vip_missing_and_routed"),
            (&vip, ProbeFailure::AnsweredAsRip, Some(&PASSED), "answered_as_rip"),
            (&vip, ProbeFailure::ForeignMac(MacAddr([2; 6])), None, "foreign_mac"),
        ] {
            assert_eq!(FailureCause::of(of, &failure, other).name(), cause, "{failure} with {other:?}");
        }
    }

    #[test]
    fn a_sentence_names_the_address_and_the_remedy() {
        let (vip, rip) = (key(Some("192.0.2.80")), key(None));
        assert_eq!(
            FailureCause::VipMissing.sentence(&vip),
            "192.0.2.80:80 does not answer, but the RIP does: put the VIP on lo there, directrix realserver check shows it"
        );
        assert_eq!(
            FailureCause::WrongAnswer(ProbeFailure::Status(503)).sentence(&rip),
            "192.0.2.7:80: HTTP status 503"
        );
    }
}
