//! The log on stderr: text for people, or JSON for programs.

use super::status;
use std::fmt::Display;
use std::io::IsTerminal;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// A line of text for each event
    #[default]
    Text,
    /// One JSON object per line: timestamp, level, message, and the event's fields
    Json,
}

/// What is logged unless RUST_LOG says otherwise: libraries are quiet, as their events are for their developers.
const DEFAULT: &str = "warn,directrix=info";

/// Logs as RUST_LOG says from now on.
pub(super) fn start(format: Format) {
    let asked = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
    let filter = EnvFilter::try_new(directives(&asked));
    let complaint = filter.as_ref().err().map(ToString::to_string);
    let filter = filter.unwrap_or_else(|_| EnvFilter::new(DEFAULT));
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
    if let Some(cause) = complaint {
        tracing::warn!(
            asked,
            cause,
            "RUST_LOG is not understood: set a level such as directrix=debug; using {DEFAULT}"
        );
    }
}

/// The filter for a value of RUST_LOG: a level alone is directrix's own, and libraries log warnings at most unless
/// a directive names them.
fn directives(asked: &str) -> String {
    let parts = asked.split(',').map(str::trim).filter(|part| !part.is_empty());
    let each = parts.map(|part| match part.parse::<LevelFilter>() {
        Ok(level) => format!("{},directrix={level}", level.min(LevelFilter::WARN)),
        Err(_) => part.to_owned(),
    });
    each.fold(DEFAULT.to_owned(), |all, part| all + "," + &part)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::log::capture;

    /// What of a fixed list of events is logged with this value of RUST_LOG.
    fn logged(asked: &str) -> String {
        let text = capture::logged(&directives(asked), || {
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
    fn libraries_are_quiet_unless_they_are_named() {
        for (asked, expected) in [
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
            assert_eq!(logged(asked), expected, "RUST_LOG={asked}");
        }
    }
}
