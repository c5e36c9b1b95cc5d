//! A bare AF_XDP forwarder, the reference DUT of the throughput bench.
//!
//! Only the bench uses it; it is here because it needs `unsafe` and the backend's ring parameters.
//!
//! It has the ring lengths, packet memory and batch size of [`super::xdp`]: receive, write two MAC addresses,
//! transmit, refill. There is no parsing, no table and no frame ownership.

#![allow(unsafe_code)]

use super::Interface;
use super::xdp::{CopyMode, RING_LEN, chunk_len};
use crate::forward::BATCH;
use crate::wire::MacAddr;
use crate::wire::ethernet::Addresses;
use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use xsk_rs::config::{BindFlags, FrameSize, LibxdpFlags, QueueSize, SocketConfig, UmemConfig};
use xsk_rs::{CompQueue, FillQueue, FrameDesc, RxQueue, Socket, TxQueue, Umem};

/// One socket on queue 0 of an interface, without copying if the driver can, as directrix does.
pub struct L2fwd {
    umem: Umem,
    receive: RxQueue,
    transmit: TxQueue,
    fill: FillQueue,
    completion: CompQueue,
    descs: [FrameDesc; BATCH],
    /// In the transmit ring, on their way, or in the completion ring.
    sending: usize,
}

impl L2fwd {
    /// Binds to queue 0 of `interface` and primes the fill ring. An XDP program has to redirect
    /// frames to [`L2fwd::fd`].
    ///
    /// # Errors
    /// Errors of the kernel.
    pub fn open(interface: &Interface) -> io::Result<Self> {
        Self::bind(interface, CopyMode::Zero).or_else(|_| Self::bind(interface, CopyMode::Copy))
    }

    fn bind(interface: &Interface, copy_mode: CopyMode) -> io::Result<Self> {
        let ring = QueueSize::new(RING_LEN).map_err(io::Error::other)?;
        let (umem, frames) = umem(ring, chunk_len(copy_mode, interface.mtu))?;
        let name = interface.name.parse().map_err(io::Error::other)?;
        let config = SocketConfig::builder()
            .rx_queue_size(ring)
            .tx_queue_size(ring)
            .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
            .bind_flags(BindFlags::XDP_USE_NEED_WAKEUP | copy_mode.flag())
            .build();
        // SAFETY: the flag that the contract requires, INHIBIT_PROG_LOAD, is in `config`.
        let made = unsafe { Socket::new(config, &umem, &name, 0) };
        let (transmit, receive, rings) = made.map_err(io::Error::other)?;
        let (mut fill, completion) = rings.ok_or_else(|| io::Error::from_raw_os_error(libc::EBUSY))?;
        // SAFETY: the frames are of the UMEM that the ring belongs to, each is given once, and there is no
        // other user of them.
        unsafe { fill.produce(&frames[..RING_LEN as usize]) };
        let descs = [FrameDesc::default(); BATCH];
        Ok(Self { umem, receive, transmit, fill, completion, descs, sending: 0 })
    }

    /// The socket.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the socket is open as long as the queues that `self` owns, which the result
        // borrows.
        unsafe { BorrowedFd::borrow_raw(self.receive.fd().as_raw_fd()) }
    }

    /// Sends every frame back, to `destination` from `source`, without ever sleeping, until `stop` is
    /// set.
    pub fn run(&mut self, destination: MacAddr, source: MacAddr, stop: &AtomicBool) {
        while !stop.load(Relaxed) {
            self.complete();
            let count = self.receive();
            if count > 0 {
                self.readdress(count, Addresses::new(destination, source));
                self.send(count);
            }
        }
    }

    /// Gives the memory of sent frames back to be received into.
    fn complete(&mut self) {
        if self.sending == 0 {
            return;
        }
        self.kick();
        // SAFETY: the descriptors are scratch space that the call overwrites; the ring belongs to
        // the UMEM of all frames.
        let sent = unsafe { self.completion.consume(&mut self.descs) };
        // SAFETY: the kernel has just given these chunks back. There is room: all chunks in use
        // together, all that `open` has given, fill the ring and no more.
        unsafe { self.fill.produce(&self.descs[..sent]) };
        self.sending -= sent;
    }

    fn receive(&mut self) -> usize {
        // SAFETY: as in `complete`.
        let count = unsafe { self.receive.consume(&mut self.descs) };
        if count == 0 && self.fill.needs_wakeup() {
            // A wake-up that fails is tried again in the next round.
            let _ = self.fill.wakeup(self.receive.fd_mut(), 0);
        }
        count
    }

    fn readdress(&mut self, count: usize, addresses: Addresses) {
        for desc in &mut self.descs[..count] {
            // SAFETY: the descriptor has just been received, so it describes a chunk of this UMEM that
            // the kernel has let go of, and `descs` holds each chunk once.
            let mut data = unsafe { self.umem.data_mut(desc) };
            addresses.write(data.contents_mut());
        }
    }

    /// The transmit ring has as many entries as there are chunks in use: there is always room.
    fn send(&mut self, count: usize) {
        // SAFETY: as in `readdress`; from here on the kernel is the chunks' only user.
        self.sending += unsafe { self.transmit.produce(&self.descs[..count]) };
        self.kick();
    }

    /// In copy mode each call sends a few dozen frames at most.
    fn kick(&mut self) {
        while self.transmit.nb_free_exact() < RING_LEN && self.transmit.needs_wakeup() {
            let before = self.transmit.nb_free_exact();
            if self.transmit.wakeup().is_err() || self.transmit.nb_free_exact() == before {
                return;
            }
        }
    }
}

/// As much packet memory as [`super::xdp`] has for one socket.
fn umem(ring: QueueSize, chunk_len: u32) -> io::Result<(Umem, Vec<FrameDesc>)> {
    let config = UmemConfig::builder()
        .frame_size(FrameSize::new(chunk_len).map_err(io::Error::other)?)
        .fill_queue_size(ring)
        .comp_queue_size(ring)
        .build()
        .map_err(io::Error::other)?;
    let frames = NonZeroU32::new(2 * RING_LEN).expect("a ring has entries");
    Umem::new(config, frames, false).map_err(io::Error::other)
}
