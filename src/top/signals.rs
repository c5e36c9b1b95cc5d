//! Termination signals, so that the terminal is restored before the end.

use crate::sys::signals::TerminationFlag;
use std::io;
use std::thread::sleep;
use std::time::Duration;

/// Time limit for the screen to end after a signal. It is exceeded only if the terminal is closed or accepts no output.
const GRACE: Duration = Duration::from_secs(1);

/// Whether SIGINT, SIGTERM or SIGHUP has arrived.
#[derive(Clone, Debug)]
pub(super) struct Signals(TerminationFlag);

impl Signals {
    /// Handles the signals for the rest of the process's life. Ends the process [`GRACE`] after the first one.
    ///
    /// # Errors
    /// If the process has no file descriptor or thread left.
    pub(super) fn take() -> io::Result<Self> {
        TerminationFlag::install(exit_after_grace).map(Self)
    }

    pub(super) fn arrived(&self) -> bool {
        self.0.is_set()
    }
}

fn exit_after_grace() {
    sleep(GRACE);
    let _ = ratatui::crossterm::terminal::disable_raw_mode();
    std::process::exit(1);
}
