//! Sockets of health probes, made in the order that the translation needs.
//!
//! Interface, time to live and local port are fixed before the first packet, and the entries of the maps stand before it: the
//! port is of this socket alone, as it is chosen by bind(2) without SO_REUSEADDR.

use super::armed::ArmedProbe;
use super::refusal::ProbeRefusal;
use super::target::{ProbeProtocol, ProbeTarget};
use crate::model::Diagnostic;
use crate::sys::{errno, socket::bind_to_interface};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, getsockname, setsockopt, socket,
    sockopt,
};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Time to live of a probe's packets: a server without the VIP that routes cannot send them on.
const TIME_TO_LIVE: u8 = 1;

/// A socket of a probe, not connected yet. It does not block.
#[derive(Debug)]
pub struct ProbeSocket {
    /// Closing a TCP socket sends a RST (SO_LINGER with 0 s), so that no state stays on either host.
    pub socket: OwnedFd,
    /// The address to connect it to: the RIP.
    pub destination: SocketAddr,
    /// The translation, to be ended after the socket is closed.
    pub armed: ArmedProbe,
}

/// Makes a socket on an interface, and arms the translation of its port.
pub(super) fn open(
    interface: u32,
    target: &ProbeTarget,
    arm: impl FnOnce(u16) -> Result<ArmedProbe, ProbeRefusal>,
) -> Result<ProbeSocket, ProbeRefusal> {
    let refused = |(step, error): (&str, io::Error)| refusal(target, step, &error);
    let socket = new(target).map_err(|error| refused(("opening a socket", error)))?;
    let port = prepare(&socket, interface, target).map_err(refused)?;
    let armed = arm(port)?;
    let port = if target.protocol == ProbeProtocol::Ping { 0 } else { target.port };
    Ok(ProbeSocket { socket, destination: scoped(target.rip, port, interface), armed })
}

fn new(target: &ProbeTarget) -> io::Result<OwnedFd> {
    let is_v4 = target.own.is_ipv4();
    let family = if is_v4 { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let (kind, protocol) = match target.protocol {
        ProbeProtocol::Tcp => (SockType::Stream, None),
        ProbeProtocol::Udp => (SockType::Datagram, None),
        ProbeProtocol::Ping if is_v4 => (SockType::Datagram, Some(SockProtocol::Icmp)),
        ProbeProtocol::Ping => (SockType::Datagram, Some(SockProtocol::IcmpV6)),
    };
    Ok(socket(family, kind, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, protocol)?)
}

/// Sets options and local address; returns the port or identifier that the kernel has chosen. The error has its step.
fn prepare(socket: &OwnedFd, interface: u32, target: &ProbeTarget) -> Result<u16, (&'static str, io::Error)> {
    let at = |step| move |error: io::Error| (step, error);
    bind_to_interface(socket.as_fd(), interface).map_err(at("binding a socket to the interface"))?;
    set_options(socket, target).map_err(at("setting options of a socket"))?;
    let own = scoped(target.own, 0, interface);
    let port = || -> nix::Result<SockaddrStorage> {
        bind(socket.as_raw_fd(), &SockaddrStorage::from(own))?;
        getsockname(socket.as_raw_fd())
    };
    let bound = port().map_err(|error| at("binding a socket to the director's address")(error.into()))?;
    let v4 = bound.as_sockaddr_in().map(nix::sys::socket::SockaddrIn::port);
    let v6 = bound.as_sockaddr_in6().map(nix::sys::socket::SockaddrIn6::port);
    Ok(v4.or(v6).expect("the socket is of one of the families"))
}

fn set_options(socket: &OwnedFd, target: &ProbeTarget) -> io::Result<()> {
    let is_v4 = target.own.is_ipv4();
    match is_v4 {
        true => setsockopt(socket, sockopt::Ipv4Ttl, &TIME_TO_LIVE.into())?,
        false => setsockopt(socket, sockopt::Ipv6Ttl, &TIME_TO_LIVE.into())?,
    }
    match target.protocol {
        ProbeProtocol::Tcp => {
            let reset_at_close = libc::linger { l_onoff: 1, l_linger: 0 };
            setsockopt(socket, sockopt::Linger, &reset_at_close)?;
        }
        // So that every ICMP error is one of the socket, time exceeded as well. TCP has them while it connects.
        _ if is_v4 => setsockopt(socket, sockopt::Ipv4RecvErr, &true)?,
        _ => setsockopt(socket, sockopt::Ipv6RecvErr, &true)?,
    }
    Ok(())
}

fn refusal(target: &ProbeTarget, step: &str, error: &io::Error) -> ProbeRefusal {
    ProbeRefusal { errno: error.raw_os_error(), diagnostic: diagnostic(target, step, error) }
}

fn diagnostic(target: &ProbeTarget, step: &str, error: &io::Error) -> Diagnostic {
    let ProbeTarget { vip, rip, own, protocol, .. } = target;
    let refusal = Diagnostic::system(format!("{step}, to probe {vip} on {rip}")).cause(errno(error));
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) if *protocol == ProbeProtocol::Ping => refusal.remedy(
            "let the director's group send echo requests: sysctl net.ipv4.ping_group_range=\"0 2147483647\"",
        ),
        Some(libc::EADDRNOTAVAIL) => {
            refusal.remedy(format!("see whether the interface still has {own}: ip address"))
        }
        Some(libc::EADDRINUSE) => {
            refusal.remedy("free local ports, or widen net.ipv4.ip_local_port_range".to_owned())
        }
        Some(libc::EMFILE) => refusal.remedy("raise the limit of open files (systemd: LimitNOFILE=)"),
        _ => refusal,
    }
}

/// The address with the scope that a link-local one needs.
fn scoped(address: IpAddr, port: u16, interface: u32) -> SocketAddr {
    let mut scoped = SocketAddr::new(address, port);
    if let SocketAddr::V6(v6) = &mut scoped
        && v6.ip().is_unicast_link_local()
    {
        v6.set_scope_id(interface);
    }
    scoped
}

/// An echo request for a ping socket, without data. The kernel fills in identifier and checksum.
#[must_use]
pub fn echo_request(is_ipv4: bool, sequence: u16) -> [u8; 8] {
    let [high, low] = sequence.to_be_bytes();
    [if is_ipv4 { 8 } else { 128 }, 0, 0, 0, 0, 0, high, low]
}
