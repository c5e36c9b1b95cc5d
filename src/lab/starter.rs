//! Start of the lab's background processes.

use super::options::LabOptions;
use super::process::BackgroundProcess;
use super::ready::Readiness;
use super::runner::{Runner, command};
use super::state::StateDirectory;
use super::step::Step;
use crate::model::Diagnostic;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Starts background processes of a lab and records them in its state.
pub(super) struct ProcessStarter<'a> {
    pub(super) runner: Runner<'a>,
    pub(super) directory: &'a StateDirectory,
    pub(super) options: &'a LabOptions,
    pub(super) children: &'a Mutex<Vec<Child>>,
}

impl ProcessStarter<'_> {
    /// Starts `step` in the background as `role` and waits until it is ready.
    ///
    /// # Errors
    /// `System` with its log if it ends first or is not ready within `timeout`.
    pub(super) fn start(
        &self,
        role: &str,
        step: &Step,
        timeout: Duration,
    ) -> Result<BackgroundProcess, Diagnostic> {
        let readiness = self.directory.path(&format!("{role}.ready"));
        let listener = Readiness::listen(readiness.clone())?;
        let child = self.spawn(role, step, Some(readiness))?;
        let process = self.record(role, child)?;
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(child) = children.last_mut() else { return Ok(process) };
        if listener.wait(child, self.runner.interrupt, timeout)? {
            return Ok(process);
        }
        Err(self.not_ready(role, child, timeout))
    }

    fn not_ready(&self, role: &str, child: &mut Child, timeout: Duration) -> Diagnostic {
        let cause = match child.try_wait() {
            Ok(Some(status)) => format!("ended ({status})"),
            _ => format!("was not ready within {} s", timeout.as_secs()),
        };
        let log = std::fs::read_to_string(self.directory.path(&format!("{role}.log"))).unwrap_or_default();
        Diagnostic::system(format!("{role} {cause}; its log:\n{}", log.trim_end()))
    }

    pub(super) fn spawn(
        &self,
        role: &str,
        step: &Step,
        readiness: Option<PathBuf>,
    ) -> Result<Child, Diagnostic> {
        self.runner.console.print(&format!("{step} &"));
        let path = self.directory.path(&format!("{role}.log"));
        let failed = |error: std::io::Error| Diagnostic::io(format!("cannot start {role}"), &error);
        let log = File::create(path).map_err(failed)?;
        let mut command = command(step);
        command.stdin(Stdio::null()).stdout(log.try_clone().map_err(failed)?).stderr(log);
        command.env_remove("NOTIFY_SOCKET").env_remove("DIRECTRIX_SOCKET");
        command.envs(readiness.map(|path| ("NOTIFY_SOCKET", path)));
        command.spawn().map_err(failed)
    }

    /// Records the child, also in the state file, so that it ends with the lab.
    pub(super) fn record(&self, role: &str, child: Child) -> Result<BackgroundProcess, Diagnostic> {
        let process = BackgroundProcess::of(role, &child)?;
        self.children.lock().unwrap_or_else(PoisonError::into_inner).push(child);
        let mut state = self.directory.load()?;
        state.processes.push(process.clone());
        self.directory.store(&state)?;
        Ok(process)
    }
}
