//! Frames in and out: AF_XDP, AF_PACKET, memory; and what else takes a system call of its own. Nothing here decides
//! anything.
//!
//! Every backend gives each worker one [`Ports`]. Every frame of a received batch is disposed of
//! exactly once, by [`Ports::finish`], so no frame can be lost or sent twice.

pub mod arp;
pub mod bpf;
pub mod claim;
pub mod interface;
pub mod l2fwd;
mod lower;
pub mod memory;
pub mod packet;
mod veth;
pub mod xdp;

pub use crate::stats::Levels;
pub use arp::{ArpSocket, AsyncArpSocket};
pub use interface::{Interface, OwnAddress};

use crate::forward::{Batch, Verdict};
use crate::model::{Diagnostic, ServiceAddress};
use std::io;
use std::time::Duration;

/// One worker's view of the wire: the (interface, queue) pairs that it owns.
pub trait Ports: Send {
    /// What [`Ports::receive`] fills.
    type Batch: Batch;

    /// Number of pairs that frames are received from.
    fn count(&self) -> usize;

    /// Receives what is there on pair `port`, up to [`crate::forward::BATCH`] frames, without
    /// blocking. The batch before must have been finished, unless it was empty.
    fn receive(&mut self, port: usize) -> &mut Self::Batch;

    /// Carries out one verdict for each frame of the batch, in order, and empties the batch.
    fn finish(&mut self, verdicts: &[Verdict]) -> SendOutcome;

    /// Sleeps until a frame arrives or `timeout` is over.
    ///
    /// # Errors
    /// Whatever poll(2) reports, except an interruption by a signal.
    fn wait(&mut self, timeout: Duration) -> io::Result<()>;

    /// How full the rings of pair `port` are now.
    fn levels(&mut self, port: usize) -> Levels;

    /// Frames for pair `port` that the kernel has lost since the last call. It costs a system
    /// call: not for every batch.
    fn lost(&mut self, port: usize) -> Lost {
        let _ = port; // a backend without a kernel loses none
        Lost::default()
    }
}

/// Frames that were for a worker and never reached it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// The receive ring was full.
    pub ring_full: u64,
    /// There was no free memory to receive into.
    pub no_buffer: u64,
    /// The frame was longer than the memory to receive into.
    pub too_long: u64,
    /// The steering program redirected the frame over, and the kernel did not take it to the worker's socket.
    pub not_delivered: u64,
}

/// What became of the frames of one batch that were to be forwarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendOutcome {
    /// RedirectCounter to the kernel.
    pub forwarded: u32,
    /// Dropped because the transmit ring was full.
    pub full: u32,
    /// Dropped because the interface cannot send frames of that length.
    pub too_long: u32,
}

/// What an opened (interface, queue) pair turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortInfo {
    /// Interface name.
    pub interface: String,
    /// Hardware queue; for AF_PACKET the fan-out member.
    pub queue: u32,
    /// How it is driven, for listings: "native, copy", "generic, copy", "native, zero-copy", "ring".
    pub mode: &'static str,
}

/// What is to be opened.
#[derive(Clone, Debug)]
pub struct PortPlan {
    /// By [`crate::model::InterfaceIndex`]: the client side, then the server side if it is another.
    pub interfaces: Vec<Interface>,
    /// How many workers share them, at least 1. `None`: one per queue of the client side, at
    /// most one per core; AF_PACKET then has one per core.
    pub workers: Option<usize>,
    /// Whether AF_XDP's packet memory lies in huge pages.
    pub huge_pages: bool,
}

/// An opened backend: one `P` for each worker.
pub struct Opened<P> {
    /// By worker: its ports, and what they are (receive pairs, in the order of [`Ports::receive`]).
    pub workers: Vec<(P, Vec<PortInfo>)>,
    /// Decides what the kernel hands over. Nothing arrives before it has been started.
    pub steering: Box<dyn Steering>,
}

/// What makes the kernel hand over frames for virtual services, and only those.
///
/// Dropping it leaves the interface as it was found.
pub trait Steering: Send {
    /// Begins to hand over frames; rings are primed by now. Starts with no service.
    ///
    /// # Errors
    /// [`Diagnostic`] with cause and remedy.
    fn start(&mut self) -> Result<(), Diagnostic>;

    /// Replaces the set of services whose frames are wanted.
    ///
    /// # Errors
    /// [`Diagnostic`] with cause and remedy; the set is then as it was.
    fn update(&mut self, services: &[ServiceAddress]) -> Result<(), Diagnostic>;

    /// Whether [`Steering::stop`] will have to put a setting of an interface back, which takes
    /// CAP_NET_ADMIN. Nothing else that is done after the start takes any capability.
    fn restores(&self) -> bool {
        false
    }

    /// Ends the handing over. Frames go to the kernel again.
    fn stop(&mut self);
}
