//! Errors of ipvsadm's commands, with ipvsadm's exit statuses.

use super::args::UsageError;
use crate::import::excerpt;
use crate::model::{Diagnostic, DiagnosticKind};
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

/// Message for stderr, and exit status.
pub(super) struct CommandError {
    message: String,
    status: u8,
}

impl CommandError {
    pub(super) fn new(message: impl Into<String>, status: u8) -> Self {
        Self { message: message.into(), status }
    }

    /// Adds the line of the restored rules that has the error.
    pub(super) fn on_line(self, number: usize, line: &str) -> Self {
        // The message may quote a word of the line, which may be long.
        let message = if self.message.len() > line.len() { self.message } else { excerpt(&self.message) };
        Self { message: format!("line {number}: {message}: {}", excerpt(line.trim())), ..self }
    }

    /// Prints the message and returns the exit status. Errors of stderr are ignored: it may be closed.
    pub(super) fn report(&self) -> ExitCode {
        if !self.message.is_empty() {
            let _ = writeln!(io::stderr(), "{}", self.message);
        }
        ExitCode::from(self.status)
    }
}

impl From<UsageError> for CommandError {
    fn from(error: UsageError) -> Self {
        Self::new(error.message, error.status)
    }
}

impl From<Diagnostic> for CommandError {
    /// A missing director corresponds to ipvsadm's missing kernel module.
    fn from(error: Diagnostic) -> Self {
        match error.kind {
            DiagnosticKind::DirectorUnreachable | DiagnosticKind::InvalidSocketPath => no_ipvs(&error),
            // Without any permission, ipvsadm already fails to open its socket to the kernel.
            DiagnosticKind::NoAccess => no_ipvs(&permission_denied(&error)),
            DiagnosticKind::ReadOnly => Self::new(permission_denied(&error), 255),
            _ => Self::new(error.to_string(), 255),
        }
    }
}

fn no_ipvs(reason: &dyn Display) -> CommandError {
    CommandError::new(format!("Can't initialize ipvs: {reason}"), 2)
}

fn permission_denied(error: &Diagnostic) -> String {
    format!("Permission denied (you must be root): {}", error.cause)
}

impl From<io::Error> for CommandError {
    /// A reader that closes the pipe (`| head -1`) is not an error.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new("", 0),
            _ => Self::new(format!("cannot write the listing: {error}"), 255),
        }
    }
}
