//! Choice of the backend, and the start of its workers.

use crate::control::workers::steering_set::SteeringSet;
use crate::control::workers::{WorkerSettings, Workers};
use crate::io::{Interface, Opened, PortPlan, Ports, Steering, packet, xdp};
use crate::model::{BackendChoice, Diagnostic, DirectorConfig, WorkerCount};

/// A running backend. It receives no frame until its steering set has services.
pub struct RunningBackend {
    /// "xdp" or "packet".
    pub name: &'static str,
    /// Reason of the choice, for operators.
    pub reason: String,
    /// Services that the kernel redirects to the workers.
    pub steering: SteeringSet,
    /// The workers.
    pub workers: Workers,
}

impl RunningBackend {
    fn with_reason(self, reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), ..self }
    }
}

/// Callback between opening the backend and starting the workers.
pub type BeforeWorkers<'a> = &'a mut dyn FnMut(&dyn Steering) -> Result<(), Diagnostic>;

/// Returns the parameters of a backend on `interfaces`.
pub(in crate::control) fn plan(settings: &DirectorConfig, interfaces: &[Interface]) -> PortPlan {
    let workers = match settings.workers {
        WorkerCount::Auto => None,
        WorkerCount::Count(count) => Some(count.into()),
    };
    PortPlan { interfaces: interfaces.to_vec(), workers, huge_pages: settings.huge_pages }
}

/// Opens the backend of `choice`, calls `before`, and starts the workers.
///
/// # Errors
/// [`Diagnostic`] with cause and remedy. For [`BackendChoice::Auto`] it is AF_PACKET's; the reason against AF_XDP is
/// logged.
pub fn launch(
    choice: BackendChoice,
    plan: &PortPlan,
    settings: &WorkerSettings,
    before: BeforeWorkers<'_>,
) -> Result<RunningBackend, Diagnostic> {
    const CHOSEN: &str = "set by configuration or command line";
    match choice {
        BackendChoice::Xdp => Ok(start("xdp", xdp::open(plan)?, settings, before)?.with_reason(CHOSEN)),
        BackendChoice::Packet => {
            Ok(start("packet", packet::open(plan)?, settings, before)?.with_reason(CHOSEN))
        }
        BackendChoice::Auto => match xdp::open_native(plan) {
            Ok(opened) => {
                tracing::info!(interface = plan.interfaces[0].name, "backend xdp: AF_XDP works");
                let reason = format!("AF_XDP works on {}", plan.interfaces[0].name);
                Ok(start("xdp", opened, settings, before)?.with_reason(reason))
            }
            Err(reason) => {
                tracing::warn!(%reason, "backend packet: AF_XDP is not used here");
                let backend = start("packet", packet::open(plan)?, settings, before)?;
                Ok(backend.with_reason(format!("AF_XDP is not used here: {reason}")))
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
            .remedy("raise the limit on threads (ulimit -u), or configure fewer workers")
    })?;
    Ok(RunningBackend { name, reason: String::new(), steering: SteeringSet::new(steering), workers })
}
