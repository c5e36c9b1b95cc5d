//! ipvsadm's grammar and output.

use std::path::Path;
use std::process::ExitCode;

/// The subcommand's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

/// Runs the subcommand.
pub(super) fn main(_args: &Args, _socket: &Path) -> ExitCode {
    todo!()
}
