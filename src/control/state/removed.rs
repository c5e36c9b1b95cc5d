//! Services and servers that have been removed, as long as a table may still name them.

use crate::control::api::Stats;
use crate::control::state::rates::Estimator;
use crate::control::state::registry::Registry;
use crate::model::{ServerId, ServiceAddress, ServiceId};
use crate::schedule::{Loads, Pool, ServerLoad, Templates};
use std::collections::HashMap;
use std::net::IpAddr;

/// A service that nobody wants any more, while a server of it is held.
#[derive(Debug)]
pub(in crate::control) struct RemovedService {
    pub(in crate::control) id: ServiceId,
    /// Hears of its connections.
    pub(in crate::control) pool: Pool,
    /// Of the templates that it had.
    pub(in crate::control) generation: u8,
}

/// A server that has been removed.
#[derive(Debug)]
pub(in crate::control) struct RemovedServer {
    pub(in crate::control) id: ServerId,
    /// What it goes on counting from if it is added again; `None` if its service has been removed, too
    /// (`__ip_vs_update_dest` in net/netfilter/ipvs/ip_vs_ctl.c).
    pub(in crate::control) counts: Option<RemovedCounters>,
    /// The pass of the templates' sweep during which it was found without a connection.
    alone_since: Option<u64>,
}

/// The counters of a removed server.
#[derive(Debug)]
pub(in crate::control) struct RemovedCounters {
    /// What had been counted under its number when it was added, or zeroed.
    pub(in crate::control) baseline: Stats,
    /// What its service counts for it among those that it has no more.
    pub(in crate::control) past: Stats,
    pub(in crate::control) estimator: Estimator,
}

impl RemovedServer {
    pub(in crate::control) fn new(id: ServerId, counts: Option<RemovedCounters>) -> Self {
        Self { id, counts, alone_since: None }
    }

    /// Whether a connection or a template still names it. Once its last connection has ended, its templates
    /// have no reason to stay, and the second pass after that has met each of them. To be asked while no
    /// worker decides by a snapshot that has the server.
    pub(in crate::control) fn is_held(&mut self, loads: &Loads, templates: &Templates) -> bool {
        if loads.get(self.id) != ServerLoad::default() {
            self.alone_since = None;
            return true;
        }
        let passes = templates.passes();
        let since = *self.alone_since.get_or_insert(passes);
        !templates.is_empty() && passes < since + 2
    }

    /// Whether its templates have no reason to stay.
    pub(in crate::control) fn is_alone(&self) -> bool {
        self.alone_since.is_some()
    }
}

impl Registry {
    /// Every service and server that a connection table may name, removed ones included.
    pub(in crate::control) fn names(
        &self,
    ) -> (HashMap<ServiceId, ServiceAddress>, HashMap<ServerId, IpAddr>) {
        let services = self.services.iter().map(|service| (service.id, service.config.address));
        let departed = self.removed_services.iter().map(|(address, service)| (service.id, *address));
        let servers = self.services.iter().flat_map(|service| &service.servers);
        let servers = servers.map(|server| (server.id, server.config.address));
        let gone = self.removed_servers.iter().map(|((_, rip), server)| (server.id, *rip));
        (services.chain(departed).collect(), servers.chain(gone).collect())
    }
}
