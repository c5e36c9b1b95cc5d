//! Errors that end a director.

use crate::model::{Diagnostic, Diagnostics};

/// Failure of the start or of the running director.
#[derive(Debug, thiserror::Error)]
pub enum DirectorError {
    /// The host lacks an object of the configuration, and waiting does not help.
    #[error(transparent)]
    InvalidConfig(#[from] Diagnostics),
    /// A listener cannot be opened, an interface or a BPF program failed, or there are more services or servers
    /// than ids.
    #[error(transparent)]
    Failed(#[from] Diagnostic),
    /// A system call failed.
    #[error("the system refused: {0}")]
    System(#[from] std::io::Error),
    /// A worker ended.
    #[error("a worker has ended: {0}")]
    Worker(std::io::Error),
}
