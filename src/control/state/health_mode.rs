//! The operator's holds on health in the registry.

use crate::control::state::registry::Registry;
use crate::model::{HealthMode, ServiceIdentity};
use std::net::IpAddr;

impl Registry {
    /// Sets the hold on the health of a server, of all of a service, of one in all services, or of all. What is added
    /// to a service later has the latest hold on the whole of it.
    pub fn set_health_mode(
        &mut self,
        service: Option<ServiceIdentity>,
        rip: Option<IpAddr>,
        mode: HealthMode,
    ) {
        if (service, rip) == (None, None) {
            self.health_mode = mode;
        }
        let services = self.services.iter_mut();
        for entry in services.filter(|entry| service.is_none_or(|of| of == entry.config.identity)) {
            if rip.is_none() {
                entry.health_mode = mode;
            }
            let servers = entry.servers.iter_mut();
            servers
                .filter(|server| rip.is_none_or(|rip| rip == server.config.address))
                .for_each(|server| server.health_mode = mode);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::api::Stats;
    use crate::control::state::registry::ServerEntry;
    use crate::model::{RealServer, Rules, ServiceAddress, VirtualService, Weight};
    use crate::random::SplitMix64;
    use crate::wire::{MacAddr, Protocol};
    use std::collections::{BTreeMap, BTreeSet};

    type Place = (ServiceIdentity, IpAddr);

    fn service(port: u64) -> ServiceIdentity {
        let address = ([192, 0, 2, 1], port as u16).into();
        ServiceAddress { protocol: Protocol::Tcp, address }.into()
    }

    fn rip(host: u64) -> IpAddr {
        [192, 0, 2, 10 + host as u8].into()
    }

    /// Random rules; the same services and servers come again and again.
    fn rules(random: &mut SplitMix64) -> Rules {
        let mut services = Vec::new();
        for port in 0..4 {
            let hosts = (0..5).filter(|_| !random.next().is_multiple_of(3)).collect::<Vec<_>>();
            let mut server = |host| RealServer::new(rip(host), Weight((random.next() % 3) as u16));
            let servers = hosts.into_iter().map(&mut server).collect();
            if !random.next().is_multiple_of(4) {
                services.push(VirtualService::new(service(port), servers));
            }
        }
        Rules { services, ..Rules::default() }
    }

    /// Holds and health of all servers.
    fn state(registry: &Registry) -> BTreeMap<Place, (HealthMode, bool)> {
        let services = registry.services.iter();
        let each = services.flat_map(|entry| {
            let identity = entry.config.identity;
            let state = |server: &ServerEntry| (server.health_mode, server.failed);
            entry.servers.iter().map(move |server| ((identity, server.config.address), state(server)))
        });
        each.collect()
    }

    #[test]
    fn random_reloads_lose_neither_health_nor_holds() {
        let modes = [HealthMode::Auto, HealthMode::Paused, HealthMode::ForcedUp, HealthMode::ForcedDown];
        let mut seen = BTreeSet::new();
        for seed in 1..=200 {
            let mut random = SplitMix64::new(seed);
            let mut registry = Registry::new(vec![MacAddr([2, 0, 0, 0, 0, 1])]);
            for _ in 0..30 {
                let before = state(&registry);
                registry.apply(&rules(&mut random), &|_| Stats::default());
                for (place, kept) in state(&registry) {
                    let new = (HealthMode::Auto, false);
                    assert_eq!(kept, before.get(&place).copied().unwrap_or(new), "seed {seed}, {place:?}");
                    seen.insert(kept.0.name());
                }
                let places: Vec<_> = state(&registry).into_keys().collect();
                if let Some((service, rip)) =
                    places.get(random.next() as usize % places.len().max(1)).copied()
                {
                    let mode = modes[random.next() as usize % modes.len()];
                    registry.set_health_mode(Some(service), Some(rip), mode);
                    registry.server_mut(service, rip).unwrap().failed = random.next().is_multiple_of(2);
                }
            }
        }
        assert_eq!(seen.len(), modes.len());
    }

    #[test]
    fn the_latest_hold_on_the_whole_holds_what_is_added() {
        let with = |ports: &[u64], hosts: u64| {
            let servers = || (0..hosts).map(|host| RealServer::new(rip(host), Weight(1))).collect();
            let services = ports.iter().map(|port| VirtualService::new(service(*port), servers()));
            Rules { services: services.collect(), ..Rules::default() }
        };
        let mut registry = Registry::new(vec![MacAddr([2, 0, 0, 0, 0, 1])]);
        registry.apply(&with(&[80, 81], 1), &|_| Stats::default());
        registry.set_health_mode(None, None, HealthMode::Paused);
        registry.set_health_mode(Some(service(80)), None, HealthMode::ForcedDown);
        registry.set_health_mode(Some(service(81)), Some(rip(0)), HealthMode::Auto);
        registry.apply(&with(&[80, 81, 82], 2), &|_| Stats::default());
        let modes: Vec<_> =
            state(&registry).into_values().map(|(mode, failed)| (mode.name(), failed)).collect();
        let expected = [
            ("forced-down", false), // until the report of the health thread
            ("forced-down", true),
            ("auto", false),
            ("paused", false),
            ("paused", false),
            ("paused", false),
        ];
        assert_eq!(modes, expected);
        registry.set_health_mode(None, Some(rip(1)), HealthMode::ForcedUp);
        registry.set_health_mode(None, None, HealthMode::Auto);
        assert!(state(&registry).values().all(|(mode, _)| *mode == HealthMode::Auto));
    }
}
