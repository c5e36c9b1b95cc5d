//! The cause that the evidence of a probe names.

use super::evidence::ProbeEvidence;
use super::target::{ProbeProtocol, ProbeTarget};
use crate::health::ProbeIcmp;
use crate::wire::MacAddr;

/// Result of the socket's exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeExchange {
    /// The answer that the check waits for has arrived.
    Answered,
    /// Neither answer nor error within the check's time, and the check takes that for a success.
    Quiet,
    /// No answer within the check's time.
    TimedOut,
    /// A system call failed with this errno.
    Failed(i32),
}

/// Cause of a probe's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProbeVerdict {
    /// The VIP answers, on the real server that was asked; or is quiet, if that is a success.
    Answered,
    /// Unknown: the packets did not pass the probe programs, so that the RIP was asked instead of the VIP.
    Bypassed,
    /// Unknown: this host could not probe, for this errno.
    Local(i32),
    /// No packet left: the RIP has no MAC address.
    NeverLeft,
    /// The packets left, and nothing came back.
    Silent,
    /// The server routes packets for the VIP: time exceeded.
    Routed(ProbeIcmp),
    /// An ICMP error of another kind.
    Rejected(ProbeIcmp),
    /// The VIP refuses the connection: nothing listens at its port.
    Refused,
    /// Replies came from this other MAC address alone.
    Foreign(MacAddr),
    /// Replies came from the RIP in the place of the VIP.
    FromRip,
    /// The VIP replied, but the answer did not arrive in time.
    Incomplete,
    /// The VIP replied, and the exchange failed with this errno.
    Broken(i32),
}

impl ProbeVerdict {
    /// Names the cause. An answer counts only if the programs saw it: the socket alone cannot tell VIP and RIP apart.
    ///
    /// A first [`ProbeVerdict::Foreign`] may be a late reply to another probe that had the port before; the second one in a
    /// row is to be believed.
    #[must_use]
    pub fn of(target: &ProbeTarget, evidence: &ProbeEvidence, outcome: ProbeExchange) -> Self {
        let errno = match outcome {
            ProbeExchange::Answered if evidence.sent > 0 && evidence.replies > 0 => return Self::Answered,
            ProbeExchange::Answered => return Self::Bypassed,
            ProbeExchange::Quiet if evidence.is_quiet() => return Self::Answered,
            ProbeExchange::Quiet | ProbeExchange::TimedOut => libc::ETIMEDOUT,
            ProbeExchange::Failed(errno) => errno,
        };
        if let Some(icmp) = evidence.icmp {
            return Self::of_icmp(target, icmp);
        }
        match evidence {
            _ if is_local(errno) => Self::Local(errno),
            ProbeEvidence { sent: 0, .. } => Self::of_nothing_sent(evidence, errno),
            ProbeEvidence { replies: 1.., .. } => Self::of_replies(errno),
            ProbeEvidence { from_rip: 1.., .. } => Self::FromRip,
            ProbeEvidence { foreign_mac: Some(mac), .. } => Self::Foreign(*mac),
            _ if is_of_server(errno) => Self::Bypassed,
            _ => Self::Silent,
        }
    }

    /// A firewall refuses UDP as a closed port does, by default; for TCP a closed port sends no ICMP error.
    fn of_icmp(target: &ProbeTarget, icmp: ProbeIcmp) -> Self {
        match (target.vip.is_ipv4(), icmp.kind, icmp.code) {
            (true, 11, 0) | (false, 3, 0) => Self::Routed(icmp),
            (true, 3, 3) | (false, 1, 4) if target.protocol == ProbeProtocol::Udp => Self::Refused,
            _ => Self::Rejected(icmp),
        }
    }

    /// Without neighbor nothing leaves. Otherwise the egress program was bypassed: the RIP replied.
    fn of_nothing_sent(evidence: &ProbeEvidence, errno: i32) -> Self {
        let came_back = evidence.replies + evidence.foreign + evidence.from_rip > 0;
        if came_back || is_of_server(errno) { Self::Bypassed } else { Self::NeverLeft }
    }

