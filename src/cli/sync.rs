//! `directrix sync`: connection sync with other directors.

use super::output::print_all;
use super::status::finish;
use crate::control::api::path;
use crate::control::api::sync::{SyncDaemonStatus, SyncHelloStatus, SyncPeerStatus, SyncStatus};
use crate::control::client::Blocking;
use crate::model::Diagnostic;
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Daemons run by [sync] of the configuration, or by ipvsadm --start-daemon.

Examples:
  directrix sync status
  directrix sync status --json")]
pub(super) struct Args {
    #[command(subcommand)]
    command: SyncCommand,
}

#[derive(Clone, Copy, Debug, clap::Subcommand)]
enum SyncCommand {
    /// Show what is sent, and from which directors how much was heard
    Status {
        /// Print the state as JSON
        #[arg(long)]
        json: bool,
    },
}

/// Shows the state.
pub(super) fn main(args: &Args, socket: &Path) -> ExitCode {
    finish(run(args, socket))
}

fn run(args: &Args, socket: &Path) -> Result<(), Diagnostic> {
    let director = Blocking::new(socket)?.named("sync");
    match args.command {
        SyncCommand::Status { json: true } => print_all(&(director.text(path::SYNC)? + "\n")),
        SyncCommand::Status { json: false } => print_all(&screen(&director.sync()?)),
    }
}

fn screen(status: &SyncStatus) -> String {
    let mut text = String::new();
    if status.daemons.is_empty() {
        return "no sync daemon runs: add [sync] to the configuration, or use ipvsadm --start-daemon\n"
            .into();
    }
    for daemon in &status.daemons {
        let _ = writeln!(text, "{}", shown_daemon(daemon)); // a String takes everything
    }
    if let Some(failure) = &status.failure {
        let _ = writeln!(text, "does not run: {failure}");
    }
    let SyncStatus { connections, templates, records_sent, datagrams_sent, send_failures, .. } = status;
    let complete = if status.complete { "complete" } else { "waits for the connections of a peer" };
    let _ = writeln!(text, "own: {connections} connections, {templates} templates; {complete}");
    let _ =
        writeln!(text, "sent: {records_sent} records, {datagrams_sent} datagrams, {send_failures} failed");
    status.peers.iter().for_each(|peer| text.push_str(&shown_peer(peer)));
    for peer in &status.unheard {
        let _ = writeln!(text, "peer {peer}: never heard");
    }
    for refusal in &status.refusals {
        let _ = writeln!(text, "refused {}: {}: {}", refusal.count, refusal.reason, refusal.explanation);
    }
    text
}

fn shown_daemon(of: &SyncDaemonStatus) -> String {
    let SyncDaemonStatus { daemon, interface, syncid, group, port, maxlen, ttl } = of;
    let name = daemon.name();
    format!("{name} on {interface}: syncid {syncid}, group {group} port {port}, maxlen {maxlen}, ttl {ttl}")
}

fn shown_peer(peer: &SyncPeerStatus) -> String {
    let SyncPeerStatus { address, kind, heard_ms, messages, records, refused, lost, hello } = peer;
    let mut text = format!(
        "peer {address} ({kind}): heard {} ago; {messages} messages, {records} records, {refused} refused\n",
        seconds(*heard_ms)
    );
    let Some(SyncHelloStatus { lag_ms, starts, role, complete, connections, templates, difference, .. }) =
        hello
    else {
        return text;
    };
    let complete = if *complete { "complete" } else { "not complete" };
    let difference = difference.map_or("unknown".into(), |of| of.to_string());
    let _ = writeln!(
        text,
        "  {role}, {complete}: {connections} connections, {templates} templates; difference {difference}; lag {lag_ms} ms; \
         {lost} records lost; {starts} starts"
    );
    if hello.as_ref().is_some_and(|hello| !hello.same_services) {
        text.push_str("  its services or real servers are others\n");
    }
    text
}

fn seconds(ms: u32) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::api::sync::{SyncDaemonKind, SyncRefusalCount};

    #[test]
    fn a_screen_has_daemons_peers_and_refusals() {
        let hello = SyncHelloStatus {
            age_ms: 340,
            lag_ms: 2,
            starts: 1,
            role: "master".into(),
            complete: true,
            connections: 7,
            templates: 1,
            difference: Some(3),
            same_services: false,
            same_mh: true,
        };
        let peer = SyncPeerStatus {
            address: [192, 0, 2, 12].into(),
            kind: "directrix".into(),
            heard_ms: 340,
            messages: 20,
            records: 30,
            refused: 1,
            lost: 2,
            hello: Some(hello),
        };
        let kernel = SyncPeerStatus {
            address: [192, 0, 2, 13].into(),
            kind: "kernel".into(),
            heard_ms: 61_234,
            hello: None,
            ..peer.clone()
        };
        let daemon = SyncDaemonStatus {
            daemon: SyncDaemonKind::Master,
            interface: "eth1".into(),
            syncid: 51,
            maxlen: 1472,
            group: [224, 0, 0, 81].into(),
            port: 8848,
            ttl: 1,
        };
        let status = SyncStatus {
            daemons: vec![daemon],
            complete: true,
            connections: 4,
            records_sent: 9,
            datagrams_sent: 8,
            peers: vec![peer, kernel],
            unheard: vec![[192, 0, 2, 14].into()],
            refusals: vec![SyncRefusalCount {
                reason: "peer".into(),
                count: 5,
                explanation: "The sender is none of the configured peers.".into(),
            }],
            ..SyncStatus::default()
        };
        let wanted = "\
master on eth1: syncid 51, group 224.0.0.81 port 8848, maxlen 1472, ttl 1
own: 4 connections, 0 templates; complete
sent: 9 records, 8 datagrams, 0 failed
peer 192.0.2.12 (directrix): heard 0.3 s ago; 20 messages, 30 records, 1 refused
  master, complete: 7 connections, 1 templates; difference 3; lag 2 ms; 2 records lost; 1 starts
  its services or real servers are others
peer 192.0.2.13 (kernel): heard 61.2 s ago; 20 messages, 30 records, 1 refused
peer 192.0.2.14: never heard
refused 5: peer: The sender is none of the configured peers.
";
        assert_eq!(screen(&status), wanted);
        assert!(screen(&SyncStatus::default()).starts_with("no sync daemon runs"));
    }
}
