//! Sockets of connection sync, bound as those of IPVS (`make_send_sock` and `make_receive_sock` in
//! net/netfilter/ipvs/ip_vs_sync.c).

use super::{SyncSocketError, SyncSocketStep};
use crate::stats::Counter;
use crate::sys::socket::{bind_to_interface, join_group, multicast_by, only_own_groups};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket, sockopt,
};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Wished size of the kernel's buffers in bytes: 100 ms of an answer of 500,000 records a second.
const SOCKET_BUFFER: usize = 4 << 20;
/// Longest datagram.
const DATAGRAM_MAX: usize = 1 << 16;
/// Datagrams that one call receives at most.
const BURST: usize = 64;

/// Way of sync messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncSocketSettings {
    /// Interface that the group is reached by.
    pub interface: String,
    /// Multicast group.
    pub group: IpAddr,
    /// UDP port.
    pub port: u16,
    /// Time to live, or hop limit, of multicast datagrams.
    pub ttl: u8,
    /// Directors that also get each message to an address of their own.
    pub unicast: Vec<IpAddr>,
}

impl SyncSocketSettings {
    fn error(&self, step: SyncSocketStep) -> impl FnOnce(io::Error) -> SyncSocketError + use<> {
        let interface = self.interface.clone();
        move |cause| SyncSocketError { interface, step, cause }
    }

    fn index(&self) -> Result<u32, SyncSocketError> {
        let index = if_nametoindex(self.interface.as_str());
        index.map_err(|cause| self.error(SyncSocketStep::Interface)(cause.into()))
    }

    fn families(&self) -> impl Iterator<Item = bool> {
        [true, false].into_iter().filter(|is_v4| self.unicast.iter().any(|of| of.is_ipv4() == *is_v4))
    }
}

/// Sending end.
#[derive(Debug)]
pub struct SyncTransmitter {
    group: UdpSocket,
    /// Sockets for unicast peers, each with the peers of its family.
    unicast: Vec<(UdpSocket, Vec<SocketAddr>)>,
    /// Datagrams that were sent.
    pub sent: Counter,
    /// Datagrams that the kernel had no room for, or no way.
    pub failed: Counter,
}

impl SyncTransmitter {
    /// Opens the sockets: that of the group from the interface's primary IPv4 address, if it has one.
    ///
    /// # Errors
    /// The interface is unknown or down, or the kernel refuses a step.
    pub fn open(settings: &SyncSocketSettings) -> Result<Self, SyncSocketError> {
        let index = settings.index()?;
        let group = open(settings, settings.group.is_ipv4())?;
        multicast_by(group.as_fd(), settings.group.is_ipv4(), index, settings.ttl)
            .map_err(settings.error(SyncSocketStep::Options))?;
        if settings.group.is_ipv4()
            && let Some(own) = primary_address(&settings.interface)
        {
            bound(&group, SocketAddr::new(own.into(), 0)).map_err(settings.error(SyncSocketStep::Bind))?;
        }
        let group = UdpSocket::from(group);
        group
            .connect(scoped(settings.group, settings.port, index))
            .map_err(settings.error(SyncSocketStep::Connect))?;
        let unicast = settings.families().map(|is_v4| {
            let peers = settings.unicast.iter().filter(|peer| peer.is_ipv4() == is_v4);
            let peers = peers.map(|peer| scoped(*peer, settings.port, index)).collect();
            Ok((open(settings, is_v4)?.into(), peers))
        });
        let unicast = unicast.collect::<Result<_, _>>()?;
        Ok(Self { group, unicast, sent: Counter::default(), failed: Counter::default() })
    }

    /// Sends a message to the group and to unicast peers. Never waits.
    pub fn send(&self, message: &[u8]) {
        self.count(&self.group.send(message));
        for (socket, peers) in &self.unicast {
            peers.iter().for_each(|peer| self.count(&socket.send_to(message, peer)));
        }
    }

    fn count(&self, result: &io::Result<usize>) {
        if result.is_ok() { self.sent.add(1) } else { self.failed.add(1) }
    }
}

