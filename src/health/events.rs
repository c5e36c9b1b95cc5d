//! Events into the health machine, and actions out of it.

use super::cause::FailureCause;
use super::key::{CheckKey, CheckUse};
use super::outcome::{LocalError, ProbeOutcome};
use super::record::CheckState;
use crate::model::{HealthMode, ServiceIdentity, Weight};
use std::net::IpAddr;
use std::time::Duration;

/// Number of a probe, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId(pub u64);

/// All services, as the control thread has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthConfig {
    /// Number of this configuration, larger than that of any before. Reports of servers name it.
    pub number: u64,
    /// All services.
    pub services: Vec<ServiceChecks>,
}

/// A service with its checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceChecks {
    /// The service.
    pub service: ServiceIdentity,
    /// Panic share: when more than this part of the configured weight is down, in percent, health is ignored; 0: never.
    pub panic: u8,
    /// Whether a server is down until each of its checks that decide has had a success. Such servers are no part of the
    /// panic share.
    pub alpha: bool,
    /// Its real servers, those without checks, too.
    pub servers: Vec<ServerChecks>,
}

/// A real server of a service with its checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerChecks {
    /// RIP.
    pub server: IpAddr,
    /// Configured weight.
    pub weight: Weight,
    /// Whether the control thread counts it as out. Anything else is reported anew.
    pub out: bool,
    /// Weight by the checks that the control thread counts. Anything else is reported anew.
    pub dynamic_weight: Option<Weight>,
    /// The operator's hold.
    pub mode: HealthMode,
    /// Checks; all that decide must pass.
    pub checks: Vec<CheckUse>,
}

impl ServiceChecks {
    /// A service whose health counts until more than `panic` percent of the weight is down.
    #[must_use]
    pub fn new(service: ServiceIdentity, panic: u8, servers: Vec<ServerChecks>) -> Self {
        Self { service, panic, alpha: false, servers }
    }
}

impl ServerChecks {
    /// A server that is not out, and whose checks decide.
    #[must_use]
    pub fn new(server: IpAddr, weight: Weight, checks: Vec<CheckUse>) -> Self {
        Self { server, weight, out: false, dynamic_weight: None, mode: HealthMode::Auto, checks }
    }
}

/// Input of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthEvent {
    /// These are all services from now on. A check that was there before keeps its state.
    Configure(HealthConfig),
    /// A probe has ended. Ignored if it was aborted.
    Finished {
        /// The probe.
        probe: ProbeId,
        /// Its outcome.
        outcome: ProbeOutcome,
        /// Outcome of the same probe of the RIP, where one of the VIP failed and the RIP was asked for the cause.
        rip: Option<ProbeOutcome>,
        /// Time that it took.
        took: Duration,
    },
    /// Clients cannot complete their handshakes with this server: the next probe of each of its checks is due at once.
    Suspect(IpAddr),
    /// Time has passed: due at [`super::Health::next_deadline`].
    Timer,
}

/// Output of the machine, to be carried out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthAction {
    /// Start this probe. [`HealthEvent::Finished`] must follow after the timeout of the check at the latest.
    Start {
        /// The probe.
        probe: ProbeId,
        /// The check.
        key: CheckKey,
    },
    /// End this probe; its outcome does not matter any more.
    Abort(ProbeId),
    /// Report to the control thread.
    Report(HealthReport),
}

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthReport {
    /// A check has another state.
    Check {
        /// The check.
        key: CheckKey,
        /// Its state.
        state: CheckState,
        /// Cause, if it is down.
        cause: Option<FailureCause>,
        /// Times that it went down in the last ten minutes.
        downs: usize,
    },
    /// A server of a service takes new connections or not, as far as its health is concerned.
    Server {
        /// The service.
        service: ServiceIdentity,
        /// RIP.
        server: IpAddr,
        /// Whether it is out.
        out: bool,
        /// Number of the latest configuration.
        configuration: u64,
    },
    /// The checks of a server of a service give it another weight.
    Weight {
        /// The service.
        service: ServiceIdentity,
        /// RIP.
        server: IpAddr,
        /// The weight; `None`: the configured one.
        weight: Option<Weight>,
        /// Number of the latest configuration.
        configuration: u64,
    },
    /// Health is ignored in a service, or no longer: more than the panic share of its weight is down.
    Panic {
        /// The service.
        service: ServiceIdentity,
        /// Whether it is ignored.
        on: bool,
        /// Weight that is down.
        down: u64,
        /// Weight of all servers.
        total: u64,
    },
    /// Nearly all checks that were up fail at once: no check goes down, or may again.
    Freeze {
        /// Whether states are frozen.
        on: bool,
        /// Checks that are up and fail.
        failing: u32,
        /// Checks that are up.
        up: u32,
    },
    /// A check has had no result several times in a row, or has one again.
    Blind {
        /// The check.
        key: CheckKey,
        /// The error; `None`: it has results again.
        error: Option<LocalError>,
    },
}

impl HealthReport {
    /// Returns true for a report about a server that was made before the configuration `latest`, which has its state
    /// at that time: the server may have been removed and added again since. A new report follows if need be.
    #[must_use]
    pub fn is_outdated(&self, latest: u64) -> bool {
        matches!(self, Self::Server { configuration, .. } | Self::Weight { configuration, .. } if *configuration < latest)
    }
}
