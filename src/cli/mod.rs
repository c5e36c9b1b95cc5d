//! The command line: one file for each subcommand; no logic of their own.
//!
//! Exit statuses: 0 done, 1 failed, 2 the input was wrong.

#![forbid(unsafe_code)]

mod ipvsadm;
mod lab;
mod listings;
mod realserver;
mod run;
mod status;

use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where the control socket is unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/directrix/control.sock";

/// An LVS-DR director in pure user space.
#[derive(Debug, Parser)]
#[command(name = "directrix", version, about, max_term_width = 100)]
struct Cli {
    /// Control socket of the director
    #[arg(long, global = true, env = SOCKET_VARIABLE, default_value = DEFAULT_SOCKET, value_name = "PATH")]
    socket: PathBuf,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the director in the foreground
    Run(run::Args),
    /// List services and connections exactly as ipvsadm does
    Ipvsadm(ipvsadm::Args),
    /// Show how many frames were dropped, and why
    Drops(listings::Args),
    /// Show what each worker does
    Workers(listings::Args),
    /// Prepare a real server: VIP on lo, quiet in ARP
    Realserver(realserver::Args),
    /// The reference deployment in network namespaces
    Lab(lab::Args),
}

/// The name of the control socket's environment variable.
const SOCKET_VARIABLE: &str = "DIRECTRIX_SOCKET";

/// Parses the command line and runs what it asks for. Called as `ipvsadm`, the program is that.
#[must_use]
pub fn main() -> ExitCode {
    let mut words = std::env::args_os();
    if words.next().is_some_and(|name| Path::new(&name).file_name() == Some("ipvsadm".as_ref())) {
        return ipvsadm::run(&words.collect::<Vec<_>>(), &default_socket());
    }
    let cli = Cli::parse();
    match cli.command {
        Command::Run(args) => run::main(&args, &cli.socket),
        Command::Ipvsadm(args) => ipvsadm::main(&args, &cli.socket),
        Command::Drops(args) => listings::drops(&args, &cli.socket),
        Command::Workers(args) => listings::workers(&args, &cli.socket),
        Command::Realserver(args) => realserver::main(&args),
        Command::Lab(args) => lab::main(&args),
    }
}

/// The control socket where `--socket` cannot be given. A variable that is set to nothing is not
/// set.
fn default_socket() -> PathBuf {
    let named = std::env::var_os(SOCKET_VARIABLE).filter(|path| !path.is_empty());
    named.map_or_else(|| DEFAULT_SOCKET.into(), PathBuf::from)
}
