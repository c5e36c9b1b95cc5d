//! Errors of a command: the message on stderr, and the exit status.

use crate::model::{Diagnostic, DiagnosticKind, Diagnostics};
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

/// Exit status for invalid input.
pub(super) const BAD_INPUT: u8 = 2;
/// Exit status of a command that a signal ended, as of a shell at SIGINT.
const INTERRUPTED: u8 = 130;

/// Prints an error to stderr, and returns the exit status for its kind.
pub(super) fn fail(error: &Diagnostic) -> ExitCode {
    fail_as("directrix", error)
}

/// Prints an error to stderr, behind this name of the command, and returns the exit status for its kind.
pub(super) fn fail_as(command: &str, error: &Diagnostic) -> ExitCode {
    print(command, error);
    ExitCode::from(exit_status(error.kind))
}

/// Prints an error to stderr without the name of the command: file and line, if it has them, come first, as compilers do.
pub(super) fn print_file_error(error: &Diagnostic) {
    let _ = writeln!(io::stderr(), "{error}");
}

/// Prints the errors of a command's input to stderr, and returns the exit status.
pub(super) fn fail_with(status: u8, errors: &Diagnostics) -> ExitCode {
    print("directrix", errors);
    ExitCode::from(status)
}

/// Prints an error to stderr. A failure to print is ignored: stderr may be closed.
fn print(command: &str, error: &dyn Error) {
    let _ = writeln!(io::stderr(), "{command}: {error}");
}

/// Exit status for an error of this kind. Errors of an input file have the status of their command.
pub(super) fn exit_status(kind: DiagnosticKind) -> u8 {
    match kind {
        DiagnosticKind::InvalidSocketPath | DiagnosticKind::InvalidArgument => BAD_INPUT,
        DiagnosticKind::Interrupted => INTERRUPTED,
        _ => 1,
    }
}

/// Returns the exit status of a command, after the message if it failed.
pub(super) fn finish(done: Result<(), Diagnostic>) -> ExitCode {
    done.map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS)
}
