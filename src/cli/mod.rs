//! The command line: one file for each subcommand; no logic of their own.
//!
//! Exit statuses: 0 done, 1 failed, 2 the input was wrong.

#![forbid(unsafe_code)]

mod change;
mod generate;
mod import;
mod ipvsadm;
mod lab;
mod listings;
mod log;
mod number;
mod output;
mod realserver;
mod run;
mod status;
mod summary;
mod top;

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where the control socket is unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/directrix/control.sock";

/// An LVS-DR director in pure user space.
#[derive(Debug, Parser)]
#[command(name = "directrix", version, about, max_term_width = 100)]
struct Cli {
    /// Control socket of the director [env: DIRECTRIX_SOCKET] [default: /run/directrix/control.sock]
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the director in the foreground
    Run(run::Args),
    /// Show the director's status on one screen
    Status(summary::Args),
    /// List and change services exactly as ipvsadm does
    Ipvsadm(ipvsadm::Args),
    /// Reload the configuration file
    Reload,
    /// Show what a configuration file would change
    Plan(change::Plan),
    /// Write the running configuration as a file
    Save(change::Save),
    /// Remove a real server once its connections have ended
    Drain(change::Drain),
    /// Convert ipvsadm's rules or keepalived's configuration into a configuration of directrix
    Import(import::Args),
    /// Show how many frames were dropped, and why
    Drops(listings::Args),
    /// Show per-worker statistics
    Workers(listings::Args),
    /// Watch services, workers and drops live; drain a real server
    Top(top::Args),
    /// Prepare a real server: VIP on lo, ARP suppressed
    Realserver(realserver::Args),
    /// Run the reference deployment in network namespaces
    Lab(lab::Args),
    /// Man pages and completions, for packages
    #[command(hide = true)]
    Generate(generate::Args),
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
    let cli = parse().unwrap_or_else(|error| with_hint(error).exit());
    let socket = cli.socket.unwrap_or_else(default_socket);
    match cli.command {
        Command::Run(args) => run::main(&args, &socket),
        Command::Status(args) => summary::main(&args, &socket),
        Command::Ipvsadm(args) => ipvsadm::main(&args, &socket),
        Command::Reload => change::reload(&socket),
        Command::Plan(args) => change::plan(&args, &socket),
        Command::Save(args) => change::save(&args, &socket),
        Command::Drain(args) => change::drain(&args, &socket),
        Command::Import(args) => import::main(&args),
        Command::Drops(args) => listings::drops(&args, &socket),
        Command::Workers(args) => listings::workers(&args, &socket),
        Command::Top(args) => top::main(&args, &socket),
        Command::Realserver(args) => realserver::main(&args),
        Command::Lab(args) => lab::main(&args),
        Command::Generate(args) => generate::main(&args, program()),
    }
}

/// Commands that talk to no director, or bring their own: their help leaves `--socket` out.
const WITHOUT_SOCKET: [&str; 4] = ["import", "realserver", "lab", "generate"];

fn parse() -> Result<Cli, clap::Error> {
    let matches = program().try_get_matches()?;
    Cli::from_arg_matches(&matches)
}

/// The command line. A hidden argument of the same name stands in for the global one in a command's help.
fn program() -> clap::Command {
    let path = clap::value_parser!(PathBuf);
    let unused =
        Arg::new("socket").long("socket").value_name("PATH").value_parser(path).global(true).hide(true);
    let hide =
        |program: clap::Command, name| program.mut_subcommand(name, |command| command.arg(unused.clone()));
    WITHOUT_SOCKET.into_iter().fold(Cli::command(), hide)
}

/// Words that people try first, and the command that they look for.
const ALIKE: [(&str, &str); 12] = [
    ("list", "ipvsadm -Ln"),
    ("ls", "ipvsadm -Ln"),
    ("services", "ipvsadm -Ln"),
    ("servers", "ipvsadm -Ln"),
    ("show", "status"),
    ("info", "status"),
    ("health", "status"),
    ("stats", "ipvsadm -Ln --stats"),
    ("statistics", "ipvsadm -Ln --stats"),
    ("rate", "ipvsadm -Ln --rate"),
    ("connections", "ipvsadm -Lnc"),
    ("conns", "ipvsadm -Lnc"),
];

/// Names the command that an unknown subcommand stands for elsewhere.
fn with_hint(mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else { return error };
    let Some(hint) = hint(word) else { return error };
    error.remove(ContextKind::SuggestedSubcommand); // alike in letters only
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![hint.into()]));
    error
}

fn hint(word: &str) -> Option<String> {
    match word {
        "start" | "daemon" => Some(
            "'directrix run' is the director, in the foreground; its unit: 'systemctl start directrix'"
                .into(),
        ),
        "stop" | "restart" => {
            Some(format!("a director ends at SIGTERM or Ctrl-C; its unit: 'systemctl {word} directrix'"))
        }
        _ => {
            let (_, command) = ALIKE.iter().find(|(alike, _)| *alike == word)?;
            Some(format!("'directrix {command}' does that"))
        }
    }
}

/// The control socket where `--socket` is not given. A variable that is set to nothing is not set,
/// which clap would see otherwise.
fn default_socket() -> PathBuf {
    let named = std::env::var_os(SOCKET_VARIABLE).filter(|path| !path.is_empty());
    named.map_or_else(|| DEFAULT_SOCKET.into(), PathBuf::from)
}
