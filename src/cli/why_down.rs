//! `directrix why-down`.

use super::change::{rip, service};
use super::health::age;
use super::output::print_all;
use super::status::fail;
use crate::control::api::events::Event;
use crate::control::api::reasons::ServerReasons;
use crate::control::client::Blocking;
use crate::model::{Diagnostic, DiagnosticKind, ServiceIdentity};
use serde::Serialize;
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

/// Exit status if the server gets no new connections of a service.
const NO_CONNECTIONS: u8 = 3;
/// Events that are printed.
const EVENTS_MAX: usize = 20;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit status:
  0  the server gets new connections of each service
  1  an error: no such server, or no director answers
  3  it gets none of one service at least")]
pub(super) struct Args {
    /// The real server's RIP
    #[arg(value_parser = rip)]
    server: IpAddr,
    /// Of this service alone, as in tcp:192.168.195.150:80; mark:7 for a group
    #[arg(value_parser = service)]
    service: Option<ServiceIdentity>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A server with its reasons and its last changes.
#[derive(Debug, Serialize)]
struct ServerHistory {
    services: Vec<ServerReasons>,
    /// The oldest first.
    events: Vec<Event>,
}

/// Prints why a server gets no new connections, or that it does, and its last changes.
pub(super) fn main(args: &Args, socket: &Path) -> ExitCode {
    match print(args, socket) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(NO_CONNECTIONS),
        Err(error) => fail(&error),
    }
}

/// Returns true if the server gets new connections of each service.
fn print(args: &Args, socket: &Path) -> Result<bool, Diagnostic> {
    let director = Blocking::new(socket)?;
    let answer = select(args, director.reasons()?, director.events()?)?;
    let text = if args.json {
        let json = serde_json::to_string(&answer);
        json.map_err(|error| Diagnostic::system(error.to_string()))? + "\n"
    } else {
        sentences(&answer, now_ms())
    };
    print_all(&text)?;
    Ok(answer.services.iter().all(|of| of.takes_connections))
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as u64
}

/// Selects what concerns the server.
fn select(args: &Args, reasons: Vec<ServerReasons>, events: Vec<Event>) -> Result<ServerHistory, Diagnostic> {
    let is_asked = |of: &ServerReasons| {
        of.server == args.server && args.service.is_none_or(|service| service == of.service)
    };
    let services: Vec<_> = reasons.into_iter().filter(is_asked).collect();
    if services.is_empty() {
        let rip = args.server;
        let what = args.service.map_or_else(
            || format!("no service has the real server {rip}"),
            |service| format!("there is no real server {rip} in {service}"),
        );
        let error = Diagnostic::new(DiagnosticKind::NoSuchServer, what);
        return Err(error.remedy("name one that `directrix ipvsadm -Ln` lists"));
    }
    let concerns = |event: &Event| services.iter().any(|of| event.concerns(of.service, of.server));
    let events = events.into_iter().filter(concerns).collect();
    Ok(ServerHistory { services, events })
}

fn sentences(answer: &ServerHistory, now_ms: u64) -> String {
    let mut text: String = answer.services.iter().map(of_service).collect();
    if answer.events.is_empty() {
        return text;
    }
    text += "Last changes, the latest first:\n";
    for event in answer.events.iter().rev().take(EVENTS_MAX) {
        let ms = u32::try_from(now_ms.saturating_sub(event.time_ms)).unwrap_or(u32::MAX);
        let check = event.check.as_ref().map_or(String::new(), |check| format!("{check} "));
        text += &format!("  {:>8} ago  {:<8}  {check}{}\n", age(ms), event.by, event.text);
    }
    text
}

fn of_service(of: &ServerReasons) -> String {
    let ServerReasons { service, server, reasons, notes, takes_connections } = of;
    let verdict = match takes_connections {
        true if notes.is_empty() => format!("{server} gets new connections of {service}.\n"),
        true => format!("{server} gets new connections of {service}:\n"),
        false => format!("{server} gets no new connections of {service}:\n"),
    };
    let lines = reasons.iter().map(|reason| &reason.text).chain(notes);
    verdict + &lines.map(|line| format!("  - {line}\n")).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::api::events::EventSource;
    use crate::control::api::reasons::Reason;
    use crate::model::ServiceAddress;
    use crate::wire::Protocol;

    fn web(port: u16) -> ServiceIdentity {
        ServiceAddress { protocol: Protocol::Tcp, address: ([192, 0, 2, 1], port).into() }.into()
    }

    fn of(port: u16, host: u8, reasons: Vec<Reason>, notes: &[&str]) -> ServerReasons {
        ServerReasons {
            service: web(port),
            server: [192, 0, 2, host].into(),
            takes_connections: reasons.is_empty(),
            reasons,
            notes: notes.iter().map(|note| (*note).to_owned()).collect(),
        }
    }

    fn event(port: Option<u16>, host: u8, time_ms: u64, text: &str) -> Event {
        Event {
            number: 0,
            time_ms,
            by: EventSource::Check,
            service: port.map(web),
            server: Some([192, 0, 2, host].into()),
            check: port.is_none().then(|| "tcp port 80".into()),
            text: text.into(),
        }
    }

    #[test]
    fn reasons_and_last_changes_of_one_server_are_told() {
        let args = Args { server: [192, 0, 2, 7].into(), service: None, json: false };
        let down = Reason::new("down", "its health check tcp port 80 has been down for 9 s: refused");
        let reasons = vec![
            of(80, 7, vec![down, Reason::new("weight-0", "its weight is 0")], &[]),
            of(443, 7, Vec::new(), &["it is in slow start: 35 % of its weight counts so far"]),
            of(53, 7, Vec::new(), &[]),
            of(80, 8, Vec::new(), &[]),
        ];
        let events = vec![
            event(None, 7, 1_000, "down: refused"),
            event(Some(80), 8, 2_000, "other"),
            event(Some(80), 7, 3_000, "out"),
        ];
        let answer = select(&args, reasons.clone(), events.clone()).unwrap();
        assert_eq!(
            sentences(&answer, 10_000),
            "\
192.0.2.7 gets no new connections of TCP 192.0.2.1:80:
  - its health check tcp port 80 has been down for 9 s: refused
  - its weight is 0
192.0.2.7 gets new connections of TCP 192.0.2.1:443:
  - it is in slow start: 35 % of its weight counts so far
192.0.2.7 gets new connections of TCP 192.0.2.1:53.
Last changes, the latest first:
       7 s ago  check     out
       9 s ago  check     tcp port 80 down: refused
"
        );
        let one = Args { service: Some(web(53)), ..args };
        let answer = select(&one, reasons, events).unwrap();
        assert_eq!((answer.services.len(), answer.events.len()), (1, 1));
    }

    #[test]
    fn an_unknown_server_is_named() {
        let error = |service| {
            let args = Args { server: [192, 0, 2, 9].into(), service, json: false };
            select(&args, vec![of(80, 7, Vec::new(), &[])], Vec::new()).unwrap_err().to_string()
        };
        assert!(error(None).starts_with("no service has the real server 192.0.2.9; "), "{}", error(None));
        let of_service = error(Some(web(81)));
        assert!(
            of_service.starts_with("there is no real server 192.0.2.9 in TCP 192.0.2.1:81; "),
            "{of_service}"
        );
    }
}
