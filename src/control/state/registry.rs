//! The registry: every service and real server with its id, state and counters.

pub use crate::control::state::entry::{Drain, Reachability, ServerEntry, ServiceEntry, VipState};

use crate::control::api::Stats;
use crate::control::state::entry::{ServerPlaces, next_generation, places, real_servers};
use crate::control::state::ids::{Ids, NamedIds};
use crate::control::state::rates::Estimator;
use crate::control::state::removed::{RemovedCounters, RemovedMatch, RemovedServer, RemovedService};
use crate::control::state::slow_start::{ServerSlowStart, ServiceSlowStart};
use crate::flow::ConnState;
use crate::forward::RealServerAddresses;
use crate::health::passive::PassiveView;
use crate::model::{
    FirewallMark, HealthMode, KnownGroup, MatchDestination, MatchId, Policy, RealServer, Rules, ServerId,
    ServiceId, ServiceIdentity, Timeouts, VirtualService,
};
use crate::schedule::{Pool, Template};
use crate::time::Span;
use crate::wire::{MacAddr, vlan::Vlans};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Every virtual service with its real servers and their states.
///
/// A service or server keeps its id from addition to removal, and after that while a connection or template refers to
/// it, a server also while its counters are kept. If it is added again by then, it gets the same id, and its
/// connections and counters continue.
#[derive(Debug)]
pub struct Registry {
    /// The director's interfaces.
    pub own_macs: Vec<MacAddr>,
    /// Connection timeouts.
    pub timeouts: Timeouts,
    /// Addresses that no client has: see [`crate::forward::Snapshot::reserved`].
    pub reserved: Vec<IpAddr>,
    /// IPVS's policy switches for connections.
    pub policy: Policy,
    /// Services in the order of addition.
    pub services: Vec<ServiceEntry>,
    places: ServerPlaces,
    /// The operator's hold on the health of services that are added.
    pub(in crate::control) health_mode: HealthMode,
    /// Addresses of all real servers.
    pub(in crate::control) real_servers: Arc<RealServerAddresses>,
    /// Stations that also answer for a claimed VIP. A real server among them is excluded.
    holders: HashSet<(IpAddr, MacAddr)>,
    /// Removed groups: see [`Rules::marks`].
    marks: BTreeMap<FirewallMark, KnownGroup>,
    pub(in crate::control) removed_services: HashMap<ServiceIdentity, RemovedService>,
    pub(in crate::control) removed_matches: HashMap<(ServiceId, MatchDestination), RemovedMatch>,
    pub(in crate::control) removed_servers: HashMap<(ServiceId, IpAddr), RemovedServer>,
    pub(in crate::control) service_ids: Ids,
    pub(in crate::control) match_ids: Ids,
    /// Longest timeout of a connection in any state, so far.
    pub(in crate::control) lifetime_max: Span,
    pub(in crate::control) server_ids: Ids,
    /// See [`Registry::recover`].
    pub(in crate::control) unused_ids: NamedIds,
    /// Placeholder for ids without a service.
    pub(in crate::control) empty_pool: Pool,
}

/// Returns the totals of a server id, summed over all workers.
pub type TotalsOf<'a> = &'a dyn Fn(ServerId) -> Stats;

/// State that an added server takes over.
#[derive(Clone, Copy)]
struct Known<'a> {
    /// Reachability of the servers in other services, by RIP.
    reachabilities: &'a HashMap<IpAddr, Reachability>,
    totals: TotalsOf<'a>,
}

impl Registry {
    /// Creates a registry without services.
    #[must_use]
    pub fn new(own_macs: Vec<MacAddr>) -> Self {
        Self {
            own_macs,
            timeouts: Timeouts::default(),
            reserved: Vec::new(),
            policy: Policy::default(),
            services: Vec::new(),
            places: ServerPlaces::new(),
            health_mode: HealthMode::Auto,
            real_servers: Arc::default(),
            holders: HashSet::new(),
            marks: BTreeMap::new(),
            removed_services: HashMap::new(),
            removed_matches: HashMap::new(),
            removed_servers: HashMap::new(),
            service_ids: Ids::default(),
            match_ids: Ids::default(),
            lifetime_max: Span::default(),
            server_ids: Ids::default(),
            unused_ids: NamedIds::default(),
            empty_pool: Pool::new([]),
        }
    }

    /// Returns the present rules.
    #[must_use]
    pub fn rules(&self) -> Rules {
        let services = self.services.iter().map(ServiceEntry::rule).collect();
        Rules { services, timeouts: self.timeouts, policy: self.policy, marks: self.marks.clone() }
    }

