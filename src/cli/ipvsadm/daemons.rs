//! Sync daemons: `--start-daemon`, `--stop-daemon` and `-L --daemon`.

use super::args::CommandLine;
use super::error::CommandError;
use crate::control::api::sync::{SyncDaemonKind, SyncDaemonSettings, SyncDaemonStatus, SyncRequest};
use crate::control::client::Blocking;
use crate::ipvsadm::{Command, Opt};
use crate::model::DiagnosticKind;
use std::io::{self, Write};
use std::str::FromStr;

/// Interface without `--mcast-interface`.
const INTERFACE: &str = "eth0";

/// Starts or stops a daemon.
pub(super) fn change(line: &CommandLine, director: &Blocking) -> Result<(), CommandError> {
    let Some(daemon) = line.daemon else { return Ok(()) }; // the parser has found one
    director.change_sync(&request(daemon, line)).map_err(|error| match error.kind {
        DiagnosticKind::RequestRefused => CommandError::new(error.cause, 255),
        _ => error.into(),
    })
}

/// Writes a line for each daemon, that of the master first.
pub(super) fn list(director: &Blocking, out: &mut impl Write) -> Result<(), CommandError> {
    let status = director.sync()?;
    Ok(status.daemons.iter().try_for_each(|daemon| write_daemon(daemon, out))?)
}

fn write_daemon(of: &SyncDaemonStatus, out: &mut impl Write) -> io::Result<()> {
    let SyncDaemonStatus { daemon, interface, syncid, maxlen, group, port, ttl } = of;
    let name = daemon.name();
    writeln!(
        out,
        "{name} sync daemon (mcast={interface}, syncid={syncid}, maxlen={maxlen}, group={group}, port={port}, ttl={ttl})"
    )
}

fn request(daemon: SyncDaemonKind, line: &CommandLine) -> SyncRequest {
    let start = (line.command == Command::StartDaemon).then(|| SyncDaemonSettings {
        interface: line.value(Opt::McastInterface).unwrap_or(INTERFACE).to_owned(),
        syncid: number(line, Opt::SyncId).unwrap_or_default(),
        maxlen: number(line, Opt::SyncMaxlen),
        group: number(line, Opt::McastGroup),
        port: number(line, Opt::McastPort),
        ttl: number(line, Opt::McastTtl),
    });
    SyncRequest { daemon, start }
}

/// The value of an option, which was checked when the line was parsed.
fn number<T: FromStr>(line: &CommandLine, option: Opt) -> Option<T> {
    line.value(option)?.trim_start().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::args::{Invocation, parse};
    use super::*;

    fn request_of(line: &str) -> SyncRequest {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        match parse(&words) {
            Ok(Invocation::Run(line)) => request(line.daemon.unwrap(), &line),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn options_become_settings() {
        let SyncRequest { daemon, start } = request_of("--start-daemon master");
        let settings = SyncDaemonSettings { interface: "eth0".into(), ..SyncDaemonSettings::default() };
        assert_eq!((daemon, start), (SyncDaemonKind::Master, Some(settings)));
        let all = "--start-daemon backup --mcast-interface eth1 --syncid 7 --sync-maxlen 9000 --mcast-group ff02::81 \
                   --mcast-port 8849 --mcast-ttl 2";
        let settings = SyncDaemonSettings {
            interface: "eth1".into(),
            syncid: 7,
            maxlen: Some(9000),
            group: Some("ff02::81".parse().unwrap()),
            port: Some(8849),
            ttl: Some(2),
        };
        assert_eq!(request_of(all), SyncRequest { daemon: SyncDaemonKind::Backup, start: Some(settings) });
        let stop = SyncRequest { daemon: SyncDaemonKind::Backup, start: None };
        assert_eq!(request_of("--stop-daemon backup --syncid 3"), stop);
    }

    /// The lines of ipvsadm 1.31 beside kernel 6.1.
    #[test]
    fn daemons_are_listed_as_by_ipvsadm() {
        let daemon = SyncDaemonStatus {
            daemon: SyncDaemonKind::Master,
            interface: "eth0".into(),
            syncid: 7,
            maxlen: 1472,
            group: [224, 0, 0, 81].into(),
            port: 8848,
            ttl: 1,
        };
        let transcript = include_str!("../../../tests/golden/sync/transcript-6.1");
        for (daemon, interface) in [
            (daemon.clone(), "eth0"),
            (SyncDaemonStatus { syncid: 0, interface: "lo".into(), ..daemon.clone() }, "lo"),
            (SyncDaemonStatus { daemon: SyncDaemonKind::Backup, maxlen: 8972, ..daemon }, "eth0"),
        ] {
            let mut line = Vec::new();
            write_daemon(&daemon, &mut line).unwrap();
            let line = String::from_utf8(line).unwrap();
            assert!(transcript.contains(&line) && line.contains(interface), "{line}");
        }
    }
}
