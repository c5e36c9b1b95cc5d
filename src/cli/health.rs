//! `directrix health`.

use super::change;
use super::health_report::{self, ReportArgs};
use super::output::print_all;
use super::status::finish;
use crate::control::api::checks::{Check, Checks, Server, Service};
use crate::control::api::path;
use crate::control::api::request::ChangeRequest;
use crate::control::client::Blocking;
use crate::model::{Diagnostic, DiagnosticKind, HealthMode, ServiceIdentity};
use crate::wire::Protocol;
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    /// Print the answer of the control socket as JSON
    #[arg(long)]
    json: bool,

    #[command(subcommand)]
    command: Option<HealthAct>,
}

/// Acts beside the listing.
#[derive(Debug, clap::Subcommand)]
enum HealthAct {
    #[command(flatten)]
    Hold(HealthHold),
    /// Report the result of a check of type external
    Report(ReportArgs),
}

/// The operator's holds on health.
#[derive(Debug, clap::Subcommand)]
enum HealthHold {
    /// Send no probes; each server stays up or down as it is
    Pause(HoldTargets),
    /// End a pause and what is forced: the checks decide again
    Resume(HoldTargets),
    /// Count servers as up, whatever their checks find
    ForceUp(HoldTargets),
    /// Give servers no new connections, as in maintenance; connections go on as with a server that fails
    ForceDown(HoldTargets),
}

/// The servers of a hold.
#[derive(Debug, clap::Args)]
struct HoldTargets {
    /// A service, as in tcp:192.168.195.150:80 or mark:7; the RIP of a real server; or both. Without any: all servers
    #[arg(value_name = "SERVICE|SERVER", value_parser = target, num_args = 0..=2)]
    targets: Vec<HoldTarget>,
}

/// One of the [`HoldTargets`].
#[derive(Clone, Copy, Debug)]
enum HoldTarget {
    Service(ServiceIdentity),
    Server(IpAddr),
}

fn target(text: &str) -> Result<HoldTarget, String> {
    // Only a service begins with a word; a RIP with a port gets the hint of a RIP.
    match text.split_once(':') {
        Some((word, _)) if Protocol::named(word).is_some() || word == "mark" => {
            change::service(text).map(HoldTarget::Service)
        }
        _ => change::rip(text)
            .map(HoldTarget::Server)
            .map_err(|hint| format!("{hint}; or a service, as in tcp:192.168.195.150:80 or mark:7")),
    }
}

/// Prints a line for each health check of each real server, sets a hold, or reports a result.
pub(super) fn main(args: &Args, socket: &Path) -> ExitCode {
    finish(Blocking::new(socket).and_then(|director| match &args.command {
        Some(HealthAct::Hold(hold)) => set(&director.named("health"), hold),
        Some(HealthAct::Report(args)) => health_report::send(args, &director.named("health")),
        None => list(&director, args.json),
    }))
}

fn list(director: &Blocking, json: bool) -> Result<(), Diagnostic> {
    let text = if json {
        director.text(path::CHECKS).map(|text| text + "\n")
    } else {
        director.checks().map(|checks| listing(&checks))
    };
    print_all(&text?)
}

/// Sets a hold, and prints what has changed.
fn set(director: &Blocking, hold: &HealthHold) -> Result<(), Diagnostic> {
    let lines = director.change(&[hold.request()?])?;
    print_all(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())
}

impl HealthHold {
    fn request(&self) -> Result<ChangeRequest, Diagnostic> {
        let (mode, HoldTargets { targets }) = match self {
            Self::Pause(targets) => (HealthMode::Paused, targets),
            Self::Resume(targets) => (HealthMode::Auto, targets),
            Self::ForceUp(targets) => (HealthMode::ForcedUp, targets),
            Self::ForceDown(targets) => (HealthMode::ForcedDown, targets),
        };
        let (mut service, mut server) = (None, None);
        for target in targets {
            let is_second = match *target {
                HoldTarget::Service(of) => service.replace(of).is_some(),
                HoldTarget::Server(rip) => server.replace(rip).is_some(),
            };
            if is_second {
                let what = "two services or two real servers";
                let error = Diagnostic::new(DiagnosticKind::InvalidArgument, what);
                return Err(error.remedy("name one service, one real server, or one of each"));
            }
        }
        Ok(ChangeRequest::SetHealth { service, server, mode })
    }
}

