//! The command line: one file for each subcommand, without logic of its own.
//!
//! Exit statuses: 0 success, 1 failure, 2 invalid input.

#![forbid(unsafe_code)]

mod audit;
mod change;
mod doctor;
mod exe;
mod generate;
mod health;
mod health_report;
mod import;
mod input;
mod ipvsadm;
mod lab;
mod listings;
mod log;
mod number;
mod output;
mod realserver;
mod role;
mod run;
mod socket;
mod status;
mod summary;
mod sync;
mod top;
mod upgrade;
mod why_down;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, CommandFactory, FromArgMatches, Parser, Subcommand};
use socket::default_socket;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// An LVS-DR director in pure user space.
#[derive(Debug, Parser)]
#[command(name = "directrix", version, about, max_term_width = 100)]
struct Cli {
    /// Control socket of the director [env: DIRECTRIX_SOCKET] [default: /run/directrix/control.sock]
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,

    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Run the director in the foreground
    Run(run::Args),
    /// Show the director's status on one screen
    Status(summary::Args),
    /// Show every health check: state, cause, latency
    Health(health::Args),
    /// Say why a real server gets no new connections, and list its last changes
    WhyDown(why_down::Args),
    /// Show every host that misuses a VIP or the address of a real server
    Audit(audit::Args),
    /// Show or set the role of this director among several: master, backup or fault
    Role(role::Args),
    /// Show connection sync with other directors
    Sync(sync::Args),
    /// List and change services exactly as ipvsadm does
    Ipvsadm(ipvsadm::Args),
    /// Reload the configuration file
    Reload,
    /// Replace the running director by a new process of this program, which takes over its connections
    Upgrade(upgrade::Args),
    /// Show what a configuration file would change
    Plan(change::PlanArgs),
    /// Write the running configuration as a file
    Save(change::SaveArgs),
    /// Remove a real server once its connections have ended
    Drain(change::DrainArgs),
    /// Convert ipvsadm's rules, keepalived's or ldirectord's configuration or IPVS's sysctls to a configuration of directrix
    Import(import::Args),
    /// Show how many frames were dropped, and why
    Drops(listings::Args),
    /// Show per-worker statistics
    Workers(listings::Args),
    /// Watch services, workers and drops live; drain a real server
    Top(top::Args),
    /// Prepare a real server: VIP on lo, ARP and neighbor discovery suppressed
    Realserver(realserver::Args),
    /// Examine this host: traps of direct routing, each with its effect and the command that mends it
    Doctor(doctor::Args),
    /// Run the reference deployment in network namespaces
    Lab(lab::Args),
    /// Generate man pages and shell completions, for packages
    #[command(hide = true)]
    Generate(generate::Args),
}

/// Parses the command line and runs the subcommand. Under the name `ipvsadm`, the program behaves as ipvsadm.
#[must_use]
pub fn main() -> ExitCode {
    let mut words = std::env::args_os();
    if words.next().is_some_and(|name| Path::new(&name).file_name() == Some("ipvsadm".as_ref())) {
        return ipvsadm::run(&words.collect::<Vec<_>>(), &default_socket());
    }
    let cli = parse().unwrap_or_else(|error| with_hint(error).exit());
    let socket = cli.socket.unwrap_or_else(default_socket);
    match cli.command {
        CliCommand::Run(args) => run::main(&args, &socket),
        CliCommand::Status(args) => summary::main(&args, &socket),
        CliCommand::Health(args) => health::main(&args, &socket),
        CliCommand::WhyDown(args) => why_down::main(&args, &socket),
        CliCommand::Audit(args) => audit::main(&args, &socket),
        CliCommand::Role(args) => role::main(&args, &socket),
        CliCommand::Sync(args) => sync::main(&args, &socket),
        CliCommand::Ipvsadm(args) => ipvsadm::main(&args, &socket),
        CliCommand::Reload => change::reload(&socket),
        CliCommand::Upgrade(args) => upgrade::main(&args, &socket),
        CliCommand::Plan(args) => change::plan(&args, &socket),
        CliCommand::Save(args) => change::save(&args, &socket),
        CliCommand::Drain(args) => change::drain(&args, &socket),
        CliCommand::Import(args) => import::main(&args),
        CliCommand::Drops(args) => listings::drops(&args, &socket),
        CliCommand::Workers(args) => listings::workers(&args, &socket),
        CliCommand::Top(args) => top::main(&args, &socket),
        CliCommand::Realserver(args) => realserver::main(&args),
        CliCommand::Doctor(args) => doctor::main(&args, &socket),
        CliCommand::Lab(args) => lab::main(&args),
        CliCommand::Generate(args) => generate::main(&args, program()),
    }
}

/// Commands that need no running director. Their help omits `--socket`.
const WITHOUT_SOCKET: [&str; 4] = ["import", "realserver", "lab", "generate"];

fn parse() -> Result<Cli, clap::Error> {
    let matches = program().try_get_matches()?;
    Cli::from_arg_matches(&matches)
}

/// Builds the command line. In the commands without a socket, a hidden argument replaces the global `--socket`.
fn program() -> clap::Command {
    let path = clap::value_parser!(PathBuf);
    let unused =
        Arg::new("socket").long("socket").value_name("PATH").value_parser(path).global(true).hide(true);
    let mut program = Cli::command();
    for name in WITHOUT_SOCKET {
        program = program.mut_subcommand(name, |command| command.arg(unused.clone()));
    }
    program
}

/// Subcommands of similar tools, with the command that does the same here.
const SYNONYMS: [(&str, &str); 13] = [
    ("arp", "audit"),
    ("checks", "health"),
    ("list", "ipvsadm -Ln"),
    ("ls", "ipvsadm -Ln"),
    ("services", "ipvsadm -Ln"),
    ("servers", "ipvsadm -Ln"),
    ("show", "status"),
    ("info", "status"),
    ("stats", "ipvsadm -Ln --stats"),
    ("statistics", "ipvsadm -Ln --stats"),
    ("rate", "ipvsadm -Ln --rate"),
    ("connections", "ipvsadm -Lnc"),
    ("conns", "ipvsadm -Lnc"),
];

/// Adds the remedy to the error about a subcommand that is unknown, and a known synonym, or that stands behind its options.
fn with_hint(mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else { return error };
    let is_misplaced = error.kind() == ErrorKind::ArgumentConflict;
    let Some(hint) = (if is_misplaced { options_last(&error, word) } else { synonym(word) }) else {
        return error;
    };
    error.remove(ContextKind::SuggestedSubcommand); // similar in spelling only
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![hint.into()]));
    error
}

/// Remedy for options that stand before their subcommand.
fn options_last(error: &clap::Error, subcommand: &str) -> Option<String> {
    let options = match error.get(ContextKind::PriorArg)? {
        ContextValue::String(option) => option.clone(),
        ContextValue::Strings(options) => options.join(" "),
        _ => return None,
    };
    Some(format!("write the options behind the subcommand: '{subcommand} {options}'"))
}

fn synonym(word: &str) -> Option<String> {
    match word {
        "start" | "daemon" => Some(
            "'directrix run' is the director, in the foreground; its unit: 'systemctl start directrix'"
                .into(),
        ),
        "stop" | "restart" => {
            Some(format!("a director ends at SIGTERM or Ctrl-C; its unit: 'systemctl {word} directrix'"))
        }
        _ => {
            let (_, command) = SYNONYMS.iter().find(|(synonym, _)| *synonym == word)?;
            Some(format!("'directrix {command}' does that"))
        }
    }
}
