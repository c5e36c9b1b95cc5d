//! Queries to the control loop, with the channels for their replies.

use crate::control::api::overview::Status;
use crate::control::api::request::ChangeRequest;
use crate::control::api::{self, Plan};
use crate::control::log::audit::Origin;
use crate::control::metrics::readings::Readings;
use crate::model::{Config, Diagnostic, Diagnostics, Role};
use tokio::sync::{mpsc, oneshot};

/// A query to the control loop and the channel for its reply.
#[derive(Debug)]
pub enum Query {
    /// Reads the status report.
    Status(oneshot::Sender<Status>),
    /// Reads the health problems; an empty list means healthy.
    Health(oneshot::Sender<Vec<String>>),
    /// Lists every health check.
    Checks(oneshot::Sender<api::checks::Checks>),
    /// Lists the latest events.
    Events(oneshot::Sender<Vec<api::events::Event>>),
    /// Lists every real server with the reasons for which it gets no new connections.
    Reasons(oneshot::Sender<Vec<api::reasons::ServerReasons>>),
    /// Lists every host that misuses an address.
    Audit(oneshot::Sender<api::audit::Audit>),
    /// Reads the role.
    Role(oneshot::Sender<api::role::RoleStatus>),
    /// Sets the role.
    SetRole(Role, Origin, oneshot::Sender<Result<(), Diagnostic>>),
    /// Reads the state of connection sync.
    Sync(oneshot::Sender<api::sync::SyncStatus>),
    /// Starts or stops a sync daemon.
    ChangeSync(api::sync::SyncRequest, Origin, oneshot::Sender<Result<(), Diagnostic>>),
    /// Takes the result of an external check.
    Report(api::checks::CheckReport, oneshot::Sender<Result<(), Diagnostic>>),
    /// Lists every virtual service with its real servers.
    Services(oneshot::Sender<api::Services>),
    /// Lists every connection, in chunks of any size; dropping the sender ends the list.
    ///
    /// A send waits while the client is slow, and fails once it has disconnected.
    Connections(mpsc::Sender<Vec<api::Connection>>),
    /// Lists every drop reason.
    Drops(oneshot::Sender<Vec<api::Drops>>),
    /// Lists every worker.
    Workers(oneshot::Sender<Vec<api::Worker>>),
    /// Reads the connection timeouts.
    Timeouts(oneshot::Sender<api::Timeouts>),
    /// Applies all changes or none; the reply has a line for each difference.
    Change(Vec<ChangeRequest>, Origin, oneshot::Sender<Result<Vec<String>, Diagnostic>>),
    /// Reloads the configuration file; the reply has a line for each difference, or the errors.
    Reload(Origin, oneshot::Sender<Result<Vec<String>, Diagnostics>>),
    /// Evaluates another file as a reload would, without applying it.
    Plan(Box<Config>, oneshot::Sender<Plan>),
    /// Reads the running configuration as the text of a file.
    Config(oneshot::Sender<String>),
    /// Collects the readings for a page of metrics.
    Metrics(oneshot::Sender<Readings>),
}
