//! Requests of the screen to a director.

use super::clock::Clock;
use crate::control::api;
use crate::control::api::request::{ChangeRequest, SECONDS_MAX};
use crate::control::client::Blocking;
use crate::model::{Diagnostic, Role, ServiceIdentity};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Request to drain a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DrainRequest {
    /// Service of the server.
    pub(super) service: ServiceIdentity,
    /// RIP and port.
    pub(super) server: SocketAddr,
    /// Seconds until the server is removed with its remaining connections.
    pub(super) deadline: Option<u32>,
}

impl DrainRequest {
    /// Appends a digit to the deadline, unless the result is out of range.
    pub(super) fn digit_typed(self, digit: u32) -> Self {
        let longer = self.deadline.unwrap_or(0).checked_mul(10).and_then(|tens| tens.checked_add(digit));
        Self { deadline: longer.filter(|seconds| *seconds <= SECONDS_MAX).or(self.deadline), ..self }
    }

    /// Removes the last digit of the deadline.
    pub(super) fn digit_erased(self) -> Self {
        Self { deadline: self.deadline.map(|seconds| seconds / 10).filter(|seconds| *seconds > 0), ..self }
    }
}

/// Requests to a director; tests substitute their own.
pub(super) trait DirectorApi {
    /// Returns every virtual service with its real servers.
    ///
    /// # Errors
    /// [`Diagnostic`].
    fn services(&self) -> Result<api::Services, Diagnostic>;

    /// Returns every drop reason.
    ///
    /// # Errors
    /// [`Diagnostic`].
    fn drops(&self) -> Result<Vec<api::Drops>, Diagnostic>;

    /// Returns every worker.
    ///
    /// # Errors
    /// [`Diagnostic`].
    fn workers(&self) -> Result<Vec<api::Worker>, Diagnostic>;

    /// Returns the uptime, if it is known.
    fn up(&self) -> Option<Duration>;

    /// Returns the role among several directors; of an older director, that of one alone.
    fn role(&self) -> Role {
        Role::default()
    }

    /// Starts to drain a real server.
    ///
    /// # Errors
    /// [`Diagnostic`].
    fn drain(&self, drain: &DrainRequest) -> Result<(), Diagnostic>;
}

/// Answers of a director at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sample {
    /// Time of the last answer, since the start of the program.
    pub(super) at: Duration,
    /// Uptime of the director.
    pub(super) up: Option<Duration>,
    /// Role of the director.
    pub(super) role: Role,
    /// Services and their servers.
    pub(super) services: api::Services,
    /// Drop reasons.
    pub(super) drops: Vec<api::Drops>,
    /// Workers.
    pub(super) workers: Vec<api::Worker>,
}

impl Sample {
    /// Requests services, drops and workers.
    ///
    /// # Errors
    /// [`Diagnostic`].
    pub(super) fn take(director: &impl DirectorApi, clock: Clock) -> Result<Self, Diagnostic> {
        let services = director.services()?;
        // Counters that become rates are requested last, right before the time is read.
        let (drops, workers) = (director.drops()?, director.workers()?);
        Ok(Self { at: clock.now(), up: director.up(), role: director.role(), services, drops, workers })
    }
}

/// A director at a control socket.
#[derive(Debug)]
pub(super) struct RemoteDirector {
    socket: PathBuf,
    client: Blocking,
}

impl RemoteDirector {
    /// Makes a client of `socket`; it connects at the first request.
    ///
    /// # Errors
    /// If the process has no file descriptor left.
    pub(super) fn new(socket: &Path) -> Result<Self, Diagnostic> {
        Ok(Self { socket: socket.to_owned(), client: Blocking::new(socket)?.named("top") })
    }
}

impl DirectorApi for RemoteDirector {
    fn services(&self) -> Result<api::Services, Diagnostic> {
        self.client.services()
    }

    fn drops(&self) -> Result<Vec<api::Drops>, Diagnostic> {
        self.client.drops()
    }

    fn workers(&self) -> Result<Vec<api::Worker>, Diagnostic> {
        self.client.workers()
    }

    /// Returns the age of the socket, which a director creates at its start.
    fn up(&self) -> Option<Duration> {
        let made = std::fs::metadata(&self.socket).and_then(|socket| socket.modified()).ok()?;
        SystemTime::now().duration_since(made).ok()
    }

    fn role(&self) -> Role {
        self.client.role().map(|status| status.role).unwrap_or_default()
    }

    fn drain(&self, drain: &DrainRequest) -> Result<(), Diagnostic> {
        let DrainRequest { service, server, deadline } = *drain;
        let request = ChangeRequest::Drain { service, server: server.ip(), deadline };
        self.client.change(&[request]).map(drop)
    }
}
