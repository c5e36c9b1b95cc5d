//! One AF_XDP socket: receive, transmit, fill and completion ring.
//!
//! Each ring is single-producer, single-consumer: the kernel is one side, and this socket, used by one thread,
//! the other.

#![allow(unsafe_code)]

use super::frame::{Frame, XdpBatch, packet_count, whole};
use super::losses::{LossMeter, SocketCounters};
use super::rings::RingSocket;
use super::umem::empty;
use crate::forward::BATCH;
use crate::io::bpf::{Buffers, RedirectCounter};
use crate::io::handed::{HandedSocket, RingShape};
use crate::io::{Interface, Levels, Lost};
use crate::sys::{poll, xsk};
use libc::xdp_desc;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Limit of system calls per batch. In copy mode each sends 32 frames at most
/// (TX_BATCH_SIZE in net/xdp/xsk.c), so these are enough for a full ring of 2048.
const KICKS_MAX: u32 = 64;

/// A socket bound to one hardware queue.
pub(super) struct XdpSocket {
    rings: RingSocket,
    ring_len: u32,
    /// Longest frame that the interface sends, in bytes, Ethernet header included.
    frame_max: usize,
    /// Frames with the kernel to receive into: in the fill ring, in the driver, in the receive ring.
    pub(super) filled: u32,
    /// Frames with the kernel to send: in the transmit ring, on their way, in the completion ring.
    pub(super) sending: u32,
    /// Number of frames that a packet may have.
    buffers: Buffers,
    /// Frames of a packet whose last frame has not been received.
    partial: Vec<Frame>,
    /// Indices of interface and queue.
    place: (u32, u32),
    /// Packets received.
    received: u64,
    losses: LossMeter,
    /// The kernel's counters of losses that the process before has counted.
    before: KernelLosses,
    /// The same, of this process too.
    counted: KernelLosses,
    /// Counter of the steering program, once it is loaded.
    redirected: Option<RedirectCounter>,
}

/// Counters of XDP_STATISTICS.
#[derive(Clone, Copy, Debug, Default)]
struct KernelLosses {
    rx_ring_full: u64,
    rx_dropped: u64,
}

impl XdpSocket {
    /// A socket that is bound to a queue of an interface.
    pub(super) fn new(rings: RingSocket, interface: &Interface, queue: u32, shape: RingShape) -> Self {
        Self {
            rings,
            ring_len: shape.ring_len,
            frame_max: interface.mtu as usize + crate::wire::ethernet::HEADER_LEN,
            filled: 0,
            sending: 0,
            buffers: if shape.several { Buffers::Several } else { Buffers::One },
            partial: Vec::with_capacity(2 * BATCH),
            place: (interface.index, queue),
            received: 0,
            losses: LossMeter::new(Instant::now()),
            before: KernelLosses::default(),
            counted: KernelLosses::default(),
            redirected: None,
        }
    }

    /// Goes on where the process before has left the socket.
    ///
    /// # Safety
    /// The kernel has as many frames as `handed` says, and nothing else has the frames of the incomplete packet.
    pub(super) unsafe fn carry_on(&mut self, handed: &HandedSocket) {
        (self.filled, self.sending) = (handed.filled, handed.sending);
        let descs = handed.partial.iter().map(|&(addr, len, options)| xdp_desc { addr, len, options });
        // SAFETY: by the contract.
        self.partial.extend(descs.map(|desc| unsafe { Frame::new(desc) }));
        self.before = KernelLosses { rx_ring_full: handed.rx_ring_full, rx_dropped: handed.rx_dropped };
        self.counted = self.before;
    }

    /// Gives the socket away.
    pub(super) fn into_handed(self) -> (OwnedFd, HandedSocket) {
        let partial = self.partial.into_iter().map(Frame::into_desc);
        let facts = HandedSocket {
            interface: self.place.0,
            queue: self.place.1,
            filled: self.filled,
            sending: self.sending,
            partial: partial.map(|desc| (desc.addr, desc.len, desc.options)).collect(),
            rx_ring_full: self.counted.rx_ring_full,
            rx_dropped: self.counted.rx_dropped,
        };
        (self.rings.into_fd(), facts)
    }

    /// Sets the redirect counter to compare the received frames with.
    pub(super) fn count_redirected(&mut self, redirected: RedirectCounter) {
        self.redirected = Some(redirected);
    }

    /// Longest frame without tags that the interface sends, in bytes.
    pub(super) fn frame_max(&self) -> usize {
        self.frame_max
    }

    /// True if the interface can send frames of `len` bytes, tags not counted.
    pub(super) fn takes(&self, len: usize) -> bool {
        len <= self.frame_max
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.rings.as_fd()
    }

