//! Options of sockets that nix lacks.

#![allow(unsafe_code)]

use libc::c_int;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

/// asm-generic/socket.h, as of Linux 6.18.
const SO_BINDTOIFINDEX: c_int = 62;
/// linux/in6.h.
const IPV6_MULTICAST_ALL: c_int = 29;

/// Binds a socket to an interface: it sends and receives there alone. Takes no capability for a socket that has none yet
/// (Linux 5.7).
pub(crate) fn bind_to_interface(socket: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    set_option(socket, libc::SOL_SOCKET, SO_BINDTOIFINDEX, &index.cast_signed())
}

/// Sends a socket's multicast datagrams by an interface with this time to live. None goes to a socket of this host, and the
/// kernel cuts them into fragments whatever the MTU of the path (ip(7), ipv6(7)).
pub(crate) fn multicast_by(socket: BorrowedFd<'_>, is_v4: bool, index: u32, ttl: u8) -> io::Result<()> {
    let (off, ttl) = (0 as c_int, c_int::from(ttl));
    if is_v4 {
        set_option(
            socket,
            libc::IPPROTO_IP,
            libc::IP_MULTICAST_IF,
            &membership(Ipv4Addr::UNSPECIFIED, index),
        )?;
        set_option(socket, libc::IPPROTO_IP, libc::IP_MULTICAST_TTL, &ttl)?;
        set_option(socket, libc::IPPROTO_IP, libc::IP_MULTICAST_LOOP, &off)?;
        set_option(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, &libc::IP_PMTUDISC_DONT)
    } else {
        set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF, &index.cast_signed())?;
        set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS, &ttl)?;
        set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_LOOP, &off)?;
        set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, &libc::IPV6_PMTUDISC_DONT)
    }
}

/// Receives no datagrams of groups that only other sockets of this host have joined (ip(7); of IPv6 since Linux 4.20).
pub(crate) fn only_own_groups(socket: BorrowedFd<'_>, is_v4: bool) -> io::Result<()> {
    let (level, name) = match is_v4 {
        true => (libc::IPPROTO_IP, libc::IP_MULTICAST_ALL),
        false => (libc::IPPROTO_IPV6, IPV6_MULTICAST_ALL),
    };
    set_option(socket, level, name, &(0 as c_int))
}

/// Receives the datagrams to `group` that come by an interface.
pub(crate) fn join_group(socket: BorrowedFd<'_>, group: IpAddr, index: u32) -> io::Result<()> {
    match group {
        IpAddr::V4(group) => {
            set_option(socket, libc::IPPROTO_IP, libc::IP_ADD_MEMBERSHIP, &membership(group, index))
        }
        IpAddr::V6(group) => {
            let ipv6mr_multiaddr = libc::in6_addr { s6_addr: group.octets() };
            let request = libc::ipv6_mreq { ipv6mr_multiaddr, ipv6mr_interface: index };
            set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_ADD_MEMBERSHIP, &request)
        }
    }
}

fn membership(group: Ipv4Addr, index: u32) -> libc::ip_mreqn {
    let address = |of: Ipv4Addr| libc::in_addr { s_addr: u32::from_ne_bytes(of.octets()) };
    libc::ip_mreqn {
        imr_multiaddr: address(group),
        imr_address: address(Ipv4Addr::UNSPECIFIED),
        imr_ifindex: index.cast_signed(),
    }
}

/// Sets an option; `value` must be of the type that the kernel reads for it.
pub(super) fn set_option<T: Copy>(
    socket: BorrowedFd<'_>,
    level: c_int,
    name: c_int,
    value: &T,
) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t; // a few bytes
    // SAFETY: setsockopt(2) reads `length` bytes at the pointer, which are those of `value`; it outlives the call. None
    // of the types used here has pointers.
    let set = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), length)
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
