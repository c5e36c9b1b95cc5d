//! Names of errno values, for diagnostics.

use nix::errno::Errno;
use std::io;

/// Name and text of an error: "EBUSY: Device or resource busy".
pub(crate) fn errno(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => Errno::from_raw(number).to_string(),
        None => error.to_string(),
    }
}
