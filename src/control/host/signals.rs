//! Signal handling: SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
pub(in crate::control) enum Wish {
    End,
    Reload,
    /// The state in the log.
    Dump,
    /// Nothing: without a handler, this signal would end the process.
    Nothing(&'static str),
}

/// What a director is told from outside, other than by its socket.
pub(in crate::control) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user1: Signal,
    user2: Signal,
}

impl Signals {
    pub(in crate::control) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
        })
    }

    /// The next one, even if it has come before.
    pub(in crate::control) async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::End,
            _ = self.interrupt.recv() => Wish::End,
            _ = self.hangup.recv() => Wish::Reload,
            _ = self.user1.recv() => Wish::Dump,
            _ = self.user2.recv() => Wish::Nothing("SIGUSR2"),
        }
    }
}
