//! `directrix role`: the director's role among several.

use super::health::age;
use super::output::print_all;
use super::status::finish;
use crate::control::api::path;
use crate::control::api::role::RoleStatus;
use crate::control::client::Blocking;
use crate::model::{Diagnostic, Role};
use jiff::Timestamp;
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The role is set by this command only if role = \"command\" stands in [ha] of the configuration.

Examples:
  directrix role
  directrix role backup")]
pub(super) struct Args {
    /// Role to set; without it the present one is shown
    #[arg(conflicts_with = "json")]
    role: Option<NewRole>,

    /// Print the role as JSON
    #[arg(long)]
    json: bool,
}

/// A role that may be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum NewRole {
    /// Claim all VIPs at once
    Master,
    /// Let all VIPs go
    Backup,
    /// Let all VIPs go, for a reason of this host
    Fault,
}

/// Shows or sets the role.
pub(super) fn main(args: &Args, socket: &Path) -> ExitCode {
    finish(run(args, socket))
}

fn run(args: &Args, socket: &Path) -> Result<(), Diagnostic> {
    let director = Blocking::new(socket)?.named("role");
    match args.role {
        Some(role) => director.set_role(role.into()),
        None if args.json => print_all(&(director.text(path::ROLE)? + "\n")),
        None => print_all(&screen(&director.role()?, Timestamp::now().as_millisecond())),
    }
}

impl From<NewRole> for Role {
    fn from(role: NewRole) -> Self {
        match role {
            NewRole::Master => Self::Master,
            NewRole::Backup => Self::Backup,
            NewRole::Fault => Self::Fault,
        }
    }
}

/// Formats the role at `now`, in milliseconds since 1970.
fn screen(status: &RoleStatus, now: i64) -> String {
    let ago = |time_ms: u64| age(ms(u64::try_from(now).unwrap_or_default().saturating_sub(time_ms)));
    let RoleStatus { role, source, cause, transitions, .. } = status;
    let mut text = format!("{role} for {}, by {source}: {cause}\n", ago(status.since_ms));
    if *role == Role::Standalone {
        return text;
    }
    let _ = writeln!(text, "{transitions} changes; {}", heard(status));
    for rival in &status.split_brain {
        let _ = writeln!(text, "split brain: {} answers for the VIP {}, too", rival.mac, rival.vip);
    }
    for moment in &status.recent {
        let _ = writeln!(text, "  {} ago  {}", ago(moment.time_ms), moment.text);
    }
    text
}

/// At most 49 days.
fn ms(time: u64) -> u32 {
    u32::try_from(time).unwrap_or(u32::MAX)
}

/// Counts of inputs; for keepalived with its state.
fn heard(status: &RoleStatus) -> String {
    let RoleStatus { heard, ignored, unknown, deaths, .. } = status;
    if status.source != "fifo" {
        return format!("{unknown} unknown words");
    }
    let lives = if status.source_lives { "has the FIFO open" } else { "does not have the FIFO open" };
    format!(
        "keepalived {lives}, died {deaths} times; lines: {heard} heard, {ignored} ignored, {unknown} unknown"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::api::role::{RoleMoment, SplitBrain};

    #[test]
    fn a_screen_has_role_cause_and_latest_lines() {
        let status = RoleStatus {
            role: Role::Master,
            source: "fifo".into(),
            since_ms: 10_000,
            cause: "INSTANCE \"VI_1\" MASTER 150".into(),
            source_lives: true,
            transitions: 2,
            heard: 3,
            split_brain: vec![SplitBrain { vip: [192, 0, 2, 1].into(), mac: "02:00:00:00:00:09".into() }],
            recent: vec![RoleMoment { time_ms: 10_000, text: "INSTANCE \"VI_1\" MASTER 150".into() }],
            ..RoleStatus::default()
        };
        let wanted = format!(
            "master for {five}, by fifo: INSTANCE \"VI_1\" MASTER 150\n\
             2 changes; keepalived has the FIFO open, died 0 times; lines: 3 heard, 0 ignored, 0 unknown\n\
             split brain: 02:00:00:00:00:09 answers for the VIP 192.0.2.1, too\n  \
             {five} ago  INSTANCE \"VI_1\" MASTER 150\n",
            five = age(5_000)
        );
        assert_eq!(screen(&status, 15_000), wanted);
        let alone = RoleStatus { source: "standalone".into(), cause: "none".into(), ..RoleStatus::default() };
        assert_eq!(screen(&alone, 5_000), format!("standalone for {}, by standalone: none\n", age(5_000)));
    }
}
