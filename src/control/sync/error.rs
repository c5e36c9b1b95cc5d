//! Errors of the sockets of connection sync.

use std::fmt;
use std::io;

/// Step in which a socket failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncSocketStep {
    /// The interface was looked up.
    Interface,
    /// The socket was opened.
    Open,
    /// Its options were set.
    Options,
    /// It was bound to address and port.
    Bind,
    /// It was connected to the group.
    Connect,
    /// The group was joined.
    Join,
}

/// Failure of a socket of connection sync.
#[derive(Debug)]
pub struct SyncSocketError {
    /// Interface of the group.
    pub interface: String,
    /// Step.
    pub step: SyncSocketStep,
    /// Of the kernel: ENODEV for an unknown interface, ENETUNREACH for one that is down, as IPVS has them.
    pub cause: io::Error,
}

impl fmt::Display for SyncSocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { interface, step, cause } = self;
        match (step, cause.raw_os_error()) {
            (SyncSocketStep::Interface, _) => {
                write!(f, "connection sync: there is no interface {interface:?}; name one of \"ip link\"")
            }
            (_, Some(libc::ENETUNREACH)) => write!(
                f,
                "connection sync: {interface} has no way to the group: {cause}; \"ip link set {interface} up\""
            ),
            (step, _) => write!(f, "connection sync on {interface}: {}: {cause}", step.done()),
        }
    }
}

impl SyncSocketStep {
    const fn done(self) -> &'static str {
        match self {
            Self::Interface => "the interface cannot be looked up",
            Self::Open => "a socket cannot be opened",
            Self::Options => "the socket's options cannot be set",
            Self::Bind => "the socket cannot be bound to address and port",
            Self::Connect => "the socket cannot be connected to the group",
            Self::Join => "the group cannot be joined",
        }
    }
}

impl std::error::Error for SyncSocketError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}
