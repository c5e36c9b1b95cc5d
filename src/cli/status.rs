//! Exit statuses and the error message before them.

use std::fmt::Display;
use std::process::ExitCode;

/// Exit status for invalid input.
pub(super) const BAD_INPUT: u8 = 2;

/// Prints an error to stderr, and returns the exit status.
pub(super) fn fail(status: u8, what: &dyn Display) -> ExitCode {
    eprintln!("directrix: {what}");
    ExitCode::from(status)
}
