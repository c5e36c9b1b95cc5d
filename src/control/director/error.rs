//! Errors that end a director.

use crate::model::{Diagnostic, Diagnostics};
use std::io;

/// Failure of the start or of the running director.
#[derive(Debug, thiserror::Error)]
pub enum DirectorError {
    /// The host lacks an object of the configuration, and waiting does not help.
    #[error(transparent)]
    InvalidConfig(#[from] Diagnostics),
    /// A listener, an interface, a BPF program, a worker or a system call failed, or there are more services or
    /// servers than ids.
    #[error(transparent)]
    Failed(#[from] Diagnostic),
}

impl DirectorError {
    /// A worker ended for this reason.
    pub(super) fn worker_ended(cause: impl Into<String>) -> Self {
        Self::Failed(Diagnostic::system("a worker has ended").cause(cause))
    }
}

impl From<io::Error> for DirectorError {
    fn from(error: io::Error) -> Self {
        Self::Failed(Diagnostic::io("the system refused", &error))
    }
}
