//! Commands to the thread of the health checks, and its status.

use super::way::ServerMac;
use crate::control::api::checks::CheckReport;
use crate::health::{CheckKey, HealthConfig, ProbeTimes, ServiceStatus};
use std::collections::HashMap;
use std::net::IpAddr;
use tokio::sync::oneshot;

/// A command to the thread.
#[derive(Debug)]
pub(in crate::control) enum HealthCommand {
    /// These are all services from now on.
    Configure(HealthConfig),
    /// The interface of the real servers has a carrier or not. Without one, a failure proves nothing.
    Carrier(bool),
    /// The MAC address of each real server, unless it is still being resolved.
    Macs(HashMap<IpAddr, ServerMac>),
    /// The host's addresses may have changed, and with them the routes to the real servers.
    Addresses,
    /// Takes the result of an external check.
    Report(CheckReport),
    /// Clients cannot complete their handshakes with this server: its checks are due at once.
    Suspect(IpAddr),
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
    /// The end of the certificate of each check that has one, in Unix seconds.
    pub(in crate::control) certificate_ends: HashMap<CheckKey, i64>,
    /// Times of all probes.
    pub(in crate::control) times: ProbeTimes,
    /// Every service.
    pub(in crate::control) services: Vec<ServiceStatus>,
}
