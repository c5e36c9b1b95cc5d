//! Frames of the control thread, by packet sockets: ARP, neighbor discovery, and pings of the VIP.
//!
//! The kernel keeps its own copy of every such frame, which it needs to answer for the director's own addresses. The
//! steering program passes them to the kernel, so that these sockets work with either backend.

#![allow(unsafe_code)]

use super::Interface;
use super::packet::filter;
use crate::model::Diagnostic;
use crate::sys::packet_socket::PacketSocket;
use crate::wire::MacAddr;
use crate::wire::ethernet::TAG_LEN;
use crate::wire::vlan;
use nix::errno::Errno;
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::task::{Context, Poll};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Kind of the frames that a socket receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// ARP.
    Arp,
    /// Neighbor solicitations and advertisements.
    Ndp,
    /// Echo requests of ICMP and ICMPv6 to this interface's MAC address, no fragments.
    Echo,
}

/// A non-blocking AF_PACKET socket for the selected frames of one interface.
///
/// It sees what the interface receives, and not what the host sends there.
#[derive(Debug)]
pub struct FrameSocket {
    socket: PacketSocket,
    selection: FrameKind,
    /// Kernel index of the interface.
    interface: u32,
}

impl FrameSocket {
    /// Opens it in the calling thread's network namespace.
    ///
    /// # Errors
    /// [`Diagnostic`] if CAP_NET_RAW is missing, or the interface is gone or down.
    pub fn open(interface: &Interface, selection: FrameKind) -> Result<Self, Diagnostic> {
        let opened = PacketSocket::open().and_then(|socket| {
            // Sockets for all protocols get the host's own frames otherwise.
            socket.ignore_outgoing()?;
            socket.enable_tags()?;
            socket.set_filter(&selection.program(&BTreeSet::new()))?;
            // Of frames for one protocol only, a tag that the kernel has a VLAN device for would be lost; and the
            // guard program may drop the kernel's copy before such a socket gets it (`__netif_receive_skb_core`).
            socket.bind(interface.index, libc::ETH_P_ALL as u16)?; // 3
            Ok(Self { socket, selection, interface: interface.index })
        });
        opened.map_err(|error| open_error(&error, selection, &interface.name))
    }

    /// Receives frames with these outer VLANs, too. Initially there is none.
    ///
    /// # Errors
    /// Of setsockopt(2).
    pub fn select_vlans(&self, outer: &BTreeSet<u16>) -> io::Result<()> {
        self.socket.set_filter(&self.selection.program(outer))
    }

    /// The same for a socket for ARP, which receives the frames with `mark` that a router sends back, too
    /// ([`crate::wire::hairpin`]).
    ///
    /// # Errors
    /// Of setsockopt(2).
    pub fn select_arp_and_hairpins(&self, outer: &BTreeSet<u16>, mark: u32) -> io::Result<()> {
        self.socket.set_filter(&filter::arp_and_hairpins(outer, mark))
    }

    /// Reads one frame, from its Ethernet header on with its tags, and cut to `buffer`'s length. Frames for other MAC
    /// addresses are skipped.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if none is there; ENETDOWN, once, after the interface went
    /// down: the socket works again when it is up.
    pub fn receive<'b>(&self, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
        loop {
            let info = self.socket.receive_with_info(buffer)?;
            if info.packet_type == libc::PACKET_OTHERHOST || info.interface != self.interface {
                continue;
            }
            let length = info.length.min(buffer.len());
            let Some(tag) = info.tag else { return Ok(&buffer[..length]) };
            let length = length.min(buffer.len().saturating_sub(TAG_LEN));
            let tagged = vlan::insert(buffer, length, tag);
            return Ok(&buffer[..tagged.unwrap_or_default()]);
        }
    }

    /// Sends one frame as it is, from its Ethernet header on.
    ///
    /// # Errors
    /// ENETDOWN or ENXIO if the interface is down or gone, [`io::ErrorKind::WouldBlock`] or
    /// ENOBUFS if it is congested: the frame has not been sent then.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.socket.send(frame)
    }

    /// Receives the frames of a multicast MAC address until the socket is closed.
    ///
    /// Unlike [`super::MulticastGroups`] this reports no membership, so that a switch with MLD snooping may not forward
    /// them here.
    ///
    /// # Errors
    /// ENOBUFS or ENOMEM if there is no memory for another address.
    pub fn receive_group(&self, group: MacAddr) -> io::Result<()> {
        self.socket.set_membership(libc::PACKET_ADD_MEMBERSHIP, self.interface, group)
    }

    /// Ends [`FrameSocket::receive_group`].
    ///
    /// # Errors
    /// Of setsockopt(2).
    pub fn ignore_group(&self, group: MacAddr) -> io::Result<()> {
        self.socket.set_membership(libc::PACKET_DROP_MEMBERSHIP, self.interface, group)
    }
}

