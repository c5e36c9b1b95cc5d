//! The blocking client.

use super::api::{self, Draft, Plan};
use super::{ChangeRequest, Client, ClientError, Config};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

/// A [`Client`] for programs without a runtime: every call blocks until its response.
#[derive(Debug)]
pub struct Blocking {
    client: Client,
    runtime: tokio::runtime::Runtime,
}

impl Blocking {
    /// See [`Client::new`].
    ///
    /// # Errors
    /// If the process has no file descriptor left.
    pub fn new(socket: &Path) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { client: Client::new(socket), runtime })
    }

    /// See [`Client::named`].
    #[must_use]
    pub fn named(self, command: &str) -> Self {
        Self { client: self.client.named(command), ..self }
    }

    /// See [`Client::status`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn status(&self) -> Result<api::overview::Status, ClientError> {
        self.runtime.block_on(self.client.status())
    }

    /// See [`Client::services`].
    ///
    /// # Errors
    /// Like every method here, [`ClientError`].
    pub fn services(&self) -> Result<api::Services, ClientError> {
        self.runtime.block_on(self.client.services())
    }

    /// See [`Client::connections`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn connections(
        &self,
        each: impl FnMut(api::Connection) -> ControlFlow<()>,
    ) -> Result<(), ClientError> {
        self.runtime.block_on(self.client.connections(each))
    }

    /// See [`Client::drops`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn drops(&self) -> Result<Vec<api::Drops>, ClientError> {
        self.runtime.block_on(self.client.drops())
    }

    /// See [`Client::workers`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn workers(&self) -> Result<Vec<api::Worker>, ClientError> {
        self.runtime.block_on(self.client.workers())
    }

    /// See [`Client::timeouts`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn timeouts(&self) -> Result<api::Timeouts, ClientError> {
        self.runtime.block_on(self.client.timeouts())
    }

    /// See [`Client::change`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn change(&self, requests: &[ChangeRequest]) -> Result<Vec<String>, ClientError> {
        self.runtime.block_on(self.client.change(requests))
    }

    /// See [`Client::reload`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn reload(&self) -> Result<Vec<String>, ClientError> {
        self.runtime.block_on(self.client.reload())
    }

    /// See [`Client::plan`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn plan(&self, draft: &Draft) -> Result<Plan, ClientError> {
        self.runtime.block_on(self.client.plan(draft))
    }

    /// See [`Client::text`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn text(&self, path: &str) -> Result<String, ClientError> {
        self.runtime.block_on(self.client.text(path))
    }

    /// See [`Client::config`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn config(&self) -> Result<Config, ClientError> {
        self.runtime.block_on(self.client.config())
    }
}
