//! Outcome of a probe: success, failure with its evidence, or an error of the director's own host.

use super::icmp::ProbeIcmp;
use crate::wire::MacAddr;
use std::fmt;

/// Outcome of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// The answer was good.
    Passed,
    /// The answer was good, and changes the weight of the server.
    Weighed(WeightChange),
    /// The server, or the way to it, is at fault.
    Failed(ProbeFailure),
    /// The director's own host is at fault, or nothing was found out. Changes no state.
    Unknown(LocalError),
}

/// Effect of a check that is up on the weight of its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightChange {
    /// It is this in place of the configured one.
    To(u16),
    /// So much is added to it.
    By(i32),
}

/// Evidence of a failed probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeFailure {
    /// Nothing came back within the timeout.
    Silent,
    /// The connection stands, but the answer was not complete within the timeout.
    Stalled,
    /// A TCP reset, or ICMP port unreachable.
    Refused,
    /// The connection ended before the answer was complete.
    Closed,
    /// No answer to ARP or neighbor solicitations for the RIP.
    NoNeighbor,
    /// An ICMP error other than port unreachable and time exceeded. The RIP's sockets do not tell which.
    Unreachable(Option<ProbeIcmp>),
    /// ICMP time exceeded: the server has routed the probe instead of taking it.
    Bounced,
    /// The answer to a probe of the VIP came from the RIP.
    AnsweredAsRip,
    /// The answer came from another MAC address than the server's.
    ForeignMac(MacAddr),
    /// HTTP status outside the expected ranges.
    Status(u16),
    /// The body lacks the expected text; its beginning.
    Body(String),
    /// The certificate is not valid, or not for this name; in words.
    Certificate(String),
    /// Another answer than is good; in words.
    Answer(String),
    /// No answer of the protocol; in words.
    Malformed(String),
}

/// Error of the director's own host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalError {
    /// The probe started or ended late: this host was busy or stopped.
    Late,
    /// No file descriptor, socket buffer or memory left.
    NoResources,
    /// No free local port, or the own address is gone.
    NoAddress,
    /// The kernel does not permit the socket.
    NotPermitted,
    /// The own interface is down, or there is no route.
    NoInterface,
    /// The route to the RIP leads through a gateway, or the host has no address on the server's network.
    NotOnLink,
    /// The server's MAC address is not known yet.
    Resolving,
    /// The interface of the route to the RIP has no probe programs, which are attached at the start.
    NotAttached,
    /// The packets did not pass the probe programs, so that the RIP was asked in the place of the VIP.
    Bypassed,
    /// The probe has ended by a panic.
    Panic,
    /// The check cannot run as it is configured, or lacks a file on this host; in words, with the remedy.
    Setup(&'static str),
    /// Another error, by its errno.
    Other(i32),
}

impl fmt::Display for WeightChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::To(weight) => write!(f, "weight {weight}"),
            Self::By(change) => write!(f, "weight {change:+}"),
        }
    }
}

impl fmt::Display for ProbeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("no answer within the timeout"),
            Self::Stalled => f.write_str("connected, but no whole answer within the timeout"),
            Self::Refused => f.write_str("refused"),
            Self::Closed => f.write_str("the connection ended before the answer"),
            Self::NoNeighbor => f.write_str("no answer to ARP or neighbor solicitations"),
            Self::Unreachable(None) => f.write_str("ICMP destination unreachable"),
            Self::Unreachable(Some(icmp)) => icmp.fmt(f),
            Self::Bounced => f.write_str("the server routes the probe back"),
            Self::AnsweredAsRip => f.write_str("the answer comes from the RIP, not from the VIP"),
            Self::ForeignMac(mac) => write!(f, "the answer comes from {mac}"),
            Self::Status(status) => write!(f, "HTTP status {status}"),
            Self::Body(start) => write!(f, "the expected text is not in the body, which begins {start:?}"),
            Self::Certificate(what) | Self::Answer(what) | Self::Malformed(what) => f.write_str(what),
        }
    }
}

impl fmt::Display for LocalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late => f.write_str("the director's host was late: it is busy, or was stopped"),
            Self::NoResources => f.write_str("the director has no file descriptor or memory left"),
            Self::NoAddress => f.write_str("the director has no free port, or has lost its own address"),
            Self::NotPermitted => f.write_str("the kernel does not permit the probe"),
            Self::NoInterface => f.write_str("the director's interface is down, or has no route"),
            Self::NotOnLink => f.write_str(
                "the director's host has no address on the server's network: add one (within a VLAN, to a VLAN device)",
            ),
            Self::Resolving => f.write_str("the server's MAC address is not known yet"),
            Self::NotAttached => f.write_str(
                "the interface of the server's route has no probe programs: restart the director, which attaches them",
            ),
            Self::Bypassed => f.write_str(
                "another TCX program ends the chain before the probe programs, or the packet is longer than the MTU: \
                 see `bpftool net`",
            ),
            Self::Panic => f.write_str("a fault of directrix: the log has its panic"),
            Self::Setup(what) => f.write_str(what),
            Self::Other(errno) => std::io::Error::from_raw_os_error(*errno).fmt(f),
        }
    }
}
