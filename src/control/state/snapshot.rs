//! The registry as a snapshot for the workers, and the addresses of its ids.

use crate::control::state::entry::ServiceEntry;
use crate::control::state::registry::Registry;
use crate::control::state::removed::RemovedService;
use crate::forward::{NextHop, Route, ServiceMap, Snapshot, VlanServices};
use crate::model::{InterfaceIndex, MatchId, ServerId, ServiceAddress, ServiceId};
use crate::schedule::{Loads, Params};
use crate::wire::vlan::Vlans;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Instant;

/// The addresses of every id that a flow table may contain.
pub(in crate::control) struct IdAddresses {
    pub(in crate::control) services: HashMap<ServiceId, ServiceAddress>,
    pub(in crate::control) servers: HashMap<ServerId, IpAddr>,
}

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
            let pool = service.next_pool(loads, now, &self.timeouts, &self.policy);
            pools[usize::from(service.id.0)] = pool;
        }
        for server in self.services.iter().flat_map(|service| &service.servers) {
            routes[usize::from(server.id.0)] = self.route(server);
        }
        let mut maps: BTreeMap<_, Vec<_>> = BTreeMap::from([(Vlans::NONE, Vec::new())]);
        for service in &self.services {
            let of_vlans = maps.entry(service.config.vlan).or_default();
            of_vlans.push((service.config.address, MatchId(service.id.0)));
        }
        let mut maps = maps.into_iter().map(|(vlans, services)| (vlans, ServiceMap::new(&services)));
        let (_, services) = maps.next().expect("no VLAN comes first");
        let matches = (0..pools.len()).map(|id| ServiceId(id as u16)).collect();
        Snapshot {
            own_macs: self.own_macs.clone(),
            services,
            vlans: VlanServices::new(maps),
            matches,
            pools,
            routes,
            timeouts: self.timeouts,
            policy: self.policy,
            reserved: self.reserved.clone(),
        }
    }

    fn route(&self, server: &super::entry::ServerEntry) -> Route {
        let interface = InterfaceIndex(self.own_macs.len().saturating_sub(1) as u8); // two interfaces at most
        let route = Route::new(&self.own_macs, Some(NextHop { interface, mac: server.reachability.mac() }));
        let expires = self.policy.expire_nodest_conn && server.config.weight.0 == 0;
        if expires { route.quiesced() } else { route }
    }

    /// Returns the addresses of all ids, including those of removed services and servers.
    pub(in crate::control) fn id_addresses(&self) -> IdAddresses {
        let services = self.services.iter().map(|service| (service.id, service.config.address));
        let removed = self.removed_services.iter().map(|(address, service)| (service.id, *address));
        let servers = self.services.iter().flat_map(|service: &ServiceEntry| &service.servers);
        let servers = servers.map(|server| (server.id, server.config.address));
        let removed_servers = self.removed_servers.iter().map(|((_, rip), server)| (server.id, *rip));
        IdAddresses {
            services: services.chain(removed).collect(),
            servers: servers.chain(removed_servers).collect(),
        }
    }
}
