//! What the screen asks of a director.

use super::sampler::Clock;
use crate::control::api;
use crate::control::api::request::{ChangeRequest, SECONDS_MAX};
use crate::control::client::{Blocking, ClientError};
use crate::model::ServiceAddress;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A real server that shall get no new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Drain {
    /// The service that it serves.
    pub(super) service: ServiceAddress,
    /// RIP and port.
    pub(super) server: SocketAddr,
    /// Seconds after which it is removed whatever connections it has.
    pub(super) deadline: Option<u32>,
}

impl Drain {
    /// With one more digit of the deadline; as it was if that would be too long.
    pub(super) fn typed(self, digit: u32) -> Self {
        let longer = self.deadline.unwrap_or(0).checked_mul(10).and_then(|tens| tens.checked_add(digit));
        Self { deadline: longer.filter(|seconds| *seconds <= SECONDS_MAX).or(self.deadline), ..self }
    }

    /// Without the last digit of the deadline.
    pub(super) fn erased(self) -> Self {
        Self { deadline: self.deadline.map(|seconds| seconds / 10).filter(|seconds| *seconds > 0), ..self }
    }
}

/// A director as the screen needs it.
pub(super) trait Director {
    /// Every virtual service with its real servers.
    ///
    /// # Errors
    /// Like every reading method here, [`ClientError`].
    fn services(&self) -> Result<api::Services, ClientError>;

    /// Every drop reason.
    ///
    /// # Errors
    /// [`ClientError`].
    fn drops(&self) -> Result<Vec<api::Drops>, ClientError>;

    /// Every worker.
    ///
    /// # Errors
    /// [`ClientError`].
    fn workers(&self) -> Result<Vec<api::Worker>, ClientError>;

    /// How long it has been running, if that is known.
    fn up(&self) -> Option<Duration>;

    /// Begins to drain a real server: it is removed once its connections have ended.
    ///
    /// # Errors
    /// Why that cannot be, for a person.
    fn drain(&self, drain: &Drain) -> Result<(), String>;
}

/// What a director said at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sample {
    /// When it had answered, from the program's start.
    pub(super) at: Duration,
    /// How long it had been running.
    pub(super) up: Option<Duration>,
    /// Services and their servers.
    pub(super) services: api::Services,
    /// Drop reasons.
    pub(super) drops: Vec<api::Drops>,
    /// Workers.
    pub(super) workers: Vec<api::Worker>,
}

impl Sample {
    /// Asks `director` for everything.
    ///
    /// # Errors
    /// [`ClientError`].
    pub(super) fn take(director: &impl Director, clock: Clock) -> Result<Self, ClientError> {
        let services = director.services()?;
        // What becomes rates is asked for last, and the time is read right behind it.
        let (drops, workers) = (director.drops()?, director.workers()?);
        Ok(Self { at: clock.now(), up: director.up(), services, drops, workers })
    }
}

/// The director at a control socket.
#[derive(Debug)]
pub(super) struct Remote {
    socket: PathBuf,
    client: Blocking,
}

impl Remote {
    /// The director whose control socket is `socket`. Connects when asked.
    ///
    /// # Errors
    /// If the process has no file descriptor left.
    pub(super) fn new(socket: &Path) -> io::Result<Self> {
        Ok(Self { socket: socket.to_owned(), client: Blocking::new(socket)?.named("top") })
    }
}

impl Director for Remote {
    fn services(&self) -> Result<api::Services, ClientError> {
        self.client.services()
    }

    fn drops(&self) -> Result<Vec<api::Drops>, ClientError> {
        self.client.drops()
    }

    fn workers(&self) -> Result<Vec<api::Worker>, ClientError> {
        self.client.workers()
    }

    /// The age of the socket, which a director makes when it starts.
    fn up(&self) -> Option<Duration> {
        let made = std::fs::metadata(&self.socket).and_then(|socket| socket.modified()).ok()?;
        SystemTime::now().duration_since(made).ok()
    }

    fn drain(&self, drain: &Drain) -> Result<(), String> {
        let Drain { service, server, deadline } = *drain;
        let request = ChangeRequest::Drain { service, server: server.ip(), deadline };
        self.client.change(&[request]).map(drop).map_err(|error| error.to_string())
    }
}
