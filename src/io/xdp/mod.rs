//! AF_XDP backend: the rings of each queue, filled by the steering program.
//!
//! [`open`] registers one UMEM per worker, binds a socket to each of the worker's queues, and attaches the
//! steering program. `frame.rs` has the ownership token of a frame, `socket.rs` the rings, and [`XdpPorts`] one
//! worker's sockets.

mod adopt;
mod bind;
mod chunk;
mod copy_mode;
mod errors;
mod frame;
mod generic;
mod losses;
mod ports;
mod queue_assignment;
mod rings;
mod socket;
mod steering;
mod umem;

pub(super) use chunk::chunk_len;
pub use chunk::{MTU_MAX, ONE_BUFFER_MTU_MAX};
pub(super) use copy_mode::CopyMode;
pub use frame::XdpBatch;
pub use ports::{FrameCount, XdpPorts};
pub(super) use rings::RingSocket;
pub(super) use umem::{Umem, empty};

use super::bpf::{AllowedModes, BpfLink, Buffers, XdpMode};
use super::veth::{self, Checksums};
use super::{HandedRings, Interface, Opened, PortInfo, PortPlan};
use crate::model::Diagnostic;
use crate::sys::memory;
use adopt::WantedSockets;
use bind::SocketOptions;
use chunk::ZERO_COPY_MTU_MAX;
use queue_assignment::WorkerQueues;
use steering::{AttachOptions, SteeredInterface, XdpSteering};
use tracing::{info, warn};

/// Entries in each ring, a power of two.
pub const RING_LEN: u32 = 2048;

/// Opens all receive queues of the client side, and one queue per worker of the server side.
///
/// Prefers zero-copy to copy and native to generic mode. In generic mode, GRO is switched off on the interface
/// and its lower devices. The choice and its reason are logged.
///
/// The steering program is attached last, when the fill rings are primed. That reveals its mode, and reserves
/// the interface before [`super::Steering::start`]. Until services are set, it passes every frame to the
/// kernel.
///
/// # Errors
/// [`Diagnostic`] with cause and remedy. The interface is then unchanged.
pub fn open(plan: &PortPlan) -> Result<Opened<XdpPorts>, Diagnostic> {
    open_with(plan, RING_LEN)
}

/// [`open`] with rings of another length, which must be a power of two.
///
/// # Errors
/// As [`open`].
pub fn open_with(plan: &PortPlan, ring_len: u32) -> Result<Opened<XdpPorts>, Diagnostic> {
    open_any(plan, ring_len, None)
}

/// The process that has the queues until it is asked to release them. Its program is attached until then, too.
pub struct Predecessor<'a> {
    /// Whether it copies frames. Then zero-copy has been refused there, and is not tried again.
    pub copies: bool,
    /// Asks it to release the queues, or to hand its sockets over: called before a socket is bound, perhaps several times.
    pub release: &'a mut dyn FnMut() -> Result<Option<HandedRings>, Diagnostic>,
}

/// [`open`] after another process.
///
/// # Errors
/// As [`open`], and of the release.
pub fn open_after(plan: &PortPlan, before: Option<Predecessor<'_>>) -> Result<Opened<XdpPorts>, Diagnostic> {
    open_any(plan, RING_LEN, before)
}

/// [`open_after`] only where AF_XDP is as reliable as AF_PACKET: in native mode, and with finished checksums.
///
/// # Errors
/// As [`open_after`]; also if the driver refuses the program, and on a veth whose peer may leave checksums
/// unfinished.
pub fn open_native(plan: &PortPlan, before: Option<Predecessor<'_>>) -> Result<Opened<XdpPorts>, Diagnostic> {
    let client = &plan.interfaces[0];
    if let Some(checksums) = veth::checksums(client) {
        errors::check_checksums(client, &checksums)?;
    }
    open_in(plan, (RING_LEN, AllowedModes::Native), before)
}

fn open_any(
    plan: &PortPlan,
    ring_len: u32,
    before: Option<Predecessor<'_>>,
) -> Result<Opened<XdpPorts>, Diagnostic> {
    if let Some(Checksums::Unfinished(peer)) = veth::checksums(&plan.interfaces[0]) {
        let interface = &plan.interfaces[0].name;
        warn!(
            interface,
            remedy = format!("ethtool -K {peer} tx off"),
            "frames of the veth peer's host have unfinished checksums"
        );
    }
    open_in(plan, (ring_len, AllowedModes::Any), before)
}

fn open_in(
    plan: &PortPlan,
    options: (u32, AllowedModes),
    before: Option<Predecessor<'_>>,
) -> Result<Opened<XdpPorts>, Diagnostic> {
    let client = &plan.interfaces[0];
    plan.interfaces.iter().try_for_each(errors::check_not_master)?;
    let assignments = queue_assignment::assign(plan)?;
    if before.is_none() {
        errors::wait_unoccupied(client)?;
    }
    memory::raise_locked_limit();
    let (ports, mode, steering) = bind_and_attach(plan, &assignments, options, before)?;
    let infos = assignments.iter().map(|assignment| infos(client, assignment, mode));
    let workers = ports.into_iter().zip(infos).collect();
    Ok(Opened { workers, steering: Box::new(steering) })
}

/// Validates `plan` for [`open`], as far as possible without touching the interface.
///
/// # Errors
/// [`Diagnostic`] if an interface is a master device, or there are more workers than queues.
pub fn validate(plan: &PortPlan) -> Result<(), Diagnostic> {
    plan.interfaces.iter().try_for_each(errors::check_not_master)?;
    queue_assignment::assign(plan).map(drop)
}

