//! What happens to a frame: match, look up, schedule, rewrite. All policy, no I/O, no clock.

#![forbid(unsafe_code)]

mod arrival;
mod decide;
mod family;
mod read;
mod send;
mod services;
mod snapshot;
mod tally;

pub use decide::Forwarder;
pub use services::ServiceMap;
pub use snapshot::{NextHop, Route, Snapshot};

use crate::model::InterfaceIndex;
use crate::stats::DropReason;

/// The most frames that are decided in one go.
pub const BATCH: usize = 64;

/// Frames that were received together, each the sole owner of its bytes.
///
/// The same decision runs over rings, sockets, files and plain vectors: they all are batches.
pub trait Batch {
    /// Number of frames, at most [`BATCH`].
    fn len(&self) -> usize;

    /// The bytes of frame `index` from the Ethernet header on.
    ///
    /// # Panics
    /// If `index` is not below [`Batch::len`].
    fn frame(&mut self, index: usize) -> &mut [u8];

    /// Number of bytes of frame `index` beyond [`Batch::frame`], which has all its headers then.
    fn rest(&self, index: usize) -> usize {
        let _ = index; // most backends have every frame in one piece
        0
    }

    /// True if frame `index` ends where a receive buffer may end, so that a frame which is too short for its
    /// headers may have been cut there.
    fn may_be_cut(&self, index: usize) -> bool {
        let _ = index; // most backends have room for every frame
        false
    }

    /// True if whatever transmits frame `index` finishes its TCP or UDP checksum.
    fn completes_checksum(&mut self, index: usize) -> bool {
        let _ = index; // most backends send bytes as they are
        false
    }

    /// True if there is no frame.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Batch for [Vec<u8>] {
    fn len(&self) -> usize {
        <[Vec<u8>]>::len(self)
    }

    fn frame(&mut self, index: usize) -> &mut [u8] {
        &mut self[index]
    }
}

/// What is to be done with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is rewritten: transmit it on this interface.
    Forward(InterfaceIndex),
    /// Give its memory back; the reason is counted.
    Drop(DropReason),
}
