//! `directrix status`: the director's status on one screen.

use super::output::print_all;
use super::status::fail;
use crate::control::api::overview::{FileStatus, Reload, ServiceSummary, Status};
use crate::control::api::path;
use crate::control::api::role::RoleStatus;
use crate::control::client::Blocking;
use crate::model::{Diagnostic, DiagnosticKind, Role};
use crate::wire::vlan::Vlans;
use jiff::Timestamp;
use std::path::Path;
use std::process::ExitCode;

/// Exit status for a director with warnings.
const WARNED: u8 = 3;
/// Rows of a block (VIPs, services, unsaved changes, warnings) at most.
const ROWS: usize = 15;
/// Drop reasons shown at most.
const REASONS: usize = 5;

/// The arguments of `directrix status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit status: 0 all is well; 1 no director answers; 3 there are warnings.")]
pub(super) struct Args {
    /// Print the response of the control socket as JSON
    #[arg(long)]
    json: bool,
}

/// Prints the status of the director.
pub(super) fn main(args: &Args, socket: &Path) -> ExitCode {
    match query(args, socket) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(WARNED),
        Err(error) => fail(&error),
    }
}

/// Prints the status. Returns the number of its warnings.
fn query(args: &Args, socket: &Path) -> Result<usize, Diagnostic> {
    let director = Blocking::new(socket)?.named("status");
    if !args.json {
        let status = director.status()?;
        print_all(&screen(&status))?;
        return Ok(status.warnings.len());
    }
    let text = director.text(path::STATUS)?;
    print_all(&format!("{text}\n"))?;
    let status: Status = serde_json::from_str(&text).map_err(|error| {
        Diagnostic::new(DiagnosticKind::ExchangeFailed, "the answer is not understood")
            .cause(error.to_string())
    })?;
    Ok(status.warnings.len())
}

/// Formats a block of rows, the first behind the heading. A row of several lines, such as the errors of a file, stays in
/// the column of the rows.
fn block(heading: &str, rows: impl IntoIterator<Item = String>) -> String {
    let rows = rows.into_iter().map(|row| row.replace('\n', "\n               ")).enumerate();
    rows.map(|(number, row)| format!("{:<13}{row}\n", if number == 0 { heading } else { "" })).collect()
}

fn screen(status: &Status) -> String {
    let Status { version, pid, uptime, backend, workers, connections, capacity, .. } = status;
    let state = if status.ready { "ready" } else { "not ready yet" };
    let interfaces =
        status.interfaces.iter().map(|interface| format!("{} {}", interface.name, interface.mac));
    let vips =
        status.vips.iter().map(|vip| format!("{} {}{}", vip.address, vip.state, in_vlan(vip.vlan))).collect();
    [
        format!("directrix {version}, pid {pid}, up {}, {state}\n\n", span(*uptime)),
        block("Backend", [format!("{}: {}", backend.name, backend.reason)]),
        block("Interfaces", interfaces),
        block("Role", role(&status.role)),
        block(
            "Load",
            [format!(
                "{connections} of {capacity} connections, {workers} {}",
                if *workers == 1 { "worker" } else { "workers" }
            )],
        ),
        block("VIPs", first(vips, "directrix status --json")),
        block("Services", first(services(&status.services), "directrix ipvsadm -Ln")),
        block("Drops", [drops(status)]),
        block("File", file(&status.file)),
        block("Last reload", [reload(status.reload.as_ref())]),
        block("Warnings", warnings(status)),
    ]
    .concat()
}

/// The role and its cause; nothing for a director that stands alone.
fn role(status: &RoleStatus) -> Option<String> {
    let RoleStatus { role, source, cause, .. } = status;
    (*role != Role::Standalone).then(|| format!("{role}, by {source}: {cause}"))
}

/// ", VLAN 100" for a VIP within one.
fn in_vlan(vlan: Vlans) -> String {
    if vlan.is_none() { String::new() } else { format!(", VLAN {vlan}") }
}

/// Formats the services. Those without available servers come first, so that truncation cannot hide them.
fn services(services: &[ServiceSummary]) -> Vec<String> {
    let mut sorted: Vec<_> = services.iter().collect();
    sorted.sort_by_key(|service| (service.available > 0, service.available == service.servers));
    sorted.into_iter().map(service_row).collect()
}

fn service_row(service: &ServiceSummary) -> String {
    let ServiceSummary { identity, available, servers, detail } = service;
    let why = if available == servers && *servers > 0 { String::new() } else { format!(" ({detail})") };
    let noun = if *servers == 1 { "server" } else { "servers" };
    format!("{identity}  {available} of {servers} {noun} available{why}")
}

