//! A packet socket that carries ARP and nothing else.
//!
//! The kernel keeps its own copy of every ARP packet, as it should: it answers for the director's
//! own addresses. The steering program leaves ARP to the kernel, so that this socket sees it with
//! either backend.

#![allow(unsafe_code)]

use super::{Interface, IoError};
use nix::errno::Errno;
use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::task::{Context, Poll};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Network byte order, as packet(7) wants protocols.
const ETH_P_ARP: u16 = (libc::ETH_P_ARP as u16).to_be();

/// A non-blocking AF_PACKET socket for the ARP frames of one interface.
///
/// It sees what the interface receives, and not what the host sends there.
#[derive(Debug)]
pub struct ArpSocket {
    fd: OwnedFd,
}

impl ArpSocket {
    /// Opens it in the calling thread's network namespace.
    ///
    /// # Errors
    /// [`IoError`] if CAP_NET_RAW is missing, or the interface is gone or down.
    pub fn open(interface: &Interface) -> Result<Self, IoError> {
        // Protocol 0 receives nothing, so that no frame of another interface slips in before bind.
        let opened = socket().and_then(|fd| {
            ignore_outgoing(&fd)?;
            bind(&fd, interface.index)?;
            Ok(Self { fd })
        });
        opened.map_err(|errno| explain(errno, &interface.name))
    }

    /// Reads one ARP frame, from its Ethernet header on, and cut to `buffer`'s length; 60 bytes
    /// hold all of ARP. Frames of other stations and of tagged VLANs are skipped.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if none is there; ENETDOWN, once, after the interface went
    /// down: the socket works again when it is up.
    pub fn receive<'b>(&self, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
        loop {
            let (len, kind) = receive_from(&self.fd, buffer)?;
            // The kernel strips a VLAN's tag and marks the frame as another station's if it has
            // no device for that VLAN (net/core/dev.c): answering untagged would be wrong.
            if kind != libc::PACKET_OTHERHOST {
                return Ok(&buffer[..len]);
            }
        }
    }

    /// Sends one frame as it is, from its Ethernet header on.
    ///
    /// # Errors
    /// ENETDOWN or ENXIO if the interface is down or gone, [`io::ErrorKind::WouldBlock`] or
    /// ENOBUFS if it is congested: the frame has not been sent then.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        // SAFETY: pointer and length are those of one live slice, which send(2) only reads.
        let sent = unsafe { libc::send(self.fd.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        Errno::result(sent).map(drop).map_err(io::Error::from)
    }
}

/// An [`ArpSocket`] that a tokio runtime watches.
#[derive(Debug)]
pub struct AsyncArpSocket {
    // Never lent out mutably: see the proof in `new`.
    watched: AsyncFd<ArpSocket>,
}

impl AsyncArpSocket {
    /// Has the current runtime watch `socket`.
    ///
    /// # Errors
    /// What epoll(7) reports.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub fn new(socket: ArpSocket) -> io::Result<Self> {
        // SAFETY: the socket owns its descriptor, always names that one, and closes it only when
        // it is dropped. `AsyncFd` owns the socket, and nobody gets at it mutably to replace it:
        // the field is private and no method lends it out so.
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

    /// [`ArpSocket::receive`]; if nothing is there, [`AsyncArpSocket::poll_readable`] waits again.
    ///
    /// # Errors
    /// As [`ArpSocket::receive`].
    pub fn receive<'b>(&self, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
        self.watched.try_io(Interest::READABLE, |socket| socket.receive(buffer))
    }

    /// [`ArpSocket::send`].
    ///
    /// # Errors
    /// As [`ArpSocket::send`].
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.watched.get_ref().send(frame)
    }
}

impl AsFd for ArpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for ArpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

fn socket() -> Result<OwnedFd, Errno> {
    let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: socket(2) takes no pointers. A result that is no error is a new descriptor that
    // nobody else knows, so that OwnedFd is its only owner.
    unsafe {
        let fd = Errno::result(libc::socket(libc::AF_PACKET, kind, 0))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// The kernel shows what the host sends to sockets for all protocols only (net/core/dev.c); this
/// makes it sure for ours too.
fn ignore_outgoing(fd: &OwnedFd) -> Result<(), Errno> {
    let on: libc::c_int = 1;
    // SAFETY: value and length are those of `on`, which lives across the call and is only read.
    let set = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_IGNORE_OUTGOING,
            (&raw const on).cast(),
            mem::size_of_val(&on) as libc::socklen_t, // four
        )
    };
    Errno::result(set).map(drop)
}

