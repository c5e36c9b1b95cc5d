//! Errors of the lab and of the throughput bench.

use std::process::ExitCode;

/// An error of the lab or of the throughput bench.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabError {
    /// Invalid request; the user can correct it.
    #[error("{0}")]
    Input(String),
    /// The operation failed.
    #[error("{0}")]
    Failed(String),
    /// SIGINT, SIGTERM or SIGHUP arrived.
    #[error("interrupted")]
    Interrupted,
}

impl LabError {
    /// Failure of the system call or file operation `what`.
    pub(crate) fn io(what: impl Into<String>, error: &std::io::Error) -> Self {
        Self::Failed(format!("{}: {error}", what.into()))
    }

    /// Exit status: 2 for bad input, 1 for a failure, 130 for an interruption.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Input(_) => ExitCode::from(2),
            Self::Failed(_) => ExitCode::FAILURE,
            Self::Interrupted => ExitCode::from(130),
        }
    }
}
