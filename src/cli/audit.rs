//! `directrix audit`.

use super::health::age;
use super::output::print_all;
use super::status::{BAD_INPUT, fail_with};
use crate::audit::AuditReport;
use crate::control::api::audit::{Audit, Finding};
use crate::control::api::path;
use crate::control::client::Blocking;
use crate::control::neighbor::own_audit::OwnAudit;
use crate::model::{Config, Diagnostic, Diagnostics};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Interval at which the director is asked with `--watch`.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The running director answers. With --config this command asks and listens by itself, with or
without a director, for a time that depends on the number of VIPs and real servers. That needs
CAP_NET_RAW.

Exit status:
  0  no finding, or only findings of level info
  1  a finding of level error or warning
  2  there was no audit

Examples:
  directrix audit
  directrix audit --watch
  directrix audit --config /etc/directrix/directrix.toml --seconds 60")]
pub(super) struct Args {
    /// Audit the VIPs and real servers of this configuration file from this host, without the running director
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Duration of that audit
    #[arg(long, value_name = "NUMBER", requires = "config", conflicts_with = "watch",
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,

    /// Print findings as they come and go, until interrupted
    #[arg(long, conflicts_with = "json")]
    watch: bool,

    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

/// Prints the findings of the running director, or of an audit of this command's own.
pub(super) fn main(args: &Args, socket: &Path) -> ExitCode {
    let audit = match (&args.config, args.watch) {
        (Some(file), _) => own_audit(args, file),
        (None, true) => watch(socket).map_err(Diagnostics::from),
        (None, false) => of_director(args, socket).map_err(Diagnostics::from),
    };
    match audit {
        Err(errors) => fail_with(BAD_INPUT, &errors),
        Ok(audit) if audit.findings.iter().any(|finding| finding.level != "info") => ExitCode::FAILURE,
        Ok(_) => ExitCode::SUCCESS,
    }
}

fn of_director(args: &Args, socket: &Path) -> Result<Audit, Diagnostic> {
    let director = Blocking::new(socket)?;
    let audit = director.audit()?;
    let text = if args.json { director.text(path::AUDIT)? + "\n" } else { listing(&audit) };
    print_all(&text)?;
    Ok(audit)
}

fn own_audit(args: &Args, file: &Path) -> Result<Audit, Diagnostics> {
    let audit = OwnAudit::new(&Config::load(file)?)?;
    let duration = args.seconds.map_or(audit.duration(), Duration::from_secs);
    if args.watch {
        return Ok(audit.run(None, |report| drop(print_all(&line_of(report))))?);
    }
    eprintln!("directrix: asking and listening on {} for {} s", audit.interface(), duration.as_secs());
    let found = audit.run(Some(duration), |_| {})?;
    let json = || serde_json::to_string_pretty(&found).expect("findings are plain data") + "\n";
    print_all(&if args.json { json() } else { listing(&found) })?;
    Ok(found)
}

/// Prints the director's findings as they come and go. Returns only with an error.
fn watch(socket: &Path) -> Result<Audit, Diagnostic> {
    let director = Blocking::new(socket)?;
    let mut before = Vec::<Finding>::new();
    loop {
        let now = director.audit()?.findings;
        for finding in now.iter().filter(|one| !before.iter().any(|other| is_same(one, other))) {
            print_all(&paragraph(finding))?;
        }
        for finding in before.iter().filter(|one| !now.iter().any(|other| is_same(one, other))) {
            print_all(&format!("over: {}\n", finding.text))?;
        }
        before = now;
        std::thread::sleep(WATCH_INTERVAL);
    }
}

fn is_same(one: &Finding, other: &Finding) -> bool {
    (&one.misuse, one.address, &one.mac) == (&other.misuse, other.address, &other.mac)
}

fn line_of(report: &AuditReport) -> String {
    match report {
        AuditReport::Opened(finding) => {
            let remedy = finding.remedy();
            let (command, advice) = (remedy.command.as_deref(), remedy.advice.as_deref());
            with_remedy(finding.level.name(), &finding.to_string(), [command, advice])
        }
        AuditReport::Closed(finding) => format!("over: {finding}\n"),
    }
}

fn paragraph(finding: &Finding) -> String {
    with_remedy(&finding.level, &finding.text, [finding.command.as_deref(), finding.advice.as_deref()])
}

/// A finding with its remedy, in up to three lines.
fn with_remedy(level: &str, text: &str, [command, advice]: [Option<&str>; 2]) -> String {
    let mut lines = format!("{level}: {text}\n");
    if let Some(command) = command {
        lines += &format!("  type there: {command}\n");
    }
    if let Some(advice) = advice {
        lines += &format!("  {advice}\n");
    }
    lines
}

/// Columns.
type FindingLine = [String; 8];

fn listing(audit: &Audit) -> String {
    if audit.findings.is_empty() {
        return "No host misuses a VIP or the address of a real server.\n".into();
    }
    let headings =
        ["Level", "Misuse", "Address", "Server", "MAC", "Seen", "Since", "Count"].map(str::to_owned);
    let rows: Vec<_> = std::iter::once(headings).chain(audit.findings.iter().map(row)).collect();
    let mut text: String = rows.iter().map(|row| table_line(row, &rows)).collect();
    for finding in &audit.findings {
        text += "\n";
        text += &paragraph(finding);
    }
    text
}

fn row(finding: &Finding) -> FindingLine {
    let server = finding.server.map_or("-".to_owned(), |server| server.to_string());
    let since = age(u32::try_from(finding.since_ms).unwrap_or(u32::MAX));
    [
        finding.level.clone(),
        finding.misuse.clone(),
        finding.address.to_string(),
        server,
        finding.mac.clone(),
        finding.seen.clone(),
        since,
        finding.count.to_string(),
    ]
}

fn table_line(row: &FindingLine, rows: &[FindingLine]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let cells = row.iter().enumerate().map(|(column, cell)| format!("{cell:<width$}", width = width(column)));
    let line = cells.collect::<Vec<_>>().join("  ");
    format!("{}\n", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding() -> Finding {
        Finding {
            misuse: "answers".into(),
            level: "error".into(),
            address: [192, 0, 2, 80].into(),
            mac: "02:00:00:00:00:07".into(),
            server: Some([192, 0, 2, 7].into()),
            other_interface: false,
            seen: "asked".into(),
            since_ms: 181_000,
            last_ms: 1_000,
            count: 12,
            text: "real server 192.0.2.7 (02:00:00:00:00:07) answers ARP for the VIP 192.0.2.80".into(),
            command: Some("sysctl -w net.ipv4.conf.all.arp_ignore=1".into()),
            advice: None,
        }
    }

    #[test]
    fn each_finding_is_a_row_with_a_paragraph() {
        let audit = Audit { interval: 300, findings: vec![finding()] };
        assert_eq!(
            listing(&audit),
            "\
Level  Misuse   Address     Server     MAC                Seen   Since  Count
error  answers  192.0.2.80  192.0.2.7  02:00:00:00:00:07  asked  3 min  12

error: real server 192.0.2.7 (02:00:00:00:00:07) answers ARP for the VIP 192.0.2.80
  type there: sysctl -w net.ipv4.conf.all.arp_ignore=1
"
        );
        assert!(listing(&Audit::default()).starts_with("No host misuses"));
    }
}
