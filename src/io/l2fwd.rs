//! A bare AF_XDP forwarder, the reference DUT of the throughput bench.
//!
//! Only the bench uses it; it is here because it needs `unsafe` and the backend's ring parameters.
//!
//! It has the ring lengths, packet memory and batch size of [`super::xdp`]: receive, write two MAC addresses,
//! transmit, refill. There is no parsing, no table and no frame ownership.

#![allow(unsafe_code)]

use super::Interface;
use super::xdp::{CopyMode, RING_LEN, RingSocket, Umem, chunk_len, empty};
use crate::forward::BATCH;
use crate::sys::{poll, xsk};
use crate::wire::MacAddr;
use crate::wire::ethernet::Addresses;
use libc::xdp_desc;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// One socket on queue 0 of an interface, without copying if the driver can, as directrix does.
pub struct L2fwd {
    umem: Umem,
    rings: RingSocket,
    /// Received, and not yet sent back.
    descs: Vec<xdp_desc>,
    /// In the transmit ring, on their way, or in the completion ring.
    sending: u32,
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
        // As much packet memory as [`super::xdp`] has for one socket.
        let umem = Umem::new(2 * RING_LEN, chunk_len(copy_mode, interface.mtu), false)?;
        let mut rings = umem.register(RING_LEN)?;
        let flags = libc::XDP_USE_NEED_WAKEUP | copy_mode.flag();
        xsk::bind(rings.as_fd(), interface.index, 0, flags)?;
        let frames = umem.chunks().take(RING_LEN as usize).map(|desc| desc.addr);
        // SAFETY: the chunks are of the UMEM of this socket, each is given once, and there is no other user of them.
        unsafe { rings.fill.push(frames) };
        Ok(Self { umem, rings, descs: Vec::with_capacity(BATCH), sending: 0 })
    }

    /// The socket.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.rings.as_fd()
    }

    /// Sends every frame back, to `destination` from `source`, without ever sleeping, until `stop` is
    /// set.
    pub fn run(&mut self, destination: MacAddr, source: MacAddr, stop: &AtomicBool) {
        while !stop.load(Relaxed) {
            self.complete();
            if self.receive() {
                self.readdress(Addresses::new(destination, source));
                self.send();
            }
        }
    }

    /// Gives the memory of sent frames back to be received into.
    fn complete(&mut self) {
        if self.sending == 0 {
            return;
        }
        self.kick();
        let sent = &mut self.descs;
        self.sending -= self.rings.completion.take(BATCH as u32, |addr| sent.push(empty(addr)));
        // There is room: all chunks in use together, all that `bind` has given, fill the ring and no more.
        self.rings.fill.room(sent.len() as u32);
        // SAFETY: the kernel has just given these chunks back.
        unsafe { self.rings.fill.push(sent.drain(..).map(|desc| desc.addr)) };
    }

    /// Returns true if there are frames to send back.
    fn receive(&mut self) -> bool {
        let received = &mut self.descs;
        let count = self.rings.receive.take(BATCH as u32, |desc| received.push(desc));
        if count == 0 && self.rings.fill.needs_wakeup() {
            // A wake-up that fails is tried again in the next round.
            let _ = poll::wait(&mut [poll::for_input(self.fd())], Duration::ZERO);
        }
        count > 0
    }

    fn readdress(&mut self, addresses: Addresses) {
        for desc in &self.descs {
            // SAFETY: the descriptor has just been received, so it describes a chunk of this UMEM that
            // the kernel has let go of, and `descs` holds each chunk once.
            addresses.write(unsafe { self.umem.data(desc).as_mut() });
        }
    }

    /// The transmit ring has as many entries as there are chunks in use: there is always room.
    fn send(&mut self) {
        self.rings.transmit.room(self.descs.len() as u32);
        // SAFETY: as in `readdress`; from here on the kernel is the chunks' only user.
        self.sending += unsafe { self.rings.transmit.push(self.descs.drain(..)) };
        self.kick();
    }

    /// In copy mode each call sends a few dozen frames at most.
    fn kick(&mut self) {
        loop {
            let before = self.rings.transmit.pending();
            if before == 0 || !self.rings.transmit.needs_wakeup() || self.rings.wake_sender().is_err() {
                return;
            }
            if self.rings.transmit.pending() == before {
                return;
            }
        }
    }
}
