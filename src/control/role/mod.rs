//! Sources of the director's role: keepalived's FIFO, a role file; and the role that is kept over a restart.

mod fifo;
mod file;
mod kept;
mod signal;
mod state;
mod watch;

pub(in crate::control) use kept::KeptRole;
pub(in crate::control) use signal::RoleSignal;
pub(in crate::control) use state::RoleState;

use crate::model::RoleSource;
use fifo::FifoReader;
use file::RoleFile;
use std::future::pending;

/// The open source of a role.
pub(in crate::control) enum RoleReader {
    /// Commands, or no source: nothing to wait for.
    None,
    Fifo(FifoReader),
    File(RoleFile),
}

impl RoleReader {
    pub(in crate::control) fn new(source: &RoleSource) -> Self {
        match source {
            RoleSource::Standalone | RoleSource::Command => Self::None,
            RoleSource::Fifo(fifo) => Self::Fifo(FifoReader::new(&fifo.path)),
            RoleSource::File { path } => Self::File(RoleFile::new(path)),
        }
    }

    /// Returns the next input. Cancel-safe: no input is lost.
    pub(in crate::control) async fn next(&mut self) -> RoleSignal {
        match self {
            Self::None => pending().await,
            Self::Fifo(fifo) => fifo.next().await,
            Self::File(file) => file.next().await,
        }
    }
}
