//! Errors that end a director.

use crate::control::http::exporter::ExporterError;
use crate::control::http::socket::ControlSocketError;
use crate::model::{Diagnostic, Diagnostics};

/// Failure of the start or of the running director.
#[derive(Debug, thiserror::Error)]
pub enum DirectorError {
    /// The host lacks an object of the configuration, and waiting does not help.
    #[error(transparent)]
    InvalidConfig(#[from] Diagnostics),
    /// The control socket cannot be opened.
    #[error(transparent)]
    Socket(#[from] ControlSocketError),
    /// The metrics listener cannot be opened.
    #[error(transparent)]
    Exporter(#[from] ExporterError),
    /// An interface, a BPF program or a packet socket failed.
    #[error(transparent)]
    Io(#[from] Diagnostic),
    /// A system call failed.
    #[error("the system refused: {0}")]
    System(#[from] std::io::Error),
    /// The configuration has more services or servers than there are ids.
    #[error(transparent)]
    Rules(Diagnostic),
    /// A worker ended.
    #[error("a worker has ended: {0}")]
    Worker(std::io::Error),
}
