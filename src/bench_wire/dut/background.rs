//! A process of this program in a DUT's namespace.

use super::Site;
use crate::bench_wire::cores::{Standing, move_to, seat};
use crate::lab::LabError;
use crate::lab::process::{self, Process};
use crate::lab::ready::Readiness;
use nix::sys::signal::Signal;
use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Probing for conflicts takes a second or two, and a table of ten million connections as long.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long it has to detach cleanly.
const PATIENCE: Duration = Duration::from_secs(5);

/// A process of this program. Dropping it ends it.
pub(super) struct Background {
    process: Process,
    child: Child,
    _standing: Option<Standing>,
}

impl Background {
    /// Starts directrix with `words` in the namespace of `site`, its threads on the forwarder's core but
    /// for the main one, which goes to `main_core`. Returns once it says that it is ready.
    pub(super) fn start(site: &Site<'_>, words: Vec<String>, main_core: usize) -> Result<Self, LabError> {
        let ready = site.file("ready");
        let listener = Readiness::listen(ready.clone())?;
        let mut command = command(site, words)?;
        command.env_remove("DIRECTRIX_SOCKET").env("NOTIFY_SOCKET", ready);
        let role = site.plan.dut.name();
        // A process inherits the core and the priority of the thread that starts it.
        let spawn = || {
            seat(site.plan.cores.forwarder)?;
            command.spawn().map_err(|error| LabError::io(format!("cannot start {role}"), &error))
        };
        let child = std::thread::scope(|scope| scope.spawn(spawn).join()).expect("it returns its errors")?;
        let process = Process::of(role, &child)?;
        let mut background = Self { process, child, _standing: None };
        if !listener.wait(&mut background.child, site.plan.interrupt, READY_WITHIN)? {
            let log = std::fs::read_to_string(site.file("log")).unwrap_or_default();
            return Err(LabError::Failed(format!(
                "{role} did not become ready; its log:\n{}",
                log.trim_end()
            )));
        }
        background._standing = Standing::raise(background.child.id());
        move_to(main_core, background.process.pid)?;
        Ok(background)
    }

    pub(super) fn suspend(&self) {
        self.process.signal(Signal::SIGSTOP);
    }

    pub(super) fn resume(&self) {
        self.process.signal(Signal::SIGCONT);
    }

    pub(super) fn check(&mut self) -> Result<(), LabError> {
        if self.process.is_alive() {
            return Ok(());
        }
        Err(LabError::Failed(format!("{} has ended in the middle of the bench", self.process.role)))
    }
}

/// directrix with `words`, in a session of its own, which Ctrl-C does not reach. It writes to a log.
fn command(site: &Site<'_>, words: Vec<String>) -> Result<Command, LabError> {
    let log = site.file("log");
    let failed = |error: std::io::Error| LabError::io(log.display().to_string(), &error);
    let file = File::create(&log).map_err(failed)?;
    let words = std::iter::once(site.plan.exe.display().to_string()).chain(words);
    let mut command = Command::new("setsid");
    command.args(site.namespace.step(words).words());
    command.stdin(Stdio::null()).stdout(file.try_clone().map_err(failed)?).stderr(file);
    Ok(command)
}

impl Drop for Background {
    fn drop(&mut self) {
        self.resume(); // so that it hears the signal to end
        if let Err(error) = process::end(std::slice::from_ref(&self.process), PATIENCE) {
            eprintln!("directrix lab bench: {error}");
        }
        let _ = self.child.wait();
    }
}
