//! Verdict on a failed check: its cause with the remedy, from the evidence of the VIP and of the RIP.

use super::icmp::ProbeIcmp;
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
    /// A router or a firewall refuses, with this ICMP error.
    Rejected(Option<ProbeIcmp>),
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
            ProbeFailure::Silent if to_vip && rip.is_some_and(answers) => Self::VipMissing,
            ProbeFailure::Silent => match rip {
                Some(ProbeOutcome::Failed(ProbeFailure::NoNeighbor)) => Self::HostDown,
                _ => Self::Silent,
            },
            ProbeFailure::Bounced => Self::VipMissingAndRouted,
            ProbeFailure::Unreachable(icmp) => Self::Rejected(*icmp),
            ProbeFailure::AnsweredAsRip => Self::AnsweredAsRip,
            ProbeFailure::ForeignMac(mac) => Self::ForeignMac(*mac),
            ProbeFailure::Certificate(what) => Self::Certificate(what.clone()),
            ProbeFailure::Stalled
            | ProbeFailure::Closed
            | ProbeFailure::Status(_)
            | ProbeFailure::Body(_)
            | ProbeFailure::Answer(_)
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
        let (of, vip) = (key.place(), key.destination().ip());
        let add_vip = add_to_lo(vip);
        let packets = if key.kind.has_port() { format!("port {port}") } else { "echo requests".into() };
        match self {
            Self::HostDown => {
                let request = solicitation(*server);
                format!("{server} answers no {request}: start the host, or correct the address")
            }
            Self::ServiceDown => format!("{of} is refused: start the service there, or correct port {port}"),
            Self::Silent => format!(
                "{of} does not answer: see whether the host runs, and whether its firewall drops {packets}"
            ),
            Self::BoundToRip => format!(
                "{of} is refused, but port {port} of the RIP is open: let the service listen on the VIP, too, or on all \
                 addresses"
            ),
            Self::ClosedOnVip => format!("{of} is refused: let the service listen on the VIP"),
            Self::VipMissing => format!(
                "{of} does not answer, but the RIP does: the server lacks the VIP, or drops packets to it; there: {add_vip}, \
                 and `directrix realserver check`"
            ),
            Self::VipMissingAndRouted => {
                let forwarding = forwarding(vip);
                format!(
                    "{server} lacks the VIP {vip} and routes packets to it; there: {add_vip}; sysctl -w {forwarding}=0"
                )
            }
            Self::Rejected(None) => format!(
                "{of} is unreachable: see whether the host runs, and whether its firewall refuses {packets}"
            ),
            Self::Rejected(Some(icmp)) => {
                format!("{of} is refused by a firewall or router ({icmp}): permit {packets} there")
            }
            Self::AnsweredAsRip => format!(
                "{server} answers with its own address, and clients reset such connections: remove the address \
                 translation there (nft list ruleset), and: {add_vip}"
            ),
            Self::ForeignMac(mac) => format!(
                "{mac} answers for {of}, not the server's own MAC address: find that host, or the server's second \
                 interface"
            ),
            Self::Certificate(what) => format!("{of}: {what}"),
            Self::WrongAnswer(failure) => format!("{of}: {failure}"),
        }
    }
}

/// True if the host has sent anything but an ICMP error: it runs, and takes packets to this port.
fn answers(outcome: &ProbeOutcome) -> bool {
    match outcome {
        ProbeOutcome::Passed | ProbeOutcome::Weighed(_) => true,
        ProbeOutcome::Unknown(_) => false,
        ProbeOutcome::Failed(failure) => !matches!(
            failure,
            ProbeFailure::Silent
                | ProbeFailure::NoNeighbor
                | ProbeFailure::Unreachable(_)
                | ProbeFailure::Bounced
                | ProbeFailure::ForeignMac(_)
        ),
    }
}

/// The command that gives a host the VIP.
fn add_to_lo(vip: IpAddr) -> String {
    match vip {
        IpAddr::V4(vip) => format!("ip address add {vip}/32 dev lo"),
        IpAddr::V6(vip) => format!("ip address add {vip}/128 dev lo nodad"),
    }
}

fn forwarding(vip: IpAddr) -> &'static str {
    if vip.is_ipv4() { "net.ipv4.ip_forward" } else { "net.ipv6.conf.all.forwarding" }
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
    const SILENT: ProbeOutcome = ProbeOutcome::Failed(ProbeFailure::Silent);
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
            (&rip, ProbeFailure::Unreachable(None), None, "rejected"),
            (&vip, ProbeFailure::Unreachable(Some(prohibited())), Some(&PASSED), "rejected"),
            (&rip, ProbeFailure::Status(503), None, "wrong_answer"),
            (&rip, ProbeFailure::Certificate("it expired".into()), None, "certificate"),
            (&vip, ProbeFailure::Refused, Some(&PASSED), "bound_to_rip"),
            (&vip, ProbeFailure::Refused, Some(&REFUSED), "service_down"),
            (&vip, ProbeFailure::Refused, None, "closed_on_vip"),
            (&vip, ProbeFailure::Silent, Some(&PASSED), "vip_missing"),
            (&vip, ProbeFailure::Silent, Some(&NO_NEIGHBOR), "host_down"),
            (&vip, ProbeFailure::Silent, Some(&REFUSED), "vip_missing"),
            (&vip, ProbeFailure::Silent, Some(&SILENT), "silent"),
            (&vip, ProbeFailure::Silent, None, "silent"),
            (&vip, ProbeFailure::Bounced, Some(&PASSED), "vip_missing_and_routed"),
            (&vip, ProbeFailure::AnsweredAsRip, Some(&PASSED), "answered_as_rip"),
            (&vip, ProbeFailure::ForeignMac(MacAddr([2; 6])), None, "foreign_mac"),
        ] {
            assert_eq!(FailureCause::of(of, &failure, other).name(), cause, "{failure} with {other:?}");
        }
    }

    fn prohibited() -> ProbeIcmp {
        ProbeIcmp { kind: 3, code: 13, sender: [192, 0, 2, 7].into() }
    }

    #[test]
    fn a_sentence_names_the_address_and_the_remedy() {
        let (vip, rip) = (key(Some("192.0.2.80")), key(None));
        assert_eq!(
            FailureCause::VipMissing.sentence(&vip),
            "192.0.2.80:80 does not answer, but the RIP does: the server lacks the VIP, or drops packets to it; there: \
             ip address add 192.0.2.80/32 dev lo, and `directrix realserver check`"
        );
        assert_eq!(
            FailureCause::VipMissingAndRouted.sentence(&key(Some("2001:db8::80"))),
            "192.0.2.7 lacks the VIP 2001:db8::80 and routes packets to it; there: ip address add 2001:db8::80/128 dev lo \
             nodad; sysctl -w net.ipv6.conf.all.forwarding=0"
        );
        assert_eq!(
            FailureCause::Rejected(Some(prohibited())).sentence(&vip),
            "192.0.2.80:80 is refused by a firewall or router (ICMP 3/13 from 192.0.2.7: administratively prohibited): \
             permit port 80 there"
        );
        assert_eq!(
            FailureCause::WrongAnswer(ProbeFailure::Status(503)).sentence(&rip),
            "192.0.2.7:80: HTTP status 503"
        );
    }
}
