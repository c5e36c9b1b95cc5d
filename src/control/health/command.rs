//! Commands to the thread of the health checks, and its status.

use crate::health::{HealthConfig, ServiceStatus};
use tokio::sync::oneshot;

/// A command to the thread.
#[derive(Debug)]
pub(in crate::control) enum HealthCommand {
    /// These are all services from now on.
    Configure(HealthConfig),
    /// The interface of the real servers has a carrier or not. Without one, a failure proves nothing.
    Carrier(bool),
    /// Sends the status.
    Status(oneshot::Sender<HealthOverview>),
}

/// Status of all checks.
#[derive(Clone, Debug, Default)]
pub(in crate::control) struct HealthOverview {
    /// Whether states are frozen, as nearly all checks fail at once.
    pub(in crate::control) frozen: bool,
    /// Checks, each counted once however many services use it.
    pub(in crate::control) checks: usize,
    /// Probes in flight.
    pub(in crate::control) in_flight: usize,
    /// Every service.
    pub(in crate::control) services: Vec<ServiceStatus>,
}
