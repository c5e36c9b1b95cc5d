//! MAC addresses of received frames, which the decision overwrites.
//!
//! A frame that turns out to be too long when it is sent is answered to the station that it came from.

use crate::forward::{BATCH, Batch};
use crate::io::FrameHead;

/// Destination and source MAC address of a frame.
type MacPair = [u8; 12];

/// The MAC addresses of each frame of a batch.
pub(super) struct LinkAddresses {
    /// True if a frame may be too long. It is false where none ever is, so that nothing is recorded.
    is_needed: bool,
    of_batch: Box<[MacPair; BATCH]>,
}

impl LinkAddresses {
    pub(super) fn new(is_needed: bool) -> Self {
        Self { is_needed, of_batch: Box::new([[0; 12]; BATCH]) }
    }

    pub(super) fn is_needed(&self) -> bool {
        self.is_needed
    }

    /// Records the batches from the next one on.
    pub(super) fn need(&mut self) {
        self.is_needed = true;
    }

    /// Records a batch before its decision.
    #[cold]
    pub(super) fn record<B: Batch + ?Sized>(&mut self, batch: &mut B) {
        for index in 0..batch.len().min(BATCH) {
            self.of_batch[index] = addresses(batch.frame(index));
        }
    }

    /// Gives the head of frame `index` the addresses that it was received with.
    pub(super) fn restore(&self, index: usize, head: &mut FrameHead) {
        write(&self.of_batch[index], head.bytes_mut());
    }
}

/// The addresses of a frame; of a shorter one, zeros.
pub(super) fn addresses(frame: &[u8]) -> MacPair {
    frame.first_chunk().copied().unwrap_or_default()
}

/// Writes the addresses to a frame.
pub(super) fn write(addresses: &MacPair, frame: &mut [u8]) {
    if let Some(begin) = frame.first_chunk_mut() {
        *begin = *addresses;
    }
}
