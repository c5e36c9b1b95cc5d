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
use std::path::PathBuf;
use std::process::ExitCode;

/// Where the control socket is unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/directrix/control.sock";

/// An LVS-DR director in pure user space.
#[derive(Debug, Parser)]
#[command(name = "directrix", version, about, max_term_width = 100)]
struct Cli {
    /// Control socket of the director
    #[arg(long, global = true, env = "DIRECTRIX_SOCKET", default_value = DEFAULT_SOCKET, value_name = "PATH")]
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
    Drops,
    /// Show what each worker does
    Workers,
    /// Prepare a real server: VIP on lo, quiet in ARP
    Realserver(realserver::Args),
    /// The reference deployment in network namespaces
    Lab(lab::Args),
}

/// Parses the command line and runs what it asks for.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Command::Run(args) => run::main(&args, &cli.socket),
        Command::Ipvsadm(args) => ipvsadm::main(&args, &cli.socket),
        Command::Drops => listings::drops(&cli.socket),
        Command::Workers => listings::workers(&cli.socket),
        Command::Realserver(args) => realserver::main(&args),
        Command::Lab(args) => lab::main(&args),
    }
}
