//! Packet sockets (packet(7)): options, filter, fan-out group, frames with their metadata.
#![allow(unsafe_code)]

use crate::wire::MacAddr;
use crate::wire::vlan::Tag;
use libc::{c_int, c_uint, sock_filter};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, socket};
use nix::sys::time::TimeSpec;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

/// Distribution of frames within a fan-out group (linux/if_packet.h).
///
/// The hash is over addresses and ports, computed by the kernel's own dissector rather than taken
/// from the hardware: it stays the same for all of a flow's frames, whatever queue or processor
/// they come by. Fragments have no ports, so the pieces of a datagram meet on one worker, though
/// not on their flow's. Reassembly (`FLAG_DEFRAG`) would make datagrams that cannot be sent on.
const FANOUT_MODE: c_uint = libc::PACKET_FANOUT_HASH | libc::PACKET_FANOUT_FLAG_IGNORE_OUTGOING;

/// A raw, non-blocking packet socket. It receives nothing until it is bound.
#[derive(Debug)]
pub(crate) struct PacketSocket(OwnedFd);

/// Metadata of a received frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameInfo {
    /// Bytes written to the buffer.
    pub(crate) length: usize,
    /// Index of the interface that the frame passed.
    pub(crate) interface: u32,
    /// PACKET_HOST, PACKET_OUTGOING and so on (packet(7), `sll_pkttype`).
    pub(crate) packet_type: u8,
    /// Receive time since 1970; zero without [`PacketSocket::enable_timestamps`].
    pub(crate) time: Duration,
    /// The outer VLAN tag, which is not in the bytes; none without [`PacketSocket::enable_tags`].
    pub(crate) tag: Option<Tag>,
}