type BoundSockets = (Vec<XdpPorts>, &'static str, XdpSteering);

fn bind_and_attach(
    plan: &PortPlan,
    assignments: &[WorkerQueues],
    (ring_len, modes): (u32, AllowedModes),
    mut before: Option<Predecessor<'_>>,
) -> Result<BoundSockets, Diagnostic> {
    let copies = before.as_ref().is_some_and(|of| of.copies);
    let mut no_zero_copy = copies.then(|| "refused to the process before".to_owned());
    let client = &plan.interfaces[0];
    for options in options_by_preference(client.mtu, ring_len) {
        let SocketOptions { copy_mode, buffers, .. } = options;
        if copies && copy_mode == CopyMode::Zero {
            continue;
        }
        if (copy_mode, buffers) == (CopyMode::Zero, Buffers::One) && client.mtu > ZERO_COPY_MTU_MAX {
            no_zero_copy = Some(errors::zero_copy_mtu_reason(client, ZERO_COPY_MTU_MAX));
            continue;
        }
        let has_another = buffers == Buffers::Several && client.mtu <= MTU_MAX;
        // Programs and memory take longest: they are made before another process has to stop.
        let mut steering = load(plan, options, modes)?;
        let memories = bind::register_all(plan, assignments, options);
        let handed = before.as_mut().map_or(Ok(None), |before| (before.release)())?;
        let bound =
            match handed.and_then(|handed| adopt(&WantedSockets { plan, assignments, options }, handed)) {
                Some((ports, link)) => {
                    steering.client.adopt(link);
                    Ok(ports)
                }
                None => memories.and_then(|of| bind::bind_all(plan, assignments, of, options)),
            };
        let mut ports = match bound {
            Ok(ports) => ports,
            Err(failure) if copy_mode == CopyMode::Zero && errors::may_work_with_copy(&failure.error) => {
                no_zero_copy = Some(crate::sys::errno(&failure.error));
                continue;
            }
            Err(failure) if has_another && errors::is_unsupported(&failure.error) => continue,
            Err(failure) => return Err(errors::bind_error(failure, client)),
        };
        let steering = attach(steering, assignments, &ports)?;
        let (mode, refusal) = steering.client.mode().expect("it has been attached");
        if (copy_mode, mode) == (CopyMode::Zero, XdpMode::Generic) {
            no_zero_copy = Some("needs a driver with XDP".into());
            continue;
        }
        for (assignment, ports) in assignments.iter().zip(&mut ports) {
            ports.count_redirected(steering.client.redirected(&assignment.client)?);
        }
        let name = mode_name(mode, copy_mode);
        report(plan, assignments.len(), name, [refusal, no_zero_copy.as_deref()]);
        return Ok((ports, name, steering));
    }
    unreachable!("copying either works or is refused")
}

/// Takes over the sockets of the process before, if they fit.
fn adopt(wanted: &WantedSockets<'_>, handed: HandedRings) -> Option<(Vec<XdpPorts>, BpfLink)> {
    let reason = match wanted.adopt(handed) {
        Ok(adopted) => return Some(adopted),
        Err(reason) => reason,
    };
    info!(%reason, "sockets of the process before are closed and opened anew");
    None
}

/// The socket options for an interface with this MTU in bytes, the best first.
fn options_by_preference(mtu: u32, ring_len: u32) -> impl Iterator<Item = SocketOptions> {
    chunk::buffers(mtu).iter().flat_map(move |&buffers| {
        [CopyMode::Zero, CopyMode::Copy].map(|copy_mode| SocketOptions { copy_mode, ring_len, buffers })
    })
}

/// Loads the programs for sockets with these options.
fn load(plan: &PortPlan, options: SocketOptions, modes: AllowedModes) -> Result<XdpSteering, Diagnostic> {
    let SocketOptions { copy_mode, buffers, .. } = options;
    let frame_max = chunk::frame_max(copy_mode, plan.interfaces[0].mtu, buffers);
    let client = SteeredInterface::load(&plan.interfaces[0], AttachOptions { modes, buffers, frame_max })?;
    // Drivers such as i40e send from a UMEM only while an XDP program is attached.
    let server = plan.interfaces.get(1).filter(|_| copy_mode == CopyMode::Zero);
    let options = AttachOptions { modes, buffers, frame_max: u32::MAX };
    let server = server.map(|interface| SteeredInterface::load(interface, options)).transpose()?;
    Ok(XdpSteering { client, server })
}

fn attach(
    mut steering: XdpSteering,
    assignments: &[WorkerQueues],
    ports: &[XdpPorts],
) -> Result<XdpSteering, Diagnostic> {
    for (assignment, ports) in assignments.iter().zip(ports) {
        for (port, queue) in assignment.client.iter().enumerate() {
            steering.client.set_socket(*queue, ports.socket(port).fd())?;
        }
    }
    super::Steering::start(&mut steering)?;
    Ok(steering)
}

fn mode_name(mode: XdpMode, copy_mode: CopyMode) -> &'static str {
    match (mode, copy_mode) {
        (XdpMode::Native, CopyMode::Zero) => "native, zero-copy",
        (XdpMode::Native, CopyMode::Copy) => "native, copy",
        (XdpMode::Generic, _) => "generic, copy",
    }
}

fn report(plan: &PortPlan, workers: usize, mode: &str, [not_native, not_zero_copy]: [Option<&str>; 2]) {
    let Interface { name: interface, queues, .. } = &plan.interfaces[0];
    info!(interface, mode, queues, workers, not_native, not_zero_copy, "AF_XDP opened");
}

fn infos(client: &Interface, assignment: &WorkerQueues, mode: &'static str) -> Vec<PortInfo> {
    let queues = assignment.client.iter();
    queues.map(|queue| PortInfo { interface: client.name.clone(), queue: *queue, mode }).collect()
}
