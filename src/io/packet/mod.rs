//! AF_PACKET backend: a memory-mapped receive ring; transmission in batches that bypass the qdisc.
//!
//! For interfaces and kernels without AF_XDP. Each worker has its own ring on the client side; a fan-out group
//! distributes the flows. The sockets are bound to `ETH_P_ALL`, because such taps come before everything else
//! in the receive path. The guard program, which drops the kernel's copy, comes after them, and a socket bound
//! to `ETH_P_IP` would see nothing.
//!
//! ```text
//! frame ─▶ taps ─▶ fan-out ─▶ filter ─▶ ring ─▶ decide ─▶ sendmmsg, from the ring's own memory
//!            └──▶ guard ─▶ not a service's: the kernel, untouched
//! ```
//! The fan-out group selects a socket before that socket's filter runs; all have the same filter.

mod batch;
mod checksum;
mod errors;
pub mod filter;
mod guard;
mod ports;
mod ring;
mod steering;
mod transmit;

pub use batch::PacketBatch;
pub use ports::PacketPorts;

use super::{Interface, Opened, PortInfo, PortPlan};
use crate::model::Diagnostic;
use crate::sys::packet_socket::PacketSocket;
use errors::socket_error;
use ring::Ring;
use std::io;
use std::num::NonZero;
use std::sync::Arc;
use steering::PacketSteering;
use transmit::TransmitSockets;

/// Largest default size of a fan-out group (`PACKET_FANOUT_MAX` of old
/// kernels, net/packet/internal.h).
const WORKERS_MAX: usize = 256;

/// Kernel memory for merged frames that wait for a worker, in bytes.
const MERGED_BUFFER: libc::c_int = 8 << 20;

/// Opens a ring for each worker on the client side, and transmit sockets on every interface.
///
/// # Errors
/// [`Diagnostic`] if a capability is missing, an interface is gone or down, or memory is short.
pub fn open(plan: &PortPlan) -> Result<Opened<PacketPorts>, Diagnostic> {
    let client = &plan.interfaces[0];
    let count = worker_count(plan)?;
    let mut receivers = Vec::with_capacity(count);
    let mut workers = Vec::with_capacity(count);
    let has_smaller_mtu = plan.interfaces.iter().any(|one| one.mtu != client.mtu);
    for member in 0..count {
        let (receiver, ring) = receiver(client)?;
        let receiver = Arc::new(receiver);
        let transmitters = plan.interfaces.iter().map(transmitter).collect::<Result<_, _>>()?;
        let ports =
            PacketPorts::new(Arc::clone(&receiver), PacketBatch::new(ring), transmitters, has_smaller_mtu);
        workers.push((ports, vec![info(client, member)]));
        receivers.push(receiver);
    }
    spread(&receivers).map_err(|error| socket_error(format!("tapping {}", client.name), &error))?;
    let steering = Box::new(PacketSteering::new(client.clone(), receivers));
    Ok(Opened { workers, steering })
}

/// Validates `plan` for [`open`], as far as possible without opening anything.
///
/// # Errors
/// [`Diagnostic`] if it requests too many workers.
pub fn validate(plan: &PortPlan) -> Result<(), Diagnostic> {
    worker_count(plan).map(drop)
}

fn worker_count(plan: &PortPlan) -> Result<usize, Diagnostic> {
    let cores = || std::thread::available_parallelism().map_or(1, NonZero::get).min(WORKERS_MAX);
    let count = plan.workers.unwrap_or_else(cores).max(1);
    if count <= WORKERS_MAX {
        return Ok(count);
    }
    Err(Diagnostic::system(format!("sharing {} among {count} workers", plan.interfaces[0].name))
        .cause(format!("a fan-out group has at most {WORKERS_MAX} members"))
        .remedy("use fewer workers: more than there are cores do not help"))
}

/// Opens a socket with its ring, whose filter rejects every frame.
fn receiver(interface: &Interface) -> Result<(PacketSocket, Ring), Diagnostic> {
    let open = || -> io::Result<_> {
        let socket = PacketSocket::open()?;
        socket.set_filter(&filter::reject_all())?;
        socket.ignore_outgoing()?;
        socket.set_receive_buffer(MERGED_BUFFER);
        let ring = Ring::new(&socket, interface.mtu as usize)?;
        Ok((socket, ring))
    };
    open()
        .map_err(|error| socket_error(format!("opening a packet ring for {}", interface.name), &error))
        .and_then(|(socket, ring)| {
            let bound = socket.bind(interface.index, libc::ETH_P_ALL as u16);
            bound.map_err(|error| socket_error(format!("tapping {}", interface.name), &error))?;
            Ok((socket, ring))
        })
}

fn transmitter(interface: &Interface) -> Result<TransmitSockets, Diagnostic> {
    TransmitSockets::open(interface.index).map_err(|error| {
        socket_error(format!("opening a packet socket to send on {}", interface.name), &error)
    })
}

/// Joins the sockets, if there are several, to a new fan-out group.
fn spread(receivers: &[Arc<PacketSocket>]) -> io::Result<()> {
    let [first, others @ ..] = receivers else { return Ok(()) };
    if others.is_empty() {
        return Ok(());
    }
    let group = first.join_fanout(None)?;
    others.iter().try_for_each(|socket| socket.join_fanout(Some(group)).map(drop))
}

fn info(interface: &Interface, member: usize) -> PortInfo {
    PortInfo { interface: interface.name.clone(), queue: member as u32, mode: "ring" } // < WORKERS_MAX
}
