//! Ctrl-C and its relatives: noted here, obeyed between steps, so that teardown always runs.

use super::LabError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// Whether SIGINT, SIGTERM or SIGHUP has arrived.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// One that never comes, for callers that have no signals of their own.
    #[must_use]
    pub fn never() -> Self {
        Self::default()
    }

    /// Takes the three signals over for the rest of the process's life.
    ///
    /// # Errors
    /// [`LabError::Failed`] if the kernel refuses a handler or a thread.
    pub fn install() -> Result<Self, LabError> {
        let interrupt = Self::default();
        let flag = Arc::clone(&interrupt.0);
        let (ready, installed) = std::sync::mpsc::channel();
        let watch = move || watch(&flag, &ready);
        let failed = |error| LabError::io("cannot handle signals", &error);
        std::thread::Builder::new().name("signals".into()).spawn(watch).map_err(failed)?;
        installed.recv().unwrap_or_else(|_| Err(std::io::Error::other("no runtime"))).map_err(failed)?;
        Ok(interrupt)
    }

    /// # Errors
    /// [`LabError::Interrupted`] if a signal has arrived.
    pub fn check(&self) -> Result<(), LabError> {
        if self.0.load(Ordering::Relaxed) { Err(LabError::Interrupted) } else { Ok(()) }
    }

    /// Asks `probe` every few milliseconds until it has something, at most for `timeout`.
    ///
    /// # Errors
    /// [`LabError::Interrupted`] if a signal arrives first; whatever `probe` fails with.
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

    /// Sleeps.
    ///
    /// # Errors
    /// [`LabError::Interrupted`] if a signal arrives first.
    pub fn sleep(&self, time: Duration) -> Result<(), LabError> {
        self.wait(time, || Ok(None::<()>)).map(|_| ())
    }
}

/// Short beside what a person notices, long beside a system call.
const PAUSE: Duration = Duration::from_millis(10);

fn watch(flag: &AtomicBool, ready: &std::sync::mpsc::Sender<std::io::Result<()>>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
    runtime.block_on(async {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let signals = kinds.map(signal);
        if let Some(error) = signals.iter().find_map(|signal| signal.as_ref().err()) {
            let _ = ready.send(Err(std::io::Error::other(error.to_string())));
            return;
        }
        let _ = ready.send(Ok(()));
        let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = signals else { return };
        loop {
            tokio::select! { _ = interrupt.recv() => (), _ = terminate.recv() => (), _ = hangup.recv() => () }
            flag.store(true, Ordering::Relaxed);
        }
    });
}