/// Receiving end.
#[derive(Debug)]
pub struct SyncListener {
    sockets: Vec<UdpSocket>,
    buffer: Box<[u8]>,
}

impl SyncListener {
    /// Opens the sockets: that of the group, bound to group, port and interface, and with unicast peers one of each family
    /// for datagrams to this host's own addresses.
    ///
    /// # Errors
    /// The interface is unknown, or the kernel refuses a step.
    pub fn open(settings: &SyncSocketSettings) -> Result<Self, SyncSocketError> {
        let index = settings.index()?;
        let group = listening(settings, settings.group, index)?;
        join_group(group.as_fd(), settings.group, index).map_err(settings.error(SyncSocketStep::Join))?;
        let own = settings.families().map(|is_v4| {
            let any: IpAddr = if is_v4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
            listening(settings, any, index)
        });
        let sockets = [Ok(group)].into_iter().chain(own).collect::<Result<_, _>>()?;
        Ok(Self { sockets, buffer: vec![0; DATAGRAM_MAX].into() })
    }

    /// Descriptors that are readable when datagrams wait.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(AsFd::as_fd)
    }

    /// Passes waiting datagrams and their source addresses to `take`, up to 64 of each socket. Returns their number.
    ///
    /// # Errors
    /// Of recvfrom(2), but for EAGAIN and EINTR.
    pub fn receive(&mut self, mut take: impl FnMut(&[u8], IpAddr)) -> io::Result<usize> {
        let mut received = 0;
        for socket in &self.sockets {
            for _ in 0..BURST {
                match socket.recv_from(&mut self.buffer) {
                    Ok((length, source)) => take(&self.buffer[..length], source.ip()),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(error),
                }
                received += 1;
            }
        }
        Ok(received)
    }
}

fn open(settings: &SyncSocketSettings, is_v4: bool) -> Result<OwnedFd, SyncSocketError> {
    let family = if is_v4 { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(family, SockType::Datagram, flags, None);
    let socket = socket.map_err(|cause| settings.error(SyncSocketStep::Open)(cause.into()))?;
    // The kernel's limits may allow less.
    let _ = setsockopt(&socket, sockopt::SndBuf, &SOCKET_BUFFER);
    Ok(socket)
}

fn listening(
    settings: &SyncSocketSettings,
    address: IpAddr,
    index: u32,
) -> Result<UdpSocket, SyncSocketError> {
    let socket = open(settings, address.is_ipv4())?;
    options(&socket, address.is_ipv4(), index).map_err(settings.error(SyncSocketStep::Options))?;
    let end = scoped(address, settings.port, index);
    bound(&socket, end).map_err(settings.error(SyncSocketStep::Bind))?;
    Ok(socket.into())
}

fn options(socket: &OwnedFd, is_v4: bool, index: u32) -> io::Result<()> {
    setsockopt(socket, sockopt::ReuseAddr, &true)?;
    if !is_v4 {
        setsockopt(socket, sockopt::Ipv6V6Only, &true)?;
    }
    only_own_groups(socket.as_fd(), is_v4)?;
    if setsockopt(socket, sockopt::RcvBufForce, &SOCKET_BUFFER).is_err() {
        setsockopt(socket, sockopt::RcvBuf, &SOCKET_BUFFER)?;
    }
    bind_to_interface(socket.as_fd(), index)
}

fn bound(socket: &OwnedFd, end: SocketAddr) -> io::Result<()> {
    Ok(bind(socket.as_raw_fd(), &SockaddrStorage::from(end))?)
}

/// The end with the interface as scope, which link-local IPv6 addresses need.
fn scoped(address: IpAddr, port: u16, index: u32) -> SocketAddr {
    match address {
        IpAddr::V4(address) => SocketAddr::new(address.into(), port),
        IpAddr::V6(address) => SocketAddrV6::new(address, port, 0, index).into(),
    }
}

/// The first IPv4 address of an interface.
fn primary_address(interface: &str) -> Option<Ipv4Addr> {
    let mut addresses = getifaddrs().ok()?.filter(|of| of.interface_name == interface);
    addresses.find_map(|of| Some(of.address?.as_sockaddr_in()?.ip()))
}
