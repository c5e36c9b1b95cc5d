//! `directrix health report`: the result of an external check.

use super::change;
use crate::control::api::checks::CheckReport;
use crate::control::client::Blocking;
use crate::model::Diagnostic;
use std::net::IpAddr;

/// The arguments.
#[derive(Debug, clap::Args)]
pub(super) struct ReportArgs {
    /// RIP of the real server
    #[arg(value_parser = change::rip)]
    server: IpAddr,
    /// Name of its check of type external
    check: String,
    /// Result
    result: ReportedResult,
    /// Reason, shown while the result is down
    #[arg(long)]
    reason: Option<String>,
}

/// Result of an external check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ReportedResult {
    Up,
    Down,
}

/// Sends the report.
///
/// # Errors
/// If the server has no such check.
pub(super) fn send(args: &ReportArgs, director: &Blocking) -> Result<(), Diagnostic> {
    let ReportArgs { server, check, result, reason } = args;
    let up = *result == ReportedResult::Up;
    director.report(&CheckReport { server: *server, name: check.clone(), up, reason: reason.clone() })
}
