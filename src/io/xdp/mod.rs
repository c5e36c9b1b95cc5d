//! AF_XDP: frames from and to the rings of a queue, by way of a steering program.
//!
//! [`open`] makes for each worker one UMEM and, over it, one socket for each of its queues; then
//! it attaches the steering program. A frame's memory is a token that moves (`frame.rs`), rings
//! are where it moves to (`socket.rs`), and [`XdpPorts`] is one worker's view of it all.

mod bind;
mod chunk;
mod deal;
mod frame;
mod generic;
mod losses;
mod ports;
mod refusal;
mod socket;
mod steering;

pub(super) use bind::Copying as CopyMode;
pub(super) use chunk::chunk_len;
pub use frame::XdpBatch;
pub use ports::{Census, XdpPorts};

use super::bpf::{self, Buffers, Mode, Modes};
use super::veth::{self, Checksums};
use super::{Interface, Opened, Plan, PortInfo};
use crate::model::Diagnostic;
use crate::sys::memory;
use bind::{BindError, Copying, Sort};
use chunk::{MTU_MAX, ZERO_COPY_MTU_MAX};
use deal::Share;
use steering::{Fit, Steered, XdpSteering};
use tracing::{info, warn};

/// Entries in each ring, a power of two.
pub const RING_LEN: u32 = 2048;

/// Opens every receive queue of the client side, and one queue per worker of the server side.
///
/// What works best is taken: zero-copy before copy, native before generic, where GRO is switched off on the
/// interface and on those below it. The choice and its reason are logged. The steering program is attached at the end, when the fill rings are
/// primed: that is how its mode becomes known, and nobody can take the interface before
/// [`super::Steering::start`]. Until services are set it passes every frame to the kernel.
///
/// # Errors
/// [`Diagnostic`] with cause and remedy. Nothing is left behind then.
pub fn open(plan: &Plan) -> Result<Opened<XdpPorts>, Diagnostic> {
    open_with(plan, RING_LEN)
}

/// [`open`] only where AF_XDP is as reliable as AF_PACKET: with the program in the driver, and with frames whose
/// checksums are finished.
///
/// # Errors
/// As [`open`]; [`Diagnostic`] with the reason also where the driver does not take the program, and on a veth whose
/// peer is not known to finish checksums.
pub fn open_native(plan: &Plan) -> Result<Opened<XdpPorts>, Diagnostic> {
    let client = &plan.arms[0];
    if let Some(checksums) = veth::checksums(client) {
        refusal::if_unfinished(client, &checksums)?;
    }
    open_in(plan, RING_LEN, Modes::Native)
}

/// [`open`] with rings of another length, which must be a power of two.
///
/// # Errors
/// As [`open`].
pub fn open_with(plan: &Plan, ring_len: u32) -> Result<Opened<XdpPorts>, Diagnostic> {
    if let Some(Checksums::Unfinished(peer)) = veth::checksums(&plan.arms[0]) {
        let interface = &plan.arms[0].name;
        warn!(
            interface,
            peer, "frames of the peer's host have unfinished checksums: ethtool -K {peer} tx off"
        );
    }
    open_in(plan, ring_len, Modes::Any)
}

fn open_in(plan: &Plan, ring_len: u32, modes: Modes) -> Result<Opened<XdpPorts>, Diagnostic> {
    let client = &plan.arms[0];
    plan.arms.iter().try_for_each(refusal::if_master)?;
    refusal::if_occupied(client)?;
    let shares = deal::deal(plan)?;
    memory::raise_locked_limit();
    let (ports, mode, steering) = bind_and_attach(plan, &shares, (ring_len, modes))?;
    let infos = shares.iter().map(|share| infos(client, share, mode));
    let workers = ports.into_iter().zip(infos).collect();
    Ok(Opened { workers, steering: Box::new(steering) })
}

/// Whether [`open`] can do as `plan` says, as far as that is known without touching the interface.
///
/// # Errors
/// [`Diagnostic`] if an interface is a bond or the like, or there are more workers than queues.
pub fn judge(plan: &Plan) -> Result<(), Diagnostic> {
    plan.arms.iter().try_for_each(refusal::if_master)?;
    deal::deal(plan).map(drop)
}

