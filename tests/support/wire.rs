//! Packet socket for whole frames on an interface. Needs root.

#![allow(unsafe_code, dead_code, unreachable_pub)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// Constant of linux/if_packet.h.
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;

/// AF_PACKET socket bound to an interface. Receives no outgoing frames.
pub struct Wire(OwnedFd);

impl Wire {
    /// Opens it in the calling thread's network namespace, for all protocols: it receives before TC programs.
    pub fn new(interface_index: u32) -> Self {
        Self::of(interface_index, libc::ETH_P_ALL)
    }

    /// Opens it for one protocol, where it receives after TC programs.
    pub fn of(interface_index: u32, protocol: i32) -> Self {
        let protocol = (protocol as u16).to_be();
        // SAFETY: no pointer is involved.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, protocol.into()) };
        assert!(fd >= 0, "packet socket: {}", io::Error::last_os_error());
        // SAFETY: the kernel has just returned it to us.
        let wire = Self(unsafe { OwnedFd::from_raw_fd(fd) });
        wire.set(libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &1i32);
        wire.set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &(32i32 << 20));
        // SAFETY: an all-zero sockaddr_ll is a valid one.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = protocol;
        address.sll_ifindex = interface_index.cast_signed();
        let len = size_of::<libc::sockaddr_ll>() as u32;
        // SAFETY: bind reads `len` bytes of `address`, which is that long.
        let bound = unsafe { libc::bind(wire.0.as_raw_fd(), (&raw const address).cast(), len) };
        assert_eq!(bound, 0, "bind: {}", io::Error::last_os_error());
        wire
    }

    /// Makes every frame to be sent begin with a virtio header (10 bytes, linux/virtio_net.h).
    pub fn expect_virtio_headers(&self) {
        self.set(libc::SOL_PACKET, libc::PACKET_VNET_HDR, &1i32);
    }

    /// Sends one frame; waits while the socket's buffer is full.
    pub fn send(&self, frame: &[u8]) {
        // SAFETY: send reads `frame.len()` bytes at that pointer.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        assert_eq!(sent, frame.len() as isize, "send: {}", io::Error::last_os_error());
    }

    /// The next frame; `None` if none comes within `timeout`, which must not be zero.
    pub fn receive(&self, timeout: Duration) -> Option<Vec<u8>> {
        let time = libc::timeval {
            tv_sec: timeout.as_secs().cast_signed(),
            tv_usec: timeout.subsec_micros().into(),
        };
        self.set(libc::SOL_SOCKET, libc::SO_RCVTIMEO, &time);
        let mut frame = vec![0; 65536];
        // SAFETY: recv writes at most `frame.len()` bytes at that pointer.
        let len = unsafe { libc::recv(self.0.as_raw_fd(), frame.as_mut_ptr().cast(), frame.len(), 0) };
        frame.truncate(usize::try_from(len).ok()?);
        Some(frame)
    }

    fn set<T>(&self, level: libc::c_int, option: libc::c_int, value: &T) {
        let len = size_of::<T>() as u32;
        // SAFETY: setsockopt reads `len` bytes of `value`, which is that long.
        let set = unsafe {
            libc::setsockopt(self.0.as_raw_fd(), level, option, std::ptr::from_ref(value).cast(), len)
        };
        assert_eq!(set, 0, "setsockopt: {}", io::Error::last_os_error());
    }
}
