//! Errors of sockets as outcomes of a probe.

use crate::health::{LocalError, ProbeFailure, ProbeOutcome};
use nix::errno::Errno;
use std::io::{self, ErrorKind};

/// Tells an error of the server, or of the way to it, from one of this host.
pub(super) fn outcome_of(error: &io::Error) -> ProbeOutcome {
    let failed = ProbeOutcome::Failed;
    let errno = error.raw_os_error().unwrap_or_default();
    match (Errno::from_raw(errno), error.kind()) {
        (Errno::ECONNREFUSED, _) => failed(ProbeFailure::Refused),
        (Errno::ECONNRESET | Errno::ECONNABORTED | Errno::EPIPE, _) | (_, ErrorKind::UnexpectedEof) => {
            failed(ProbeFailure::Closed)
        }
        (Errno::ETIMEDOUT, _) => failed(ProbeFailure::Silent),
        (Errno::EHOSTUNREACH | Errno::EHOSTDOWN | Errno::ENOPROTOOPT, _) => {
            failed(ProbeFailure::Unreachable(None))
        }
        _ => ProbeOutcome::Unknown(local_error(errno)),
    }
}

/// Tells an error that comes while an answer is awaited. What would be this host's own at the start of an exchange is then an
/// ICMP error of the server, or of a firewall before it (`icmp_err_convert` in net/ipv4/icmp.c, `tab_unreach` in
/// net/ipv6/icmp.c).
pub(super) fn outcome_of_answer(error: &io::Error) -> ProbeOutcome {
    match Errno::from_raw(error.raw_os_error().unwrap_or_default()) {
        Errno::EACCES | Errno::ENETUNREACH | Errno::ENONET | Errno::EOPNOTSUPP | Errno::EPROTO => {
            ProbeOutcome::Failed(ProbeFailure::Unreachable(None))
        }
        _ => outcome_of(error),
    }
}

/// An error of this host.
pub(super) fn local_error(errno: i32) -> LocalError {
    match Errno::from_raw(errno) {
        // E2BIG: the maps of the probe programs are full.
        Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM | Errno::E2BIG => {
            LocalError::NoResources
        }
        Errno::EADDRNOTAVAIL | Errno::EADDRINUSE => LocalError::NoAddress,
        Errno::EPERM | Errno::EACCES => LocalError::NotPermitted,
        Errno::ENETUNREACH | Errno::ENETDOWN | Errno::ENODEV => LocalError::NoInterface,
        _ => LocalError::Other(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_this_host_are_no_failures() {
        let outcome = |errno: Errno| outcome_of(&io::Error::from_raw_os_error(errno as i32));
        for errno in [Errno::EMFILE, Errno::EADDRNOTAVAIL, Errno::EPERM, Errno::ENETUNREACH, Errno::EINVAL] {
            assert!(matches!(outcome(errno), ProbeOutcome::Unknown(_)), "{errno}");
        }
        for errno in [Errno::ECONNREFUSED, Errno::EHOSTUNREACH, Errno::ECONNRESET, Errno::ETIMEDOUT] {
            assert!(matches!(outcome(errno), ProbeOutcome::Failed(_)), "{errno}");
        }
    }

    #[test]
    fn errors_by_icmp_are_failures() {
        let outcome = |errno: Errno| outcome_of_answer(&io::Error::from_raw_os_error(errno as i32));
        let unreachable = ProbeOutcome::Failed(ProbeFailure::Unreachable(None));
        for errno in [Errno::EACCES, Errno::ENETUNREACH, Errno::EHOSTUNREACH, Errno::ENONET, Errno::EPROTO] {
            assert_eq!(outcome(errno), unreachable, "{errno}");
        }
        assert_eq!(outcome(Errno::ECONNREFUSED), ProbeOutcome::Failed(ProbeFailure::Refused));
        for errno in [Errno::EMFILE, Errno::EPERM, Errno::ENETDOWN, Errno::EMSGSIZE] {
            assert!(matches!(outcome(errno), ProbeOutcome::Unknown(_)), "{errno}");
        }
    }
}
