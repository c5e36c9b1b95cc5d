//! A packet socket (packet(7)) of the namespace that the calling process is in.

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, recvmsg,
    setsockopt, socket, sockopt,
};
use nix::sys::time::TimeSpec;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// What the queue may hold, in bytes as the kernel counts them: some ten thousand small frames.
const QUEUE_BYTES: usize = 64 << 20;
/// `PACKET_OUTGOING` of linux/if_packet.h.
const OUTGOING: u8 = 4;

/// A frame's place and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    /// Index of the interface that it came in on.
    pub(super) interface: u32,
    /// In bytes.
    pub(super) length: usize,
    /// When the kernel got it, since 1970.
    pub(super) time: Duration,
}

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
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        Ok(Self(socket))
    }

    /// The next frame that arrived from a wire, if one is waiting. What the host itself sends is passed over.
    pub(super) fn receive(&self, frame: &mut [u8]) -> io::Result<Option<Arrival>> {
        let mut control = nix::cmsg_space!(TimeSpec);
        loop {
            let mut buffers = [IoSliceMut::new(frame)];
            let received =
                recvmsg::<LinkAddr>(self.0.as_raw_fd(), &mut buffers, Some(&mut control), MsgFlags::empty());
            match received {
                Ok(message) => match message.address {
                    Some(from) if from.pkttype() != OUTGOING => {
                        let time = message.cmsgs()?.find_map(timestamp).unwrap_or_default();
                        let interface = from.ifindex() as u32; // the kernel's are positive ints
                        return Ok(Some(Arrival { interface, length: message.bytes, time }));
                    }
                    _ => (),
                },
                Err(Errno::EINTR) => (),
                Err(Errno::EAGAIN) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn timestamp(message: ControlMessageOwned) -> Option<Duration> {
    match message {
        ControlMessageOwned::ScmTimestampns(time) => Some(time.into()),
        _ => None,
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
