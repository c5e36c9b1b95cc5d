//! A batch of frames: in slots of the ring, or in buffers if they are longer than a slot.
//!
//! **Invariant.** Between two calls of `receive`, every slot taken from the ring is in `frames`,
//! once; `release` empties `frames` and gives each slot back, once. Nothing else holds a slot.

use super::ring::{Ring, Slot, VIRTIO_HEADER};
use crate::forward::{BATCH, Batch};
use crate::sys::packet_socket::PacketSocket;

/// The longest frame the kernel merges (64 KiB of IP), with its link and virtio headers.
const MERGED_MAX: usize = VIRTIO_HEADER + 18 + 65_535;
/// In the first byte of a virtio header (`VIRTIO_NET_HDR_F_NEEDS_CSUM` in linux/virtio_net.h).
pub(super) const NEEDS_CHECKSUM: u8 = 1;
/// Merged frames in one batch. Each stands for many of ordinary length, so a few are enough.
const MERGED: usize = 16;

/// The frames of one [`super::PacketPorts`] batch.
#[derive(Debug)]
pub struct PacketBatch {
    ring: Ring,
    frames: Vec<RingFrame>,
    merged: Vec<Box<[u8]>>,
    merged_used: usize,
}

/// One frame: always a slot, and a buffer if the slot was too short.
#[derive(Debug)]
struct RingFrame {
    slot: Slot,
    merged: Option<Merged>,
}

/// A frame in one of the buffers; `length` counts the virtio header too.
#[derive(Debug)]
struct Merged {
    buffer: usize,
    length: usize,
}

impl PacketBatch {
    pub(super) fn new(ring: Ring) -> Self {
        let merged = (0..MERGED).map(|_| vec![0; MERGED_MAX].into()).collect();
        Self { ring, frames: Vec::with_capacity(BATCH), merged, merged_used: 0 }
    }

    /// Takes the pending frames, as far as there is room.
    #[inline]
    pub(super) fn fill(&mut self, socket: &PacketSocket) {
        assert!(self.frames.is_empty(), "the batch before has not been finished");
        while self.frames.len() < BATCH && self.merged_used < MERGED {
            let Some(slot) = self.ring.take() else { break };
            let merged = if slot.queued { self.fetch(socket) } else { None };
            self.frames.push(RingFrame { slot, merged });
        }
    }

    /// Reads the queued frame that the slot just taken announces: the kernel queues it under the
    /// lock that it takes the slot under, so their orders agree (`tpacket_rcv`).
    ///
    /// Without it the slot shows the frame's beginning, which the decision drops as truncated.
    #[cold]
    fn fetch(&mut self, socket: &PacketSocket) -> Option<Merged> {
        let buffer = self.merged_used;
        let length = socket.receive(&mut self.merged[buffer]).ok()?;
        self.merged_used += 1;
        (length >= VIRTIO_HEADER).then_some(Merged { buffer, length })
    }

    /// The virtio header and the frame at `index`.
    #[inline]
    pub(super) fn packet(&mut self, index: usize) -> &mut [u8] {
        let RingFrame { slot, merged } = &mut self.frames[index];
        match merged {
            None => self.ring.packet(slot),
            Some(merged) => &mut self.merged[merged.buffer][..merged.length],
        }
    }

    /// Gives back the memory of all frames.
    #[inline]
    pub(super) fn release(&mut self) {
        self.frames.drain(..).for_each(|frame| self.ring.give_back(frame.slot));
        self.merged_used = 0;
    }

    /// Pending frames, and free slots.
    pub(super) fn levels(&self) -> (usize, usize) {
        let waiting = self.ring.waiting();
        (waiting, self.ring.slots().saturating_sub(waiting + self.frames.len()))
    }
}

impl Batch for PacketBatch {
    #[inline]
    fn len(&self) -> usize {
        self.frames.len()
    }

    #[inline]
    fn frame(&mut self, index: usize) -> &mut [u8] {
        &mut self.packet(index)[VIRTIO_HEADER..]
    }

    /// The virtio header is sent with the frame, and marks the checksum as unfinished.
    fn completes_checksum(&mut self, index: usize) -> bool {
        self.packet(index)[0] & NEEDS_CHECKSUM != 0
    }
}