    /// Applies `rules`. Services and servers that stay keep their ids, states and counters.
    ///
    /// # Panics
    /// If `check_ids` refuses the rules.
    pub fn apply(&mut self, rules: &Rules, totals: TotalsOf<'_>) {
        let (vips, reachabilities) = (self.vips(), self.reachabilities());
        let known = Known { reachabilities: &reachabilities, totals };
        (self.timeouts, self.policy, self.marks) = (rules.timeouts, rules.policy, rules.marks.clone());
        let lifetimes = ConnState::timeouts(&rules.timeouts);
        self.lifetime_max = lifetimes.into_iter().fold(self.lifetime_max, Span::max);
        let old = std::mem::take(&mut self.services);
        let mut old: HashMap<_, _> = old.into_iter().map(|entry| (entry.config.identity, entry)).collect();
        for rule in &rules.services {
            let present = old.remove(&rule.identity);
            let mut entry = present.unwrap_or_else(|| self.add_service(rule));
            self.update_matches(&mut entry, rule, &vips);
            self.update_service(&mut entry, rule, known);
            self.services.push(entry);
        }
        for (identity, mut removed) in old {
            self.remove_servers(removed.id, removed.servers.drain(..));
            let matches = removed.matches.drain(..).map(|(of, id)| (of.destination(), id));
            self.remove_matches(removed.id, matches);
            let ServiceEntry { id, pool, generation, .. } = removed;
            self.removed_services.insert(identity, RemovedService { id, pool, generation });
        }
        self.places = places(&self.services);
        self.real_servers = Arc::new(real_servers(&self.services));
        if !self.holders.is_empty() {
            self.exclude_holders();
        }
    }

    /// Returns a predicate of the templates to keep.
    ///
    /// To be dropped are those of a removed service, of an older generation, and of a removed server without connections.
    pub fn keeps_templates(&self) -> impl Fn(&Template) -> bool + use<> {
        let mut generations = vec![None; self.service_ids.end()];
        for service in self.services.iter().filter(|service| service.config.persistence.is_some()) {
            generations[usize::from(service.id.0)] = Some(service.generation);
        }
        let mut unused = vec![false; self.server_ids.end()];
        for server in self.removed_servers.values().filter(|server| server.is_unused()) {
            unused[usize::from(server.id.0)] = true;
        }
        move |of: &Template| {
            let generation = generations[usize::from(of.key.service.0)];
            generation == Some(of.key.generation) && !unused[usize::from(of.server.0)]
        }
    }

    /// Sets the counters of `service`, or of all, to zero.
    pub fn zero(&mut self, service: Option<ServiceIdentity>, totals: TotalsOf<'_>) {
        for entry in &mut self.services {
            if service.is_some_and(|only| only != entry.config.identity) {
                continue;
            }
            let of_service = self.removed_servers.iter_mut().filter(|((of, _), _)| *of == entry.id);
            for server in of_service.map(|(_, server)| server) {
                server.counts = None; // if it is added again, it counts from then on
            }
            (entry.past, entry.estimator) = (Stats::default(), Estimator::new());
            for server in &mut entry.servers {
                (server.baseline, server.estimator) = (totals(server.id), Estimator::new());
            }
        }
    }

    /// Sets the state of `vip` in all its services.
    pub fn set_vip(&mut self, vip: IpAddr, state: VipState) {
        let vips = self.services.iter_mut().flat_map(|service| &mut service.vips);
        vips.filter(|(of, _)| *of == vip).for_each(|(_, of)| *of = state);
    }

    /// Returns the state of `vip`; `None` if no service has it.
    #[must_use]
    pub fn vip(&self, vip: IpAddr) -> Option<VipState> {
        self.services.iter().find_map(|service| service.vip_state(vip))
    }

    /// Returns the VLANs of `vip`; none if no service has it.
    #[must_use]
    pub fn vlan(&self, vip: IpAddr) -> Vlans {
        let of_vip = self.services.iter().find(|service| service.vip_state(vip).is_some());
        of_vip.map_or(Vlans::NONE, |service| service.config.vlan)
    }

    /// Records whether the station `mac` also answers for `vip`, which is claimed.
    pub fn set_holder(&mut self, vip: IpAddr, mac: MacAddr, holds: bool) {
        let changed = if holds { self.holders.insert((vip, mac)) } else { self.holders.remove(&(vip, mac)) };
        if changed {
            self.exclude_holders();
        }
    }

    /// Removes the stations that answer for `vip`, which is no longer claimed.
    pub fn forget_holders(&mut self, vip: IpAddr) {
        self.holders.retain(|(of, _)| *of != vip);
        self.exclude_holders();
    }

    /// Records that the server `rip` answers with `mac`.
    pub fn set_reachable(&mut self, rip: IpAddr, mac: MacAddr) {
        self.change_servers(rip, |server| server.reachability = Reachability::Reachable(mac));
        if !self.holders.is_empty() {
            self.exclude_holders();
        }
    }

    /// Records that the MAC address of the server `rip` is no longer known.
    pub fn set_resolving(&mut self, rip: IpAddr) {
        self.change_servers(rip, |server| server.reachability = Reachability::Resolving);
    }

    /// Records that the server `rip` does not answer.
    pub fn set_unreachable(&mut self, rip: IpAddr) {
        self.change_servers(rip, |server| {
            server.reachability = Reachability::Unreachable(server.reachability.mac());
        });
    }

    /// Returns the server `rip` of `service`.
    pub fn server_mut(&mut self, service: ServiceIdentity, rip: IpAddr) -> Option<&mut ServerEntry> {
        let service = self.services.iter_mut().find(|entry| entry.config.identity == service)?;
        service.servers.iter_mut().find(|server| server.config.address == rip)
    }

