//! The receive ring: memory shared with the kernel, in slots owned by either side.
//!
//! Version 2 of the ring (`TPACKET_V2`, Documentation/networking/packet_mmap.rst): each frame has a
//! slot of its own and is visible at once. Version 3 packs frames into blocks that the kernel
//! hands over when they are full or when a timer of at least a millisecond fires. In overload that
//! carries more frames, but at low load every frame waits for the timer, and a handshake has several.
//!
//! ```text
//! slot │ tpacket2_hdr │ sockaddr_ll │ … │ virtio_net_hdr │ Ethernet frame … │
//! ```
//! The kernel takes the outer VLAN tag out of the frame, and gives it in the header; there is room before the virtio
//! header to put it back. A slot holds a frame of the interface's MTU. Merged frames are longer; the kernel puts those on
//! the socket's queue and marks the slot (`TP_STATUS_COPY`), see [`super::batch`].
//!
//! **Ownership.** A slot is the kernel's until `tp_status` has `TP_STATUS_USER`; then
//! [`Ring::take`] makes one [`Slot`] of it, the only one, since the cursor moves on and comes round
//! only by way of slots that were given back. [`Ring::give_back`] consumes it. Slots are neither
//! `Copy` nor `Clone`, so none is returned twice.
#![allow(unsafe_code)]

use crate::sys::packet_socket::PacketSocket;
use crate::wire::ethernet::TAG_LEN;
use crate::wire::vlan::Tag;
use libc::{
    TP_STATUS_COPY, TP_STATUS_KERNEL, TP_STATUS_USER, TP_STATUS_VLAN_VALID, tpacket_req, tpacket2_hdr,
};
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// Length of `struct virtio_net_hdr` (linux/virtio_net.h), which precedes each frame.
pub(super) const VIRTIO_HEADER: usize = 10;

/// Largest space before the Ethernet header in a slot: `tpacket_rcv` in
/// net/packet/af_packet.c aligns the headers to 16 and puts the virtio header behind them.
const HEADROOM: usize = 80;
/// An Ethernet header with a VLAN tag.
const LINK_HEADER: usize = 18;
/// Slots are whole cache lines.
const LINE: usize = 64;
/// Memory for one ring. 4096 slots for usual MTUs, fewer for jumbo frames.
const RING_BYTES: usize = 8 << 20;
const SLOTS_MIN: usize = 512;
const SLOTS_MAX: usize = 4096;

/// A memory-mapped receive ring.
#[derive(Debug)]
pub(super) struct Ring {
    memory: NonNull<u8>,
    geometry: RingGeometry,
    /// The next slot to take.
    next: usize,
}

/// Dimensions of a ring, in bytes and slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RingGeometry {
    slot_len: usize,
    slots: usize,
    block_len: usize,
}

/// The slot of a received frame: owned by this process until it is given back.
#[derive(Debug)]
#[must_use]
pub(super) struct Slot {
    index: usize,
    /// Offset of the virtio header from the slot's start.
    packet_at: usize,
    /// Virtio header and frame, in bytes.
    length: usize,
    /// The slot has only the frame's beginning; the whole frame is in the socket's queue.
    pub(super) queued: bool,
    /// The outer tag, which is not in the frame.
    pub(super) tag: Option<Tag>,
}

impl Slot {
    /// Extends the packet to the front by the length of a tag.
    pub(super) fn extend_for_tag(&mut self) {
        self.packet_at -= TAG_LEN; // at least: see `Ring::take`
        self.length += TAG_LEN;
    }
}

// SAFETY: the mapping belongs to the process, not to a thread, and only this value reaches it.
unsafe impl Send for Ring {}

impl Ring {
    /// Creates a ring on `socket` for frames of `mtu` bytes of payload.
    ///
    /// The socket must not be bound yet, or frames would be lost.
    pub(super) fn new(socket: &PacketSocket, mtu: usize) -> io::Result<Self> {
        let geometry = RingGeometry::new(mtu, page_size());
        socket.set_packet_option(libc::PACKET_VERSION, libc::tpacket_versions::TPACKET_V2 as libc::c_int)?;
        socket.set_packet_option(libc::PACKET_VNET_HDR, 1)?;
        socket.set_packet_option(libc::PACKET_COPY_THRESH, 1)?;
        socket.set_option(libc::SOL_PACKET, libc::PACKET_RX_RING, &geometry.request())?;
        let memory = map(socket, geometry.bytes())?;
        Ok(Self { memory, geometry, next: 0 })
    }

    /// Takes the next frame, if one has arrived.
    #[inline]
    pub(super) fn take(&mut self) -> Option<Slot> {
        let index = self.next;
        let status = self.status(index).load(Ordering::Acquire);
        if status & TP_STATUS_USER == 0 {
            return None;
        }
        self.next = if index + 1 == self.geometry.slots { 0 } else { index + 1 };
        // SAFETY: the status marks the slot as ours, and it was read with acquire order, so
        // the header that the kernel wrote before it is complete. Slots are 64-byte aligned.
        let header = unsafe { self.start(index).cast::<tpacket2_hdr>().read() };
        // The kernel stays within the slot; clamping makes the code independent of that.
        let frame_at = usize::from(header.tp_mac).clamp(VIRTIO_HEADER + TAG_LEN, self.geometry.slot_len);
        let length = (header.tp_snaplen as usize).min(self.geometry.slot_len - frame_at) + VIRTIO_HEADER;
        let queued = status & TP_STATUS_COPY != 0;
        let tag = (status & TP_STATUS_VLAN_VALID != 0)
            .then_some(Tag { protocol: header.tp_vlan_tpid, control: header.tp_vlan_tci });
        Some(Slot { index, packet_at: frame_at - VIRTIO_HEADER, length, queued, tag })
    }

