//! Choice of the backend, and the start of its workers.

use crate::control::workers::steering_set::SteeringSet;
use crate::control::workers::{WorkerSettings, Workers};
use crate::io::xdp::Predecessor;
use crate::io::{HandedRings, Interface, Opened, PortPlan, Ports, Steering, packet, xdp};
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

/// Steps of a launch around the opening of a backend.
pub trait BackendSteps {
    /// True until another process gives the interfaces away.
    fn takes_over(&self) -> bool;

    /// Whether that process copies frames.
    fn former_copies(&self) -> bool;

    /// Takes the interfaces: called before sockets are bound to them. A second call does nothing.
    ///
    /// # Errors
    /// [`Diagnostic`]; the backend is then not opened.
    fn enter(&mut self) -> Result<(), Diagnostic>;

    /// Sockets that the process before has handed over, after [`BackendSteps::enter`]. A second call returns none.
    fn rings(&mut self) -> Option<HandedRings>;

    /// Returns the parameters of the workers: called between opening the backend and starting the workers.
    ///
    /// # Errors
    /// [`Diagnostic`]; no worker is then started.
    fn settings(&mut self, steering: &dyn Steering) -> Result<&WorkerSettings, Diagnostic>;
}

/// Returns the parameters of a backend on `interfaces`.
pub(in crate::control) fn plan(settings: &DirectorConfig, interfaces: &[Interface]) -> PortPlan {
    let workers = match settings.workers {
        WorkerCount::Auto => None,
        WorkerCount::Count(count) => Some(count.into()),
    };
    PortPlan { interfaces: interfaces.to_vec(), workers, huge_pages: settings.huge_pages }
}

/// Opens the backend of `choice` and starts the workers, by `steps`.
///
/// # Errors
/// [`Diagnostic`] with cause and remedy. For [`BackendChoice::Auto`] it is AF_PACKET's; the reason against AF_XDP is
/// logged.
pub fn launch(
    choice: BackendChoice,
    plan: &PortPlan,
    steps: &mut dyn BackendSteps,
) -> Result<RunningBackend, Diagnostic> {
    const CHOSEN: &str = "set by configuration or command line";
    match choice {
        BackendChoice::Xdp => {
            let (takes_over, copies) = (steps.takes_over(), steps.former_copies());
            let before = Predecessor { copies, release: &mut || released(steps) };
            let opened = xdp::open_after(plan, takes_over.then_some(before))?;
            Ok(start("xdp", opened, steps)?.with_reason(CHOSEN))
        }
        BackendChoice::Packet => Ok(start("packet", packet::open(plan)?, steps)?.with_reason(CHOSEN)),
        BackendChoice::Auto => match native(plan, steps) {
            Ok(opened) => {
                tracing::info!(interface = plan.interfaces[0].name, "backend xdp: AF_XDP works");
                let reason = format!("AF_XDP works on {}", plan.interfaces[0].name);
                Ok(start("xdp", opened, steps)?.with_reason(reason))
            }
            Err(reason) => {
                tracing::warn!(%reason, "backend packet: AF_XDP is not used here");
                let backend = start("packet", packet::open(plan)?, steps)?;
                Ok(backend.with_reason(format!("AF_XDP is not used here: {reason}")))
            }
        },
    }
}

fn native(plan: &PortPlan, steps: &mut dyn BackendSteps) -> Result<Opened<xdp::XdpPorts>, Diagnostic> {
    let (takes_over, copies) = (steps.takes_over(), steps.former_copies());
    let before = Predecessor { copies, release: &mut || released(steps) };
    xdp::open_native(plan, takes_over.then_some(before))
}

fn released(steps: &mut dyn BackendSteps) -> Result<Option<HandedRings>, Diagnostic> {
    steps.enter()?;
    Ok(steps.rings())
}

fn start<P: Ports + 'static>(
    name: &'static str,
    opened: Opened<P>,
    steps: &mut dyn BackendSteps,
) -> Result<RunningBackend, Diagnostic> {
    let Opened { workers, mut steering } = opened;
    for (worker, port) in
        workers.iter().enumerate().flat_map(|(n, (_, ports))| ports.iter().map(move |p| (n, p)))
    {
        let (interface, queue, mode) = (&port.interface, port.queue, &port.mode);
        tracing::info!(backend = name, worker, %interface, queue, mode, "queue opened");
    }
    steps.enter()?;
    steering.start()?;
    let workers = Workers::start(workers, steps.settings(&*steering)?).map_err(|error| {
        Diagnostic::system("starting the workers")
            .cause(error.to_string())
            .remedy("raise the limit on threads (ulimit -u), or configure fewer workers")
    })?;
    Ok(RunningBackend { name, reason: String::new(), steering: SteeringSet::new(steering), workers })
}
