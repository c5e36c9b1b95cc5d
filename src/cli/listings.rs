//! `drops` and `workers`.

use std::path::Path;
use std::process::ExitCode;

/// Prints every drop reason with its count.
pub(super) fn drops(_socket: &Path) -> ExitCode {
    todo!()
}

/// Prints a block for each worker.
pub(super) fn workers(_socket: &Path) -> ExitCode {
    todo!()
}
