//! Per-frame decision: match, look up, schedule, rewrite. All policy, no I/O, no clock.

#![forbid(unsafe_code)]

mod accounting;
mod conns;
mod context;
mod decide;
mod first_pass;
mod fragments;
mod journal;
mod real_servers;
mod received;
mod refresh;
mod second_pass;
mod services;
mod shadowed;
mod snapshot;
mod staged;
mod tables;
mod testing;
mod vlans;

pub use decide::Forwarder;
pub use journal::{Journal, JournalEvent, JournalKind};
pub use real_servers::RealServerAddresses;
pub use refresh::REFRESH_PERIOD;
pub use services::{Beside, ServiceMap};
pub use shadowed::ShadowAccess;
pub use snapshot::{NextHop, Route, ServicePool, Snapshot};
pub use vlans::VlanServices;

use crate::model::InterfaceIndex;
use crate::stats::DropReason;

/// Most frames in a batch.
pub const BATCH: usize = 64;

/// Frames received together, each the sole owner of its bytes.
///
/// Rings, sockets, files and plain vectors implement it, so that one decision serves them all.
pub trait Batch {
    /// Number of frames, at most [`BATCH`].
    fn len(&self) -> usize;

    /// The bytes of frame `index` from the Ethernet header on.
    ///
    /// # Panics
    /// If `index` is not below [`Batch::len`].
    fn frame(&mut self, index: usize) -> &mut [u8];

    /// Number of bytes of frame `index` beyond [`Batch::frame`], which then holds all headers.
    fn rest(&self, index: usize) -> usize {
        let _ = index; // most backends have every frame in one piece
        0
    }

    /// True if frame `index` ends where a receive buffer may end: if it is too short for its headers, the
    /// driver may have truncated it there.
    fn may_be_cut(&self, index: usize) -> bool {
        let _ = index; // most backends have room for every frame
        false
    }

    /// True if the transport protocol's checksum of frame `index` is completed on transmission.
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

/// Decision for a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Transmit the rewritten frame on this interface.
    Forward(InterfaceIndex),
    /// Free the frame. The reason has been counted.
    Drop(DropReason),
    /// Pass the frame to another worker, which may know its connection. Only with
    /// [`Forwarder::set_hand_over`].
    HandOver,
    /// Hold the fragment until the first fragment of its packet arrives ([`Forwarder::first_fragments`]).
    Hold,
}
