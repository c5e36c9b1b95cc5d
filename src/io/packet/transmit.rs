//! Transmission: one sendmmsg(2) for a run of frames, from the memory that they were received in.
//!
//! Each frame goes out behind the virtio header that it came with, so an unfinished checksum stays
//! the next device's work and a merged frame is cut up again by it (`packet_snd` in
//! net/packet/af_packet.c). Past the queueing discipline (`dev_direct_xmit`) the kernel finishes
//! checksums, but drops a merged frame that the device cannot cut up; such frames therefore pass the qdisc,
//! where the kernel segments them.
#![allow(unsafe_code)]

use crate::forward::BATCH;
use crate::io::SendOutcome;
use crate::sys::packet_socket::{PacketSocket, checked};
use libc::{iovec, mmsghdr};
use std::io;

/// Send buffer size in bytes of kernel memory.
const SEND_BUFFER: libc::c_int = 8 << 20;

/// `gso_type` of the virtio header; 0 means an ordinary frame (`VIRTIO_NET_HDR_GSO_NONE`).
const GSO_TYPE: usize = 1;

/// Transmit sockets of one interface.
#[derive(Debug)]
pub(super) struct TransmitSockets {
    direct: PacketSocket,
    segmenting: PacketSocket,
}

/// Transmit path of a frame: interface and socket. Runs of frames with the same path are sent together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TransmitPath {
    /// Index of the interface.
    pub(super) interface: usize,
    segmenting: bool,
}

/// Frames for one sendmmsg(2).
#[derive(Debug)]
pub(super) struct SendQueue {
    headers: Box<[mmsghdr]>,
    vectors: Box<[iovec]>,
    filled: usize,
    /// Addresses of the packets refused as too long since this was cleared.
    pub(super) too_long: Vec<usize>,
}

// SAFETY: the pointers in `headers` lead to `vectors`, which moves with them (both are boxed, so
// their memory stays in place); those in `vectors` are only used within `send`.
unsafe impl Send for SendQueue {}

impl TransmitSockets {
    /// Opens both sockets on the interface with this index. They receive nothing.
    pub(super) fn open(interface: u32) -> io::Result<Self> {
        let direct = sender(interface)?;
        direct.set_packet_option(libc::PACKET_QDISC_BYPASS, 1)?;
        Ok(Self { direct, segmenting: sender(interface)? })
    }

    /// The socket for this path.
    pub(super) fn socket(&self, path: TransmitPath) -> &PacketSocket {
        if path.segmenting { &self.segmenting } else { &self.direct }
    }
}

fn sender(interface: u32) -> io::Result<PacketSocket> {
    let socket = PacketSocket::open()?;
    socket.set_packet_option(libc::PACKET_VNET_HDR, 1)?;
    socket.set_send_buffer(SEND_BUFFER);
    socket.bind(interface, 0)?;
    Ok(socket)
}

impl TransmitPath {
    /// The path of a packet (virtio header and frame) that leaves by `interface`.
    #[inline]
    pub(super) fn of(interface: usize, packet: &[u8]) -> Self {
        Self { interface, segmenting: packet[GSO_TYPE] != 0 }
    }
}

impl SendQueue {
    pub(super) fn new() -> Self {
        let mut vectors =
            vec![iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; BATCH].into_boxed_slice();
        let headers = vectors.iter_mut().map(header).collect();
        Self { headers, vectors, filled: 0, too_long: Vec::with_capacity(BATCH) }
    }

    /// Adds a packet (virtio header and frame), at most [`BATCH`] of them.
    ///
    /// # Safety
    /// The bytes stay where they are, unchanged, until the next [`SendQueue::send`] has returned.
    #[inline]
    pub(super) unsafe fn push(&mut self, packet: &mut [u8]) {
        let vector = &mut self.vectors[self.filled];
        (vector.iov_base, vector.iov_len) = (packet.as_mut_ptr().cast(), packet.len());
        self.filled += 1;
    }

    /// Sends and removes the added packets.
    #[inline]
    pub(super) fn send(&mut self, socket: &PacketSocket) -> SendOutcome {
        let (mut sent, mut at) = (SendOutcome::default(), 0);
        while at < self.filled {
            match send_some(socket, &mut self.headers[at..self.filled]) {
                Ok(count) => {
                    sent.forwarded += count as u32; // at most BATCH
                    at += count;
                }
                Err(error) => {
                    if error.raw_os_error() == Some(libc::EMSGSIZE) {
                        self.too_long.push(self.vectors[at].iov_base as usize);
                    }
                    at += refused(&error, self.filled - at, &mut sent);
                }
            }
        }
        self.filled = 0;
        sent
    }
}

/// Counts frames under the error of the first of `rest`. Returns the number of frames counted.
#[cold]
fn refused(error: &io::Error, rest: usize, sent: &mut SendOutcome) -> usize {
    match error.raw_os_error() {
        Some(libc::EINTR) => 0,
        // About this frame alone: too long, or merged in a way that the kernel cannot undo.
        Some(libc::EMSGSIZE | libc::EINVAL) => {
            sent.too_long += 1;
            1
        }
        // The device's queue was full and dropped this frame; the next one may fit.
        Some(libc::ENOBUFS) => {
            sent.full += 1;
            1
        }
        // EAGAIN: the socket's buffer is full. ENETDOWN, ENXIO: the interface is down or gone.
        _ => {
            sent.full += rest as u32; // at most BATCH
            rest
        }
    }
}

fn header(vector: &mut iovec) -> mmsghdr {
    // SAFETY: all bytes zero is a valid value of this plain struct: no address, no control data.
    let mut header: mmsghdr = unsafe { std::mem::zeroed() };
    header.msg_hdr.msg_iov = vector;
    header.msg_hdr.msg_iovlen = 1;
    header
}

/// Sends a beginning of `headers`; how many, at least one.
#[inline]
fn send_some(socket: &PacketSocket, headers: &mut [mmsghdr]) -> io::Result<usize> {
    let count = headers.len() as u32; // at most BATCH
    // SAFETY: `headers` are `count` valid headers; each names one vector of the same send_queue, whose
    // bytes are alive by the contract of `push`. The kernel reads them and writes `msg_len` only.
    let sent = unsafe { libc::sendmmsg(socket.raw(), headers.as_mut_ptr(), count, libc::MSG_DONTWAIT) };
    checked(sent).map(|sent| sent as usize) // not negative
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_counts_one_frame_or_all() {
        let fate = |errno| {
            let mut sent = SendOutcome::default();
            let settled = refused(&io::Error::from_raw_os_error(errno), 5, &mut sent);
            (settled, sent.full, sent.too_long)
        };
        assert_eq!(fate(libc::EINTR), (0, 0, 0));
        assert_eq!(fate(libc::EMSGSIZE), (1, 0, 1));
        assert_eq!(fate(libc::EINVAL), (1, 0, 1));
        assert_eq!(fate(libc::ENOBUFS), (1, 1, 0));
        for errno in [libc::EAGAIN, libc::ENETDOWN, libc::ENXIO, libc::EIO] {
            assert_eq!(fate(errno), (5, 5, 0));
        }
    }
}
