//! A lab that is up.

use super::host::{Host, VIP};
use super::options::{Options, check_name};
use super::process::Process;
use super::ready::Readiness;
use super::runner::{Runner, check_root, command};
use super::state::{Directory, State};
use super::topology::{self, Step};
use super::{Console, Interrupt, LabError, director, programs, real_server, teardown};
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A lab that is up. Dropping it takes it down, unless it was [left](Deployment::leave).
pub struct Deployment {
    console: Console,
    interrupt: Interrupt,
    directory: Directory,
    options: Options,
    /// Those started by this process, to be reaped.
    children: Mutex<Vec<Child>>,
    down_on_drop: bool,
}

impl Deployment {
    /// Builds and starts what `options` say. Returns once the director is ready.
    ///
    /// # Errors
    /// [`LabError::Input`] if a lab of that name is up, a program is missing, or the caller is not
    /// root; [`LabError::Failed`]; [`LabError::Interrupted`]. Nothing is left behind.
    pub fn up(options: Options, console: Console, interrupt: Interrupt) -> Result<Self, LabError> {
        check(&options)?;
        let directory = Directory::of(&options.name)?;
        directory.create()?;
        let children = Mutex::default();
        let deployment = Self { console, interrupt, directory, options, children, down_on_drop: true };
        deployment.build()?;
        Ok(deployment)
    }

    /// The lab called `name` that an earlier command has left.
    ///
    /// # Errors
    /// [`LabError::Input`] if it is not up.
    pub fn attach(name: &str, console: Console, interrupt: Interrupt) -> Result<Self, LabError> {
        check_root()?;
        let directory = Directory::of(name)?;
        let options = directory.load()?.options;
        Ok(Self { console, interrupt, directory, options, children: Mutex::default(), down_on_drop: false })
    }

    /// What was built.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The director's control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.socket()
    }

    /// The file `name` of the state directory: `director.log`, `director.toml`, `rs1.log`.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path(name)
    }

    /// The background process `role`: "director", "rs1", "rs2".
    ///
    /// # Errors
    /// [`LabError::Failed`] if there is none.
    pub fn process(&self, role: &str) -> Result<Process, LabError> {
        let processes = self.directory.load()?.processes;
        let found = processes.into_iter().rev().find(|process| process.role == role);
        found.ok_or_else(|| LabError::Failed(format!("the lab has no process '{role}'")))
    }

    /// `words` as a command in the namespace of `host`, not yet started.
    #[must_use]
    pub fn command<S: Into<String>>(&self, host: Host, words: impl IntoIterator<Item = S>) -> Command {
        command(&self.step(host, words))
    }

    /// Starts `words` in the background on `host` as `role`; its output goes to `ROLE.log`. It ends
    /// with the lab.
    ///
    /// # Errors
    /// [`LabError::Failed`] if it cannot be started.
    pub fn spawn<S: Into<String>>(
        &self,
        host: Host,
        role: &str,
        words: impl IntoIterator<Item = S>,
    ) -> Result<Process, LabError> {
        let site = self.site();
        let child = site.spawn(role, &self.step(host, words), None)?;
        site.keep(role, child)
    }

    /// Lets the lab run on after this process.
    pub fn leave(mut self) {
        self.down_on_drop = false;
    }

    /// Takes the lab down.
    ///
    /// # Errors
    /// [`LabError::Failed`] with what could not be ended or removed.
    pub fn down(mut self) -> Result<(), LabError> {
        self.down_on_drop = false;
        self.teardown()
    }

    /// Prints and runs.
    pub(super) fn runner(&self) -> Runner<'_> {
        Runner { console: &self.console, interrupt: &self.interrupt }
    }

    /// What ends the lab early.
    pub(super) fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// `words` in the namespace of `host`.
    pub(super) fn step<S: Into<String>>(&self, host: Host, words: impl IntoIterator<Item = S>) -> Step {
        Step::within(&self.options.namespace(host), words)
    }

    fn site(&self) -> Site<'_> {
        Site {
            runner: self.runner(),
            directory: &self.directory,
            options: &self.options,
            children: &self.children,
        }
    }

    fn build(&self) -> Result<(), LabError> {
        self.directory.store(&State { options: self.options.clone(), processes: Vec::new() })?;
        let runner = self.runner();
        topology::build(&self.options).iter().try_for_each(|group| runner.group(group))?;
        if self.options.servers {
            self.console.heading(&format!("real servers: a web server on {VIP} and on the RIP"));
            for server in Host::REAL_SERVERS {
                real_server::start(&self.site(), server)?;
            }
        }
        director::start(&self.site()).map(|_| ())
    }

    fn teardown(&self) -> Result<(), LabError> {
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

/// Takes the lab called `name` down; `Ok(false)` if there was none.
///
/// # Errors
/// [`LabError::Failed`] with what could not be ended or removed; [`LabError::Input`] for anybody
/// but root.
pub fn down(name: &str, console: &Console) -> Result<bool, LabError> {
    check_root()?;
    let directory = Directory::of(name)?;
    if !directory.exists() {
        return Ok(false);
    }
    teardown::run(&directory, console).map(|()| true)
}

fn check(options: &Options) -> Result<(), LabError> {
    check_name(&options.name)?;
    check_root()?;
    programs::check_groups(&topology::build(options))?;
    if Directory::of(&options.name)?.exists() {
        return Ok(()); // The directory's own message says more.
    }
    let taken = Host::ALL.into_iter().map(|host| options.namespace(host)).find(|name| topology::exists(name));
    taken.map_or(Ok(()), |name| {
        Err(LabError::Input(format!(
            "a network namespace '{name}' is there and belongs to no lab: ip netns del {name}, or choose another --name"
        )))
    })
}

/// What the starters of processes need of a lab.
pub(super) struct Site<'a> {
    pub(super) runner: Runner<'a>,
    pub(super) directory: &'a Directory,
    options: &'a Options,
    children: &'a Mutex<Vec<Child>>,
}