type Bound = (Vec<XdpPorts>, &'static str, XdpSteering);

fn bind_and_attach(
    plan: &Plan,
    shares: &[Share],
    (ring_len, modes): (u32, Modes),
) -> Result<Bound, Diagnostic> {
    let mut no_zero_copy = None;
    let client = &plan.arms[0];
    for sort in sorts(client.mtu, ring_len) {
        let Sort { copying, buffers, .. } = sort;
        if (copying, buffers) == (Copying::Zero, Buffers::One) && client.mtu > ZERO_COPY_MTU_MAX {
            no_zero_copy = Some(refusal::zero_copy_mtu(client, ZERO_COPY_MTU_MAX));
            continue;
        }
        let has_another = buffers == Buffers::Several && client.mtu <= MTU_MAX;
        let mut ports = match bind_all(plan, shares, sort) {
            Ok(ports) => ports,
            Err(failure) if copying == Copying::Zero && refusal::is_about_zero_copy(&failure.error) => {
                no_zero_copy = Some(bpf::errno(&failure.error));
                continue;
            }
            Err(failure) if has_another && refusal::is_unsupported(&failure.error) => continue,
            Err(failure) => return Err(refusal::binding(failure, client)),
        };
        let steering = attach(plan, shares, &ports, (sort, modes))?;
        let (mode, refusal) = steering.client.mode().expect("it has been attached");
        if (copying, mode) == (Copying::Zero, Mode::Generic) {
            no_zero_copy = Some("needs a driver with XDP".into());
            continue;
        }
        for (share, ports) in shares.iter().zip(&mut ports) {
            ports.watch(steering.client.handed(&share.client)?);
        }
        let name = mode_name(mode, copying);
        report(plan, shares.len(), name, [refusal, no_zero_copy.as_deref()]);
        return Ok((ports, name, steering));
    }
    unreachable!("copying either works or is refused")
}

/// The sorts of sockets for an interface with this MTU in bytes, the best first.
fn sorts(mtu: u32, ring_len: u32) -> impl Iterator<Item = Sort> {
    let sort =
        move |buffers| [Copying::Zero, Copying::Copy].map(|copying| Sort { copying, ring_len, buffers });
    chunk::buffers(mtu).iter().copied().flat_map(sort)
}

fn bind_all(plan: &Plan, shares: &[Share], sort: Sort) -> Result<Vec<XdpPorts>, BindError> {
    shares.iter().map(|share| bind::worker(plan, share, sort)).collect()
}

fn attach(
    plan: &Plan,
    shares: &[Share],
    ports: &[XdpPorts],
    (sort, modes): (Sort, Modes),
) -> Result<XdpSteering, Diagnostic> {
    let sockets = shares.iter().zip(ports).flat_map(|(share, ports)| {
        let queues = share.client.iter().enumerate();
        queues.map(|(port, queue)| (*queue, ports.socket(port).fd()))
    });
    let Sort { copying, buffers, .. } = sort;
    let frame_max = chunk::frame_max(copying, plan.arms[0].mtu, buffers);
    let client = Steered::load(&plan.arms[0], Fit { modes, buffers, frame_max }, sockets)?;
    // Drivers such as i40e send from a UMEM only while an XDP program is attached.
    let server = plan.arms.get(1).filter(|_| copying == Copying::Zero);
    let fit = Fit { modes, buffers, frame_max: u32::MAX };
    let server = server.map(|arm| Steered::load(arm, fit, std::iter::empty())).transpose()?;
    let mut steering = XdpSteering { client, server };
    super::Steering::start(&mut steering)?;
    Ok(steering)
}

fn mode_name(mode: Mode, copying: Copying) -> &'static str {
    match (mode, copying) {
        (Mode::Native, Copying::Zero) => "native, zero-copy",
        (Mode::Native, Copying::Copy) => "native, copy",
        (Mode::Generic, _) => "generic, copy",
    }
}

fn report(plan: &Plan, workers: usize, mode: &str, [generic, copy]: [Option<&str>; 2]) {
    let Interface { name, queues, .. } = &plan.arms[0];
    let generic = generic.map(|reason| format!("; not native: {reason}")).unwrap_or_default();
    let copy = copy.map(|reason| format!("; not zero-copy: {reason}")).unwrap_or_default();
    info!("AF_XDP on {name}: {mode}, {queues} queue(s), {workers} worker(s){generic}{copy}");
}

fn infos(client: &Interface, share: &Share, mode: &'static str) -> Vec<PortInfo> {
    let info = |queue: &u32| PortInfo { interface: client.name.clone(), queue: *queue, mode };
    share.client.iter().map(info).collect()
}
