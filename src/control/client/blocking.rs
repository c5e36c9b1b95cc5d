//! The blocking client.

use super::api::{self, Draft, Plan};
use super::{ChangeRequest, Client, Config};
use crate::model::{Diagnostic, Role};
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
    pub fn new(socket: &Path) -> Result<Self, Diagnostic> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Diagnostic::io("creating the client's event loop", &error))?;
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
    /// [`Diagnostic`].
    pub fn status(&self) -> Result<api::overview::Status, Diagnostic> {
        self.runtime.block_on(self.client.status())
    }

    /// See [`Client::services`].
    ///
    /// # Errors
    /// Like every method here, [`Diagnostic`].
    pub fn services(&self) -> Result<api::Services, Diagnostic> {
        self.runtime.block_on(self.client.services())
    }

    /// See [`Client::connections`].
    ///
    /// # Errors
    /// [`Diagnostic`].
    pub fn connections(
        &self,
        each: impl FnMut(api::Connection) -> ControlFlow<()>,
    ) -> Result<(), Diagnostic> {
        self.runtime.block_on(self.client.connections(each))
    }

    /// See [`Client::checks`].
    ///
    /// # Errors
    /// [`Diagnostic`].
    pub fn checks(&self) -> Result<api::checks::Checks, Diagnostic> {
        self.runtime.block_on(self.client.checks())
    }

    /// See [`Client::events`].
    ///
    /// # Errors
    /// [`Diagnostic`].
    pub fn events(&self) -> Result<Vec<api::events::Event>, Diagnostic> {
        self.runtime.block_on(self.client.events())
    }

    /// See [`Client::reasons`].
    ///
    /// # Errors
    /// [`Diagnostic`].
    pub fn reasons(&self) -> Result<Vec<api::reasons::ServerReasons>, Diagnostic> {
        self.runtime.block_on(self.client.reasons())
    }

    /// See [`Client::audit`].
    ///
    /// # Errors
    /// [`Diagnostic`].
    pub fn audit(&self) -> Result<api::audit::Audit, Diagnostic> {
        self.runtime.block_on(self.client.audit())
    }

    /// See [`Client::role`].
    ///
    /// # Errors
    /// [`Diagnostic`].
    pub fn role(&self) -> Result<api::role::RoleStatus, Diagnostic> {
        self.runtime.block_on(self.client.role())
    }

    /// See [`Client::set_role`].
    ///
    /// # Errors
    /// [`Diagnostic`].
    pub fn set_role(&self, role: Role) -> Result<(), Diagnostic> {
        self.runtime.block_on(self.client.set_role(role))
    }

    /// See [`Client::sync`].
    ///
    /// # Errors
    /// [`Diagnostic`].
    pub fn sync(&self) -> Result<api::sync::SyncStatus, Diagnostic> {
        self.runtime.block_on(self.client.sync())
    }

    /// See [`Client::change_sync`].
    ///
    /// # Errors
    /// [`Diagnostic`].
    pub fn change_sync(&self, request: &api::sync::SyncRequest) -> Result<(), Diagnostic> {
        self.runtime.block_on(self.client.change_sync(request))
    }

    /// See [`Client::drops`].
    ///
    /// # Errors
    /// [`Diagnostic`].
    pub fn drops(&self) -> Result<Vec<api::Drops>, Diagnostic> {
        self.runtime.block_on(self.client.drops())
    }

    /// See [`Client::workers`].
    ///
    /// # Errors
    /// [`Diagnostic`].
    pub fn workers(&self) -> Result<Vec<api::Worker>, Diagnostic> {
        self.runtime.block_on(self.client.workers())
    }

    /// See [`Client::timeouts`].
    ///
    /// # Errors
    /// [`Diagnostic`].
    pub fn timeouts(&self) -> Result<api::Timeouts, Diagnostic> {
        self.runtime.block_on(self.client.timeouts())
    }

    /// See [`Client::change`].
    ///
    /// # Errors
    /// [`Diagnostic`].
    pub fn change(&self, requests: &[ChangeRequest]) -> Result<Vec<String>, Diagnostic> {
        self.runtime.block_on(self.client.change(requests))
    }

    /// See [`Client::report`].
    ///
    /// # Errors
    /// [`Diagnostic`].
    pub fn report(&self, report: &api::checks::CheckReport) -> Result<(), Diagnostic> {
        self.runtime.block_on(self.client.report(report))
    }

    /// See [`Client::reload`].
    ///
    /// # Errors
    /// [`Diagnostic`].
    pub fn reload(&self) -> Result<Vec<String>, Diagnostic> {
        self.runtime.block_on(self.client.reload())
    }

    /// See [`Client::plan`].
    ///
    /// # Errors
    /// [`Diagnostic`].
    pub fn plan(&self, draft: &Draft) -> Result<Plan, Diagnostic> {
        self.runtime.block_on(self.client.plan(draft))
    }

    /// See [`Client::text`].
    ///
    /// # Errors
    /// [`Diagnostic`].
    pub fn text(&self, path: &str) -> Result<String, Diagnostic> {
        self.runtime.block_on(self.client.text(path))
    }

    /// See [`Client::config`].
    ///
    /// # Errors
    /// [`Diagnostic`].
    pub fn config(&self) -> Result<Config, Diagnostic> {
        self.runtime.block_on(self.client.config())
    }
}
