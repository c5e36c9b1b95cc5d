//! Frame I/O: AF_XDP, AF_PACKET and memory. No policy.
//!
//! A backend provides one [`Ports`] per worker. [`Ports::finish`] disposes of every frame of a received batch
//! exactly once, so that none is lost or sent twice.

pub mod bpf;
pub mod claim;
pub mod frames;
mod groups;
pub mod handed;
pub mod interface;
pub mod l2fwd;
mod long_frames;
mod lower;
pub mod memory;
pub mod packet;
pub mod probe;
#[cfg(test)]
mod selection;
mod sender;
mod steered;
mod tun;
mod veth;
mod vlan_devices;
pub mod xdp;

pub use crate::model::PortRange;
pub use crate::stats::Levels;
pub use frames::{AsyncFrameSocket, FrameKind, FrameSocket};
pub use groups::{GroupChange, MulticastGroups};
pub use handed::{HandedPorts, HandedRings};
pub use interface::{Interface, OwnAddress};
pub use long_frames::{FrameHead, HEAD_MAX, LongFrames};
pub use sender::FrameSender;
pub use steered::SteeredService;
pub use tun::CarrierDevice;
pub use veth::VethPeer;

use crate::forward::{Batch, Verdict};
use crate::model::{Diagnostic, InterfaceIndex, ServiceAddress};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

/// One worker's (interface, queue) pairs: its receive ports, and transmission on every interface.
pub trait Ports: Send {
    /// The batch that [`Ports::receive`] fills.
    type Batch: Batch;

    /// Number of receive ports.
    fn count(&self) -> usize;

    /// Receives the pending frames of `port`, up to [`crate::forward::BATCH`], without blocking. The previous
    /// batch must have been finished, unless it was empty.
    fn receive(&mut self, port: usize) -> &mut Self::Batch;

    /// Carries out one verdict for each frame of the batch, in order, and empties the batch.
    fn finish(&mut self, verdicts: &[Verdict]) -> SendOutcome;

    /// Sends a frame that is not of the batch.
    fn send_copy(&mut self, interface: InterfaceIndex, frame: &[u8]) -> SendOutcome;

    /// The frames that [`Ports::finish`] counted as too long, as it should have sent them. To be taken after each batch
    /// with such a frame. `None` if the backend does not keep them.
    fn long_frames(&mut self) -> Option<&mut LongFrames> {
        None
    }

    /// True if an interface cannot send every frame that another one receives, as far as their MTUs tell.
    fn has_smaller_mtu(&self) -> bool {
        false
    }

    /// Sleeps until a frame arrives, `wake` has input, or `timeout` is over.
    ///
    /// # Errors
    /// Errors of poll(2), except EINTR.
    fn wait(&mut self, timeout: Duration, wake: BorrowedFd<'_>) -> io::Result<()>;

    /// Fill levels of the rings of `port`.
    fn levels(&mut self, port: usize) -> Levels;

    /// Frames for `port` that the kernel has lost since the last call. Costs a system call: not for every
    /// batch.
    fn lost(&mut self, port: usize) -> Lost {
        let _ = port; // a backend without a kernel loses none
        Lost::default()
    }

    /// Gives the sockets away, for a process that goes on with them.
    ///
    /// # Errors
    /// The ports themselves, if the backend cannot.
    fn into_handed(self) -> Result<HandedPorts, Self>
    where
        Self: Sized,
    {
        Err(self)
    }
}

/// Frames for a worker that the kernel lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// The receive ring was full.
    pub ring_full: u64,
    /// There was no free packet memory.
    pub no_buffer: u64,
    /// The frame was longer than a receive buffer.
    pub too_long: u64,
    /// The steering program redirected the frame, and the kernel did not deliver it to the worker's socket.
    pub not_delivered: u64,
}

/// Transmit result of one batch: the frames with the verdict forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendOutcome {
    /// Accepted by the kernel.
    pub forwarded: u32,
    /// Dropped because the transmit ring was full.
    pub full: u32,
    /// Dropped because the interface cannot send frames of that length.
    pub too_long: u32,
}

/// Description of an opened receive port, for listings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortInfo {
    /// Interface name.
    pub interface: String,
    /// Hardware queue; for AF_PACKET the fan-out member.
    pub queue: u32,
    /// Operating mode: "native, copy", "generic, copy", "native, zero-copy", "ring".
    pub mode: &'static str,
}

/// Interfaces and workers of a backend to open.
#[derive(Clone, Debug)]
pub struct PortPlan {
    /// By [`crate::model::InterfaceIndex`]: the client side, then the server side if it is another.
    pub interfaces: Vec<Interface>,
    /// Number of workers, at least 1. `None`: one per queue of the client side, at most one per core; with
    /// AF_PACKET one per core.
    pub workers: Option<usize>,
    /// Whether AF_XDP's packet memory lies in huge pages.
    pub huge_pages: bool,
}

/// An opened backend: one `P` for each worker.
pub struct Opened<P> {
    /// By worker: its ports, with a description of each receive port.
    pub workers: Vec<(P, Vec<PortInfo>)>,
    /// Selects the frames that arrive. None does before it has been started.
    pub steering: Box<dyn Steering>,
}

/// FrameKind of frames in the kernel: those for virtual services are redirected to the workers, all others
/// pass.
///
/// Dropping it restores the interface.
pub trait Steering: Send {
    /// Starts the redirection, with no service. The fill rings must be primed.
    ///
    /// # Errors
    /// [`Diagnostic`] with cause and remedy.
    fn start(&mut self) -> Result<(), Diagnostic>;

    /// Checks that [`Steering::select`] can take these services, as far as that is known before.
    ///
    /// # Errors
    /// [`Diagnostic`] with cause and remedy.
    fn check(&self, services: &[SteeredService]) -> Result<(), Diagnostic> {
        let _ = services;
        Ok(())
    }

    /// Replaces the set of services whose frames are redirected.
    ///
    /// # Errors
    /// [`Diagnostic`] with cause and remedy; the set is then as it was.
    fn select(&mut self, services: &[SteeredService]) -> Result<(), Diagnostic>;

    /// The same for services of one port or of every port, without a VLAN.
    ///
    /// # Errors
    /// As [`Steering::select`].
    fn update(&mut self, services: &[ServiceAddress]) -> Result<(), Diagnostic> {
        let services: Vec<SteeredService> = services.iter().copied().map(Into::into).collect();
        self.select(&services)
    }

    /// True if [`Steering::stop`] has to restore a setting of an interface, which takes CAP_NET_ADMIN. Nothing
    /// else after the start needs a capability.
    fn restores(&self) -> bool {
        false
    }

    /// Stops the redirection. All frames pass to the kernel again.
    fn stop(&mut self);

    /// Gives away the attachment of the program, which goes on redirecting until another process replaces it. `None` if the
    /// backend cannot: then nothing has changed.
    fn hand_over(&mut self) -> Option<OwnedFd> {
        None
    }
}
