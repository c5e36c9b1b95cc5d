//! AF_PACKET: frames from a memory-mapped ring, sent in batches past the queueing discipline.
//!
//! For interfaces and kernels without AF_XDP. Each worker has a ring of its own on the client
//! side; a fan-out group spreads the flows over them. The sockets tap the interface (`ETH_P_ALL`)
//! because taps come before everything else that may take a frame: the guard, which silences the
//! kernel's own copy, sits behind them, where a socket bound to `ETH_P_IP` would
//! see nothing any more.
//!
//! ```text
//! frame ─▶ taps ─▶ fan-out ─▶ filter ─▶ ring ─▶ decide ─▶ sendmmsg, from the ring's own memory
//!            └──▶ guard ─▶ not a service's: the kernel, untouched
//! ```
//! The fan-out chooses a worker before its socket's filter runs; all have the same filter.

mod batch;
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

/// The most members of a fan-out group without asking for more (`PACKET_FANOUT_MAX` of old
/// kernels, net/packet/internal.h).
const WORKERS_MAX: usize = 256;

/// Kernel memory for merged frames that wait for a worker, in bytes.
const MERGED_BUFFER: libc::c_int = 8 << 20;

/// Opens a ring for each worker on the client side, and ways out of every interface.
///
/// # Errors
/// [`Diagnostic`] if a capability is missing, an interface is gone or down, or memory is short.
pub fn open(plan: &PortPlan) -> Result<Opened<PacketPorts>, Diagnostic> {
    let client = &plan.interfaces[0];
    let count = worker_count(plan)?;
    let mut receivers = Vec::with_capacity(count);
    let mut workers = Vec::with_capacity(count);
    for member in 0..count {
        let (receiver, ring) = receiver(client)?;
        let receiver = Arc::new(receiver);
        let transmitters = plan.interfaces.iter().map(transmitter).collect::<Result<_, _>>()?;
        let ports = PacketPorts::new(Arc::clone(&receiver), PacketBatch::new(ring), transmitters);
        workers.push((ports, vec![info(client, member)]));
        receivers.push(receiver);
    }
    spread(&receivers).map_err(|error| socket_error(format!("tapping {}", client.name), &error))?;
    let steering = Box::new(PacketSteering::new(client.clone(), receivers));
    Ok(Opened { workers, steering })
}

/// Whether [`open`] can do as `plan` says, as far as that is known without opening anything.
///
/// # Errors
/// [`Diagnostic`] if it asks for too many workers.
pub fn judge(plan: &PortPlan) -> Result<(), Diagnostic> {
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

/// A socket with its ring, not bound, that rejects every frame.
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

/// Joins the sockets, if there are several, in a fan-out group that is theirs alone.
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
