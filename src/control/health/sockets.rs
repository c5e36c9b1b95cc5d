//! The sockets of a probe, to the RIP or to the VIP, and what the probe programs saw of them.

use super::error::{local_error, outcome_of};
use super::judge::judge;
use super::way::VipWay;
use crate::health::{LocalError, ProbeOutcome};
use crate::io::probe::{ArmedProbe, ProbeEnd, ProbeProtocol, ProbeSocket, ProbeTarget};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdUdpSocket};
use std::os::fd::OwnedFd;
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

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

    /// A connection.
    ///
    /// # Errors
    /// The outcome of a probe that cannot connect.
    pub(super) async fn tcp(&mut self) -> Result<TcpStream, ProbeOutcome> {
        let connected = match self.translated(ProbeProtocol::Tcp)? {
            Some((socket, to)) => TcpSocket::from_std_stream(socket.into()).connect(to).await,
            None => TcpStream::connect(self.rip).await,
        };
        connected.map_err(|error| outcome_of(&error))
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
