//! Converted services and servers, as lines of the configuration.

use super::description::{At, Place};
use std::iter;

/// Table header of a real server.
pub(super) const SERVER: &str = "[[service.server]]";
/// Table header of a sorry server.
pub(super) const SORRY_SERVER: &str = "[service.sorry_server]";
/// Table header of a check of all servers of a service.
pub(super) const SERVICE_CHECK: &str = "[[service.check]]";
/// Table header of a check of one server.
pub(super) const SERVER_CHECK: &str = "[[service.server.check]]";

/// Configuration to write.
#[derive(Debug, Default)]
pub(super) struct ConfigDraft {
    pub(super) switches: Vec<At<String>>,
    pub(super) timeouts: Vec<At<String>>,
    /// Lines of `[sync]`.
    pub(super) sync: Vec<At<String>>,
    pub(super) services: Vec<ServiceDraft>,
}

impl ConfigDraft {
    /// Returns true if nothing is worth a file: neither a live line nor a service that the user completes.
    pub(super) fn is_empty(&self) -> bool {
        self.switches.is_empty()
            && self.services.iter().all(|service| service.left_out.is_some() && !service.is_template)
    }
}

/// A `[[service]]` table.
#[derive(Debug)]
pub(super) struct ServiceDraft {
    pub(super) origin: At<String>,
    pub(super) keys: Vec<String>,
    pub(super) checks: Vec<CheckDraft>,
    pub(super) servers: Vec<ServerDraft>,
    /// A `[service.sorry_server]` table.
    pub(super) sorry_server: Option<ServerDraft>,
    /// Left out because a key has to be completed.
    pub(super) is_template: bool,
    /// Reason to write it only as a comment.
    pub(super) left_out: Option<String>,
}

/// A `[[service.server]]` table, or that of the sorry server.
#[derive(Debug)]
pub(super) struct ServerDraft {
    pub(super) location: Place,
    pub(super) keys: Vec<String>,
    pub(super) checks: Vec<CheckDraft>,
    /// Reason to write it only as a comment.
    pub(super) left_out: Option<String>,
}

/// A `[[service.check]]` or `[[service.server.check]]` table.
#[derive(Clone, Debug)]
pub(super) struct CheckDraft {
    pub(super) location: Place,
    pub(super) keys: Vec<String>,
}

/// Takes the checks that all servers have from them. Servers that are left out do not count, unless all are.
pub(super) fn shared_checks(servers: &mut [ServerDraft]) -> Vec<CheckDraft> {
    let is_live = |server: &&ServerDraft| server.left_out.is_none();
    let any_live = servers.iter().any(|server| is_live(&server));
    let counted: Vec<_> = servers.iter().filter(|server| !any_live || is_live(server)).collect();
    let Some((first, others)) = counted.split_first() else { return Vec::new() };
    let has =
        |server: &ServerDraft, check: &CheckDraft| server.checks.iter().any(|own| own.keys == check.keys);
    let all_have = |check: &&CheckDraft| others.iter().all(|server| has(server, check));
    let shared: Vec<_> = first.checks.iter().filter(all_have).cloned().collect();
    for server in servers {
        server.checks.retain(|check| !shared.iter().any(|other| other.keys == check.keys));
    }
    shared
}

/// The tables of a service that are written, without checks of single servers.
pub(super) fn lines_below(checks: &[CheckDraft], servers: &[ServerDraft]) -> String {
    let live = servers.iter().filter(|server| server.left_out.is_none());
    let servers = live.map(|server| (SERVER, &server.keys));
    let tables = checks.iter().map(|check| (SERVICE_CHECK, &check.keys)).chain(servers);
    let lines = tables.flat_map(|(header, keys)| iter::once(header).chain(keys.iter().map(String::as_str)));
    lines.collect::<Vec<_>>().join("\n")
}
