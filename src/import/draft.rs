//! Converted services and servers, as lines of the configuration.

use super::description::{At, Place};

/// Table header of a real server.
pub(super) const SERVER: &str = "[[service.server]]";
/// Table header of a check of all servers of a service.
pub(super) const SERVICE_CHECK: &str = "[[service.check]]";
/// Table header of a check of one server.
pub(super) const SERVER_CHECK: &str = "[[service.server.check]]";

/// Configuration to write.
#[derive(Debug, Default)]
pub(super) struct ConfigDraft {
    pub(super) switches: Vec<At<String>>,
    pub(super) timeouts: Vec<At<String>>,
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
    /// Left out because a key has to be completed.
    pub(super) is_template: bool,
    /// Reason to write it only as a comment.
    pub(super) left_out: Option<String>,
}

/// A `[[service.server]]` table.
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
