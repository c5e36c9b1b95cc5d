//! Input from a file that the user names, or from standard input.

use crate::model::{Diagnostic, read_file, read_input};
use std::io;
use std::path::Path;

/// Reads a file, or standard input for "-". Returns its name for messages, and its bytes.
///
/// # Errors
/// [`Diagnostic`] with the name.
pub(super) fn read(file: &Path) -> Result<(&Path, Vec<u8>), Diagnostic> {
    let (name, bytes) = match file.to_str() {
        Some("-") => (Path::new("stdin"), read_input(io::stdin().lock())),
        _ => (file, read_file(file)),
    };
    Ok((name, bytes.map_err(|error| error.in_file(name))?))
}
