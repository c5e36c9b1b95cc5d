//! Which backend carries the frames, and its workers started on it.

use crate::control::workers::steering_set::SteeringSet;
use crate::control::workers::{WorkerSettings, Workers};
use crate::io::{Opened, PortPlan, Ports, Steering, packet, xdp};
use crate::model::{BackendChoice, Diagnostic};

/// A backend in motion. It hands over no frame until its steering is given services.
pub struct RunningBackend {
    /// "xdp" or "packet".
    pub name: &'static str,
    /// Why it was chosen, for operators.
    pub reason: String,
    /// What the kernel hands over.
    pub steering: SteeringSet,
    /// The workers.
    pub workers: Workers,
}

impl RunningBackend {
    fn because(self, reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), ..self }
    }
}

/// What is to be done when all is open, and no worker runs yet.
pub type BeforeWorkers<'a> = &'a mut dyn FnMut(&dyn Steering) -> Result<(), Diagnostic>;

/// Opens the backend of `choice`, does what is to be done before, and starts its workers.
///
/// # Errors
/// [`Diagnostic`] with cause and remedy. For [`BackendChoice::Auto`] it is AF_PACKET's; why AF_XDP is not
/// used is logged.
pub fn launch(
    choice: BackendChoice,
    plan: &PortPlan,
    settings: &WorkerSettings,
    before: BeforeWorkers<'_>,
) -> Result<RunningBackend, Diagnostic> {
    const CHOSEN: &str = "set by configuration or command line";
    match choice {
        BackendChoice::Xdp => Ok(start("xdp", xdp::open(plan)?, settings, before)?.because(CHOSEN)),
        BackendChoice::Packet => Ok(start("packet", packet::open(plan)?, settings, before)?.because(CHOSEN)),
        BackendChoice::Auto => match xdp::open_native(plan) {
            Ok(opened) => {
                tracing::info!("backend xdp: AF_XDP works on {}", plan.interfaces[0].name);
                let reason = format!("AF_XDP works on {}", plan.interfaces[0].name);
                Ok(start("xdp", opened, settings, before)?.because(reason))
            }
            Err(reason) => {
                tracing::warn!(%reason, "backend packet: AF_XDP is not used here");
                let backend = start("packet", packet::open(plan)?, settings, before)?;
                Ok(backend.because(format!("AF_XDP is not used here: {reason}")))
            }
        },
    }
}

fn start<P: Ports + 'static>(
    name: &'static str,
    opened: Opened<P>,
    settings: &WorkerSettings,
    before: BeforeWorkers<'_>,
) -> Result<RunningBackend, Diagnostic> {
    let Opened { workers, mut steering } = opened;
    for (worker, port) in
        workers.iter().enumerate().flat_map(|(n, (_, ports))| ports.iter().map(move |p| (n, p)))
    {
        let (interface, queue, mode) = (&port.interface, port.queue, &port.mode);
        tracing::info!(backend = name, worker, %interface, queue, mode, "queue opened");
    }
    steering.start()?;
    before(&*steering)?;
    let workers = Workers::start(workers, settings).map_err(|error| {
        Diagnostic::system("starting the workers")
            .cause(error.to_string())
            .remedy("raise the limit on threads (ulimit -u), or ask for fewer workers")
    })?;
    Ok(RunningBackend { name, reason: String::new(), steering: SteeringSet::new(steering), workers })
}
