//! A batch of frames: in slots of the ring, or in buffers if they are longer than a slot.
//!
//! **Invariant.** Between two calls of `receive`, every slot taken from the ring is in `frames`,
//! once; `release` empties `frames` and gives each slot back, once. Nothing else holds a slot.

use super::ring::{Ring, Slot, VIRTIO_HEADER};
use crate::forward::{BATCH, Batch};
use crate::sys::packet_socket::PacketSocket;
use crate::wire::ethernet::TAG_LEN;
use crate::wire::vlan::{TAG_AT, Tag};

/// The longest frame the kernel merges (64 KiB of IP), with its link and virtio headers, and room for a tag.
const MERGED_MAX: usize = TAG_LEN + VIRTIO_HEADER + 18 + 65_535;
/// In the first byte of a virtio header (`VIRTIO_NET_HDR_F_NEEDS_CSUM` in linux/virtio_net.h).
pub(super) const NEEDS_CHECKSUM: u8 = 1;
/// Offsets into a virtio header: the kind of segmentation (0: none), the length of the headers of each segment, and
/// the first byte that the checksum covers (`struct virtio_net_hdr`). Both lengths count from the Ethernet header on.
const SEGMENTATION: usize = 1;
const HEADERS_LENGTH: usize = 2;
const CHECKSUM_START: usize = 6;
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

/// A frame in one of the buffers, from `at` on; `length` counts the virtio header too.
#[derive(Debug)]
struct Merged {
    buffer: usize,
    at: usize,
    length: usize,
}

impl Merged {
    fn of<'b>(&self, buffers: &'b mut [Box<[u8]>]) -> &'b mut [u8] {
        &mut buffers[self.buffer][self.at..][..self.length]
    }
}

/// Moves the virtio header and the MAC addresses, which begin at the fifth byte, to the front, and writes the tag behind
/// them.
fn insert_tag(packet: &mut [u8], tag: Tag) {
    let tag_at = VIRTIO_HEADER + TAG_AT;
    if packet.len() < tag_at + TAG_LEN {
        return; // no frame is that short
    }
    packet.copy_within(TAG_LEN..TAG_LEN + tag_at, 0);
    packet[tag_at..tag_at + TAG_LEN].copy_from_slice(&tag.bytes());
    let lengths =
        [(packet[SEGMENTATION] != 0, HEADERS_LENGTH), (packet[0] & NEEDS_CHECKSUM != 0, CHECKSUM_START)];
    for (_, at) in lengths.into_iter().filter(|(is_used, _)| *is_used) {
        let longer = u16::from_ne_bytes([packet[at], packet[at + 1]]).wrapping_add(TAG_LEN as u16); // 4
        packet[at..at + 2].copy_from_slice(&longer.to_ne_bytes());
    }
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
            let is_plain = !slot.queued && slot.tag.is_none();
            self.frames.push(RingFrame { slot, merged: None });
            if !is_plain {
                self.complete(socket);
            }
        }
    }

    /// Gives the last frame its missing parts.
    #[cold]
    fn complete(&mut self, socket: &PacketSocket) {
        let merged =
            if self.frames.last().is_some_and(|frame| frame.slot.queued) { self.fetch(socket) } else { None };
        let Some(RingFrame { slot, merged: last }) = self.frames.last_mut() else { return };
        *last = merged;
        let Some(tag) = slot.tag.take() else { return };
        let packet = match last {
            None => {
                slot.extend_for_tag();
                self.ring.packet(slot)
            }
            Some(merged) => {
                (merged.at, merged.length) = (merged.at - TAG_LEN, merged.length + TAG_LEN);
                merged.of(&mut self.merged)
            }
        };
        insert_tag(packet, tag);
    }

    /// Reads the queued frame that the slot just taken announces: the kernel queues it under the
    /// lock that it takes the slot under, so their orders agree (`tpacket_rcv`).
    ///
    /// Without it the slot shows the frame's beginning, which the decision drops as truncated.
    fn fetch(&mut self, socket: &PacketSocket) -> Option<Merged> {
        let buffer = self.merged_used;
        let length = socket.receive(&mut self.merged[buffer][TAG_LEN..]).ok()?;
        self.merged_used += 1;
        (length >= VIRTIO_HEADER + TAG_AT).then_some(Merged { buffer, at: TAG_LEN, length })
    }

    /// The virtio header and the frame at `index`.
    #[inline]
    pub(super) fn packet(&mut self, index: usize) -> &mut [u8] {
        let RingFrame { slot, merged } = &mut self.frames[index];
        match merged {
            None => self.ring.packet(slot),
            Some(merged) => merged.of(&mut self.merged),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ethernet::{SERVICE_TAG, TAG};

    /// Four bytes of room, a virtio header and a frame that begins with the MAC addresses.
    fn packet(flags: u8, segmentation: u8) -> Vec<u8> {
        let [headers, start] = [54u16, 34].map(u16::to_ne_bytes);
        let virtio = [&[flags, segmentation][..], &headers, &[0; 2], &start, &[16, 0]].concat();
        [&[0xee; TAG_LEN][..], &virtio, &[1; 6], &[2; 6], &[8, 0, 0x45]].concat()
    }

    #[test]
    fn a_tag_is_inserted_behind_the_addresses() {
        for (flags, segmentation, headers, start) in
            [(0, 0, 54, 34), (1, 0, 54, 38), (1, 1, 58, 38), (0, 4, 58, 34)]
        {
            let mut bytes = packet(flags, segmentation);
            insert_tag(&mut bytes, Tag { protocol: SERVICE_TAG, control: 0xa064 });
            let word = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
            assert_eq!((bytes[0], bytes[1], word(2), word(6)), (flags, segmentation, headers, start));
            let frame = [&[1; 6][..], &[2; 6], &[0x88, 0xa8, 0xa0, 0x64], &[8, 0, 0x45]].concat();
            assert_eq!(bytes[VIRTIO_HEADER..], frame);
        }
    }

    #[test]
    fn a_frame_without_addresses_stays() {
        let mut bytes = packet(0, 0);
        bytes.truncate(VIRTIO_HEADER + TAG_AT + 3);
        let before = bytes.clone();
        insert_tag(&mut bytes, Tag { protocol: TAG, control: 7 });
        assert_eq!(bytes, before);
    }
}