/// Columns; the last one has no width.
type CheckLine = [String; 7];

fn listing(checks: &Checks) -> String {
    if checks.services.is_empty() {
        return "No service has health checks: add [[service.check]] to the configuration file.\n".into();
    }
    let mut text = String::new();
    if checks.frozen {
        text += "Nearly all checks fail at once: no server goes down. See whether this host's own network works.\n";
    }
    let headings = ["Server", "Check", "State", "Since", "Last", "Next", "Why"].map(str::to_owned);
    let all = checks.services.iter().flat_map(|service| service.servers.iter().flat_map(rows));
    let widths = widths(std::iter::once(headings.clone()).chain(all));
    for service in &checks.services {
        text += &heading(service);
        let rows: Vec<_> = service.servers.iter().flat_map(rows).collect();
        let headed = rows.first().map(|_| &headings).into_iter().chain(&rows);
        headed.for_each(|row| text += &line(row, &widths));
    }
    text
}

fn heading(service: &Service) -> String {
    let panic = if service.panic { ": health is ignored, as too much weight is down" } else { "" };
    let reason = service.flood_reason.as_ref().map(|reason| format!(", {reason}")).unwrap_or_default();
    let flood =
        if service.flood { format!(": handshakes fail with most servers{reason}") } else { String::new() };
    format!("{}{}{panic}{flood}\n", service.identity, quorum(service))
}

/// The quorum, and what the sorry server does.
fn quorum(service: &Service) -> String {
    let quorum = service.quorum.map(|of| {
        let state = if of.up { "stands" } else { "is lost" };
        format!(": the quorum of {} {state} with weight {}", of.weight, of.live)
    });
    let sorry = service.sorry_server.map(|of| {
        let use_ = if of.in_use { "gets all new connections" } else { "stands by" };
        format!(", the sorry server {} {use_}", of.address)
    });
    quorum.into_iter().chain(sorry).collect()
}

fn rows(server: &Server) -> Vec<CheckLine> {
    let passive = server.passive.iter().map(|passive| {
        let next = passive.left_ms.map_or("-".into(), |ms| format!("{:.1} s", f64::from(ms) / 1000.0));
        let (state, since) = (passive.state.clone(), age(passive.since_ms));
        let name = "handshakes".to_owned();
        [server.address.to_string(), name, state, since, "-".into(), next, passive.reason.clone()]
    });
    if server.checks.is_empty() && server.mode != HealthMode::Auto {
        let mut row = ["-"; 7].map(str::to_owned);
        (row[0], row[2], row[6]) = (server.address.to_string(), held(server.mode).into(), String::new());
        return std::iter::once(row).chain(passive).collect();
    }
    let rows = server.checks.iter().map(|check| {
        let state = match check.state.as_str() {
            state if server.mode != HealthMode::Auto => format!("{state}, {}", held(server.mode)),
            "unknown" if server.out => "unknown, not in use yet".to_owned(),
            "down" if !server.out => "down, in use".to_owned(),
            _ if check.downs > 1 => format!("{}, flapping", check.state),
            state => state.to_owned(),
        };
        let took = check.took_us.map_or("-".into(), |us| format!("{:.1} ms", us as f64 / 1000.0));
        let idle = if check.paused { "-" } else { "now" };
        let next = check.next_ms.map_or(idle.into(), |ms| format!("{:.1} s", f64::from(ms) / 1000.0));
        let since = age(check.since_ms);
        [server.address.to_string(), check.check.clone(), state, since, took, next, why(check)]
    });
    rows.chain(passive).collect()
}

