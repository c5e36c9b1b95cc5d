//! One AF_XDP socket: receive, transmit, fill and completion ring.
//!
//! Each ring is single-producer, single-consumer: the kernel is one side, and this socket, used by one thread,
//! the other.

#![allow(unsafe_code)]

use super::frame::{Frame, XdpBatch, packet_count, whole};
use super::losses::{LossMeter, SocketCounters};
use crate::forward::BATCH;
use crate::io::bpf::{Buffers, RedirectCounter};
use crate::io::{Levels, Lost};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Instant;
use xsk_rs::{CompQueue, FillQueue, FrameDesc, RxQueue, TxQueue};

/// Limit of system calls per batch. In copy mode each sends 32 frames at most
/// (TX_BATCH_SIZE in net/xdp/xsk.c), so these are enough for a full ring of 2048.
const KICKS_MAX: u32 = 64;

/// A socket bound to one hardware queue.
pub(super) struct XdpSocket {
    receive: RxQueue,
    transmit: TxQueue,
    fill: FillQueue,
    completion: CompQueue,
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
    /// Packets received.
    received: u64,
    losses: LossMeter,
    /// Counter of the steering program, once it is loaded.
    redirected: Option<RedirectCounter>,
    descs: Box<[FrameDesc; BATCH]>,
}

/// The rings of a socket, as xsk-rs returns them.
pub(super) struct Rings {
    pub(super) receive: RxQueue,
    pub(super) transmit: TxQueue,
    pub(super) fill: FillQueue,
    pub(super) completion: CompQueue,
}

impl XdpSocket {
    /// `ring_len` entries in each ring; `mtu` in bytes.
    pub(super) fn new(rings: Rings, ring_len: u32, mtu: u32, buffers: Buffers) -> Self {
        let Rings { receive, transmit, fill, completion } = rings;
        let frame_max = mtu as usize + crate::wire::ethernet::HEADER_LEN;
        let descs = Box::new([FrameDesc::default(); BATCH]);
        Self {
            receive,
            transmit,
            fill,
            completion,
            ring_len,
            frame_max,
            filled: 0,
            sending: 0,
            buffers,
            partial: Vec::with_capacity(2 * BATCH),
            received: 0,
            losses: LossMeter::new(Instant::now()),
            redirected: None,
            descs,
        }
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
        // SAFETY: the socket is open as long as the queues that `self` owns, which the result
        // borrows.
        unsafe { BorrowedFd::borrow_raw(self.receive.fd().as_raw_fd()) }
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
            let room = self.fill.nb_free(wanted).min(wanted) as usize;
            let count = room.min(free.len());
            if count == 0 {
                break;
            }
            let from = free.len() - count;
            self.take_over(free.drain(from..));
            // SAFETY: each descriptor was a frame, so the kernel becomes its only user; frames
            // are of this worker's UMEM, which the ring belongs to.
            let given = unsafe { self.fill.produce(&self.descs[..count]) };
            assert_eq!(given, count, "a ring has less room than it reported");
            self.filled += count as u32;
        }
        if self.fill.needs_wakeup() {
            // A wake-up that fails is tried again by the next refill.
            let _ = self.fill.wakeup(self.receive.fd_mut(), 0);
        }
    }

    /// Moves the packets that have been received into `batch`, up to [`BATCH`].
    pub(super) fn receive_into(&mut self, batch: &mut XdpBatch) {
        // SAFETY: the descriptors are scratch space that the call overwrites; the ring belongs
        // to the UMEM of all of this worker's frames.
        let count = unsafe { self.receive.consume(&mut self.descs[..]) };
        self.filled -= count as u32;
        // SAFETY: the kernel has given these chunks back, each had been a frame of this worker until the fill
        // ring took it, and no frame has been made of it since.
        let frames = self.descs[..count].iter().map(|desc| unsafe { Frame::new(*desc) });
        match self.buffers {
            Buffers::One => batch.frames.extend(frames),
            Buffers::Several => {
                self.partial.extend(frames);
                batch.add(self.partial.drain(..whole(&self.partial)));
            }
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
            // SAFETY: as in `receive_into`.
            let count = unsafe { self.completion.consume(&mut self.descs[..]) };
            self.sending -= count as u32;
            // SAFETY: as in `receive_into`, with the transmit ring in the fill ring's place.
            free.extend(self.descs[..count].iter().map(|desc| unsafe { Frame::new(*desc) }));
            if count < BATCH {
                break;
            }
        }
    }

    /// Moves whole packets to the transmit ring, and leaves in `frames` those for which there is no room.
    /// Returns the number of packets moved.
    pub(super) fn send(&mut self, frames: &mut Vec<Frame>) -> u32 {
        let mut packets = 0;
        loop {
            let room = self.transmit.nb_free(frames.len() as u32) as usize;
            let count = whole(&frames[..room.min(frames.len()).min(BATCH)]);
            if count == 0 {
                break;
            }
            packets += packet_count(&frames[..count]);
            self.take_over(frames.drain(..count));
            // SAFETY: as in `refill`.
            let given = unsafe { self.transmit.produce(&self.descs[..count]) };
            assert_eq!(given, count, "a ring has less room than it reported");
            self.sending += count as u32;
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
            if unsent == 0 || !self.transmit.needs_wakeup() || self.transmit.wakeup().is_err() {
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
        if self.sending == 0 { 0 } else { self.ring_len - self.transmit.nb_free_exact() }
    }

    pub(super) fn levels(&mut self) -> Levels {
        Levels {
            receive: self.receive.nb_avail_exact(),
            transmit: self.sending,
            fill: self.ring_len - self.fill.nb_free_exact(),
        }
    }

    /// Frames that the kernel has lost since the last call.
    ///
    /// With zero-copy, the driver counts its losses for lack of memory itself (`ethtool -S`).
    pub(super) fn lost(&mut self) -> Lost {
        let Ok(statistics) = self.receive.fd().xdp_statistics() else { return Lost::default() };
        let received = self.received + u64::from(self.receive.nb_avail_exact());
        let redirected =
            self.redirected.as_mut().and_then(|redirected| redirected.read().ok()).unwrap_or_default();
        let (rx_ring_full, rx_dropped) = (statistics.rx_ring_full(), statistics.rx_dropped());
        self.losses.update(SocketCounters { redirected, received, rx_ring_full, rx_dropped }, Instant::now())
    }

    /// Turns frames, at most [`BATCH`], into descriptors for the kernel.
    fn take_over(&mut self, frames: impl Iterator<Item = Frame>) {
        for (desc, frame) in self.descs.iter_mut().zip(frames) {
            *desc = frame.into_desc();
        }
    }
}
