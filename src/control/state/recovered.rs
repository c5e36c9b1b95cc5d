//! Ids of the process before: services, matches and real servers of the same names get them again.
//!
//! Entries of the shadow table have ids. A name is the canonical text of an identity; the shadow memory has its digest. The
//! ids of names that the configuration no longer has stay reserved until every entry was checked.

use crate::control::state::ids::{Ids, NamedIds};
use crate::control::state::registry::Registry;
use crate::control::state::removed::{RemovedMatch, RemovedServer, RemovedService};
use crate::model::{MatchDestination, MatchId, Rules, ServerId, ServiceId, ServiceIdentity};
use crate::schedule::Pool;
use crate::shadow::Digest;
use crate::wire::vlan::Vlans;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Digest of a service's name.
pub(in crate::control) fn service_name(service: ServiceIdentity) -> Digest {
    Digest::of(&service.to_string())
}

/// Digest of the name of a service's match.
pub(in crate::control) fn match_name(service: ServiceIdentity, of: MatchDestination) -> Digest {
    let MatchDestination { protocol, vip, port } = of;
    let port = port.map_or_else(|| "*".to_owned(), |port| port.to_string());
    Digest::of(&format!("{service} {protocol} {vip} {port}"))
}

/// Digest of the name of a service's real server.
pub(in crate::control) fn server_name(service: ServiceIdentity, rip: IpAddr) -> Digest {
    Digest::of(&format!("{service} {rip}"))
}

/// Digest of a VIP as it is claimed: another interface or VLAN is another segment.
pub(in crate::control) fn vip_name(vip: IpAddr, vlans: Vlans, interface: &str) -> Digest {
    Digest::of(&format!("{vip} {interface} {vlans}"))
}

impl Registry {
    /// Reserves the ids of the process before for the parts of `rules` with the same names, as if these had been removed a
    /// moment ago. To be called before the first [`Registry::apply`].
    pub fn recover(&mut self, ids: NamedIds, rules: &Rules) {
        self.service_ids = Ids::with_taken(&ids.services.values().copied().collect());
        self.match_ids = Ids::with_taken(&ids.matches.values().copied().collect());
        self.server_ids = Ids::with_taken(&ids.servers.values().copied().collect());
        let mut ids = ids;
        for rule in &rules.services {
            let name = rule.identity;
            let Some(service) = ids.services.remove(&service_name(name)).map(ServiceId) else { continue };
            let removed = RemovedService { id: service, pool: Pool::new([]), generation: 0 };
            self.removed_services.insert(name, removed);
            let destinations: BTreeSet<_> = rule.all_matches().map(|of| of.destination()).collect();
            for of in destinations {
                if let Some(id) = ids.matches.remove(&match_name(name, of)).map(MatchId) {
                    self.removed_matches.insert((service, of), RemovedMatch { id, until: None });
                }
            }
            for rip in rule.servers.iter().map(|server| server.address) {
                if let Some(id) = ids.servers.remove(&server_name(name, rip)).map(ServerId) {
                    self.removed_servers.insert((service, rip), RemovedServer::new(id, None));
                }
            }
        }
        self.unused_ids = ids;
    }

    /// Returns true if ids of names without a use are reserved.
    pub(in crate::control) fn has_unused_ids(&self) -> bool {
        let NamedIds { services, matches, servers } = &self.unused_ids;
        !(services.is_empty() && matches.is_empty() && servers.is_empty())
    }

    /// Releases the ids of names that have no use. To be called once no entry of the shadow table has one.
    pub(in crate::control) fn release_unused_ids(&mut self) {
        let NamedIds { services, matches, servers } = std::mem::take(&mut self.unused_ids);
        services.into_values().for_each(|id| self.service_ids.release(id));
        matches.into_values().for_each(|id| self.match_ids.release(id));
        servers.into_values().for_each(|id| self.server_ids.release(id));
    }

    /// Returns the service of each real server, by [`ServerId`].
    pub fn services_of_servers(&self) -> Vec<Option<ServiceId>> {
        let mut services = vec![None; self.server_ids.end()];
        for entry in &self.services {
            entry.servers.iter().for_each(|server| services[usize::from(server.id.0)] = Some(entry.id));
        }
        services
    }

