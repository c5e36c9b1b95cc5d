//! Creation of a worker's UMEM and sockets.

#![allow(unsafe_code)]

use super::chunk::chunk_len;
use super::copy_mode::CopyMode;
use super::frame::{Frame, XdpBatch};
use super::ports::{PortMemory, XdpPorts};
use super::queue_assignment::WorkerQueues;
use super::rings::RingSocket;
use super::socket::XdpSocket;
use super::umem::Umem;
use crate::io::bpf::Buffers;
use crate::io::handed::RingShape;
use crate::io::{Interface, PortPlan};
use crate::sys::xsk;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;
use std::time::{Duration, Instant};

/// Longest wait for a busy queue: the kernel releases the queue of a closed socket in the background.
const BUSY_MAX: Duration = Duration::from_secs(2);
/// Interval of attempts.
const BUSY_POLL: Duration = Duration::from_millis(1);

/// Options of the sockets to bind.
#[derive(Clone, Copy)]
pub(super) struct SocketOptions {
    pub(super) copy_mode: CopyMode,
    /// Entries in each ring, a power of two.
    pub(super) ring_len: u32,
    pub(super) buffers: Buffers,
}

impl SocketOptions {
    /// Parameters of the sockets, which those of another process have to have to take their place.
    pub(super) fn shape(&self, plan: &PortPlan) -> RingShape {
        RingShape {
            ring_len: self.ring_len,
            chunk_len: chunk_len(self.copy_mode, plan.interfaces[0].mtu),
            zero_copy: self.copy_mode == CopyMode::Zero,
            several: self.buffers == Buffers::Several,
        }
    }
}

/// A step of opening a worker's sockets that failed.
pub(super) struct BindError {
    /// "binding to queue 3 of eth0".
    pub(super) what: String,
    pub(super) error: io::Error,
    /// The step was the allocation of packet memory in huge pages.
    pub(super) in_huge_pages: bool,
}

/// The packet memory of a worker, with the socket that it is registered with and its free frames.
pub(super) struct Registered {
    umem: Umem,
    owner: RingSocket,
    free: Vec<Frame>,
}

/// Registers a UMEM for each worker.
pub(super) fn register_all(
    plan: &PortPlan,
    assignments: &[WorkerQueues],
    options: SocketOptions,
) -> Result<Vec<Registered>, BindError> {
    assignments.iter().map(|assignment| register(plan, assignment, options)).collect()
}

fn register(
    plan: &PortPlan,
    assignment: &WorkerQueues,
    options: SocketOptions,
) -> Result<Registered, BindError> {
    let RingShape { ring_len, chunk_len, .. } = options.shape(plan);
    let (receivers, senders) = (assignment.client.len(), assignment.client.len() + plan.interfaces.len() - 1);
    let memory =
        Memory { chunks: ring_len * (receivers + senders) as u32, chunk_len, huge_pages: plan.huge_pages };
    let failed = |error| BindError { what: memory.to_string(), error, in_huge_pages: memory.huge_pages };
    memory.register(ring_len).map_err(failed)
}

/// Binds a socket to each queue of the workers.
pub(super) fn bind_all(
    plan: &PortPlan,
    assignments: &[WorkerQueues],
    memories: Vec<Registered>,
    options: SocketOptions,
) -> Result<Vec<XdpPorts>, BindError> {
    let workers = assignments.iter().zip(memories);
    workers.map(|(assignment, memory)| worker(plan, assignment, memory, options)).collect()
}

/// Binds a socket to each of a worker's queues.
///
/// All sockets share the UMEM, so that a frame received on one interface is sent on another without a copy.
fn worker(
    plan: &PortPlan,
    assignment: &WorkerQueues,
    Registered { umem, owner, free }: Registered,
    options: SocketOptions,
) -> Result<XdpPorts, BindError> {
    let shape = options.shape(plan);
    let mut owner = Some(owner);
    let mut sockets: Vec<XdpSocket> = Vec::new();
    for (interface, queue) in assignment.all(&plan.interfaces) {
        let what = || format!("binding to queue {queue} of {}", interface.name);
        let bound = match owner.take() {
            Some(owner) => bind_owner(owner, interface, queue, options),
            None => bind_shared(sockets[0].fd(), interface, queue, shape.ring_len),
        };
        let rings = bound.map_err(|error| BindError { what: what(), error, in_huge_pages: false })?;
        sockets.push(XdpSocket::new(rings, interface, queue, shape));
    }
    let (batch, total) = (XdpBatch::new(umem, options.copy_mode), free.len());
    Ok(XdpPorts::new(PortMemory { batch, free, total, shape }, sockets, assignment))
}

/// A worker's packet memory.
///
/// At most a ring's worth of chunks per socket is with the kernel to receive, and as many to send. With a
/// ring's worth for each, no socket waits for the frames of another.
struct Memory {
    chunks: u32,
    /// In bytes.
    chunk_len: u32,
    huge_pages: bool,
}

impl Memory {
    fn register(&self, ring_len: u32) -> io::Result<Registered> {
        let umem = Umem::new(self.chunks, self.chunk_len, self.huge_pages)?;
        let owner = umem.register(ring_len)?;
        // SAFETY: these describe the chunks of the UMEM, each one once, and none is in use yet.
        let free = umem.chunks().map(|desc| unsafe { Frame::new(desc) }).collect();
        Ok(Registered { umem, owner, free })
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pages = if self.huge_pages { " in huge pages (huge_pages = true)" } else { "" };
        write!(f, "registering {} KiB of packet memory{pages}", self.chunks * (self.chunk_len / 1024))
    }
}

/// Binds the first socket of a UMEM, whose flags are those of all.
fn bind_owner(
    socket: RingSocket,
    interface: &Interface,
    queue: u32,
    SocketOptions { copy_mode, buffers, .. }: SocketOptions,
) -> io::Result<RingSocket> {
    let several = match buffers {
        Buffers::One => 0,
        Buffers::Several => libc::XDP_USE_SG,
    };
    let flags = libc::XDP_USE_NEED_WAKEUP | copy_mode.flag() | several;
    when_free(|| xsk::bind(socket.as_fd(), interface.index, queue, flags))?;
    Ok(socket)
}

/// Binds another socket to the UMEM of `owner`.
fn bind_shared(
    owner: BorrowedFd<'_>,
    interface: &Interface,
    queue: u32,
    ring_len: u32,
) -> io::Result<RingSocket> {
    let socket = RingSocket::create(xsk::socket()?, ring_len)?;
    when_free(|| xsk::bind_shared(socket.as_fd(), interface.index, queue, owner))?;
    Ok(socket)
}

/// Tries to bind until the queue is free. A socket keeps its rings when that fails (since Linux 5.11, `xsk_bind` in
/// net/xdp/xsk.c).
fn when_free(bind: impl Fn() -> io::Result<()>) -> io::Result<()> {
    let start = Instant::now();
    loop {
        match bind() {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && start.elapsed() < BUSY_MAX => {
                thread::sleep(BUSY_POLL);
            }
            other => return other,
        }
    }
}
