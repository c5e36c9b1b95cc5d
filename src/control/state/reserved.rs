//! Ids of services and servers: checked before a change, allocated by it, released when nothing reserves them.

use crate::control::state::registry::Registry;
use crate::control::state::removed::RemovedServer;
use crate::model::{Diagnostic, Rules, ServerId};
use crate::schedule::{Loads, Templates};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// Time after which every worker has swept an expired connection.
const SWEPT: Duration = Duration::from_secs(10);

impl Registry {
    /// Checks that there are ids for all services and servers of `rules`.
    ///
    /// # Errors
    /// If the ids in use, including those of removed ones with connections, leave too few. Ids that are reserved for
    /// counters alone are free.
    pub(in crate::control) fn check_ids(&self, rules: &Rules) -> Result<(), Diagnostic> {
        let services: HashMap<_, _> =
            self.services.iter().map(|entry| (entry.config.identity, entry)).collect();
        let (mut services_needed, mut matches_needed, mut servers_needed) = (0, 0, 0);
        for rule in &rules.services {
            let entry = services.get(&rule.identity);
            let removed = self.removed_services.get(&rule.identity).map(|service| service.id);
            let id = entry.map(|entry| entry.id).or(removed);
            services_needed += usize::from(id.is_none());
            let present: HashSet<_> =
                entry.into_iter().flat_map(|entry| &entry.matches).map(|(of, _)| of.destination()).collect();
            for of in rule.destinations() {
                let is_present = present.contains(&of);
                let is_removed = id.is_some_and(|id| self.removed_matches.contains_key(&(id, of)));
                matches_needed += usize::from(!is_present && !is_removed);
            }
            let rips: HashSet<_> =
                entry.iter().flat_map(|entry| &entry.servers).map(|of| of.config.address).collect();
            for server in &rule.servers {
                let is_present = rips.contains(&server.address);
                let removed = id.and_then(|id| self.removed_servers.get(&(id, server.address)));
                let is_removed = removed.is_some_and(|removed| !removed.is_idle());
                servers_needed += usize::from(!is_present && !is_removed);
            }
        }
        let idle = self.removed_servers.values().filter(|server| server.is_idle()).count();
        let services = services_needed <= self.service_ids.free() && matches_needed <= self.match_ids.free();
        if services && servers_needed <= self.server_ids.free() + idle {
            return Ok(());
        }
        let remedy = "wait until the connections of removed ones have expired, or restart the director";
        Err(Diagnostic::invalid_rules("all ids for services and servers are taken", remedy))
    }

    /// Allocates an id; if all are taken, ids that are reserved for counters alone are released.
    ///
    /// # Panics
    /// If `check_ids` refuses the rules.
    pub(in crate::control) fn allocate_server_id(&mut self) -> ServerId {
        let mut id = self.server_ids.allocate();
        if id.is_none() {
            self.retain_removed_servers(|server| !server.is_idle());
            id = self.server_ids.allocate();
        }
        ServerId(id.expect("there is room"))
    }

    /// Releases the ids that are no longer reserved. To be called while no worker uses a snapshot older than the latest.
    pub fn release_ids(&mut self, loads: &Loads, templates: &Templates, now: Instant) {
        let before = (self.removed_servers.len(), self.removed_services.len());
        self.retain_removed_servers(|server| server.is_held(loads, templates, now));
        let held: HashSet<_> = self.removed_servers.keys().map(|(service, _)| *service).collect();
        let ids = &mut self.service_ids;
        self.removed_services.retain(|_, service| {
            let held = held.contains(&service.id);
            if !held {
                ids.release(service.id.0);
            }
            held
        });
        self.release_matches(now);
        let (servers, services) = (self.removed_servers.len(), self.removed_services.len());
        if before != (servers, services) {
            let [servers, services] = [before.0 - servers, before.1 - services];
            tracing::debug!(servers, services, "ids of removed servers and services released");
        }
    }

    /// Releases the ids of removed destinations: those of a removed service with it, others once their connections have expired.
    fn release_matches(&mut self, now: Instant) {
        if self.removed_matches.is_empty() {
            return;
        }
        let removed: HashSet<_> = self.removed_services.values().map(|service| service.id).collect();
        let present: HashSet<_> = self.services.iter().map(|service| service.id).collect();
        let until = now + Duration::from_millis(self.lifetime_max.millis().into()) + SWEPT;
        let ids = &mut self.match_ids;
        self.removed_matches.retain(|(service, _), of| {
            let expires = *of.until.get_or_insert(until);
            let held = removed.contains(service) || present.contains(service) && now < expires;
            if !held {
                ids.release(of.id.0);
            }
            held
        });
    }

    /// Releases the ids of the removed servers for which `is_held` returns false.
    fn retain_removed_servers(&mut self, mut is_held: impl FnMut(&mut RemovedServer) -> bool) {
        let ids = &mut self.server_ids;
        self.removed_servers.retain(|_, server| {
            let held = is_held(server);
            if !held {
                ids.release(server.id.0);
            }
            held
        });
    }
}