fn bind(fd: &OwnedFd, index: u32) -> Result<(), Errno> {
    // SAFETY: sockaddr_ll is plain integers and arrays of them: all zero is a value of it.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as libc::sa_family_t;
    address.sll_protocol = ETH_P_ARP;
    address.sll_ifindex = i32::try_from(index).map_err(|_| Errno::ENODEV)?;
    let len = mem::size_of_val(&address) as libc::socklen_t; // twenty
    // SAFETY: pointer and length are those of `address`, which lives across the call and is only
    // read.
    let bound = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), len) };
    Errno::result(bound).map(drop)
}

/// One frame's length in `buffer`, and whom it was for (packet(7), `sll_pkttype`).
fn receive_from(fd: &OwnedFd, buffer: &mut [u8]) -> Result<(usize, u8), Errno> {
    let mut address = MaybeUninit::<libc::sockaddr_ll>::zeroed();
    let mut len = mem::size_of_val(&address) as libc::socklen_t; // twenty
    // SAFETY: the kernel writes at most `buffer.len()` bytes to `buffer` and at most `len` bytes to
    // `address`, both borrowed for this call alone. `address` was zeroed and holds integers only,
    // so that it is a value whether the kernel filled all of it or not.
    let (received, address) = unsafe {
        let (to, from) = (buffer.as_mut_ptr().cast(), address.as_mut_ptr().cast());
        let received = libc::recvfrom(fd.as_raw_fd(), to, buffer.len(), 0, from, &raw mut len);
        (received, address.assume_init())
    };
    // Without MSG_TRUNC the length is what has been written, never more than the buffer.
    Errno::result(received).map(|len| (len.cast_unsigned(), address.sll_pkttype))
}

fn explain(errno: Errno, interface: &str) -> IoError {
    let (cause, remedy) = match errno {
        Errno::EPERM | Errno::EACCES => (
            "raw sockets need the capability CAP_NET_RAW".into(),
            "run as root, or give the capability (systemd: AmbientCapabilities=CAP_NET_RAW)".into(),
        ),
        Errno::ENODEV | Errno::ENXIO => {
            ("the interface has gone".into(), "see `ip link` for those that exist".into())
        }
        Errno::ENETDOWN => ("the interface is down".into(), format!("ip link set {interface} up")),
        Errno::EAFNOSUPPORT => {
            ("this kernel has no packet sockets".into(), "use a kernel with CONFIG_PACKET".into())
        }
        other => (other.to_string(), "see packet(7)".into()),
    };
    IoError { what: format!("opening a socket for ARP on {interface}"), cause, remedy }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::MacAddr;

    fn loopback() -> Interface {
        let (mac, addresses) = (MacAddr::ZERO, Vec::new());
        Interface { name: "lo".into(), index: 1, mac, mtu: 65_536, queues: 1, addresses }
    }

    /// Takes every capability from the calling thread by making it nobody's.
    fn become_nobody() {
        const NOBODY: libc::c_long = 65_534;
        // SAFETY: setresuid(2) takes no pointers. The bare system call changes this thread alone,
        // where the C library's function would change every thread of the test.
        let changed = unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
        assert_eq!(changed, 0, "{}", io::Error::last_os_error());
    }

    #[test]
    fn without_the_capability_the_remedy_is_told() {
        let open = || {
            become_nobody();
            ArpSocket::open(&loopback()).unwrap_err().to_string()
        };
        let failure = std::thread::spawn(open).join().unwrap();
        assert!(failure.contains("on lo") && failure.contains("CAP_NET_RAW"), "{failure}");
    }

    #[test]
    fn every_failure_names_the_interface_a_cause_and_a_remedy() {
        let told = |errno| explain(errno, "eth9").to_string();
        for errno in [Errno::EPERM, Errno::ENODEV, Errno::ENETDOWN, Errno::EAFNOSUPPORT, Errno::EMFILE] {
            assert!(told(errno).starts_with("opening a socket for ARP on eth9: "), "{}", told(errno));
            assert_eq!(told(errno).matches("; ").count(), 1, "{}", told(errno));
        }
        assert!(told(Errno::ENETDOWN).ends_with("ip link set eth9 up"));
        assert!(told(Errno::EMFILE).contains("EMFILE"), "the errno's name: {}", told(Errno::EMFILE));
    }
}