    /// Refills the fill ring, up to a ring's worth of frames together with those received already.
    ///
    /// Under overload the kernel then finds the fill ring empty and drops a frame before copying it. That costs
    /// the sender's core less, and does not evict the frames that the worker is about to read from the cache.
    pub(super) fn refill(&mut self, free: &mut Vec<Frame>) {
        loop {
            // The kernel shows what it has received before it shows that it has taken the fill ring's entry
            // for it (`xsk_flush` in net/xdp/xsk.c), so for a moment there may be less room.
            let wanted = (self.ring_len - self.filled).min(BATCH as u32);
            let count = (self.rings.fill.room(wanted) as usize).min(free.len());
            if count == 0 {
                break;
            }
            let from = free.len() - count;
            let chunks = free.drain(from..).map(|frame| frame.into_desc().addr);
            // SAFETY: each was a frame, so the kernel becomes its only user; frames are of this worker's UMEM, which the
            // socket belongs to.
            self.filled += unsafe { self.rings.fill.push(chunks) };
        }
        if self.rings.fill.needs_wakeup() {
            // A wake-up that fails is tried again by the next refill.
            let _ = poll::wait(&mut [poll::for_input(self.fd())], Duration::ZERO);
        }
    }

    /// Moves the packets that have been received into `batch`, up to [`BATCH`].
    pub(super) fn receive_into(&mut self, batch: &mut XdpBatch) {
        let frames = match self.buffers {
            Buffers::One => &mut batch.frames,
            Buffers::Several => &mut self.partial,
        };
        // SAFETY: the kernel has given these chunks back, each had been a frame of this worker until the fill
        // ring took it, and no frame has been made of it since.
        let add = |desc| frames.push(unsafe { Frame::new(desc) });
        self.filled -= self.rings.receive.take(BATCH as u32, add);
        if self.buffers == Buffers::Several {
            batch.add(self.partial.drain(..whole(&self.partial)));
        }
        self.received += batch.frames.len() as u64;
    }

    /// Frames of an incomplete packet: fewer than a packet can have.
    pub(super) fn partial(&self) -> &[Frame] {
        &self.partial
    }

    /// Frees the frames that the kernel has sent.
    pub(super) fn complete(&mut self, free: &mut Vec<Frame>) {
        while self.sending > 0 {
            // SAFETY: as in `receive_into`, with the transmit ring in the fill ring's place.
            let add = |addr| free.push(unsafe { Frame::new(empty(addr)) });
            let count = self.rings.completion.take(BATCH as u32, add);
            self.sending -= count;
            if count < BATCH as u32 {
                break;
            }
        }
    }

    /// Moves whole packets to the transmit ring, and leaves in `frames` those for which there is no room.
    /// Returns the number of packets moved.
    pub(super) fn send(&mut self, frames: &mut Vec<Frame>) -> u32 {
        let mut packets = 0;
        loop {
            let room = self.rings.transmit.room(frames.len() as u32) as usize;
            let count = whole(&frames[..room.min(frames.len()).min(BATCH)]);
            if count == 0 {
                break;
            }
            packets += packet_count(&frames[..count]);
            // SAFETY: as in `refill`.
            self.sending += unsafe { self.rings.transmit.push(frames.drain(..count).map(Frame::into_desc)) };
        }
        self.kick();
        packets
    }

    /// Reclaims sent frames, and kicks the transmission of the others.
    pub(super) fn service_rings(&mut self, free: &mut Vec<Frame>) {
        self.complete(free);
        if self.unsent() > 0 {
            self.kick();
        }
    }

    /// Makes the kernel send the frames of the transmit ring, if it needs a wake-up, without waiting. The next
    /// call retries the rest.
    pub(super) fn kick(&mut self) {
        let mut unsent = self.unsent();
        for _ in 0..KICKS_MAX {
            if unsent == 0 || !self.rings.transmit.needs_wakeup() || self.rings.wake_sender().is_err() {
                return;
            }
            let before = unsent;
            unsent = self.unsent();
            if unsent == before {
                return; // the link is down, or the driver works on its own time
            }
        }
    }

    /// Frames in the transmit ring that the kernel has not partial to send.
    pub(super) fn unsent(&mut self) -> u32 {
        if self.sending == 0 { 0 } else { self.rings.transmit.pending() }
    }

    pub(super) fn levels(&mut self) -> Levels {
        Levels {
            receive: self.rings.receive.available(),
            transmit: self.sending,
            fill: self.rings.fill.pending(),
        }
    }

    /// Frames that the kernel has lost since the last call.
    ///
    /// With zero-copy, the driver counts its losses for lack of memory itself (`ethtool -S`).
    pub(super) fn lost(&mut self) -> Lost {
        let Ok(statistics) = xsk::statistics(self.fd()) else { return Lost::default() };
        let received = self.received + u64::from(self.rings.receive.available());
        let redirected =
            self.redirected.as_mut().and_then(|redirected| redirected.read().ok()).unwrap_or_default();
        let libc::xdp_statistics { rx_ring_full, rx_dropped, .. } = statistics;
        self.counted = KernelLosses { rx_ring_full, rx_dropped };
        let rx_ring_full = rx_ring_full.saturating_sub(self.before.rx_ring_full);
        let rx_dropped = rx_dropped.saturating_sub(self.before.rx_dropped);
        self.losses.update(SocketCounters { redirected, received, rx_ring_full, rx_dropped }, Instant::now())
    }
}