    /// The virtio header and the frame in `slot`.
    #[inline]
    pub(super) fn packet(&mut self, slot: &mut Slot) -> &mut [u8] {
        // SAFETY: `take` and `extend_for_tag` bound offset and length by the slot, which lies in the mapping; the
        // kernel does not touch it while it is ours; and both borrows are exclusive, so no second
        // reference to these bytes exists.
        unsafe {
            let packet = self.start(slot.index).add(slot.packet_at);
            std::slice::from_raw_parts_mut(packet.as_ptr(), slot.length)
        }
    }

    /// Returns the slot to the kernel, which may write to it at once.
    #[inline]
    pub(super) fn give_back(&mut self, slot: Slot) {
        self.status(slot.index).store(TP_STATUS_KERNEL, Ordering::Release);
    }

    /// Number of pending frames.
    ///
    /// Pending slots are contiguous from the cursor on, so binary search finds the last.
    pub(super) fn waiting(&self) -> usize {
        let (mut low, mut high) = (0, self.geometry.slots);
        while low < high {
            let middle = low.midpoint(high);
            let status = self.status((self.next + middle) % self.geometry.slots);
            let is_pending = status.load(Ordering::Relaxed) & TP_STATUS_USER != 0;
            if is_pending { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// Number of slots.
    pub(super) fn slots(&self) -> usize {
        self.geometry.slots
    }

    fn status(&self, index: usize) -> &AtomicU32 {
        // SAFETY: `tp_status` is the first field of the header, 4-byte aligned as the slot is, and
        // lives as long as the mapping. The kernel and we touch it by whole-word accesses only.
        unsafe { self.start(index).cast::<AtomicU32>().as_ref() }
    }

    fn start(&self, index: usize) -> NonNull<u8> {
        debug_assert!(index < self.geometry.slots);
        // SAFETY: slots follow each other without a gap (see `RingGeometry::new`), and every index is
        // below their number, so the result is inside the mapping.
        unsafe { self.memory.add(index * self.geometry.slot_len) }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: `memory` came from mmap with this length, and no reference into it outlives
        // `self`: they all borrow it.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), self.geometry.bytes()) };
    }
}

impl RingGeometry {
    fn new(mtu: usize, page: usize) -> Self {
        let lines = (HEADROOM + LINK_HEADER + mtu).div_ceil(LINE);
        // An odd number of cache lines: headers then spread over all sets of the caches.
        let slot_len = (lines | 1) * LINE;
        // So many slots fill whole pages exactly, and blocks leave no gap between slots.
        let per_block = page / LINE;
        let slots = (RING_BYTES / slot_len).clamp(SLOTS_MIN, SLOTS_MAX);
        Self { slot_len, slots: slots.next_multiple_of(per_block), block_len: slot_len * per_block }
    }

    fn bytes(self) -> usize {
        self.slots * self.slot_len
    }

    fn request(self) -> tpacket_req {
        // Each is far below 4 GiB: a slot holds one frame of at most 64 KiB.
        tpacket_req {
            tp_block_size: self.block_len as u32,
            tp_block_nr: (self.bytes() / self.block_len) as u32,
            tp_frame_size: self.slot_len as u32,
            tp_frame_nr: self.slots as u32,
        }
    }
}

fn map(socket: &PacketSocket, bytes: usize) -> io::Result<NonNull<u8>> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice disturbs no other memory.
    let memory = unsafe {
        libc::mmap(std::ptr::null_mut(), bytes, access, libc::MAP_SHARED, socket.raw().as_raw_fd(), 0)
    };
    if memory == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(memory.cast()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))
}

fn page_size() -> usize {
    // SAFETY: sysconf takes no pointer.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_are_whole_blocks_of_whole_pages() {
        for (page, mtu) in
            [(4096, 1500), (4096, 68), (4096, 9000), (4096, 65535), (16384, 1500), (65536, 9000)]
        {
            let geometry = RingGeometry::new(mtu, page);
            let request = geometry.request();
            assert_eq!(geometry.block_len % page, 0);
            assert_eq!(geometry.slot_len % libc::TPACKET_ALIGNMENT, 0);
            assert_eq!(
                request.tp_frame_nr,
                request.tp_block_nr * (request.tp_block_size / request.tp_frame_size)
            );
            assert!(geometry.slot_len >= HEADROOM + LINK_HEADER + mtu);
            assert!(geometry.slots >= SLOTS_MIN && geometry.slot_len / LINE % 2 == 1);
        }
        assert_eq!(
            RingGeometry::new(1500, 4096),
            RingGeometry { slot_len: 1600, slots: 4096, block_len: 102_400 }
        );
    }
}
