//! A DUT that is a process of this program.

use super::setup::DutSetup;
use crate::bench_wire::cores::{SessionPriority, move_to, pin};
use crate::lab::process::{self, BackgroundProcess};
use crate::lab::ready::Readiness;
use crate::model::Diagnostic;
use nix::sys::signal::Signal;
use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Time limit for readiness. Probing takes 1.2 s, a table of ten million connections about as long.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Time limit for an orderly end.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// A directrix process in the namespace of a DUT. Dropping it ends it.
pub(super) struct Background {
    process: BackgroundProcess,
    child: Child,
    _priority: Option<SessionPriority>,
}

impl Background {
    /// Starts directrix with the arguments `words`. The main thread runs on `main_core`, all others on the DUT's
    /// core. Returns after the readiness notification (sd_notify(3)).
    pub(super) fn start(
        setup: &DutSetup<'_>,
        words: Vec<String>,
        main_core: usize,
    ) -> Result<Self, Diagnostic> {
        let ready = setup.file("ready");
        let listener = Readiness::listen(ready.clone())?;
        let mut command = command(setup, words)?;
        command.env_remove("DIRECTRIX_SOCKET").env("NOTIFY_SOCKET", ready);
        let role = setup.spec.dut.name();
        // The process inherits affinity and priority of the thread that starts it.
        let spawn = || {
            pin(setup.spec.cores.dut)?;
            command.spawn().map_err(|error| Diagnostic::io(format!("cannot start {role}"), &error))
        };
        let child = std::thread::scope(|scope| scope.spawn(spawn).join()).expect("it returns its errors")?;
        let process = BackgroundProcess::of(role, &child)?;
        let mut background = Self { process, child, _priority: None };
        if !listener.wait(&mut background.child, setup.spec.interrupt, READY_WITHIN)? {
            let log = std::fs::read_to_string(setup.file("log")).unwrap_or_default();
            return Err(Diagnostic::system(format!(
                "{role} did not become ready; its log:\n{}",
                log.trim_end()
            )));
        }
        background._priority = SessionPriority::raise(background.child.id());
        move_to(main_core, background.process.pid)?;
        Ok(background)
    }

    pub(super) fn suspend(&self) {
        self.process.signal(Signal::SIGSTOP);
    }

    pub(super) fn resume(&self) {
        self.process.signal(Signal::SIGCONT);
    }

    pub(super) fn check(&mut self) -> Result<(), Diagnostic> {
        if self.process.is_alive() {
            return Ok(());
        }
        Err(Diagnostic::system(format!("{} has ended during the bench", self.process.role)))
    }
}

/// Command line of directrix with `words`, in a new session, so that Ctrl-C does not reach it. Output goes to a log.
fn command(setup: &DutSetup<'_>, words: Vec<String>) -> Result<Command, Diagnostic> {
    let log = setup.file("log");
    let failed = |error: std::io::Error| Diagnostic::io(log.display().to_string(), &error);
    let file = File::create(&log).map_err(failed)?;
    let words = std::iter::once(setup.spec.exe.display().to_string()).chain(words);
    let mut command = Command::new("setsid");
    command.args(setup.namespace.step(words).words());
    command.stdin(Stdio::null()).stdout(file.try_clone().map_err(failed)?).stderr(file);
    Ok(command)
}

impl Drop for Background {
    fn drop(&mut self) {
        self.resume(); // a stopped process does not handle SIGTERM
        if let Err(error) = process::end(std::slice::from_ref(&self.process), STOP_WITHIN) {
            eprintln!("directrix lab bench: {error}");
        }
        let _ = self.child.wait();
    }
}
