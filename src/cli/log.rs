//! The log on stderr, as text or JSON.

use super::status;
use crate::model::Diagnostic;
use std::io::IsTerminal;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Format of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LogFormat {
    /// A line of text for each event
    #[default]
    Text,
    /// One JSON object per line: timestamp, level, message, and the event's fields
    Json,
}

/// Default filter: directrix at info, libraries at warn.
const DEFAULT: &str = "warn,directrix=info";

/// Installs the log subscriber with the filter of RUST_LOG.
pub(super) fn start(format: LogFormat) {
    let value = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
    let filter = EnvFilter::try_new(directives(&value));
    let invalid = filter.as_ref().err().map(ToString::to_string);
    let filter = filter.unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match format {
        LogFormat::Json => {
            log.json().flatten_event(true).with_current_span(false).with_span_list(false).init()
        }
        // The journal adds the timestamps.
        LogFormat::Text if std::env::var_os("JOURNAL_STREAM").is_some() => {
            log.with_ansi(false).without_time().init();
        }
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
    }
    if let Some(cause) = invalid {
        tracing::warn!(
            value,
            cause,
            used = DEFAULT,
            "RUST_LOG is not understood: set a level such as directrix=debug"
        );
    }
}

/// Returns the filter for a value of RUST_LOG. A bare level applies to directrix; libraries log warnings at
/// most unless a directive names them.
fn directives(value: &str) -> String {
    let parts = value.split(',').map(str::trim).filter(|part| !part.is_empty());
    let each = parts.map(|part| match part.parse::<LevelFilter>() {
        Ok(level) => format!("{},directrix={level}", level.min(LevelFilter::WARN)),
        Err(_) => part.to_owned(),
    });
    each.fold(DEFAULT.to_owned(), |all, part| all + "," + &part)
}

/// Prints an error as text, or as a log event, so that every line of a JSON log is JSON.
pub(super) fn report(format: LogFormat, error: &Diagnostic) {
    match format {
        LogFormat::Text => status::print_file_error(error),
        LogFormat::Json => tracing::error!(%error, "directrix failed"),
    }
}

/// Reports the error that ends the program, and returns the exit status.
pub(super) fn fail(format: LogFormat, error: &Diagnostic) -> ExitCode {
    match format {
        LogFormat::Text => status::fail(error),
        LogFormat::Json => {
            report(format, error);
            ExitCode::from(status::exit_status(error.kind))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::log::capture;

    /// Logs a fixed list of events with this value of RUST_LOG, and returns the events in the log.
    fn logged(value: &str) -> String {
        let text = capture::logged(&directives(value), || {
            tracing::debug!(target: "directrix::control", "ours");
            tracing::info!(target: "directrix::control", "ours");
            tracing::debug!(target: "aya::bpf", "theirs");
            tracing::info!(target: "aya::bpf", "theirs");
            tracing::warn!(target: "aya::bpf", "theirs");
        });
        let short = |line: &str| {
            let has = |part: &str| line.contains(part);
            let level = ["DEBUG", "INFO", "WARN"].into_iter().find(|level| has(level)).unwrap();
            format!("{} {level}", if has("ours") { "ours" } else { "theirs" })
        };
        text.lines().map(short).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn libraries_log_warnings_unless_named() {
        for (value, expected) in [
            ("", "ours INFO, theirs WARN"),
            ("debug", "ours DEBUG, ours INFO, theirs WARN"),
            ("directrix=debug", "ours DEBUG, ours INFO, theirs WARN"),
            ("trace", "ours DEBUG, ours INFO, theirs WARN"),
            ("warn", "theirs WARN"),
            ("error", ""),
            ("off", ""),
            ("aya=debug", "ours INFO, theirs DEBUG, theirs INFO, theirs WARN"),
            ("warn, aya=info", "theirs INFO, theirs WARN"),
            ("debug,aya=off", "ours DEBUG, ours INFO"),
        ] {
            assert_eq!(logged(value), expected, "RUST_LOG={value}");
        }
    }
}
