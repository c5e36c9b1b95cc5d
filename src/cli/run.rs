//! `directrix run`: the director in the foreground.

use super::log;
use super::status::BAD_INPUT;
use crate::control::director::{self, Surroundings};
use crate::control::failure::Failure;
use crate::model::{BackendChoice, Config, ConfigErrors};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Where the configuration is unless told otherwise.
const DEFAULT_CONFIG: &str = "/etc/directrix/directrix.toml";

/// The arguments of `directrix run`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Configuration file
    #[arg(long, short, default_value = DEFAULT_CONFIG, value_name = "FILE")]
    config: PathBuf,

    /// What carries the frames, whatever the configuration says
    #[arg(long, value_enum, value_name = "BACKEND")]
    backend: Option<Backend>,

    /// How the log on stderr is written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    log: log::Format,

    /// Check the configuration, say what is wrong with it, and exit
    #[arg(long)]
    check: bool,
}

/// The names of [`BackendChoice`] on the command line.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Backend {
    /// AF_XDP where it works, else AF_PACKET
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
        Err(errors) => return bad_config(args.log, &errors),
    };
    if args.check {
        let (file, services) = (args.config.display(), config.services.len());
        println!("{file}: {services} {}, no errors", if services == 1 { "service" } else { "services" });
        return ExitCode::SUCCESS;
    }
    let again = args.clone();
    let surroundings = Surroundings {
        socket,
        reread: Arc::new(move || load(&again)),
        backend: args.backend.map(Into::into),
        ready: tell_ready,
    };
    match director::run(&config, surroundings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Misfit(errors)) => bad_config(args.log, &errors),
        Err(Failure::Socket(refused)) if refused.is_bad_input() => log::fail(args.log, BAD_INPUT, &refused),
        Err(failure) => log::fail(args.log, 1, &failure),
    }
}

/// The file, with what the command line says otherwise.
fn load(args: &Args) -> Result<Config, ConfigErrors> {
    let mut config = Config::load(&args.config)?;
    if let Some(backend) = args.backend {
        config.director.backend = backend.into();
    }
    Ok(config)
}

/// Says what is wrong with the configuration, as compilers do: one line each, file and line first.
fn bad_config(format: log::Format, errors: &ConfigErrors) -> ExitCode {
    errors.0.iter().for_each(|error| log::complain(format, error));
    ExitCode::from(BAD_INPUT)
}

/// Tells whoever started this process that it is ready, if they asked to be told (sd_notify(3)).
fn tell_ready() {
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::warn!(%error, "NOTIFY_SOCKET could not be told that the director is ready");
    }
}

impl From<Backend> for BackendChoice {
    fn from(backend: Backend) -> Self {
        match backend {
            Backend::Auto => Self::Auto,
            Backend::Xdp => Self::Xdp,
            Backend::Packet => Self::Packet,
        }
    }
}
