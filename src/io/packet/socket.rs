//! A packet socket (packet(7)): its options, its filter, its place in a fan-out group.
#![allow(unsafe_code)]

use libc::{c_int, c_uint, sock_filter};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// A raw, non-blocking packet socket. It receives nothing until it is bound.
#[derive(Debug)]
pub(super) struct Socket(OwnedFd);

/// How a fan-out group spreads frames (linux/if_packet.h).
///
/// The hash is over addresses and ports, computed by the kernel's own dissector rather than taken
/// from the hardware: it stays the same for all of a flow's frames, whatever queue or processor
/// they come by. Fragments have no ports, so the pieces of a datagram meet on one worker, though
/// not on their flow's. Reassembly (`FLAG_DEFRAG`) would make datagrams that cannot be sent on.
const SPREAD: c_uint = libc::PACKET_FANOUT_HASH | libc::PACKET_FANOUT_FLAG_IGNORE_OUTGOING;

impl Socket {
    /// Opens a socket that belongs to no protocol yet.
    pub(super) fn open() -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: socket(2) takes no pointer.
        let fd = checked(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
        // SAFETY: `fd` was just opened and nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Sets an integer option of the packet level.
    pub(super) fn option(&self, name: c_int, value: c_int) -> io::Result<()> {
        self.set(libc::SOL_PACKET, name, &value)
    }

    /// Sets an option; `value` must be the type that the kernel reads for it.
    pub(super) fn set<T: Copy>(&self, level: c_int, name: c_int, value: &T) -> io::Result<()> {
        let length = size_of::<T>() as libc::socklen_t; // option values are a few bytes
        // SAFETY: the pointer and the length describe `value`, which outlives the call and is
        // only read. Pointers within it (a filter program's) are the caller's, alive as well.
        checked(unsafe {
            libc::setsockopt(self.raw(), level, name, std::ptr::from_ref(value).cast(), length)
        })?;
        Ok(())
    }

    /// Reads an option into `value`, which must be of the type that the kernel writes for it.
    fn get<T: Plain>(&self, level: c_int, name: c_int, mut value: T) -> io::Result<T> {
        let mut length = size_of::<T>() as libc::socklen_t; // option values are a few bytes
        // SAFETY: both pointers are to live locals, and the kernel writes no more than `length`
        // bytes, which is the size of `value`; all of them are valid there.
        checked(unsafe {
            libc::getsockopt(self.raw(), level, name, (&raw mut value).cast(), &raw mut length)
        })?;
        Ok(value)
    }

    /// Replaces the socket's filter in one step: each frame meets the old one or the new one.
    pub(super) fn filter(&self, program: &[sock_filter]) -> io::Result<()> {
        let len = program.len().try_into().map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
        let filter = program.as_ptr().cast_mut(); // the kernel reads it only
        self.set(libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &libc::sock_fprog { len, filter })
    }

    /// Ties the socket to an interface; with a `protocol` (host order) other than 0 it receives.
    pub(super) fn bind(&self, interface: u32, protocol: u16) -> io::Result<()> {
        // SAFETY: all bytes zero is a valid value of this plain struct.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = protocol.to_be();
        address.sll_ifindex = interface.cast_signed();
        let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: the pointer and the length describe `address`, which outlives the call.
        checked(unsafe { libc::bind(self.raw(), (&raw const address).cast(), length) })?;
        Ok(())
    }

    /// Joins the fan-out group `group`, or founds one that nobody else has; the group's id.
    pub(super) fn join(&self, group: Option<u16>) -> io::Result<u16> {
        let founding = if group.is_none() { libc::PACKET_FANOUT_FLAG_UNIQUEID } else { 0 };
        let request = u32::from(group.unwrap_or(0)) | (SPREAD | founding) << 16;
        self.option(libc::PACKET_FANOUT, request.cast_signed())?;
        Ok(self.get(libc::SOL_PACKET, libc::PACKET_FANOUT, 0 as c_int)? as u16) // its low half
    }

    /// Makes room for `bytes` in a buffer, if the kernel lets us; it is no failure if it does not.
    ///
    /// `forced` exceeds `net.core.[rw]mem_max` but needs CAP_NET_ADMIN; `plain` is cut to it.
    pub(super) fn make_room(&self, forced: c_int, plain: c_int, bytes: c_int) {
        let _ =
            self.set(libc::SOL_SOCKET, forced, &bytes).or_else(|_| self.set(libc::SOL_SOCKET, plain, &bytes));
    }

    /// Takes the pending error, such as ENETDOWN after the interface went down: until it is taken,
    /// poll(2) returns at once.
    pub(super) fn take_error(&self) -> io::Result<()> {
        self.get(libc::SOL_SOCKET, libc::SO_ERROR, 0 as c_int).map(drop)
    }

    /// Frames that found the ring full since the last call: reading sets the count back to 0
    /// (PACKET_STATISTICS, `packet_getsockopt` in net/packet/af_packet.c).
    pub(super) fn drops(&self) -> io::Result<u64> {
        let none = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let stats = self.get(libc::SOL_PACKET, libc::PACKET_STATISTICS, none)?;
        Ok(stats.tp_drops.into())
    }

    /// Receives one queued frame behind its virtio header; its length in bytes.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        // SAFETY: the pointer and the length describe `buffer`, which is ours alone meanwhile.
        let received = unsafe { libc::recv(self.raw(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        usize::try_from(received).map_err(|_| io::Error::last_os_error())
    }

    pub(super) fn raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A value that any bytes make.
///
/// # Safety
/// It consists of integers, without gaps between them.
unsafe trait Plain: Copy {}

// SAFETY: one integer.
unsafe impl Plain for c_int {}

// SAFETY: two integers of one size.
unsafe impl Plain for libc::tpacket_stats {}

/// What a system call returned, or why it failed.
pub(super) fn checked(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
