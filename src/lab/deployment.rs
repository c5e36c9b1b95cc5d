//! A running lab.

use super::host::LabHost;
use super::options::{LabOptions, check_name};
use super::process::BackgroundProcess;
use super::runner::{Runner, check_root, command};
use super::starter::ProcessStarter;
use super::state::{LabState, StateDirectory};
use super::step::Step;
use super::topology;
use super::{Console, Interrupt, director, programs, real_server, teardown};
use crate::model::Diagnostic;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::{Mutex, PoisonError};

/// A running lab. Dropping it takes it down, unless [`Deployment::leave`] was called.
pub struct Deployment {
    console: Console,
    interrupt: Interrupt,
    directory: StateDirectory,
    options: LabOptions,
    /// Children of this process, to be reaped.
    children: Mutex<Vec<Child>>,
    down_on_drop: bool,
}

impl Deployment {
    /// Builds and starts a lab by `options`. Returns once the director is ready.
    ///
    /// # Errors
    /// `InvalidArgument` if a lab of that name is up, a program is missing, or the caller is not
    /// root; `System`; `Interrupted`. In each case everything is removed.
    pub fn up(options: LabOptions, console: Console, interrupt: Interrupt) -> Result<Self, Diagnostic> {
        check(&options)?;
        let directory = StateDirectory::of(&options.name)?;
        directory.create()?;
        let children = Mutex::default();
        let deployment = Self { console, interrupt, directory, options, children, down_on_drop: true };
        deployment.build()?;
        Ok(deployment)
    }

    /// Attaches to the lab called `name`, started by an earlier command.
    ///
    /// # Errors
    /// `InvalidArgument` if it is not running.
    pub fn attach(name: &str, console: Console, interrupt: Interrupt) -> Result<Self, Diagnostic> {
        check_root()?;
        let directory = StateDirectory::of(name)?;
        let options = directory.load()?.options;
        Ok(Self { console, interrupt, directory, options, children: Mutex::default(), down_on_drop: false })
    }

    /// Options of the lab.
    #[must_use]
    pub fn options(&self) -> &LabOptions {
        &self.options
    }

    /// Path of the director's control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.socket()
    }

    /// Path of the file `name` in the state directory: `director.log`, `director.toml`, `rs1.log`.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path(name)
    }

    /// Background process by its role: "director", "rs1", "rs2".
    ///
    /// # Errors
    /// `System` if there is no such process.
    pub fn process(&self, role: &str) -> Result<BackgroundProcess, Diagnostic> {
        let processes = self.directory.load()?.processes;
        let found = processes.into_iter().rev().find(|process| process.role == role);
        found.ok_or_else(|| Diagnostic::system(format!("the lab has no process '{role}'")))
    }

    /// Command `words` in the namespace of `host`, not yet started.
    #[must_use]
    pub fn command<S: Into<String>>(&self, host: LabHost, words: impl IntoIterator<Item = S>) -> Command {
        command(&self.step(host, words))
    }

    /// Starts `words` in the background on `host` as `role`, with output to `ROLE.log`. The process ends with the lab.
    ///
    /// # Errors
    /// `System` if it cannot be started.
    pub fn spawn<S: Into<String>>(
        &self,
        host: LabHost,
        role: &str,
        words: impl IntoIterator<Item = S>,
    ) -> Result<BackgroundProcess, Diagnostic> {
        let starter = self.starter();
        let child = starter.spawn(role, &self.step(host, words), None)?;
        starter.record(role, child)
    }

    /// Leaves the lab running after this process.
    pub fn leave(mut self) {
        self.down_on_drop = false;
    }

    /// Takes the lab down.
    ///
    /// # Errors
    /// `System` with all failures.
    pub fn down(mut self) -> Result<(), Diagnostic> {
        self.down_on_drop = false;
        self.teardown()
    }

    /// Executes commands and prints them.
    pub(super) fn runner(&self) -> Runner<'_> {
        Runner { console: &self.console, interrupt: &self.interrupt }
    }

    /// Signals that end the lab early.
    pub(super) fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// Command `words` in the namespace of `host`.
    pub(super) fn step<S: Into<String>>(&self, host: LabHost, words: impl IntoIterator<Item = S>) -> Step {
        Step::within(&self.options.namespace(host), words)
    }

    fn starter(&self) -> ProcessStarter<'_> {
        ProcessStarter {
            runner: self.runner(),
            directory: &self.directory,
            options: &self.options,
            children: &self.children,
        }
    }

    fn build(&self) -> Result<(), Diagnostic> {
        self.directory.store(&LabState { options: self.options.clone(), processes: Vec::new() })?;
        let runner = self.runner();
        topology::build(&self.options).iter().try_for_each(|group| runner.group(group))?;
        if self.options.servers {
            self.console.heading("real servers: a web server on each VIP and RIP");
            for server in LabHost::REAL_SERVERS {
                real_server::start(&self.starter(), server)?;
            }
        }
        if self.options.directs {
            director::start(&self.starter())?;
        }
        Ok(())
    }

    fn teardown(&self) -> Result<(), Diagnostic> {
        let done = teardown::run(&self.directory, &self.console);
        for child in self.children.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            let _ = child.try_wait();
        }
        done
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        if !self.down_on_drop {
            return;
        }
        if let Err(error) = self.teardown() {
            eprintln!("directrix lab: {error}");
        }
    }
}

/// Takes the lab called `name` down; `Ok(false)` if it does not exist.
///
/// # Errors
/// `System` with all failures; `InvalidArgument` without root.
pub fn down(name: &str, console: &Console) -> Result<bool, Diagnostic> {
    check_root()?;
    let directory = StateDirectory::of(name)?;
    if !directory.exists() {
        return Ok(false);
    }
    teardown::run(&directory, console).map(|()| true)
}

fn check(options: &LabOptions) -> Result<(), Diagnostic> {
    check_name(&options.name)?;
    check_root()?;
    programs::check_groups(&topology::build(options))?;
    if StateDirectory::of(&options.name)?.exists() {
        return Ok(()); // `create` reports this with a better message
    }
    let taken =
        LabHost::ALL.into_iter().map(|host| options.namespace(host)).find(|name| topology::exists(name));
    match taken {
        None => Ok(()),
        Some(name) => Err(Diagnostic::invalid_argument(format!(
            "a network namespace '{name}' exists and belongs to no lab"
        ))
        .remedy(format!("delete it: ip netns del {name}, or choose another --name"))),
    }
}
