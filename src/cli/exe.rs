//! The path of the running program, for commands that start it again.

use crate::lab::LabError;
use std::path::PathBuf;

/// Returns the path of this program.
///
/// # Errors
/// /proc/self/exe cannot be read.
pub(super) fn exe() -> Result<PathBuf, LabError> {
    std::env::current_exe()
        .map_err(|error| LabError::Failed(format!("cannot find the path of this program: {error}")))
}
