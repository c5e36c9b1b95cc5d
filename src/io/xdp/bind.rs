//! Creation of a worker's UMEM and sockets.

#![allow(unsafe_code)]

use super::chunk::chunk_len;
use super::copy_mode::CopyMode;
use super::frame::{Frame, XdpBatch};
use super::ports::{Receiver, XdpPorts};
use super::queue_assignment::WorkerQueues;
use super::socket::{Rings, XdpSocket};
use crate::io::bpf::Buffers;
use crate::io::{Interface, PortPlan};
use std::error::Error;
use std::fmt;
use std::io;
use std::num::NonZeroU32;
use std::thread;
use std::time::{Duration, Instant};
use xsk_rs::config::{BindFlags, FrameSize, LibxdpFlags, QueueSize, SocketConfig, UmemConfig};
use xsk_rs::{Socket, Umem};

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

/// A step of opening a worker's sockets that failed.
pub(super) struct BindError {
    /// "binding to queue 3 of eth0".
    pub(super) what: String,
    pub(super) error: io::Error,
    /// The step was the allocation of packet memory in huge pages.
    pub(super) in_huge_pages: bool,
}

/// The registered UMEM of a worker, and its free frames.
pub(super) struct Registered {
    umem: Umem,
    free: Vec<Frame>,
    /// In bytes.
    chunk_len: u32,
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
    SocketOptions { copy_mode, ring_len, .. }: SocketOptions,
) -> Result<Registered, BindError> {
    let (receivers, senders) = (assignment.client.len(), assignment.client.len() + plan.interfaces.len() - 1);
    let memory = Memory {
        chunks: ring_len * (receivers + senders) as u32,
        chunk_len: chunk_len(copy_mode, plan.interfaces[0].mtu),
        huge_pages: plan.huge_pages,
    };
    let (umem, free) = memory.register(ring_len)?;
    Ok(Registered { umem, free, chunk_len: memory.chunk_len })
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
    Registered { umem, free, chunk_len }: Registered,
    options: SocketOptions,
) -> Result<XdpPorts, BindError> {
    let interfaces = &plan.interfaces;
    let bind = |interface: &Interface, queue| socket(&umem, interface, queue, options);
    let mut client = Vec::new();
    for (index, queue) in assignment.client.iter().enumerate() {
        let sender = if *queue < assignment.client_transmits_below { index } else { 0 };
        client.push(Receiver { socket: bind(&interfaces[0], *queue)?, sender });
    }
    let servers = interfaces[1..]
        .iter()
        .map(|interface| bind(interface, assignment.server))
        .collect::<Result<_, _>>()?;
    Ok(XdpPorts::new(XdpBatch::new(umem, chunk_len, options.copy_mode), free, client, servers))
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
    fn register(&self, ring_len: u32) -> Result<(Umem, Vec<Frame>), BindError> {
        let config = UmemConfig::builder()
            .frame_size(FrameSize::new(self.chunk_len).expect("it is at least 2048"))
            .fill_queue_size(queue_size(ring_len))
            .comp_queue_size(queue_size(ring_len))
            .build()
            .expect("a chunk has room for the headroom");
        let chunks = NonZeroU32::new(self.chunks).expect("rings and sockets are not zero");
        let made = Umem::new(config, chunks, self.huge_pages);
        let (umem, descs) = made.map_err(|error| BindError {
            what: self.to_string(),
            error: root(&error),
            in_huge_pages: self.huge_pages,
        })?;
        // SAFETY: these describe the chunks of the UMEM, each one once, and none is in use yet.
        let free = descs.into_iter().map(|desc| unsafe { Frame::new(desc) }).collect();
        Ok((umem, free))
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pages = if self.huge_pages { " in huge pages (huge_pages = true)" } else { "" };
        write!(f, "registering {} KiB of packet memory{pages}", self.chunks * (self.chunk_len / 1024))
    }
}

fn socket(
    umem: &Umem,
    interface: &Interface,
    queue: u32,
    options: SocketOptions,
) -> Result<XdpSocket, BindError> {
    let SocketOptions { copy_mode, ring_len, buffers } = options;
    let start = Instant::now();
    loop {
        match bind(umem, &interface.name, queue, config(copy_mode, ring_len, buffers)) {
            Ok(rings) => return Ok(XdpSocket::new(rings, ring_len, interface.mtu, buffers)),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && start.elapsed() < BUSY_MAX => {
                thread::sleep(BUSY_POLL);
            }
            Err(error) => {
                let what = format!("binding to queue {queue} of {}", interface.name);
                return Err(BindError { what, error, in_huge_pages: false });
            }
        }
    }
}

fn bind(umem: &Umem, interface: &str, queue: u32, config: SocketConfig) -> io::Result<Rings> {
    let interface = interface.parse().map_err(io::Error::other)?;
    // SAFETY: the flag that the contract requires, INHIBIT_PROG_LOAD, is in `config`.
    let made = unsafe { Socket::new(config, umem, &interface, queue) };
    let (transmit, receive, rings) = made.map_err(|error| root(&error))?;
    // A second socket on the same queue would share the rings of the first.
    let (fill, completion) = rings.ok_or_else(|| io::Error::from_raw_os_error(libc::EBUSY))?;
    Ok(Rings { receive, transmit, fill, completion })
}

fn config(copy_mode: CopyMode, ring_len: u32, buffers: Buffers) -> SocketConfig {
    let several = match buffers {
        Buffers::One => BindFlags::empty(),
        Buffers::Several => BindFlags::XDP_USE_SG,
    };
    SocketConfig::builder()
        .rx_queue_size(queue_size(ring_len))
        .tx_queue_size(queue_size(ring_len))
        .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
        .bind_flags(BindFlags::XDP_USE_NEED_WAKEUP | copy_mode.flag() | several)
        .build()
}

fn queue_size(ring_len: u32) -> QueueSize {
    QueueSize::new(ring_len).expect("a ring length is a power of two")
}

/// Extracts the errno from an error of xsk-rs.
fn root(error: &(dyn Error + 'static)) -> io::Error {
    let os = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    match os.and_then(io::Error::raw_os_error) {
        Some(number) => io::Error::from_raw_os_error(number),
        None => io::Error::other(error.to_string()),
    }
}
