//! The path of the running program, for commands that start it again.

use crate::model::Diagnostic;
use std::path::PathBuf;

/// Returns the path of this program.
///
/// # Errors
/// /proc/self/exe cannot be read.
pub(super) fn exe() -> Result<PathBuf, Diagnostic> {
    std::env::current_exe().map_err(|error| {
        Diagnostic::io("cannot find the path of this program", &error).remedy("is /proc mounted?")
    })
}
