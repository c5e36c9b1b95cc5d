//! Why a director ends.

use crate::control::http::exporter::ExporterError;
use crate::control::http::server::ControlSocketError;
use crate::model::{Diagnostic, Diagnostics};

/// Why a director did not start, or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum DirectorError {
    /// The host does not have what the configuration names, and will not get it by itself.
    #[error(transparent)]
    InvalidConfig(#[from] Diagnostics),
    /// The control socket.
    #[error(transparent)]
    Socket(#[from] ControlSocketError),
    /// The metrics listener.
    #[error(transparent)]
    Exporter(#[from] ExporterError),
    /// The wire.
    #[error(transparent)]
    Io(#[from] Diagnostic),
    /// The system.
    #[error("the system refused: {0}")]
    System(#[from] std::io::Error),
    /// There are too many services or servers.
    #[error(transparent)]
    Rules(Diagnostic),
    /// A worker ended by itself.
    #[error("a worker has ended: {0}")]
    Worker(std::io::Error),
}