impl FrameKind {
    fn program(self, vlans: &BTreeSet<u16>) -> filter::Program {
        match self {
            Self::Arp => filter::arp(vlans),
            Self::Ndp => filter::neighbor_discovery(vlans),
            Self::Echo => filter::echo_requests(vlans),
        }
    }
}

impl fmt::Display for FrameKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Arp => "ARP",
            Self::Ndp => "neighbor discovery",
            Self::Echo => "pings",
        })
    }
}

/// A [`FrameSocket`] registered with a tokio runtime.
#[derive(Debug)]
pub struct AsyncFrameSocket {
    // Never borrowed mutably outside: see the proof in `new`.
    watched: AsyncFd<FrameSocket>,
}

impl AsyncFrameSocket {
    /// Registers `socket` with the current runtime.
    ///
    /// # Errors
    /// Errors of epoll(7).
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub fn new(socket: FrameSocket) -> io::Result<Self> {
        // SAFETY: the socket owns its descriptor, always returns that one, and closes it only when
        // it is dropped. `AsyncFd` owns the socket, and no code can replace it: the field is private
        // and no method returns it mutably.
        let watched = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
        Ok(Self { watched: watched.map_err(io::Error::from)? })
    }

    /// Ready once there may be something to receive.
    ///
    /// # Errors
    /// The runtime is shutting down.
    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watched.poll_read_ready(context).map_ok(drop)
    }

    /// The socket itself.
    #[must_use]
    pub fn socket(&self) -> &FrameSocket {
        self.watched.get_ref()
    }

    /// [`FrameSocket::receive`]; if nothing is there, [`AsyncFrameSocket::poll_readable`] waits again.
    ///
    /// # Errors
    /// As [`FrameSocket::receive`].
    pub fn receive<'b>(&self, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
        self.watched.try_io(Interest::READABLE, |socket| socket.receive(buffer))
    }

    /// [`FrameSocket::send`].
    ///
    /// # Errors
    /// As [`FrameSocket::send`].
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.watched.get_ref().send(frame)
    }
}

impl AsFd for FrameSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for FrameSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.raw()
    }
}

fn open_error(error: &io::Error, selection: FrameKind, interface: &str) -> Diagnostic {
    let errno = error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw);
    let (cause, remedy) = match errno {
        Errno::EPERM | Errno::EACCES => (
            "raw sockets need the capability CAP_NET_RAW".into(),
            "run as root, or give the capability (systemd: AmbientCapabilities=CAP_NET_RAW)".into(),
        ),
        Errno::ENODEV | Errno::ENXIO => {
            ("the interface is gone".into(), "see `ip link` for the existing ones".into())
        }
        Errno::ENETDOWN => ("the interface is down".into(), format!("ip link set {interface} up")),
        Errno::EAFNOSUPPORT => {
            ("this kernel has no packet sockets".into(), "use a kernel with CONFIG_PACKET".into())
        }
        other => (other.to_string(), "see packet(7)".into()),
    };
    Diagnostic::system(format!("opening a socket for {selection} on {interface}")).cause(cause).remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::MacAddr;

    fn loopback() -> Interface {
        let (mac, addresses) = (MacAddr::ZERO, Vec::new());
        Interface {
            name: "lo".into(),
            index: 1,
            mac,
            mtu: 65_536,
            queues: 1,
            addresses,
            ipv6_addresses: Vec::new(),
        }
    }

    /// Drops every capability of the calling thread by changing its user id.
    fn drop_capabilities() {
        const UNPRIVILEGED: libc::c_long = 65_534;
        // SAFETY: setresuid(2) takes no pointers. The bare system call changes this thread alone,
        // where the C library's function would change every thread of the test.
        let changed = unsafe { libc::syscall(libc::SYS_setresuid, UNPRIVILEGED, UNPRIVILEGED, UNPRIVILEGED) };
        assert_eq!(changed, 0, "{}", io::Error::last_os_error());
    }

    #[test]
    fn missing_capability_is_named() {
        let open = || {
            drop_capabilities();
            FrameSocket::open(&loopback(), FrameKind::Arp).unwrap_err().to_string()
        };
        let failure = std::thread::spawn(open).join().unwrap();
        assert!(failure.contains("on lo") && failure.contains("CAP_NET_RAW"), "{failure}");
    }

    #[test]
    fn each_error_names_interface_cause_and_remedy() {
        let text = |errno: Errno| open_error(&errno.into(), FrameKind::Arp, "eth9").to_string();
        for errno in [Errno::EPERM, Errno::ENODEV, Errno::ENETDOWN, Errno::EAFNOSUPPORT, Errno::EMFILE] {
            assert!(text(errno).starts_with("opening a socket for ARP on eth9: "), "{}", text(errno));
            assert_eq!(text(errno).matches("; ").count(), 1, "{}", text(errno));
        }
        assert!(text(Errno::ENETDOWN).ends_with("ip link set eth9 up"));
        assert!(text(Errno::EMFILE).contains("EMFILE"), "the errno's name: {}", text(Errno::EMFILE));
    }
}
