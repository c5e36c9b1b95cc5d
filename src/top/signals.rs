//! SIGINT, SIGTERM and SIGHUP: noted, so that the terminal is restored before the end.

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;

/// The three signals, held back from this thread and those that it starts.
#[derive(Debug)]
pub(super) struct Signals(SignalFd);

impl Signals {
    /// Holds the signals back. To be called before any thread is started: the signal goes to
    /// whichever does not hold it back.
    ///
    /// # Errors
    /// If the process has no file descriptor left.
    pub(super) fn take() -> io::Result<Self> {
        let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
        signals.thread_block()?;
        Ok(Self(SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?))
    }

    /// True once for each signal that has arrived.
    pub(super) fn arrived(&self) -> bool {
        matches!(self.0.read_signal(), Ok(Some(_)))
    }
}