    /// Creates the entry of an added service, with its old id if that is still reserved.
    fn add_service(&mut self, rule: &VirtualService) -> ServiceEntry {
        let removed = self.removed_services.remove(&rule.identity);
        let new = || RemovedService {
            id: ServiceId(self.service_ids.allocate().expect("there is room")),
            pool: Pool::new([]),
            generation: 0,
        };
        let RemovedService { id, pool, generation } = removed.unwrap_or_else(new);
        ServiceEntry {
            id,
            config: VirtualService { servers: Vec::new(), ..rule.clone() },
            matches: Vec::new(),
            vips: Vec::new(),
            servers: Vec::new(),
            past: Stats::default(),
            estimator: Estimator::new(),
            quorum_up: None,
            health_mode: self.health_mode,
            slow_start: ServiceSlowStart::default(),
            generation: next_generation(generation),
            pool,
        }
    }

    /// Updates the matches of a service to those of its rule, and its VIPs. `vips` has the states of all VIPs.
    fn update_matches(
        &mut self,
        entry: &mut ServiceEntry,
        rule: &VirtualService,
        vips: &HashMap<IpAddr, VipState>,
    ) {
        let old = std::mem::take(&mut entry.matches);
        let mut old: HashMap<_, _> = old.into_iter().map(|(of, id)| (of.destination(), id)).collect();
        let mut new = HashMap::new();
        for of in rule.all_matches() {
            let destination = of.destination();
            let known = new.get(&destination).copied().or_else(|| old.remove(&destination));
            let id = known.unwrap_or_else(|| self.match_id(entry.id, destination));
            new.insert(destination, id);
            entry.matches.push((of, id));
        }
        self.remove_matches(entry.id, old.into_iter());
        let state = |vip: &IpAddr| vips.get(vip).copied().unwrap_or(VipState::Probing);
        entry.vips = rule.vips().into_iter().map(|vip| (vip, state(&vip))).collect();
    }

    /// Returns the id of an added destination, its old one if that is still reserved.
    fn match_id(&mut self, service: ServiceId, of: MatchDestination) -> MatchId {
        match self.removed_matches.remove(&(service, of)) {
            Some(removed) => removed.id,
            None => MatchId(self.match_ids.allocate().expect("there is room")),
        }
    }

    fn remove_matches(
        &mut self,
        service: ServiceId,
        matches: impl Iterator<Item = (MatchDestination, MatchId)>,
    ) {
        let removed = matches.map(|(of, id)| ((service, of), RemovedMatch { id, until: None }));
        self.removed_matches.extend(removed);
    }

    /// Updates a service to the settings and servers of its rule.
    fn update_service(&mut self, entry: &mut ServiceEntry, rule: &VirtualService, known: Known<'_>) {
        let old = std::mem::take(&mut entry.servers);
        let mut old: HashMap<_, _> = old.into_iter().map(|server| (server.config.address, server)).collect();
        for config in &rule.servers {
            let present = old.remove(&config.address);
            let mut server = present.unwrap_or_else(|| self.add_server(entry, config, known));
            server.drain = server.drain.filter(|_| config.weight.0 == 0);
            server.config = config.clone();
            entry.servers.push(server);
        }
        for server in old.into_values() {
            let past = (known.totals)(server.id) - server.baseline;
            entry.past = entry.past + past;
            let counts = RemovedCounters { baseline: server.baseline, past, estimator: server.estimator };
            self.remove_server(entry.id, &server, Some(counts));
        }
        let prefix = |of: &VirtualService| of.persistence.map(|persistence| persistence.prefix);
        if entry.config.persistence.is_some() && prefix(&entry.config) != prefix(rule) {
            entry.generation = next_generation(entry.generation);
        }
        entry.config = VirtualService { servers: Vec::new(), ..rule.clone() };
    }

    /// Creates the entry of an added server. With a reserved id, its counters continue.
    fn add_server(
        &mut self,
        service: &mut ServiceEntry,
        config: &RealServer,
        known: Known<'_>,
    ) -> ServerEntry {
        let removed = self.removed_servers.remove(&(service.id, config.address));
        let RemovedServer { id, counts, .. } =
            removed.unwrap_or_else(|| RemovedServer::new(self.allocate_server_id(), None));
        let RemovedCounters { baseline, past, estimator } = counts.unwrap_or_else(|| RemovedCounters {
            baseline: (known.totals)(id),
            past: Stats::default(),
            estimator: Estimator::new(),
        });
        service.past = service.past - past;
        let reachability = known.reachabilities.get(&config.address).copied();
        ServerEntry {
            id,
            config: config.clone(),
            reachability: reachability.unwrap_or(Reachability::Resolving),
            excluded: false,
            failed: service.starts_down(config),
            dynamic_weight: None,
            idle: config.role.is_sorry(),
            health_mode: service.health_mode,
            passive: PassiveView::default(),
            drain: None,
            baseline,
            estimator,
            slow_start: ServerSlowStart::default(),
        }
    }

    fn remove_server(&mut self, service: ServiceId, server: &ServerEntry, counts: Option<RemovedCounters>) {
        let removed = RemovedServer::new(server.id, counts);
        self.removed_servers.insert((service, server.config.address), removed);
    }

    /// Removes the servers of a removed service. Their counters end, and those of servers removed before.
    fn remove_servers(&mut self, service: ServiceId, servers: impl Iterator<Item = ServerEntry>) {
        servers.for_each(|server| self.remove_server(service, &server, None));
        let of_service = self.removed_servers.iter_mut().filter(|((of, _), _)| *of == service);
        of_service.for_each(|(_, server)| server.counts = None);
    }