impl Site<'_> {
    pub(super) fn options(&self) -> &Options {
        self.options
    }

    /// Starts `step` in the background as `role` and waits until it is ready.
    ///
    /// # Errors
    /// [`LabError::Failed`] with its log if it ends first or takes longer than `patience`.
    pub(super) fn start(&self, role: &str, step: &Step, patience: Duration) -> Result<Process, LabError> {
        let readiness = self.directory.path(&format!("{role}.ready"));
        let listener = Readiness::listen(readiness.clone())?;
        let child = self.spawn(role, step, Some(readiness))?;
        let process = self.keep(role, child)?;
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(child) = children.last_mut() else { return Ok(process) };
        if listener.wait(child, self.runner.interrupt, patience)? {
            return Ok(process);
        }
        Err(self.not_ready(role, child, patience))
    }

    fn not_ready(&self, role: &str, child: &mut Child, patience: Duration) -> LabError {
        let how = match child.try_wait() {
            Ok(Some(status)) => format!("ended ({status})"),
            _ => format!("was not ready within {} s", patience.as_secs()),
        };
        let log = std::fs::read_to_string(self.directory.path(&format!("{role}.log"))).unwrap_or_default();
        LabError::Failed(format!("{role} {how}; its log:\n{}", log.trim_end()))
    }

    fn spawn(&self, role: &str, step: &Step, readiness: Option<PathBuf>) -> Result<Child, LabError> {
        self.runner.console.say(&format!("{step} &"));
        let path = self.directory.path(&format!("{role}.log"));
        let failed = |error: std::io::Error| LabError::io(format!("cannot start {role}"), &error);
        let log = File::create(path).map_err(failed)?;
        let mut command = command(step);
        command.stdin(Stdio::null()).stdout(log.try_clone().map_err(failed)?).stderr(log);
        command.env_remove("NOTIFY_SOCKET").env_remove("DIRECTRIX_SOCKET");
        command.envs(readiness.map(|path| ("NOTIFY_SOCKET", path)));
        command.spawn().map_err(failed)
    }

    /// Notes the child, in the state file too, so that it ends with the lab.
    fn keep(&self, role: &str, child: Child) -> Result<Process, LabError> {
        let process = Process::of(role, &child)?;
        self.children.lock().unwrap_or_else(PoisonError::into_inner).push(child);
        let mut state = self.directory.load()?;
        state.processes.push(process.clone());
        self.directory.store(&state)?;
        Ok(process)
    }
}
