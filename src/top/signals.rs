//! SIGINT, SIGTERM and SIGHUP: noted, so that the terminal is given back before the end.

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::sleep;
use std::time::Duration;

/// How long the screen may take to end once a signal is there. It takes longer only where a
/// terminal does not take what is written to it, or is gone.
const GRACE: Duration = Duration::from_secs(1);

/// Whether one of the three signals has arrived.
#[derive(Clone, Debug, Default)]
pub(super) struct Signals(Arc<AtomicBool>);

impl Signals {
    /// Takes the three signals over for the rest of the process's life. To be called before any
    /// other thread is started: a signal goes to whichever does not hold it back.
    ///
    /// # Errors
    /// If the process has no file descriptor or thread left.
    pub(super) fn take() -> io::Result<Self> {
        let three = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
        three.thread_block()?;
        let arriving = SignalFd::with_flags(&three, SfdFlags::SFD_CLOEXEC)?;
        let signals = Self::default();
        let noted = signals.clone();
        std::thread::Builder::new().name("signals".into()).spawn(move || noted.watch(&arriving))?;
        Ok(signals)
    }

    pub(super) fn arrived(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// Waits for a signal, then for the process to end, then ends it.
    fn watch(&self, arriving: &SignalFd) {
        while matches!(arriving.read_signal(), Ok(None) | Err(Errno::EINTR)) {}
        self.0.store(true, Relaxed);
        sleep(GRACE);
        let _ = ratatui::crossterm::terminal::disable_raw_mode();
        std::process::exit(1);
    }
}