    fn vips(&self) -> HashMap<IpAddr, VipState> {
        self.services.iter().flat_map(|service| service.vips.iter().copied()).collect()
    }

    fn reachabilities(&self) -> HashMap<IpAddr, Reachability> {
        let servers = self.services.iter().flat_map(|service| &service.servers);
        servers.map(|server| (server.config.address, server.reachability)).collect()
    }

    /// Updates the exclusion of servers that also answer for their service's VIP.
    fn exclude_holders(&mut self) {
        for service in &mut self.services {
            let ServiceEntry { vips, servers, .. } = service;
            for server in servers {
                let holds = |mac| vips.iter().any(|(vip, _)| self.holders.contains(&(*vip, mac)));
                server.excluded = server.reachability.mac().is_some_and(holds);
            }
        }
    }

    fn change_servers(&mut self, rip: IpAddr, change: impl Fn(&mut ServerEntry)) {
        let places = self.places.get(&rip).into_iter().flatten();
        places.for_each(|(service, server)| change(&mut self.services[*service].servers[*server]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::state::removed::COUNTERS_KEPT;
    use crate::forward::{NextHop, Route};
    use crate::hash::Seed;
    use crate::model::PortRange;
    use crate::model::{InterfaceIndex, ServiceAddress};
    use crate::model::{Persistence, Weight};
    use crate::schedule::{Binding, ClientAddr, Loads, TemplateKey, Templates};
    use crate::time::{Span, Tick};
    use crate::wire::Protocol;
    use std::net::Ipv4Addr;
    use std::time::{Duration, Instant};

    fn server(address: &str, weight: u16) -> RealServer {
        RealServer::new(address.parse().unwrap(), Weight(weight))
    }

    fn service(address: &str, servers: &[(&str, u16)]) -> VirtualService {
        let address = ServiceAddress { protocol: Protocol::Tcp, address: address.parse().unwrap() };
        let servers = servers.iter().map(|(address, weight)| server(address, *weight)).collect();
        VirtualService::new(address, servers)
    }

    fn with(services: &[VirtualService], own_macs: Vec<MacAddr>) -> Registry {
        let mut registry = Registry::new(own_macs);
        let rules = Rules { services: services.to_vec(), ..Rules::default() };
        registry.apply(&rules, &|_| Stats::default());
        registry
    }

    fn registry() -> Registry {
        let services = [
            service("192.0.2.1:80", &[("192.0.2.10", 1), ("192.0.2.11", 1)]),
            service("192.0.2.1:443", &[("192.0.2.10", 0)]),
            service("192.0.2.2:80", &[("192.0.2.10", 5)]),
        ];
        with(&services, vec![MacAddr([2, 0, 0, 0, 0, 1])])
    }

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

    #[test]
    fn only_reachable_servers_with_weight_are_candidates() {
        let (mut registry, loads) = (registry(), Loads::new(4));
        let pick = |registry: &mut Registry, service| {
            registry
                .snapshot(&loads, Instant::now())
                .pool(ServiceId(service))
                .unwrap()
                .pick(&loads, ClientAddr::default())
        };
        assert_eq!(pick(&mut registry, 0), None);
        registry.set_reachable("192.0.2.10".parse().unwrap(), MAC);
        assert_eq!([0, 1, 2].map(|s| pick(&mut registry, s)), [Some(ServerId(0)), None, Some(ServerId(3))]);
        registry.set_reachable("192.0.2.11".parse().unwrap(), MAC);
        assert_eq!(pick(&mut registry, 0), Some(ServerId(1)));
        registry.set_unreachable("192.0.2.11".parse().unwrap());
        assert_eq!(pick(&mut registry, 0), Some(ServerId(0)));
        let way = NextHop { interface: InterfaceIndex::CLIENT, mac: Some(MAC) };
        let lost = *registry.snapshot(&loads, Instant::now()).route(ServerId(1));
        assert_eq!(lost, Route::new(&registry.own_macs, Some(way)), "its connections still go there");
        registry.set_resolving("192.0.2.11".parse().unwrap());
        let moved = *registry.snapshot(&loads, Instant::now()).route(ServerId(1));
        assert_eq!(moved, Route::Unresolved, "they wait for its new address");
    }

    /// Servers by which mh directs a thousand clients, and the digest of its table.
    fn mh(servers: &[(&str, u16)]) -> (Vec<IpAddr>, u64) {
        let mut service = service("192.0.2.1:80", servers);
        service.scheduler = crate::model::Scheduler::Mh;
        let (mut registry, loads) = (with(&[service], vec![MAC]), Loads::new(9));
        servers.iter().for_each(|(server, _)| registry.set_reachable(server.parse().unwrap(), MAC));
        let snapshot = registry.snapshot(&loads, Instant::now());
        let pool = snapshot.pool(ServiceId(0)).unwrap();
        let address = |id| registry.services[0].servers.iter().find(|of| of.id == id).unwrap().config.address;
        let client = |n: u16| ClientAddr::new(Ipv4Addr::new(10, 0, (n >> 8) as u8, n as u8).into(), 1024 + n);
        let picks = (0..1000).map(|n| address(pool.pick(&loads, client(n)).unwrap()));
        (picks.collect(), pool.table_digest().unwrap())
    }

    #[test]
    fn mh_does_not_depend_on_the_order_of_servers() {
        let servers = [("192.0.2.9", 1), ("192.0.2.10", 3), ("192.0.2.11", 2), ("192.0.2.100", 1)];
        let (picks, digest) = mh(&servers);
        for (a, b) in [(0, 1), (1, 2), (2, 3), (0, 3)] {
            let mut other = servers;
            other.swap(a, b);
            assert_eq!(mh(&other), (picks.clone(), digest), "{other:?}");
        }
        let mut heavier = servers;
        heavier[0].1 = 2;
        assert_ne!(mh(&heavier).1, digest);
        assert_ne!(mh(&servers[..3]).1, digest);
    }

    #[test]
    fn a_service_is_served_while_its_vip_is_claimed() {
        let mut registry = registry();
        assert_eq!(registry.served(), []);
        registry.set_vip("192.0.2.1".parse().unwrap(), VipState::Claimed);
        registry.set_vip("192.0.2.2".parse().unwrap(), VipState::Standby(MAC));
        let served = registry.served().iter().map(|of| (of.vip.to_string(), of.ports)).collect::<Vec<_>>();
        assert_eq!(served, [80, 443].map(|port| ("192.0.2.1".to_owned(), PortRange::one(port))));
    }

    fn rules(services: &[VirtualService]) -> Rules {
        Rules { services: services.to_vec(), ..Rules::default() }
    }

    fn templates() -> Templates {
        Templates::new(64, 9, Seed([1, 3, 5, 7]))
    }

    /// Binds a client of the service with this number to a server.
    fn bind(templates: &Templates, registry: &Registry, service: u16, server: u16) {
        let entry = registry.services.iter().find(|entry| entry.id.0 == service).unwrap();
        let network = Ipv4Addr::new(198, 51, 100, service as u8).into();
        let key = TemplateKey { network, service: entry.id, generation: entry.generation };
        let binding = Binding { key, now: Tick(0), timeout: Persistence::TIMEOUT, datagram: false };
        templates.bind(binding, |_| true, || Some(ServerId(server))).unwrap();
    }

    #[test]
    fn templates_stay_while_server_and_netmask_do() {
        let (mut registry, loads, templates) = (registry(), Loads::new(9), templates());
        let by = |prefix| Some(Persistence { timeout: Persistence::TIMEOUT, prefix });
        let none: TotalsOf<'_> = &|_| Stats::default();
        let mut all = registry.rules().services;
        all.iter_mut().for_each(|service| service.persistence = by(24));
        registry.apply(&rules(&all), none);
        for (service, server) in [(0, 0), (1, 2), (2, 3)] {
            bind(&templates, &registry, service, server);
        }
        loads.add(ServerId(3), true);
        let kept = |registry: &Registry| {
            templates.sweep(Tick(0), registry.keeps_templates());
            [0, 2, 3].map(|server| templates.of(ServerId(server)))
        };
        all[0].persistence = Some(Persistence { timeout: Span::from_secs(1), prefix: 24 });
        all[1].persistence = by(32);
        all[2].servers.clear();
        registry.apply(&rules(&all), none);
        registry.release_ids(&loads, &templates, Instant::now());
        assert_eq!(
            kept(&registry),
            [1, 0, 1],
            "a new netmask starts a new generation, a new timeout does not"
        );
        loads.remove(ServerId(3), true);
        registry.release_ids(&loads, &templates, Instant::now());
        assert_eq!(kept(&registry), [1, 0, 0]);
        all.remove(0);
        registry.apply(&rules(&all), none);
        assert_eq!(kept(&registry), [0, 0, 0]);
    }

    /// Held while a template refers to it: the template would bind its client to the id's next server.
    #[test]
    fn id_is_not_reused_before_the_templates_are_swept() {
        let (mut registry, loads, templates) = (registry(), Loads::new(9), templates());
        let none: TotalsOf<'_> = &|_| Stats::default();
        let mut all = registry.rules().services;
        all[2].persistence = Some(Persistence { timeout: Persistence::TIMEOUT, prefix: 32 });
        all[1].persistence = all[2].persistence;
        registry.apply(&rules(&all), none);
        bind(&templates, &registry, 2, 3);
        bind(&templates, &registry, 1, 2);
        all[2].servers.clear();
        registry.apply(&rules(&all), none);
        for free in [false, false, true] {
            registry.release_ids(&loads, &templates, Instant::now());
            assert_eq!(registry.removed_servers.values().all(RemovedServer::is_idle), free);
            templates.sweep(Tick(0), registry.keeps_templates());
        }
        assert_eq!((templates.of(ServerId(2)), templates.of(ServerId(3))), (1, 0));
    }

    #[test]
    fn service_added_again_has_none_of_its_templates() {
        let (mut registry, loads, templates) = (registry(), Loads::new(9), templates());
        let none: TotalsOf<'_> = &|_| Stats::default();
        let mut all = registry.rules().services;
        all[2].persistence = Some(Persistence { timeout: Persistence::TIMEOUT, prefix: 32 });
        loads.add(ServerId(3), true);
        registry.apply(&rules(&all), none);
        let before = registry.services[2].generation;
        registry.apply(&rules(&all[..2]), none);
        registry.release_ids(&loads, &templates, Instant::now());
        registry.apply(&rules(&all), none);
        assert_eq!(registry.services[2].id, ServiceId(2), "a connection has kept its number");
        assert_ne!(registry.services[2].generation, before);
    }

    #[test]
    fn repeated_syns_leave_a_server_whose_checks_fail() {
        let service = service("192.0.2.1:80", &[("192.0.2.10", 1), ("192.0.2.11", 0)]);
        let (mut registry, loads) = (with(&[service], vec![MAC]), Loads::new(2));
        for rip in ["192.0.2.10", "192.0.2.11"] {
            registry.set_reachable(rip.parse().unwrap(), MAC);
        }
        for (failed, expires, quiesced) in [
            (false, false, [false, false]),
            (true, false, [true, false]),
            (false, true, [false, true]),
            (true, true, [true, true]),
        ] {
            registry.services[0].servers[0].failed = failed;
            registry.policy.expire_nodest_conn = expires;
            let snapshot = registry.snapshot(&loads, Instant::now());
            let is_quiesced = |server| matches!(snapshot.route(ServerId(server)), Route::Quiesced(..));
            assert_eq!([0, 1].map(is_quiesced), quiesced, "failed {failed}, expire_nodest_conn {expires}");
        }
    }

    #[test]
    fn quiesced_server_keeps_its_clients_and_draining_does_not() {
        let mut service = service("192.0.2.1:80", &[("192.0.2.10", 0), ("192.0.2.11", 1)]);
        service.persistence = Some(Persistence { timeout: Persistence::TIMEOUT, prefix: 32 });
        let (mut registry, loads) = (with(&[service], Vec::new()), Loads::new(2));
        registry.set_reachable("192.0.2.10".parse().unwrap(), MAC);
        let keeps = |registry: &mut Registry| {
            let snapshot = registry.snapshot(&loads, Instant::now());
            [0, 1].map(|server| snapshot.pools[0].accepts_persistent(ServerId(server)))
        };
        registry.own_macs = vec![MAC];
        assert_eq!(keeps(&mut registry), [true, false], "the other one cannot be reached");
        registry.services[0].servers[0].drain = Some(Drain { until: None });
        assert_eq!(keeps(&mut registry), [false, false]);
    }

    fn ids(registry: &Registry) -> Vec<(u16, Vec<u16>)> {
        let servers = |entry: &ServiceEntry| entry.servers.iter().map(|server| server.id.0).collect();
        registry.services.iter().map(|entry| (entry.id.0, servers(entry))).collect()
    }

    #[test]
    fn server_that_returns_with_connections_gets_its_old_id() {
        let (mut registry, loads) = (registry(), Loads::new(9));
        let none: TotalsOf<'_> = &|_| Stats::default();
        assert_eq!(ids(&registry), [(0, vec![0, 1]), (1, vec![2]), (2, vec![3])]);
        loads.add(ServerId(0), true);
        let without = [service("192.0.2.2:80", &[("192.0.2.10", 9)])];
        registry.apply(&rules(&without), none);
        registry.release_ids(&loads, &templates(), Instant::now());
        assert_eq!(ids(&registry), [(2, vec![3])]);
        assert_eq!(registry.snapshot(&loads, Instant::now()).route(ServerId(0)), &Route::Removed);
        let back = [
            service("192.0.2.9:80", &[("192.0.2.11", 1)]),
            service("192.0.2.1:80", &[("192.0.2.11", 1), ("192.0.2.10", 1)]),
        ];
        registry.apply(&rules(&back), none);
        // 0 and its server 0 were kept for the connection; 1, and servers 1 and 2, were free again.
        assert_eq!(ids(&registry), [(1, vec![1]), (0, vec![2, 0])]);
        loads.remove(ServerId(0), true);
        registry.apply(&rules(&[]), none);
        registry.release_ids(&loads, &templates(), Instant::now());
        registry.apply(&rules(&without), none);
        assert_eq!(ids(&registry), [(0, vec![0])]);
    }

    #[test]
    fn states_of_vips_and_servers_apply_to_added_services() {
        let mut registry = registry();
        let (vip, rip) = ("192.0.2.1".parse().unwrap(), "192.0.2.10".parse().unwrap());
        registry.set_vip(vip, VipState::Claimed);
        registry.set_reachable(rip, MAC);
        let mut more = registry.rules();
        more.services.push(service("192.0.2.1:53", &[("192.0.2.10", 1), ("192.0.2.13", 1)]));
        registry.apply(&more, &|_| Stats::default());
        let entry = registry.services.last().unwrap();
        let links: Vec<_> = entry.servers.iter().map(|server| server.reachability).collect();
        assert_eq!(
            (entry.vip_state(vip), links),
            (Some(VipState::Claimed), vec![Reachability::Reachable(MAC), Reachability::Resolving])
        );
    }

    #[test]
    fn service_counters_include_removed_servers() {
        let mut registry = registry();
        let counted = |n| move |_: ServerId| Stats { connections: n, ..Stats::default() };
        let mut fewer = registry.rules();
        fewer.services[0].servers.remove(0);
        registry.apply(&fewer, &counted(5));
        assert_eq!(registry.services[0].past.connections, 5);
        let mut again = fewer.clone();
        again.services[0].servers.push(server("192.0.2.10", 1));
        registry.apply(&again, &counted(7));
        let of = |registry: &Registry| {
            let entry = &registry.services[0];
            (entry.past.connections, entry.servers.last().map(|server| server.baseline.connections))
        };
        assert_eq!(of(&registry), (0, Some(0)), "it goes on with all that it has counted");
        registry.apply(&fewer, &counted(7));
        let (loads, removal) = (Loads::new(9), Instant::now());
        loads.add(ServerId(0), true);
        registry.release_ids(&loads, &templates(), removal - COUNTERS_KEPT);
        loads.remove(ServerId(0), true);
        for now in [removal, removal + COUNTERS_KEPT - Duration::from_secs(1)] {
            registry.release_ids(&loads, &templates(), now);
            registry.apply(&again, &counted(8));
            assert_eq!(of(&registry), (0, Some(0)), "kept after its last connection");
            registry.apply(&fewer, &counted(8));
        }
        registry.release_ids(&loads, &templates(), removal);
        registry.release_ids(&loads, &templates(), removal + COUNTERS_KEPT);
        registry.apply(&again, &counted(9));
        assert_eq!(of(&registry), (8, Some(9)), "no longer kept");
        registry.zero(Some(registry.services[0].config.identity), &counted(9));
        let entry = &registry.services[0];
        assert_eq!((entry.past, entry.servers[0].baseline), (Stats::default(), counted(9)(ServerId(0))));
        assert_eq!(registry.services[1].servers[0].baseline, Stats::default(), "another service");
    }

    #[test]
    fn removed_server_counts_from_0_after_its_service_or_a_zero() {
        let counted = |n| move |_: ServerId| Stats { connections: n, ..Stats::default() };
        let (all, service) = (registry().rules(), registry().services[0].config.identity);
        let mut fewer = all.clone();
        fewer.services[0].servers.remove(0);
        for zeroed in [true, false] {
            let mut registry = registry();
            registry.apply(&fewer, &counted(5));
            if zeroed {
                registry.zero(Some(service), &counted(6));
            } else {
                registry.apply(&rules(&all.services[1..]), &counted(6));
            }
            registry.apply(&all, &counted(7));
            let entry = registry.services.iter().find(|entry| entry.config.identity == service).unwrap();
            let rip: IpAddr = "192.0.2.10".parse().unwrap();
            let server = entry.servers.iter().find(|server| server.config.address == rip).unwrap();
            let baseline = server.baseline.connections;
            assert_eq!((entry.past.connections, baseline), (0, 7), "zeroed: {zeroed}");
        }
    }

    #[test]
    fn addresses_of_ids_are_known_while_connections_stand() {
        let (mut registry, loads) = (registry(), Loads::new(9));
        loads.add(ServerId(3), true);
        let mut fewer = registry.rules();
        fewer.services[2].servers.clear();
        let named = |registry: &Registry| {
            let ids = registry.id_addresses();
            (ids.services.len(), ids.servers.get(&ServerId(3)).copied())
        };
        for rules in [&fewer, &rules(&fewer.services[..2])] {
            registry.apply(rules, &|_| Stats::default());
            registry.release_ids(&loads, &templates(), Instant::now());
            assert_eq!(named(&registry), (3, Some("192.0.2.10".parse().unwrap())));
        }
        loads.remove(ServerId(3), true);
        registry.release_ids(&loads, &templates(), Instant::now());
        assert_eq!(named(&registry), (2, None));
    }

    fn group(matches: &[&str]) -> VirtualService {
        let mark = FirewallMark { mark: 7.try_into().unwrap(), family: crate::model::IpFamily::Ipv4 };
        let group = matches.iter().map(|of| of.parse().unwrap()).collect();
        VirtualService { group, ..VirtualService::new(mark, vec![server("192.0.2.10", 1)]) }
    }

    #[test]
    fn the_id_of_a_removed_match_is_kept_for_its_connections() {
        let (mut registry, loads, none) = (Registry::new(Vec::new()), Loads::new(4), &|_| Stats::default());
        let ids = |registry: &Registry| {
            registry.services[0].matches.iter().map(|(of, id)| (of.ports.first, id.0)).collect::<Vec<_>>()
        };
        registry.apply(&rules(&[group(&["tcp:192.0.2.1:80", "tcp:192.0.2.1:443"])]), none);
        assert_eq!(ids(&registry), [(80, 0), (443, 1)]);
        let now = Instant::now();
        registry.apply(&rules(&[group(&["tcp:192.0.2.1:80", "tcp:192.0.2.1:90-99"])]), none);
        registry.release_ids(&loads, &templates(), now);
        assert_eq!(ids(&registry), [(80, 0), (90, 2)], "443 may have connections");
        registry.apply(&rules(&[group(&["tcp:192.0.2.1:443", "tcp:192.0.2.1:90-99"])]), none);
        assert_eq!(ids(&registry), [(443, 1), (90, 2)], "and has them again");
        registry.release_ids(&loads, &templates(), now);
        let tcp = Duration::from_secs(900); // the longest timeout of a connection
        registry.release_ids(&loads, &templates(), now + tcp);
        registry.apply(&rules(&[group(&["tcp:192.0.2.1:443", "tcp:192.0.2.1:8080"])]), none);
        assert_eq!(ids(&registry), [(443, 1), (8080, 3)], "80 may have been swept by now, or not");
        registry.release_ids(&loads, &templates(), now + 2 * tcp);
        registry.release_ids(&loads, &templates(), now + 4 * tcp);
        registry.apply(&rules(&[group(&["tcp:192.0.2.1:443", "tcp:192.0.2.1:81"])]), none);
        assert_eq!(ids(&registry), [(443, 1), (81, 0)]);
        registry.apply(&rules(&[]), none);
        registry.release_ids(&loads, &templates(), now + 4 * tcp);
        assert!(registry.removed_matches.is_empty(), "with the service, which has no connections");
    }

    #[test]
    fn wide_matches_of_a_vip_have_one_id() {
        let none: TotalsOf<'_> = &|_| Stats::default();
        let mut registry = Registry::new(Vec::new());
        let mut ids = |matches: &[&str]| {
            registry.check_ids(&rules(&[group(matches)])).unwrap();
            registry.apply(&rules(&[group(matches)]), none);
            registry.services[0].matches.iter().map(|(_, id)| id.0).collect::<Vec<_>>()
        };
        assert_eq!(ids(&["udp:192.0.2.1:5060-5080", "tcp:192.0.2.1:5060-5080"]), [0, 1]);
        assert_eq!(ids(&["udp:192.0.2.1:5070-5090"]), [0], "it has moved");
        assert_eq!(ids(&["udp:192.0.2.1:1-9", "udp:192.0.2.1:5000", "udp:192.0.2.1:*"]), [0, 2, 0]);
        assert_eq!(ids(&["udp:192.0.2.2:1-9", "tcp:192.0.2.1:1-2"]), [3, 1], "1 was reserved");
        assert_eq!(ids(&["udp:192.0.2.1:7-8"]), [0], "reserved, too");
    }

    #[test]
    fn a_group_has_the_states_of_its_vips() {
        let mut registry = with(&[group(&["tcp:192.0.2.1:80", "udp:192.0.2.2:53"])], Vec::new());
        let [first, second] = [1, 2].map(|last| IpAddr::from([192, 0, 2, last]));
        let least = |registry: &Registry| registry.services[0].least_vip();
        assert_eq!(least(&registry), Some((first, VipState::Probing)));
        registry.set_vip(first, VipState::Claimed);
        registry.set_vip(second, VipState::Standby(MAC));
        assert_eq!(least(&registry), Some((second, VipState::Standby(MAC))));
        assert_eq!(
            [first, second].map(|vip| registry.vip(vip)),
            [Some(VipState::Claimed), Some(VipState::Standby(MAC))]
        );
        registry.set_vip(second, VipState::Claimed);
        assert_eq!(least(&registry), Some((first, VipState::Claimed)));
    }

    /// A service with as many servers as there are ids, from the address `first`.
    fn full_service(first: u32) -> VirtualService {
        let rips: Vec<_> =
            (0..u32::from(u16::MAX)).map(|n| Ipv4Addr::from_bits(first + n).to_string()).collect();
        service("192.0.2.1:80", &rips.iter().map(|rip| (rip.as_str(), 1)).collect::<Vec<_>>())
    }

    #[test]
    fn ids_reserved_for_counters_are_released_when_short() {
        let none: TotalsOf<'_> = &|_| Stats::default();
        let mut registry = with(&[full_service(0x0a00_0000)], Vec::new());
        let (loads, other) = (Loads::new(u16::MAX.into()), rules(&[full_service(0x0b00_0000)]));
        registry.apply(&rules(&[service("192.0.2.1:80", &[])]), none);
        assert!(registry.check_ids(&other).is_err(), "workers may use an earlier snapshot");
        loads.add(ServerId(9), true);
        registry.release_ids(&loads, &templates(), Instant::now());
        assert!(registry.check_ids(&other).is_err(), "a connection reserves one id");
        loads.remove(ServerId(9), true);
        registry.release_ids(&loads, &templates(), Instant::now());
        let half_returns = rules(&[full_service(0x0a00_8000)]);
        for rules in [half_returns, other] {
            registry.check_ids(&rules).unwrap();
            registry.apply(&rules, none);
            registry.apply(&Rules { services: vec![service("192.0.2.1:80", &[])], ..rules }, none);
            registry.release_ids(&loads, &templates(), Instant::now());
        }
    }

    #[test]
    fn all_16_bit_ids_but_the_last_are_used() {
        let many = 0..u16::MAX;
        let all: Vec<_> = many.clone().map(|n| Ipv4Addr::from_bits(0x0a00_0000 | u32::from(n))).collect();
        let one = with(&[full_service(0x0a00_0000)], Vec::new());
        assert!(one.services[0].servers.iter().map(|server| server.id.0).eq(many.clone()));
        let services: Vec<_> = all.iter().map(|vip| service(&format!("{vip}:80"), &[])).collect();
        let snapshot = with(&services, Vec::new()).snapshot(&Loads::new(0), Instant::now());
        let id = |vip: &Ipv4Addr| snapshot.services.find(Protocol::Tcp, *vip, 80).map(|id| id.0);
        assert!(all.iter().map(id).eq(many.map(Some)));
    }
}