impl PacketSocket {
    /// Opens a socket for protocol 0: until it is bound, no frame of any interface arrives.
    pub(crate) fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        Ok(Self(socket(AddressFamily::Packet, SockType::Raw, flags, None)?))
    }

    /// Sets an integer option of the packet level.
    pub(crate) fn set_packet_option(&self, name: c_int, value: c_int) -> io::Result<()> {
        self.set_option(libc::SOL_PACKET, name, &value)
    }

    /// Sets an option; `value` must be the type that the kernel reads for it.
    pub(crate) fn set_option<T: Copy>(&self, level: c_int, name: c_int, value: &T) -> io::Result<()> {
        let length = size_of::<T>() as libc::socklen_t; // option values are a few bytes
        // SAFETY: the pointer and the length describe `value`, which outlives the call and is
        // only read. Pointers within it (a filter program's) are the caller's, alive as well.
        checked(unsafe {
            libc::setsockopt(self.raw(), level, name, std::ptr::from_ref(value).cast(), length)
        })?;
        Ok(())
    }

    /// Reads an option into `value`, which must be of the type that the kernel writes for it.
    fn get_option<T: Plain>(&self, level: c_int, name: c_int, mut value: T) -> io::Result<T> {
        let mut length = size_of::<T>() as libc::socklen_t; // option values are a few bytes
        // SAFETY: both pointers are to live locals, and the kernel writes no more than `length`
        // bytes, which is the size of `value`; all of them are valid there.
        checked(unsafe {
            libc::getsockopt(self.raw(), level, name, (&raw mut value).cast(), &raw mut length)
        })?;
        Ok(value)
    }

    /// Replaces the socket's filter atomically: each frame meets the old one or the new one.
    pub(crate) fn set_filter(&self, program: &[sock_filter]) -> io::Result<()> {
        let len = program.len().try_into().map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
        let filter = program.as_ptr().cast_mut(); // the kernel reads it only
        self.set_option(libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &libc::sock_fprog { len, filter })
    }

    /// Excludes frames that the host itself sends (PACKET_IGNORE_OUTGOING, packet(7): since Linux 4.20).
    pub(crate) fn ignore_outgoing(&self) -> io::Result<()> {
        self.set_packet_option(libc::PACKET_IGNORE_OUTGOING, 1)
    }

    /// Adds or drops the membership of an Ethernet group on an interface (PACKET_ADD_MEMBERSHIP,
    /// PACKET_DROP_MEMBERSHIP).
    pub(crate) fn set_membership(&self, change: c_int, interface: u32, group: MacAddr) -> io::Result<()> {
        let [a, b, c, d, e, f] = group.0;
        let membership = libc::packet_mreq {
            mr_ifindex: interface.cast_signed(),
            mr_type: libc::PACKET_MR_MULTICAST as u16, // 0
            mr_alen: 6,
            mr_address: [a, b, c, d, e, f, 0, 0],
        };
        self.set_option(libc::SOL_PACKET, change, &membership)
    }

    /// Requests a receive time with each frame (SO_TIMESTAMPNS).
    pub(crate) fn enable_timestamps(&self) -> io::Result<()> {
        self.set_option(libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, &(1 as c_int))
    }

    /// Requests the outer VLAN tag with each frame (PACKET_AUXDATA).
    pub(crate) fn enable_tags(&self) -> io::Result<()> {
        self.set_packet_option(libc::PACKET_AUXDATA, 1)
    }

    /// Binds to an interface by index, 0 for all of them. With a `protocol` (host order) other than 0
    /// the socket receives.
    pub(crate) fn bind(&self, interface: u32, protocol: u16) -> io::Result<()> {
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

    /// Joins the fan-out group `group`, or creates one with an unused id. Returns the group's id.
    pub(crate) fn join_fanout(&self, group: Option<u16>) -> io::Result<u16> {
        let founding = if group.is_none() { libc::PACKET_FANOUT_FLAG_UNIQUEID } else { 0 };
        let request = u32::from(group.unwrap_or(0)) | (FANOUT_MODE | founding) << 16;
        self.set_packet_option(libc::PACKET_FANOUT, request.cast_signed())?;
        Ok(self.get_option(libc::SOL_PACKET, libc::PACKET_FANOUT, 0 as c_int)? as u16) // its low half
    }

    /// Sets the receive buffer's size in bytes as far as the kernel allows: beyond `net.core.rmem_max`
    /// takes CAP_NET_ADMIN.
    pub(crate) fn set_receive_buffer(&self, bytes: c_int) {
        self.set_buffer(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, bytes);
    }

    /// Sets the send buffer's size, as [`PacketSocket::set_receive_buffer`] does with `net.core.wmem_max`.
    pub(crate) fn set_send_buffer(&self, bytes: c_int) {
        self.set_buffer(libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, bytes);
    }

    /// `forced` exceeds the host's maximum; `plain` is cut to it.
    fn set_buffer(&self, forced: c_int, plain: c_int, bytes: c_int) {
        let forced = self.set_option(libc::SOL_SOCKET, forced, &bytes);
        let _ = forced.or_else(|_| self.set_option(libc::SOL_SOCKET, plain, &bytes));
    }

    /// Clears the pending error, such as ENETDOWN after the interface went down: until then poll(2)
    /// returns at once.
    pub(crate) fn clear_error(&self) -> io::Result<()> {
        self.get_option(libc::SOL_SOCKET, libc::SO_ERROR, 0 as c_int).map(drop)
    }

    /// Frames dropped because the ring was full, since the last call: reading resets the counter
    /// (PACKET_STATISTICS, `packet_getsockopt` in net/packet/af_packet.c).
    pub(crate) fn drops(&self) -> io::Result<u64> {
        let none = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let stats = self.get_option(libc::SOL_PACKET, libc::PACKET_STATISTICS, none)?;
        Ok(stats.tp_drops.into())
    }

    /// Receives one frame, cut to `buffer`'s length. Returns its length in bytes.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        // SAFETY: the pointer and the length describe `buffer`, borrowed exclusively for the call.
        let received = unsafe { libc::recv(self.raw(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        usize::try_from(received).map_err(|_| io::Error::last_os_error())
    }

    /// Receives one frame with its metadata, cut to `buffer`'s length.
    pub(crate) fn receive_with_info(&self, buffer: &mut [u8]) -> io::Result<FrameInfo> {
        // SAFETY: all bytes zero is a valid value of these plain structs.
        let (mut address, mut message): (libc::sockaddr_ll, libc::msghdr) = unsafe { std::mem::zeroed() };
        let mut control = Control([0; 16]);
        let mut bytes = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        (message.msg_name, message.msg_namelen) =
            ((&raw mut address).cast(), size_of::<libc::sockaddr_ll>() as libc::socklen_t);
        (message.msg_iov, message.msg_iovlen) = (&raw mut bytes, 1);
        (message.msg_control, message.msg_controllen) = ((&raw mut control).cast(), size_of::<Control>());
        // SAFETY: each pointer of `message` is to a live local or to `buffer`, borrowed exclusively, with its length.
        let received = unsafe { libc::recvmsg(self.raw(), &raw mut message, 0) };
        let length = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        let interface = address.sll_ifindex.cast_unsigned(); // the kernel's are positive ints
        let mut info = FrameInfo {
            length,
            interface,
            packet_type: address.sll_pkttype,
            time: Duration::ZERO,
            tag: None,
        };
        info.read(&message);
        Ok(info)
    }

    /// Sends one frame as it is, from its Ethernet header on.
    pub(crate) fn send(&self, frame: &[u8]) -> io::Result<()> {
        send(self.raw(), frame, MsgFlags::empty())?;
        Ok(())
    }

    pub(crate) fn raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Room for the control messages of a frame, aligned for their headers.
#[repr(C)]
struct Control([u64; 16]);

impl FrameInfo {
    /// Reads the control messages that the kernel has written.
    fn read(&mut self, message: &libc::msghdr) {
        // SAFETY: `message` is as recvmsg(2) left it: its control buffer is alive, and the kernel has filled
        // `msg_controllen` bytes of it with whole messages, within which the CMSG functions stay.
        let mut next = unsafe { libc::CMSG_FIRSTHDR(message) };
        while !next.is_null() {
            // SAFETY: not null, so a whole header within the buffer, which is aligned for headers.
            let header = unsafe { &*next };
            // SAFETY: the data of a message follow its header.
            let data = unsafe { libc::CMSG_DATA(next) };
            match (header.cmsg_level, header.cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                    // SAFETY: the kernel writes this structure in messages of this type. Unaligned reads are allowed.
                    let time = unsafe { data.cast::<libc::timespec>().read_unaligned() };
                    self.time = TimeSpec::from(time).into();
                }
                (libc::SOL_PACKET, libc::PACKET_AUXDATA) => {
                    // SAFETY: the same.
                    let aux = unsafe { data.cast::<libc::tpacket_auxdata>().read_unaligned() };
                    let is_tagged = aux.tp_status & libc::TP_STATUS_VLAN_VALID != 0;
                    self.tag =
                        is_tagged.then_some(Tag { protocol: aux.tp_vlan_tpid, control: aux.tp_vlan_tci });
                }
                _ => {}
            }
            // SAFETY: as for the first header.
            next = unsafe { libc::CMSG_NXTHDR(message, next) };
        }
    }
}

/// A type for which every bit pattern is a value.
///
/// # Safety
/// It consists of integers, without padding.
unsafe trait Plain: Copy {}

// SAFETY: one integer.
unsafe impl Plain for c_int {}

// SAFETY: two integers of one size.
unsafe impl Plain for libc::tpacket_stats {}

/// The result of a system call, or the error that it reported.
pub(crate) fn checked(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