    /// Returns the names of all services, matches and real servers with their ids, also of removed ones that entries may
    /// refer to.
    pub fn names(&self) -> NamedIds {
        let addresses = self.id_addresses();
        let service = |id: &ServiceId| addresses.services.get(id).copied();
        let mut names = self.unused_ids.clone();
        names.services.extend(addresses.services.iter().map(|(id, name)| (service_name(*name), id.0)));
        let of_match = |(id, (of, destination)): (&MatchId, &(ServiceId, MatchDestination))| {
            Some((match_name(service(of)?, *destination), id.0))
        };
        names.matches.extend(addresses.matches.iter().filter_map(of_match));
        let servers = &mut names.servers;
        for entry in &self.services {
            let name = entry.config.identity;
            servers.extend(entry.servers.iter().map(|of| (server_name(name, of.config.address), of.id.0)));
        }
        for ((of, rip), removed) in &self.removed_servers {
            if let Some(name) = service(of) {
                servers.insert(server_name(name, *rip), removed.id.0);
            }
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::api::Stats;
    use crate::model::{RealServer, ServiceAddress, VirtualService, Weight};
    use crate::wire::Protocol;

    fn rules(services: &[(&str, &[&str])]) -> Rules {
        let service = |(address, servers): &(&str, &[&str])| {
            let address = ServiceAddress { protocol: Protocol::Tcp, address: address.parse().unwrap() };
            let server = |rip: &&str| RealServer::new(rip.parse().unwrap(), Weight(1));
            VirtualService::new(address, servers.iter().map(server).collect())
        };
        Rules { services: services.iter().map(service).collect(), ..Rules::default() }
    }

    fn started(ids: NamedIds, rules: &Rules) -> Registry {
        let mut registry = Registry::new(Vec::new());
        registry.recover(ids, rules);
        registry.apply(rules, &|_| Stats::default());
        registry
    }

    /// Ids of the service at `address` and its servers, by RIP.
    fn ids(registry: &Registry, address: &str) -> (u16, Vec<u16>, Vec<(String, u16)>) {
        let of = |entry: &&crate::control::state::registry::ServiceEntry| {
            entry.config.identity.address().is_some_and(|of| of.address.to_string() == address)
        };
        let entry = registry.services.iter().find(of).unwrap();
        let servers = entry.servers.iter().map(|of| (of.config.address.to_string(), of.id.0)).collect();
        (entry.id.0, entry.matches.iter().map(|(_, id)| id.0).collect(), servers)
    }

    #[test]
    fn same_names_get_the_same_ids_in_another_order() {
        let before = started(
            NamedIds::default(),
            &rules(&[
                ("192.0.2.1:80", &["192.0.2.10", "192.0.2.11"]),
                ("192.0.2.1:443", &["192.0.2.10"]),
                ("[2001:db8::1]:80", &["2001:db8::10"]),
            ]),
        );
        let after = rules(&[
            ("192.0.2.9:80", &["192.0.2.10"]),
            ("[2001:db8::1]:80", &["2001:db8::11", "2001:db8::10"]),
            ("192.0.2.1:80", &["192.0.2.11", "192.0.2.12", "192.0.2.10"]),
        ]);
        let mut again = started(before.names(), &after);
        let (service, matches, servers) = ids(&again, "192.0.2.1:80");
        let (old_service, old_matches, old_servers) = ids(&before, "192.0.2.1:80");
        assert_eq!((service, matches), (old_service, old_matches));
        assert!(old_servers.iter().all(|of| servers.contains(of)), "{servers:?}");
        let new = servers.iter().find(|(rip, _)| rip == "192.0.2.12").unwrap().1;
        let taken: Vec<u16> = before.names().servers.into_values().collect();
        assert!(!taken.contains(&new), "{new} may stand in an entry");
        let (_, _, added) = ids(&again, "192.0.2.9:80");
        assert!(!taken.contains(&added[0].1), "another service's server is another server");
        let free = again.server_ids.free();
        again.release_unused_ids();
        assert_eq!(again.server_ids.free(), free + 1, "that of 192.0.2.1:443");
        again.release_unused_ids();
        assert_eq!(again.server_ids.free(), free + 1);
    }
}
