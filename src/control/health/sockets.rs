//! The sockets of a probe, to the RIP or to the VIP, and what the probe programs saw of them.

use super::error::{local_error, outcome_of, outcome_of_answer};
use super::judge::judge;
use super::way::VipWay;
use crate::health::{LocalError, ProbeFailure, ProbeOutcome};
use crate::io::probe::{ArmedProbe, ProbeEnd, ProbeProtocol, ProbeSocket, ProbeTarget};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage, connect, socket};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdUdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};

/// Opens the sockets of one probe.
pub(super) struct ProbeSockets {
    /// RIP and port.
    rip: SocketAddr,
    vip: Option<VipWay>,
    armed: Option<(ArmedProbe, ProbeTarget)>,
    quiet: bool,
}

impl ProbeSockets {
    /// Sockets to the RIP.
    pub(super) fn to_rip(server: IpAddr, port: u16) -> Self {
        Self { rip: SocketAddr::new(server, port), vip: None, armed: None, quiet: false }
    }

    /// Sockets to the VIP.
    pub(super) fn to_vip(server: IpAddr, port: u16, way: VipWay) -> Self {
        Self { vip: Some(way), ..Self::to_rip(server, port) }
    }

    /// A connection that stands before `deadline`.
    ///
    /// # Errors
    /// The outcome of a probe that cannot connect.
    pub(super) async fn tcp(&mut self, deadline: Instant) -> Result<TcpStream, ProbeOutcome> {
        let begun = match self.translated(ProbeProtocol::Tcp)? {
            Some((socket, to)) => begin(socket, to),
            None => tcp_socket(self.rip).and_then(|socket| begin(socket, self.rip)),
        };
        let stream = begun.map_err(|error| outcome_of(&error))?;
        let ended = timeout_at(deadline, stream.writable()).await;
        // That of an ICMP error, too, which came while the kernel was sending (`sk_err_soft` in net/ipv6/tcp_ipv6.c).
        match (stream.take_error(), ended) {
            (Ok(Some(error)), _) => Err(outcome_of_answer(&error)),
            (Ok(None), Ok(Ok(()))) => Ok(stream),
            (Ok(None), Err(_)) => Err(ProbeOutcome::Failed(ProbeFailure::Silent)),
            (Err(error), _) | (_, Ok(Err(error))) => Err(outcome_of(&error)),
        }
    }

    /// A socket for datagrams to the port and from it.
    ///
    /// # Errors
    /// The outcome of a probe that this host refuses.
    pub(super) fn udp(&mut self) -> Result<UdpSocket, ProbeOutcome> {
        match self.translated(ProbeProtocol::Udp)? {
            Some((socket, to)) => connected(socket.into(), to),
            None => StdUdpSocket::bind(any(self.rip)).and_then(|socket| connected(socket, self.rip)),
        }
        .map_err(|error| outcome_of(&error))
    }

    /// A ping socket (icmp(7)), for echo requests and their replies.
    ///
    /// # Errors
    /// The outcome of a probe that this host refuses.
    pub(super) fn ping(&mut self) -> Result<UdpSocket, ProbeOutcome> {
        match self.translated(ProbeProtocol::Ping)? {
            Some((socket, to)) => connected(socket.into(), to),
            None => ping_socket(self.rip.ip()).and_then(|socket| connected(socket, self.rip)),
        }
        .map_err(|error| outcome_of(&error))
    }

    /// A socket whose packets the probe programs translate, and its destination; `None` for a probe of the RIP.
    fn translated(&mut self, protocol: ProbeProtocol) -> Result<Option<(OwnedFd, SocketAddr)>, ProbeOutcome> {
        let Some(way) = &self.vip else { return Ok(None) };
        let target = way.target(protocol, self.rip.port());
        let opened = way.probes().socket(&target).map_err(|refusal| {
            tracing::debug!(%refusal, "health probe refused by this host");
            ProbeOutcome::Unknown(refusal.errno.map_or(LocalError::NotOnLink, local_error))
        })?;
        let ProbeSocket { socket, destination, armed } = opened;
        self.armed = Some((armed, target));
        Ok(Some((socket, destination)))
    }

    /// Says that the exchange is a success because nothing came.
    pub(super) fn expect_silence(&mut self) {
        self.quiet = true;
    }

    /// Ends the probe with the outcome of its exchange. Every socket must be closed. Returns the outcome that the probe programs
    /// confirm.
    pub(super) fn end(self, outcome: ProbeOutcome) -> ProbeOutcome {
        let quiet = self.quiet;
        let Some((armed, target)) = self.armed else { return outcome };
        let judged = match armed.evidence() {
            Ok(evidence) => judge(outcome, quiet, &target, &evidence),
            Err(error) => outcome_of(&error),
        };
        let is_complete = judged == ProbeOutcome::Passed && !quiet;
        armed.end(if is_complete { ProbeEnd::Complete } else { ProbeEnd::Abandoned });
        judged
    }
}

/// Begins to connect a socket that does not block. It is writable at the end, which may be an error.
fn begin(socket: OwnedFd, to: SocketAddr) -> io::Result<TcpStream> {
    match connect(socket.as_raw_fd(), &SockaddrStorage::from(to)) {
        Ok(()) | Err(Errno::EINPROGRESS) => TcpStream::from_std(socket.into()),
        Err(errno) => Err(errno.into()),
    }
}

fn tcp_socket(to: SocketAddr) -> io::Result<OwnedFd> {
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    Ok(socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?)
}

fn connected(socket: StdUdpSocket, to: SocketAddr) -> io::Result<UdpSocket> {
    socket.set_nonblocking(true)?;
    socket.connect(to)?;
    UdpSocket::from_std(socket)
}

fn ping_socket(to: IpAddr) -> io::Result<StdUdpSocket> {
    let (family, protocol) = match to {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6),
    };
    Ok(socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, protocol)?.into())
}

fn any(to: SocketAddr) -> SocketAddr {
    match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}
