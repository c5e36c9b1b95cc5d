//! Ownership tokens of packet memory.

#![allow(unsafe_code)]

use super::chunk::{self, HEADROOM};
use super::copy_mode::CopyMode;
use super::umem::Umem;
use crate::forward::{BATCH, Batch};
use crate::sys::memory::prefetch;
use crate::wire::vlan;
use libc::xdp_desc;

/// Ownership token of one chunk of a worker's UMEM: the right to read and write it.
///
/// It is neither `Copy` nor `Clone`, and only moves: from the free list to the fill ring, through the kernel
/// into a batch, and back to the free list, either directly or through a transmit ring and the kernel. At every
/// moment, in each worker,
///
/// > free + with the kernel to receive + in the batch + with the kernel to send = all
///
/// and no chunk is counted twice. No `Frame` leaves the [`super::XdpPorts`] that it belongs to.
#[derive(Debug)]
#[must_use = "a dropped frame is memory lost until the worker ends"]
pub(super) struct Frame(xdp_desc);

impl Frame {
    /// # Safety
    /// `desc` must describe a chunk of this worker's UMEM. Neither the kernel nor another frame may use that
    /// chunk.
    pub(super) unsafe fn new(desc: xdp_desc) -> Self {
        Self(desc)
    }

    /// Passes ownership to the kernel.
    pub(super) fn into_desc(self) -> xdp_desc {
        self.0
    }

    /// Length of the received data in bytes.
    pub(super) fn len(&self) -> usize {
        self.0.len as usize
    }

    /// True if the packet goes on in the frame that follows.
    pub(super) fn continues(&self) -> bool {
        self.0.options & libc::XDP_PKT_CONTD != 0
    }
}

/// Length of the VLAN tags of the packet in `umem` that `head` begins, in bytes: the MTU does not count them.
#[cold]
pub(super) fn tags_len(umem: &Umem, head: &Frame) -> usize {
    // SAFETY: the frame is a chunk of this UMEM that nothing writes to while it is borrowed.
    vlan::tags_len(unsafe { umem.data(&head.0).as_ref() })
}

/// Number of leading `frames` that form whole packets.
pub(super) fn whole(frames: &[Frame]) -> usize {
    frames.iter().rposition(|frame| !frame.continues()).map_or(0, |last| last + 1)
}

/// Number of packets that end in `frames`.
pub(super) fn packet_count(frames: &[Frame]) -> u32 {
    frames.iter().filter(|frame| !frame.continues()).count() as u32 // at most a ring's worth
}

/// Number of `tails` that belong to the packet that `head` begins.
pub(super) fn tail_count(head: &Frame, tails: &[Frame]) -> usize {
    if !head.continues() {
        return 0;
    }
    tails.iter().position(|frame| !frame.continues()).map_or(tails.len(), |last| last + 1)
}

/// The frames of one receive call.
#[derive(Debug)]
pub struct XdpBatch {
    pub(super) umem: Umem,
    /// Zero-copy if drivers write into the chunks themselves.
    copy_mode: CopyMode,
    /// One for each packet: its only frame, or its first.
    pub(super) frames: Vec<Frame>,
    /// The further frames of those packets that have several, in the same order.
    pub(super) tails: Vec<Frame>,
}

impl XdpBatch {
    /// For the frames of `umem`, and no others.
    pub(super) fn new(umem: Umem, copy_mode: CopyMode) -> Self {
        let [frames, tails] = [Vec::with_capacity(BATCH), Vec::with_capacity(2 * BATCH)];
        Self { umem, copy_mode, frames, tails }
    }

    /// Adds whole packets.
    pub(super) fn add(&mut self, frames: impl Iterator<Item = Frame>) {
        let mut is_tail = false;
        for frame in frames {
            let continues = frame.continues();
            if is_tail { &mut self.tails } else { &mut self.frames }.push(frame);
            is_tail = continues;
        }
    }

    /// The further frames of packet `index`.
    fn tails_of(&self, index: usize) -> &[Frame] {
        let mut tails = &self.tails[..];
        for head in &self.frames[..index] {
            tails = &tails[tail_count(head, tails)..];
        }
        &tails[..tail_count(&self.frames[index], tails)]
    }

    /// Offset of the chunk of `frame` in the UMEM, in bytes.
    pub(super) fn chunk(&self, frame: &Frame) -> usize {
        self.umem.chunk(&frame.0)
    }

    /// The received bytes of `frame`.
    pub(super) fn bytes<'a>(&'a self, frame: &'a Frame) -> &'a [u8] {
        // SAFETY: as in `Batch::frame`, and nothing is written for as long as both `self` and `frame` are borrowed: the frame
        // cannot be moved away or written to in that time, and the UMEM stays mapped while `self.umem` lives.
        unsafe { self.umem.data(&frame.0).as_ref() }
    }

    /// Copies `bytes` to `frame` as a packet of its own. Returns false, and changes nothing, if they do not fit.
    pub(super) fn write(&self, frame: &mut Frame, bytes: &[u8]) -> bool {
        if bytes.len() > self.umem.chunk_len() - HEADROOM as usize {
            return false;
        }
        let addr = self.chunk(frame) as u64 + u64::from(HEADROOM);
        frame.0 = xdp_desc { addr, len: bytes.len() as u32, options: 0 };
        // SAFETY: as in `Batch::frame`. The data end within the frame's own chunk.
        unsafe { self.umem.data(&frame.0).as_mut() }.copy_from_slice(bytes);
        true
    }

    /// Prefetches the headers: another core has just written them, so each access would miss the cache.
    pub(super) fn prefetch(&self) {
        for frame in &self.frames {
            prefetch(self.umem.data(&frame.0).cast::<u8>().as_ptr());
        }
    }
}

impl Batch for XdpBatch {
    fn len(&self) -> usize {
        self.frames.len()
    }

    fn frame(&mut self, index: usize) -> &mut [u8] {
        // SAFETY: a `Frame` is the sole right to its chunk, and the chunk belongs to this UMEM (both by the contracts of
        // `Frame::new` and `XdpBatch::new`). `self` is borrowed mutably as long as the bytes are: the frame cannot be moved
        // away in that time, and the UMEM stays mapped while `self.umem` lives.
        unsafe { self.umem.data(&self.frames[index].0).as_mut() }
    }

    fn rest(&self, index: usize) -> usize {
        self.tails_of(index).iter().map(Frame::len).sum()
    }

    fn may_be_cut(&self, index: usize) -> bool {
        self.copy_mode == CopyMode::Zero && chunk::may_end_at(self.frames[index].len(), self.umem.chunk_len())
    }
}