fn held(mode: HealthMode) -> &'static str {
    match mode {
        HealthMode::Auto => "",
        HealthMode::Paused => "paused",
        HealthMode::ForcedUp => "forced up",
        HealthMode::ForcedDown => "forced down",
    }
}

/// The cause or the last error; without one, the effect on the weight, or the end of the certificate.
fn why(check: &Check) -> String {
    let expiry = check.certificate.as_ref().map(|certificate| match certificate.days {
        ..0 => "the certificate has expired".to_owned(),
        days => format!("the certificate expires in {days} days"),
    });
    check.reason.clone().or(check.error.clone()).or(check.weight.clone()).or(expiry).unwrap_or_default()
}

/// "3 s", "5 min", "2 h" or "4 d".
pub(super) fn age(ms: u32) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn widths(rows: impl Iterator<Item = CheckLine>) -> [usize; 6] {
    rows.fold([0; 6], |mut widths, row| {
        widths.iter_mut().zip(&row).for_each(|(width, cell)| *width = (*width).max(cell.chars().count()));
        widths
    })
}

fn line(row: &CheckLine, widths: &[usize; 6]) -> String {
    let mut line = String::from(" ");
    for (cell, width) in row.iter().zip(widths) {
        line += &format!(" {cell:<width$} ");
    }
    line += &format!(" {}", row[6]);
    format!("{}\n", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::api::checks::{Certificate, Passive, Quorum, SorryServer};
    use crate::model::ServiceAddress;

    fn check(state: &str, reason: Option<&str>, downs: usize) -> Check {
        Check {
            check: "http /alive port 80".into(),
            decides: true,
            state: state.into(),
            since_ms: 432_100,
            last_ms: Some(400),
            took_us: Some(840),
            next_ms: reason.map(|_| 4_600),
            paused: false,
            error: None,
            weight: None,
            cause: None,
            reason: reason.map(str::to_owned),
            downs,
            certificate: None,
        }
    }

    #[test]
    fn each_check_of_a_server_is_a_line() {
        let server = |last: u8, out, check: Check| Server {
            address: [192, 0, 2, last].into(),
            down: check.state == "down",
            out,
            dynamic_weight: None,
            mode: HealthMode::Auto,
            checks: vec![check],
            passive: None,
        };
        let address = ServiceAddress { protocol: Protocol::Tcp, address: ([192, 0, 2, 1], 80).into() };
        let servers = vec![
            server(7, false, check("up", None, 0)),
            server(8, true, check("down", Some("192.0.2.8:80 is refused"), 3)),
        ];
        let service = Service {
            identity: address.into(),
            panic: false,
            flood: false,
            flood_reason: None,
            quorum: None,
            sorry_server: None,
            servers,
        };
        let checks = Checks { services: vec![service.clone()], ..Checks::default() };
        assert_eq!(
            listing(&checks),
            "\
TCP 192.0.2.1:80
  Server     Check                State           Since  Last    Next   Why
  192.0.2.7  http /alive port 80  up              7 min  0.8 ms  now
  192.0.2.8  http /alive port 80  down, flapping  7 min  0.8 ms  4.6 s  192.0.2.8:80 is refused
"
        );
        let passive = Passive {
            state: "ejected".into(),
            since_ms: 4_000,
            left_ms: Some(26_000),
            opened: 43,
            failed: 41,
            repeated: 39,
            others_permille: Some(10),
            reason: "41 of 43 handshakes not completed".into(),
        };
        let mut suspected = service.clone();
        suspected.servers.truncate(1);
        suspected.servers[0].passive = Some(passive);
        assert_eq!(
            listing(&Checks {
                services: vec![Service { flood: true, flood_reason: Some("9 of 9".into()), ..suspected }],
                ..Checks::default()
            }),
            "\
TCP 192.0.2.1:80: handshakes fail with most servers, 9 of 9
  Server     Check                State    Since  Last    Next    Why
  192.0.2.7  http /alive port 80  up       7 min  0.8 ms  now
  192.0.2.7  handshakes           ejected  4 s    -       26.0 s  41 of 43 handshakes not completed
"
        );
        let panic = Service { panic: true, ..service };
        let text = listing(&Checks { frozen: true, services: vec![panic], ..Checks::default() });
        assert!(text.contains("no server goes down") && text.contains("health is ignored"), "{text}");
        assert!(listing(&Checks::default()).starts_with("No service has health checks"));
    }

    #[test]
    fn the_quorum_and_the_sorry_server_are_shown() {
        let address = ServiceAddress { protocol: Protocol::Tcp, address: ([192, 0, 2, 1], 80).into() };
        let lost = Service {
            identity: address.into(),
            panic: false,
            flood: false,
            flood_reason: None,
            quorum: Some(Quorum { weight: 2, live: 1, up: false }),
            sorry_server: Some(SorryServer { address: [192, 0, 2, 9].into(), in_use: true }),
            servers: Vec::new(),
        };
        assert_eq!(
            listing(&Checks { services: vec![lost], ..Checks::default() }),
            "TCP 192.0.2.1:80: the quorum of 2 is lost with weight 1, the sorry server 192.0.2.9 gets all new connections\n"
        );
    }

    #[test]
    fn the_end_of_a_certificate_is_shown_unless_there_is_a_cause() {
        let shown = |days, reason| {
            let certificate = Some(Certificate { expires: 1_796_012_130, days });
            why(&Check { certificate, ..check("up", reason, 0) })
        };
        assert_eq!(shown(12, None), "the certificate expires in 12 days");
        assert_eq!(shown(-1, None), "the certificate has expired");
        assert_eq!(shown(12, Some("192.0.2.8:443 is refused")), "192.0.2.8:443 is refused");
    }

    #[test]
    fn holds_of_the_operator_are_shown() {
        let of = |mode, checks| Server {
            address: [192, 0, 2, 7].into(),
            down: false,
            out: false,
            mode,
            dynamic_weight: None,
            checks,
            passive: None,
        };
        let state = |server: &Server| rows(server).iter().map(|row| row[2].clone()).collect::<Vec<_>>();
        assert_eq!(state(&of(HealthMode::ForcedDown, vec![])), ["forced down"]);
        assert_eq!(state(&of(HealthMode::ForcedUp, vec![check("down", None, 3)])), ["down, forced up"]);
        let paused = Check { paused: true, next_ms: None, ..check("up", None, 0) };
        let row = &rows(&of(HealthMode::Paused, vec![paused]))[0];
        assert_eq!([row[2].as_str(), &row[5]], ["up, paused", "-"]);
        assert!(rows(&of(HealthMode::Auto, vec![])).is_empty());
    }

    #[test]
    fn a_hold_takes_a_service_and_a_server_in_any_order() {
        let request = |words: &[&str]| {
            let targets = words.iter().map(|word| target(word).unwrap()).collect();
            HealthHold::ForceDown(HoldTargets { targets }).request()
        };
        let (service, server) = ("tcp:192.0.2.1:80", "192.0.2.7");
        let both = request(&[service, server]).unwrap();
        assert_eq!(both, request(&[server, service]).unwrap());
        assert!(matches!(both, ChangeRequest::SetHealth { service: Some(_), server: Some(_), .. }));
        assert!(matches!(
            request(&[]).unwrap(),
            ChangeRequest::SetHealth { service: None, server: None, .. }
        ));
        assert!(request(&[server, server]).is_err());
        assert!(matches!(target("2001:db8::7"), Ok(HoldTarget::Server(_))));
        assert!(target("192.0.2.7:80").unwrap_err().contains("without a port"));
        assert!(target("tcp:80").unwrap_err().contains("protocol, VIP and port"));
    }

    #[test]
    fn ages_are_in_one_unit() {
        assert_eq!(
            [0, 119_000, 120_000, 7_200_000, 172_800_000].map(age),
            ["0 s", "119 s", "2 min", "2 h", "2 d"]
        );
    }
}
