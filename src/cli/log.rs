//! The log on stderr: text for people, or JSON for programs.

use super::status;
use std::fmt::Display;
use std::io::IsTerminal;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// A line of text for each event
    #[default]
    Text,
    /// An object a line: timestamp, level, message, and what else belongs to the event
    Json,
}

/// Logs at level info from now on, or as RUST_LOG says.
pub(super) fn start(format: Format) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match format {
        Format::Json => log.json().flatten_event(true).with_current_span(false).with_span_list(false).init(),
        // The journal adds the time itself.
        Format::Text if std::env::var_os("JOURNAL_STREAM").is_some() => {
            log.with_ansi(false).without_time().init();
        }
        Format::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
    }
}

/// Says what is wrong: as it stands, or as an event, so that every line is JSON.
pub(super) fn complain(format: Format, what: &dyn Display) {
    match format {
        Format::Text => eprintln!("{what}"),
        Format::Json => tracing::error!("{what}"),
    }
}

/// Says why the program ends, and gives the exit status back.
pub(super) fn fail(format: Format, status: u8, why: &dyn Display) -> ExitCode {
    match format {
        Format::Text => status::fail(status, why),
        Format::Json => {
            complain(format, why);
            ExitCode::from(status)
        }
    }
}
