//! `directrix run`: the director in the foreground.

use super::log;
use super::status::BAD_INPUT;
use crate::control::director::error::DirectorError;
use crate::control::director::inspect::{Inspection, inspect};
use crate::control::director::run::{RunOptions, run};
use crate::doctor::{self, Finding};
use crate::model::{BackendChoice, Config, Diagnostics};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Default path of the configuration file.
pub(super) const DEFAULT_CONFIG: &str = "/etc/directrix/directrix.toml";

/// The arguments of `directrix run`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Configuration file
    #[arg(long, short, default_value = DEFAULT_CONFIG, value_name = "FILE")]
    config: PathBuf,

    /// Override the configured backend
    #[arg(long, value_enum, value_name = "BACKEND")]
    backend: Option<BackendArg>,

    /// Take over from the running director with the same control socket: its connections, counters and health states; it ends
    #[arg(long, conflicts_with = "check")]
    takeover: bool,

    /// Format of the log on stderr
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    log: log::LogFormat,

    /// Check the configuration file, or this host as well (--check=host), report errors, and exit
    #[arg(
        long,
        value_enum,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "file",
        value_name = "WHAT"
    )]
    check: Option<CheckScope>,
}

/// Scope of `--check`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum CheckScope {
    /// The file alone: status 2 if it is wrong
    File,
    /// The file, then whether a director can start with it on this host: status 1 if only the host does not match
    Host,
}

/// The names of [`BackendChoice`] on the command line.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum BackendArg {
    /// AF_XDP where it works, else AF_PACKET; the log gives the reason
    Auto,
    /// AF_XDP
    Xdp,
    /// AF_PACKET
    Packet,
}

/// Runs the director until SIGTERM or SIGINT.
pub(super) fn main(args: &Args, socket: &Path) -> ExitCode {
    log::start(args.log);
    let config = match load(args) {
        Ok(config) => config,
        Err(errors) => return report(args.log, &errors, BAD_INPUT),
    };
    match args.check {
        Some(CheckScope::Host) => return check_host(args, &config),
        Some(CheckScope::File) => {
            println!("{}, no errors", summary(args, &config));
            return ExitCode::SUCCESS;
        }
        None => {}
    }
    let again = args.clone();
    let options = RunOptions {
        socket,
        read_config: Arc::new(move || load(&again)),
        backend: args.backend.map(Into::into),
        takes_over: args.takeover,
        on_host: Box::new(log_traps),
        on_ready: Box::new(notify_ready),
    };
    match run(&config, options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(DirectorError::InvalidConfig(errors)) => report(args.log, &errors, 1),
        Err(DirectorError::Failed(error)) => log::fail(args.log, &error),
    }
}

/// Logs the traps of this host in which the director does not work.
fn log_traps(config: &Config) {
    for Finding { id: trap, what, effect, remedy, .. } in doctor::errors_before_start(config) {
        let remedy = remedy.map(|remedy| remedy.to_string());
        tracing::error!(trap, what, effect, remedy, "a trap of this host; see directrix doctor");
    }
}

/// Prints the errors that keep a director from starting on this host, and notes.
fn check_host(args: &Args, config: &Config) -> ExitCode {
    let Inspection { faults, notes } = inspect(config);
    faults.iter().for_each(|fault| log::report(args.log, fault));
    notes.iter().for_each(|note| println!("note: {note}"));
    if !faults.is_empty() {
        return ExitCode::FAILURE;
    }
    println!("{}, no errors; this host has what it names", summary(args, config));
    ExitCode::SUCCESS
}

/// "FILE: N services"
fn summary(args: &Args, config: &Config) -> String {
    let (file, services) = (args.config.display(), config.services.len());
    format!("{file}: {services} {}", if services == 1 { "service" } else { "services" })
}

/// Loads the configuration file, and applies the options of the command line.
fn load(args: &Args) -> Result<Config, Diagnostics> {
    let mut config = Config::load(&args.config)?;
    if let Some(backend) = args.backend {
        config.director.backend = backend.into();
    }
    Ok(config)
}

/// Prints configuration errors as compilers do: one line each, file and line first.
fn report(format: log::LogFormat, errors: &Diagnostics, status: u8) -> ExitCode {
    errors.0.iter().for_each(|error| log::report(format, error));
    ExitCode::from(status)
}

/// Notifies the service manager that the director is ready, if NOTIFY_SOCKET is set (sd_notify(3)).
fn notify_ready() {
    // The status replaces that of a start that had to wait.
    let states = [sd_notify::NotifyState::Ready, sd_notify::NotifyState::Status("ready")];
    if let Err(error) = sd_notify::notify(&states) {
        tracing::warn!(%error, "notifying the service manager of readiness failed (NOTIFY_SOCKET)");
    }
}

impl From<BackendArg> for BackendChoice {
    fn from(backend: BackendArg) -> Self {
        match backend {
            BackendArg::Auto => Self::Auto,
            BackendArg::Xdp => Self::Xdp,
            BackendArg::Packet => Self::Packet,
        }
    }
}
