//! Which backend carries the frames, and its workers started on it.

use super::crew::{Crew, Settings};
use super::handover::Handover;
use crate::io::{IoError, Opened, Plan, Ports, packet, xdp};
use crate::model::BackendChoice;

/// A backend in motion. It hands over no frame until its steering is given services.
pub struct Backend {
    /// "xdp" or "packet".
    pub name: &'static str,
    /// What the kernel hands over.
    pub steering: Handover,
    /// The workers.
    pub crew: Crew,
}

/// Opens the backend of `choice` and starts its workers.
///
/// # Errors
/// [`IoError`] with cause and remedy. For [`BackendChoice::Auto`] it is AF_PACKET's; what kept
/// AF_XDP from working is logged.
pub fn launch(choice: BackendChoice, plan: &Plan, settings: &Settings) -> Result<Backend, IoError> {
    match choice {
        BackendChoice::Xdp => start("xdp", xdp::open(plan)?, settings),
        BackendChoice::Packet => start("packet", packet::open(plan)?, settings),
        BackendChoice::Auto => match xdp::open(plan).and_then(|opened| start("xdp", opened, settings)) {
            Ok(backend) => {
                tracing::info!("backend xdp: AF_XDP works on {}", plan.arms[0].name);
                Ok(backend)
            }
            Err(reason) => {
                tracing::warn!(%reason, "backend packet: AF_XDP does not work here");
                start("packet", packet::open(plan)?, settings)
            }
        },
    }
}

fn start<P: Ports + 'static>(
    name: &'static str,
    opened: Opened<P>,
    settings: &Settings,
) -> Result<Backend, IoError> {
    let Opened { workers, mut steering } = opened;
    for (worker, port) in
        workers.iter().enumerate().flat_map(|(n, (_, ports))| ports.iter().map(move |p| (n, p)))
    {
        tracing::info!(worker, interface = %port.interface, queue = port.queue, mode = port.mode, "{name}");
    }
    steering.start()?;
    let crew = Crew::start(workers, settings).map_err(|error| IoError {
        what: "starting the workers".into(),
        cause: error.to_string(),
        remedy: "raise the limit on threads (ulimit -u), or ask for fewer workers".into(),
    })?;
    Ok(Backend { name, steering: Handover::new(steering), crew })
}
