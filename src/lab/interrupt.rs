//! Termination signals, checked between steps, so that teardown always runs.

use crate::model::{Diagnostic, DiagnosticKind};
use crate::sys::signals::TerminationFlag;
use std::time::{Duration, Instant};

/// Whether SIGINT, SIGTERM or SIGHUP has arrived.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(TerminationFlag);

impl Interrupt {
    /// An interrupt that never arrives, for callers without signal handling.
    #[must_use]
    pub fn never() -> Self {
        Self::default()
    }

    /// Handles the three signals for the rest of the process's life.
    ///
    /// # Errors
    /// `System` if the kernel refuses a handler or a thread.
    pub fn install() -> Result<Self, Diagnostic> {
        let flag = TerminationFlag::install(|| ());
        flag.map(Self).map_err(|error| Diagnostic::io("cannot handle signals", &error))
    }

    /// The error of a command that a signal ended.
    pub(crate) fn diagnostic() -> Diagnostic {
        Diagnostic::new(DiagnosticKind::Interrupted, "interrupted")
    }

    /// Fails if a signal has arrived.
    ///
    /// # Errors
    /// `Interrupted` if a signal has arrived.
    pub fn check(&self) -> Result<(), Diagnostic> {
        if self.0.is_set() { Err(Self::diagnostic()) } else { Ok(()) }
    }

    /// Calls `probe` every 10 ms until it returns a value, at most for `timeout`.
    ///
    /// # Errors
    /// `Interrupted` if a signal arrives first; errors of `probe`.
    pub fn wait<T>(
        &self,
        timeout: Duration,
        mut probe: impl FnMut() -> Result<Option<T>, Diagnostic>,
    ) -> Result<Option<T>, Diagnostic> {
        let end = Instant::now() + timeout;
        loop {
            self.check()?;
            let found = probe()?;
            if found.is_some() || Instant::now() >= end {
                return Ok(found);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Sleeps for `time`.
    ///
    /// # Errors
    /// `Interrupted` if a signal arrives first.
    pub fn sleep(&self, time: Duration) -> Result<(), Diagnostic> {
        self.wait(time, || Ok(None::<()>)).map(|_| ())
    }
}

/// Interval of checks.
const PAUSE: Duration = Duration::from_millis(10);
