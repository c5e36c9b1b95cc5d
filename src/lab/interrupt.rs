//! Termination signals, checked between steps, so that teardown always runs.

use super::LabError;
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
    /// [`LabError::Failed`] if the kernel refuses a handler or a thread.
    pub fn install() -> Result<Self, LabError> {
        let flag = TerminationFlag::install(|| ());
        flag.map(Self).map_err(|error| LabError::io("cannot handle signals", &error))
    }

    /// Fails if a signal has arrived.
    ///
    /// # Errors
    /// [`LabError::Interrupted`] if a signal has arrived.
    pub fn check(&self) -> Result<(), LabError> {
        if self.0.is_set() { Err(LabError::Interrupted) } else { Ok(()) }
    }

    /// Calls `probe` every 10 ms until it returns a value, at most for `timeout`.
    ///
    /// # Errors
    /// [`LabError::Interrupted`] if a signal arrives first; errors of `probe`.
    pub fn wait<T>(
        &self,
        timeout: Duration,
        mut probe: impl FnMut() -> Result<Option<T>, LabError>,
    ) -> Result<Option<T>, LabError> {
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
    /// [`LabError::Interrupted`] if a signal arrives first.
    pub fn sleep(&self, time: Duration) -> Result<(), LabError> {
        self.wait(time, || Ok(None::<()>)).map(|_| ())
    }
}

/// Interval of checks.
const PAUSE: Duration = Duration::from_millis(10);
