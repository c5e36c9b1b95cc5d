//! How the command line ends.

use std::fmt::Display;
use std::process::ExitCode;

/// The exit status for input that is wrong.
pub(super) const BAD_INPUT: u8 = 2;

/// Says on stderr what went wrong, and gives the exit status back.
pub(super) fn fail(status: u8, what: &dyn Display) -> ExitCode {
    eprintln!("directrix: {what}");
    ExitCode::from(status)
}