/// Truncates to [`ROWS`] rows, and names the command that shows all.
fn first(mut rows: Vec<String>, all: &str) -> Vec<String> {
    let more = rows.len().saturating_sub(ROWS);
    rows.truncate(ROWS);
    if more > 0 {
        rows.push(format!("… and {more} more: {all}"));
    }
    if rows.is_empty() { vec!["none".into()] } else { rows }
}

fn drops(status: &Status) -> String {
    let all = status.drops.iter().take(REASONS).map(|drop| format!("{} {}", drop.reason, drop.frames));
    let all = all.collect::<Vec<_>>().join(", ");
    let more = status.drops.len().saturating_sub(REASONS);
    match (all.is_empty(), more) {
        (true, _) => "none".into(),
        (false, 0) => all,
        (false, more) => format!("{all}, and {more} more reasons: directrix drops"),
    }
}

fn file(file: &FileStatus) -> Vec<String> {
    let FileStatus { error, unsaved, restarts } = file;
    if error.is_some() {
        return vec!["cannot be used".into()];
    }
    let restart = (!restarts.is_empty()).then(|| format!("{} differ: restart required", restarts.join(", ")));
    let changes = match unsaved.len() {
        0 => None,
        1 => Some("1 unsaved change: directrix save writes a file, reload undoes it".to_owned()),
        count => Some(format!("{count} unsaved changes: directrix save writes a file, reload undoes them")),
    };
    let rows: Vec<_> = restart.into_iter().chain(changes).collect();
    if rows.is_empty() {
        return vec!["matches the running configuration".into()];
    }
    let lines = unsaved.iter().map(|line| format!("  {line}")).collect::<Vec<_>>();
    let lines = if lines.is_empty() { lines } else { first(lines, "directrix status --json") };
    rows.into_iter().chain(lines).collect()
}

fn reload(reload: Option<&Reload>) -> String {
    let Some(Reload { at, by, changes, error }) = reload else { return "none since the start".into() };
    let at = i64::try_from(*at).ok().and_then(|at| Timestamp::from_second(at).ok());
    let at = at.map_or_else(|| "?".into(), |at| at.to_string());
    match error {
        Some(_) => format!("{at} by {by}: failed"),
        None if *changes == 1 => format!("{at} by {by}: 1 change"),
        None => format!("{at} by {by}: {changes} changes"),
    }
}

fn warnings(status: &Status) -> Vec<String> {
    let texts = status.warnings.iter().map(|warning| warning.text.clone()).collect();
    first(texts, "directrix status --json")
}