    fn of_replies(errno: i32) -> Self {
        match errno {
            libc::ECONNREFUSED => Self::Refused,
            libc::ETIMEDOUT => Self::Incomplete,
            errno => Self::Broken(errno),
        }
    }

    /// True if the server passes the check.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Self::Answered
    }

    /// True if nothing is known of the server.
    #[must_use]
    pub fn is_unknown(self) -> bool {
        matches!(self, Self::Bypassed | Self::Local(_))
    }
}

/// True for errors of this host, as long as no ICMP error of the server has caused them.
fn is_local(errno: i32) -> bool {
    matches!(
        errno,
        libc::EADDRNOTAVAIL
            | libc::EADDRINUSE
            | libc::EMFILE
            | libc::ENFILE
            | libc::ENOBUFS
            | libc::ENOMEM
            | libc::EPERM
            | libc::EACCES
            | libc::EINVAL
            | libc::EMSGSIZE
            | libc::ENETDOWN
            | libc::ENETUNREACH
            | libc::ENODEV
    )
}

/// True for errors that only a packet of the server causes.
fn is_of_server(errno: i32) -> bool {
    matches!(errno, libc::ECONNREFUSED | libc::ECONNRESET | libc::EPIPE | libc::EPROTO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv6Addr};

    const RIP: [u8; 4] = [10, 9, 0, 11];
    const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

    fn target(protocol: ProbeProtocol, is_v4: bool) -> ProbeTarget {
        let address = |last: u8| -> IpAddr {
            if is_v4 { [10, 9, 0, last].into() } else { Ipv6Addr::from([0xfd; 16]).into() }
        };
        let (mac, reply_mac) = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 1]));
        ProbeTarget {
            protocol,
            vip: address(80),
            rip: address(11),
            port: 80,
            own: address(2),
            mac,
            reply_mac,
        }
    }

    fn seen(sent: u64, replies: u64) -> ProbeEvidence {
        ProbeEvidence { sent, replies, ..ProbeEvidence::default() }
    }

    fn icmp(kind: u8, code: u8, is_v4: bool) -> ProbeEvidence {
        let sender = if is_v4 { RIP.into() } else { Ipv6Addr::LOCALHOST.into() };
        let icmp = Some(ProbeIcmp { kind, code, sender });
        ProbeEvidence { errors: 1, icmp, ..seen(1, 0) }
    }

    fn foreign(sent: u64) -> ProbeEvidence {
        ProbeEvidence { foreign: 1, foreign_mac: Some(OTHER), ..seen(sent, 0) }
    }

    fn from_rip(sent: u64) -> ProbeEvidence {
        ProbeEvidence { from_rip: 1, ..seen(sent, 0) }
    }

    #[test]
    fn evidence_and_errno_name_the_cause() {
        use ProbeExchange::{Answered, Failed, Quiet, TimedOut};
        use ProbeVerdict as V;
        for (evidence, outcome, expected) in [
            (seen(3, 2), Answered, V::Answered),
            (seen(0, 0), Answered, V::Bypassed),
            (seen(3, 0), Answered, V::Bypassed),
            (seen(0, 3), Answered, V::Bypassed),
            (from_rip(0), TimedOut, V::Bypassed),
            (foreign(0), TimedOut, V::Bypassed),
            (seen(0, 0), Failed(libc::ECONNREFUSED), V::Bypassed),
            (seen(1, 0), Failed(libc::ECONNREFUSED), V::Bypassed),
            (seen(1, 0), Failed(libc::ECONNRESET), V::Bypassed),
            (seen(0, 0), TimedOut, V::NeverLeft),
            (seen(0, 0), Failed(libc::EHOSTUNREACH), V::NeverLeft),
            (seen(2, 0), Failed(libc::EHOSTUNREACH), V::Silent),
            (seen(2, 0), TimedOut, V::Silent),
            (seen(2, 0), Failed(libc::ETIMEDOUT), V::Silent),
            (seen(1, 1), Failed(libc::ECONNREFUSED), V::Refused),
            (seen(4, 2), TimedOut, V::Incomplete),
            (seen(4, 2), Failed(libc::ECONNRESET), V::Broken(libc::ECONNRESET)),
            (from_rip(1), TimedOut, V::FromRip),
            (foreign(2), TimedOut, V::Foreign(OTHER)),
            // The expected server replies as well.
            (ProbeEvidence { replies: 2, ..foreign(2) }, Answered, V::Answered),
            (ProbeEvidence { replies: 1, ..foreign(2) }, TimedOut, V::Incomplete),
            // Silence is a success only if the packets left, and nothing came from elsewhere.
            (seen(1, 0), Quiet, V::Answered),
            (seen(0, 0), Quiet, V::NeverLeft),
            (from_rip(1), Quiet, V::FromRip),
            (foreign(1), Quiet, V::Foreign(OTHER)),
        ] {
            let verdict = V::of(&target(ProbeProtocol::Tcp, true), &evidence, outcome);
            assert_eq!(verdict, expected, "{evidence:?} {outcome:?}");
        }
    }

    #[test]
    fn icmp_errors_name_the_cause_by_type_and_code() {
        use ProbeProtocol::{Ping, Tcp, Udp};
        let routed = ProbeVerdict::Routed as fn(ProbeIcmp) -> ProbeVerdict;
        let rejected = ProbeVerdict::Rejected as fn(ProbeIcmp) -> ProbeVerdict;
        let refused = (|_| ProbeVerdict::Refused) as fn(ProbeIcmp) -> ProbeVerdict;
        for (protocol, is_v4, kind, code, errno, expected) in [
            (Tcp, true, 11, 0, libc::EHOSTUNREACH, routed),
            (Udp, false, 3, 0, libc::EHOSTUNREACH, routed),
            (Ping, true, 11, 0, libc::EHOSTUNREACH, routed),
            (Tcp, true, 3, 3, libc::ECONNREFUSED, rejected),
            (Tcp, true, 3, 1, libc::EHOSTUNREACH, rejected),
            (Tcp, true, 3, 0, libc::ENETUNREACH, rejected),
            (Tcp, true, 3, 13, libc::EHOSTUNREACH, rejected),
            (Tcp, true, 3, 10, libc::EHOSTUNREACH, rejected),
            (Tcp, true, 3, 9, libc::ENETUNREACH, rejected),
            // The errno would be this host's, but for the evidence.
            (Tcp, false, 1, 1, libc::EACCES, rejected),
            (Tcp, false, 1, 0, libc::ENETUNREACH, rejected),
            (Tcp, false, 1, 3, libc::EHOSTUNREACH, rejected),
            (Udp, true, 3, 3, libc::ECONNREFUSED, refused),
            (Udp, false, 1, 4, libc::ECONNREFUSED, refused),
            (Ping, false, 1, 4, libc::ECONNREFUSED, rejected),
        ] {
            for outcome in [ProbeExchange::Failed(errno), ProbeExchange::TimedOut, ProbeExchange::Quiet] {
                let evidence = icmp(kind, code, is_v4);
                let verdict = ProbeVerdict::of(&target(protocol, is_v4), &evidence, outcome);
                assert_eq!(verdict, expected(evidence.icmp.unwrap()), "{kind}/{code}");
                assert!(!verdict.is_unknown() && !verdict.is_success());
            }
        }
    }

    #[test]
    fn errors_of_this_host_are_unknown() {
        for errno in [
            libc::EADDRNOTAVAIL,
            libc::EMFILE,
            libc::ENFILE,
            libc::ENOBUFS,
            libc::ENOMEM,
            libc::EPERM,
            libc::EACCES,
            libc::ENETDOWN,
            libc::ENETUNREACH,
            libc::ENODEV,
        ] {
            let outcome = ProbeExchange::Failed(errno);
            let verdict = ProbeVerdict::of(&target(ProbeProtocol::Udp, true), &seen(0, 0), outcome);
            assert_eq!(verdict, ProbeVerdict::Local(errno));
            assert!(verdict.is_unknown() && !verdict.is_success());
        }
        assert!(ProbeVerdict::Bypassed.is_unknown());
    }
}
