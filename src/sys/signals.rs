//! Termination signals (SIGINT, SIGTERM, SIGHUP) as a flag.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Whether a termination signal has arrived.
#[derive(Clone, Debug, Default)]
pub(crate) struct TerminationFlag(Arc<AtomicBool>);

impl TerminationFlag {
    /// Handles the termination signals for the rest of the process's life. On the first one, a thread sets the flag
    /// and calls `on_signal`; later ones have no effect.
    ///
    /// Signals are handled, not blocked: child processes would inherit a signal mask.
    ///
    /// # Errors
    /// If the kernel refuses a handler, a thread or a file descriptor.
    pub(crate) fn install(on_signal: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let flag = Self::default();
        let set = flag.clone();
        let (ready, installed) = mpsc::channel();
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            let done = wait(&ready);
            if done.is_ok() {
                set.0.store(true, Relaxed);
                on_signal();
            } else {
                let _ = ready.send(done); // `install` waits for it
            }
        })?;
        installed.recv().unwrap_or_else(|_| Err(io::Error::other("the signal thread has ended")))?;
        Ok(flag)
    }

    /// Whether a termination signal has arrived.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// Installs the handlers, reports that to `ready`, and waits for a signal.
fn wait(ready: &mpsc::Sender<io::Result<()>>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let signals: io::Result<Vec<Signal>> = kinds.into_iter().map(signal).collect();
        let mut signals = signals?;
        let _ = ready.send(Ok(())); // `install` waits for it
        let [interrupt, terminate, hangup] = &mut signals[..] else { return Ok(()) };
        tokio::select! { _ = interrupt.recv() => (), _ = terminate.recv() => (), _ = hangup.recv() => () }
        Ok(())
    })
}