/// Formats a number of seconds in its two largest units.
fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::api::overview::{Backend, DropCount, Interface, Vip, Warning};
    use crate::model::{FirewallMark, IpFamily, ServiceAddress};
    use crate::wire::Protocol;

    fn service(port: u16, available: usize, detail: &str) -> ServiceSummary {
        let identity =
            ServiceAddress { protocol: Protocol::Tcp, address: ([192, 0, 2, 1], port).into() }.into();
        ServiceSummary { identity, available, servers: 2, detail: detail.into() }
    }

    fn status() -> Status {
        Status {
            version: "1.2.3".into(),
            pid: 42,
            uptime: 3700,
            ready: true,
            backend: Backend { name: "xdp".into(), reason: "AF_XDP works on eth0".into() },
            workers: 2,
            connections: 7,
            capacity: 4096,
            interfaces: vec![Interface { name: "eth0".into(), mac: "02:00:00:00:00:01".into() }],
            vips: vec![
                Vip { address: [192, 0, 2, 1].into(), state: "claimed".into(), vlan: Vlans::NONE },
                Vip {
                    address: [192, 0, 2, 2].into(),
                    state: "claimed".into(),
                    vlan: Vlans::new(&[100, 7]).unwrap(),
                },
            ],
            services: vec![service(80, 2, "2 available"), service(443, 0, "2 with weight 0")],
            drops: vec![DropCount { reason: "no_server".into(), frames: 9 }],
            file: FileStatus { unsaved: vec!["+ x".into()], ..FileStatus::default() },
            reload: Some(Reload { at: 1_735_689_600, by: "SIGHUP".into(), changes: 2, error: None }),
            warnings: vec![Warning::new("no-server", "TCP 192.0.2.1:443 has none")],
            ..Status::default()
        }
    }

    #[test]
    fn screen_shows_each_block() {
        let expected = "\
directrix 1.2.3, pid 42, up 1 h 1 min, ready

Backend      xdp: AF_XDP works on eth0
Interfaces   eth0 02:00:00:00:00:01
Load         7 of 4096 connections, 2 workers
VIPs         192.0.2.1 claimed
             192.0.2.2 claimed, VLAN 100.7
Services     TCP 192.0.2.1:443  0 of 2 servers available (2 with weight 0)
             TCP 192.0.2.1:80  2 of 2 servers available
Drops        no_server 9
File         1 unsaved change: directrix save writes a file, reload undoes it
               + x
Last reload  2025-01-01T00:00:00Z by SIGHUP: 2 changes
Warnings     TCP 192.0.2.1:443 has none
";
        assert_eq!(screen(&status()), expected);
    }

    #[test]
    fn screen_shows_ipv6_groups_and_vlans() {
        let identity = ServiceAddress {
            protocol: Protocol::Sctp,
            address: "[2001:db8:ffff:ffff:ffff:ffff:ffff:150]:65535".parse().unwrap(),
        };
        let summary = |identity, servers| ServiceSummary {
            identity,
            available: 1,
            servers,
            detail: "1 with weight 0".into(),
        };
        let mark = |family| FirewallMark { mark: u32::MAX.try_into().unwrap(), family };
        let vlan = Vlans::new(&[100]).unwrap();
        let vip = |address: &str, state: &str, vlan| Vip {
            address: address.parse().unwrap(),
            state: state.into(),
            vlan,
        };
        let text = screen(&Status {
            services: vec![
                summary(identity.into(), 1),
                summary(mark(IpFamily::Ipv4).into(), 1),
                summary(mark(IpFamily::Ipv6).into(), 2),
            ],
            vips: vec![
                vip("2001:db8::80", "claimed", Vlans::NONE),
                vip("2001:db8::81", "standby: 02:00:00:00:00:09 answers for it", vlan),
            ],
            warnings: vec![Warning::new("file-unusable", "cannot be used: f:1: a is wrong\nf:2: b is wrong")],
            ..Status::default()
        });
        let blocks = "\
VIPs         2001:db8::80 claimed
             2001:db8::81 standby: 02:00:00:00:00:09 answers for it, VLAN 100
Services     FWM 4294967295 IPv6  1 of 2 servers available (1 with weight 0)
             SCTP [2001:db8:ffff:ffff:ffff:ffff:ffff:150]:65535  1 of 1 server available
             FWM 4294967295  1 of 1 server available
Drops        none
";
        assert!(text.contains(blocks), "{text}");
        let warning = "Warnings     cannot be used: f:1: a is wrong\n               f:2: b is wrong\n";
        assert!(text.ends_with(warning), "{text}");
    }

    #[test]
    fn large_site_fits_on_one_screen() {
        let services: Vec<_> =
            (1..3000).map(|port| service(port, 2, "")).chain([service(5000, 0, "x")]).collect();
        let vips = (0..255)
            .map(|n| Vip { address: [192, 0, 2, n].into(), state: "claimed".into(), vlan: Vlans::NONE })
            .collect();
        let warnings = (0..99).map(|n| Warning::new("x", n.to_string())).collect();
        let unsaved = (0..99).map(|n| n.to_string()).collect();
        let drops = (0..30).map(|n| DropCount { reason: format!("r{n}"), frames: 1 }).collect();
        let file = FileStatus { unsaved, ..FileStatus::default() };
        let text = screen(&Status { services, vips, warnings, file, drops, ..status() });
        assert!(text.lines().count() < 80, "{text}");
        assert!(
            text.contains("Services     TCP 192.0.2.1:5000  0 of 2"),
            "what lacks servers comes first: {text}"
        );
        assert!(text.contains("… and 2985 more: directrix ipvsadm -Ln"), "{text}");
    }

    #[test]
    fn empty_blocks_print_none() {
        let text = screen(&Status::default());
        for row in ["VIPs         none", "Services     none", "Drops        none", "Warnings     none"] {
            assert!(text.contains(row), "{text}");
        }
        assert!(
            text.contains(
                "File         matches the running configuration\nLast reload  none since the start\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn spans_have_two_units() {
        let spans = [59, 61, 3600, 90_061].map(span);
        assert_eq!(spans, ["59 s", "1 min 1 s", "1 h 0 min", "1 d 1 h"]);
    }
}
