//! Signal handling: SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The action of a signal.
pub(in crate::control) enum SignalAction {
    Stop,
    Reload,
    /// Log the state.
    Dump,
    /// None: without a handler, the signal would end the process.
    Ignore(&'static str),
}

/// Handlers of the signals that a director receives.
pub(in crate::control) struct DirectorSignals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user1: Signal,
    user2: Signal,
}

impl DirectorSignals {
    pub(in crate::control) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
        })
    }

    /// Returns the action of the next signal. Cancel-safe: a signal that has arrived stays pending.
    pub(in crate::control) async fn next(&mut self) -> SignalAction {
        tokio::select! {
            _ = self.terminate.recv() => SignalAction::Stop,
            _ = self.interrupt.recv() => SignalAction::Stop,
            _ = self.hangup.recv() => SignalAction::Reload,
            _ = self.user1.recv() => SignalAction::Dump,
            _ = self.user2.recv() => SignalAction::Ignore("SIGUSR2"),
        }
    }
}
