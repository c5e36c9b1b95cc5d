//! The registry as a snapshot for the workers, and the addresses of its ids.

use crate::control::state::entry::{ServerEntry, ServiceEntry};
use crate::control::state::registry::Registry;
use crate::control::state::removed::RemovedService;
use crate::forward::{NextHop, Route, ServiceMap, Snapshot, VlanServices};
use crate::model::{InterfaceIndex, MatchDestination, MatchId, OnDown, ServerId, ServiceId, ServiceIdentity};
use crate::schedule::{Loads, Params};
use crate::wire::vlan::Vlans;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// The addresses of every id that a flow table may contain.
pub(in crate::control) struct IdAddresses {
    pub(in crate::control) services: HashMap<ServiceId, ServiceIdentity>,
    pub(in crate::control) matches: HashMap<MatchId, (ServiceId, MatchDestination)>,
    pub(in crate::control) servers: HashMap<ServerId, IpAddr>,
}

/// Id that no service has.
const NO_SERVICE: ServiceId = ServiceId(u16::MAX);

impl Registry {
    /// Returns the time of the next slow-start step, which needs a new snapshot.
    #[must_use]
    pub fn next_step(&self) -> Option<Instant> {
        self.services.iter().filter_map(|service| service.slow_start.next_step()).min()
    }

    /// Builds the snapshot as of `now`. Its pools take part in the updates of `loads` from then on.
    #[must_use]
    pub fn snapshot(&mut self, loads: &Loads, now: Instant) -> Snapshot {
        let mut pools = vec![self.empty_pool.clone(); self.service_ids.end()];
        let mut routes = vec![Route::Removed; self.server_ids.end()];
        for RemovedService { id, pool, .. } in self.removed_services.values_mut() {
            *pool = pool.successor(Params::default(), [], loads);
            pools[usize::from(id.0)] = pool.clone();
        }
        for service in &mut self.services {
            service.follow_quorum();
            let pool = service.next_pool(loads, now, &self.timeouts, &self.policy);
            pools[usize::from(service.id.0)] = pool;
        }
        for service in &self.services {
            for server in &service.servers {
                routes[usize::from(server.id.0)] = self.route(service, server);
            }
        }
        let mut maps = self.service_maps();
        let services = maps.remove(&Vlans::NONE).unwrap_or_default();
        Snapshot {
            own_macs: self.own_macs.clone(),
            services,
            vlans: VlanServices::new(maps),
            matches: self.services_of_matches(),
            pools,
            routes,
            timeouts: self.timeouts,
            policy: self.policy,
            reserved: self.reserved.clone(),
            real_servers: Arc::clone(&self.real_servers),
        }
    }

    /// Returns true if a match's connections have wide keys: it has an IPv6 address or several ports.
    #[must_use]
    pub fn has_wide_match(&self) -> bool {
        self.services.iter().flat_map(|service| &service.matches).any(|(of, _)| !of.is_compact())
    }

    /// Returns the map of each VLAN, also of none.
    fn service_maps(&self) -> BTreeMap<Vlans, ServiceMap> {
        let mut of_vlans: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for service in &self.services {
            of_vlans.entry(service.config.vlan).or_default().push(service);
        }
        of_vlans.into_iter().map(|(vlans, services)| (vlans, service_map(&services))).collect()
    }

    /// Returns the service of each match, by [`MatchId`], including removed ones.
    fn services_of_matches(&self) -> Vec<ServiceId> {
        let mut services = vec![NO_SERVICE; self.match_ids.end()];
        for service in &self.services {
            service.matches.iter().for_each(|(_, id)| services[usize::from(id.0)] = service.id);
        }
        for ((service, _), removed) in &self.removed_matches {
            services[usize::from(removed.id.0)] = *service;
        }
        services
    }

    fn route(&self, service: &ServiceEntry, server: &ServerEntry) -> Route {
        if server.failed && service.config.effects.on_down == OnDown::Cut {
            return Route::Cut;
        }
        let interface = InterfaceIndex(self.own_macs.len().saturating_sub(1) as u8); // two interfaces at most
        let route = Route::new(&self.own_macs, Some(NextHop { interface, mac: server.reachability.mac() }));
        // A SYN to a server whose health checks fail has not been answered: the client gets another one at its next.
        let expires = self.policy.expire_nodest_conn && server.effective_weight() == 0;
        if expires || server.failed { route.quiesced() } else { route }
    }

    /// Returns the addresses of all ids, including those of removed services and servers.
    pub(in crate::control) fn id_addresses(&self) -> IdAddresses {
        let services = self.services.iter().map(|service| (service.id, service.config.identity));
        let removed = self.removed_services.iter().map(|(identity, service)| (service.id, *identity));
        let servers = self.services.iter().flat_map(|service: &ServiceEntry| &service.servers);
        let servers = servers.map(|server| (server.id, server.config.address));
        let removed_servers = self.removed_servers.iter().map(|((_, rip), server)| (server.id, *rip));
        let of_service = |service: &ServiceEntry| {
            let id = service.id;
            let matches = service.matches.iter().map(|(of, match_id)| (*match_id, (id, of.destination())));
            matches.collect::<Vec<_>>()
        };
        let matches = self.services.iter().flat_map(of_service);
        let removed_matches = self.removed_matches.iter().map(|(key, removed)| (removed.id, *key));
        IdAddresses {
            matches: matches.chain(removed_matches).collect(),
            services: services.chain(removed).collect(),
            servers: servers.chain(removed_servers).collect(),
        }
    }
}

fn service_map(services: &[&ServiceEntry]) -> ServiceMap {
    let (mut matches, mut ftp) = (Vec::new(), Vec::new());
    for service in services {
        let data = service.config.ftp_data();
        for (of, id) in &service.matches {
            if Some(*of) == data { ftp.push((of.vip, *id)) } else { matches.push((*of, *id)) }
        }
    }
    ServiceMap::with_ftp(&matches, &ftp)
}
