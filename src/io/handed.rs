//! The sockets of a backend that go on in another process, with everything that it has to know of them.

use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;

/// The rings of one worker.
#[derive(Debug)]
pub struct HandedPorts {
    /// Parameters of all sockets.
    pub shape: RingShape,
    /// The worker's memory and sockets.
    pub worker: WorkerRings,
    /// The packet memory, then the sockets, in the order of [`WorkerRings::sockets`].
    pub descriptors: Vec<OwnedFd>,
}

/// The rings of all workers, whose frames a program redirects.
#[derive(Debug)]
pub struct HandedRings {
    /// Everything but the descriptors.
    pub facts: RingFacts,
    /// The attachment of the program, then the descriptors of each worker.
    pub descriptors: Vec<OwnedFd>,
}

/// Everything about rings that are handed over but their descriptors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingFacts {
    /// Parameters of all sockets.
    pub shape: RingShape,
    /// By worker.
    pub workers: Vec<WorkerRings>,
}

/// Parameters of AF_XDP sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingShape {
    /// Entries of each ring.
    pub ring_len: u32,
    /// Bytes of a chunk.
    pub chunk_len: u32,
    /// Whether the driver itself accesses the packet memory.
    pub zero_copy: bool,
    /// Whether a packet may have several chunks.
    pub several: bool,
}

/// Memory and sockets of a worker. The addresses of chunks and data are offsets in its packet memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerRings {
    /// Number of chunks: free ones, with the kernel, and of incomplete packets.
    pub chunks: u32,
    /// Chunks that are free.
    pub free: Vec<u64>,
    /// Sockets that receive, then sockets that only send.
    pub sockets: Vec<HandedSocket>,
}

/// The state of a socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedSocket {
    /// Index of the interface.
    pub interface: u32,
    /// Queue that it is bound to.
    pub queue: u32,
    /// Chunks with the kernel to receive into.
    pub filled: u32,
    /// Chunks with the kernel to send.
    pub sending: u32,
    /// Address, length and options of the chunks of an incomplete packet.
    pub partial: Vec<(u64, u32, u32)>,
    /// Frames lost because the receive ring was full, as counted so far.
    pub rx_ring_full: u64,
    /// Frames lost for want of a chunk, or too long, as counted so far.
    pub rx_dropped: u64,
}

impl HandedRings {
    /// The most descriptors that are handed over.
    pub const DESCRIPTORS_MAX: usize = 240;

    /// Joins the attachment of the program with the rings of all workers. `None` if there are none, or too many.
    #[must_use]
    pub fn new(attachment: OwnedFd, workers: Vec<HandedPorts>) -> Option<Self> {
        let shape = workers.first()?.shape;
        let (mut facts, mut descriptors) = (RingFacts { shape, workers: Vec::new() }, vec![attachment]);
        for HandedPorts { worker, descriptors: of_worker, .. } in workers {
            facts.workers.push(worker);
            descriptors.extend(of_worker);
        }
        (descriptors.len() <= Self::DESCRIPTORS_MAX).then_some(Self { facts, descriptors })
    }
}
