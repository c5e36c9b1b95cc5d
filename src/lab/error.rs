//! What can go wrong with a lab.

use std::process::ExitCode;

/// Why a lab did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabError {
    /// What was asked cannot be done as asked: the user can change that.
    #[error("{0}")]
    Input(String),
    /// It was tried and failed.
    #[error("{0}")]
    Failed(String),
    /// SIGINT, SIGTERM or SIGHUP arrived.
    #[error("interrupted")]
    Interrupted,
}

impl LabError {
    /// A failure of the system call or file operation `what`.
    pub(crate) fn io(what: impl Into<String>, error: &std::io::Error) -> Self {
        Self::Failed(format!("{}: {error}", what.into()))
    }

    /// The exit status: 2 for bad input, 1 for a failure, 130 for an interruption.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Input(_) => ExitCode::from(2),
            Self::Failed(_) => ExitCode::FAILURE,
            Self::Interrupted => ExitCode::from(130),
        }
    }
}
