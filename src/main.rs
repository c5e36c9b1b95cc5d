//! The `directrix` binary: see [`directrix::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    directrix::cli::main()
}
