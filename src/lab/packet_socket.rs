//! A packet socket (packet(7)) of the namespace that the calling process is in.

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, socket, sockopt,
};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// What the queue may hold, in bytes as the kernel counts them: some ten thousand small frames.
const QUEUE_BYTES: usize = 64 << 20;
/// `PACKET_OUTGOING` of linux/if_packet.h.
const OUTGOING: u8 = 4;

/// Sees every frame of the namespace.
pub(super) struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// Begins to see.
    pub(super) fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)?;
        // Beyond rmem_max takes CAP_NET_ADMIN of the whole host, which root of a user namespace lacks.
        match setsockopt(&socket, sockopt::RcvBufForce, &QUEUE_BYTES) {
            Err(Errno::EPERM) => setsockopt(&socket, sockopt::RcvBuf, &QUEUE_BYTES)?,
            done => done?,
        }
        Ok(Self(socket))
    }

    /// The next frame that arrived from a wire, if one is waiting: its interface and length. What
    /// the host itself sends is passed over.
    pub(super) fn receive(&self, frame: &mut [u8]) -> io::Result<Option<(u32, usize)>> {
        loop {
            match recvfrom::<LinkAddr>(self.0.as_raw_fd(), frame) {
                Ok((length, Some(from))) if from.pkttype() != OUTGOING => {
                    return Ok(Some((from.ifindex() as u32, length))); // the kernel's are positive ints
                }
                Ok(_) | Err(Errno::EINTR) => (),
                Err(Errno::EAGAIN) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits until one of `inputs` can be read, or `milliseconds` are over; says which can.
pub(super) fn readable<const N: usize>(
    inputs: [BorrowedFd<'_>; N],
    milliseconds: u16,
) -> io::Result<[bool; N]> {
    let mut inputs = inputs.map(|input| PollFd::new(input, PollFlags::POLLIN));
    match poll(&mut inputs, PollTimeout::from(milliseconds)) {
        Ok(_) | Err(Errno::EINTR) => Ok(inputs.map(|input| input.any().unwrap_or(false))),
        Err(error) => Err(error.into()),
    }
}
