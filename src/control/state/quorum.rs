//! The quorum of a service, and its sorry server.

use crate::control::state::entry::{ServerEntry, ServiceEntry};
use crate::model::{Quorum, ServerRole, ServiceIdentity};

/// A change of a quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::control) struct QuorumChange {
    pub(in crate::control) service: ServiceIdentity,
    /// Weight that the quorum needs.
    pub(in crate::control) weight: u32,
    /// Weight that is there.
    pub(in crate::control) live: u32,
    /// Whether it stands now.
    pub(in crate::control) up: bool,
}

impl ServiceEntry {
    /// Returns the weight of the servers that get new connections by health checks, ARP and drain; without the sorry
    /// server, and as if that were not in use. An ejected server counts: a few clients can have one ejected.
    pub(in crate::control) fn live_weight(&self) -> u32 {
        let counts = |server: &&ServerEntry| !server.is_sorry() && server.is_available() && !server.failed;
        self.servers.iter().filter(counts).map(|server| u32::from(server.weight())).sum()
    }

    /// Returns the quorum that counts.
    pub(in crate::control) fn quorum(&self) -> Option<Quorum> {
        self.config.effects.quorum_beside(self.sorry_server().is_some())
    }

    /// Returns the sorry server.
    pub(in crate::control) fn sorry_server(&self) -> Option<&ServerEntry> {
        self.servers.iter().find(|server| server.is_sorry())
    }

    /// Returns the sorry server if it is to get all new connections: the quorum is lost. One that cannot take them
    /// leaves them to the servers that are left.
    pub(in crate::control) fn serving_sorry(&self) -> Option<&ServerEntry> {
        let is_ready = |server: &&ServerEntry| server.is_fit() && server.config.weight.0 > 0;
        self.sorry_server().filter(|_| self.quorum_up == Some(false)).filter(is_ready)
    }

    /// Updates whether the quorum stands. Returns it, if that has changed.
    pub(in crate::control) fn check_quorum(&mut self) -> Option<QuorumChange> {
        let Some(quorum) = self.quorum() else {
            self.quorum_up = None;
            return None;
        };
        let live = self.live_weight();
        let up = quorum.stands(self.quorum_up, live);
        let change = QuorumChange { service: self.config.identity, weight: quorum.weight, live, up };
        (self.quorum_up.replace(up) != Some(up)).then_some(change)
    }

    /// Updates which servers count by the quorum. Returns whether the sorry server is in use from now on, if that has
    /// changed.
    pub(in crate::control) fn follow_quorum(&mut self) -> Option<bool> {
        let serves = self.serving_sorry().is_some();
        let was_idle = self.sorry_server().map(|server| server.idle);
        for server in &mut self.servers {
            server.idle = server.is_sorry() != serves;
        }
        (was_idle == Some(serves)).then_some(serves)
    }

    /// Returns whether listings as of ipvsadm have a server.
    pub(in crate::control) fn lists(&self, server: &ServerEntry) -> bool {
        match server.config.role {
            ServerRole::Sorry { inhibit } => inhibit || !server.idle,
            ServerRole::Regular => self.config.effects.inhibit_on_failure || !(server.failed || server.idle),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::api::Stats;
    use crate::control::state::registry::Registry;
    use crate::model::{HealthEffects, RealServer, Rules, ServiceAddress, VirtualService, Weight};
    use crate::random::SplitMix64;
    use crate::schedule::Loads;
    use crate::wire::{MacAddr, Protocol};
    use std::net::IpAddr;
    use std::time::Instant;

    const SORRY: u8 = 99;

    fn rip(host: u8) -> IpAddr {
        [192, 0, 2, host].into()
    }

    fn identity() -> ServiceIdentity {
        ServiceAddress { protocol: Protocol::Tcp, address: ([192, 0, 2, 1], 80).into() }.into()
    }

    /// A service with these servers of weight 1, and a sorry server.
    fn rules(hosts: &[u8], quorum: Option<Quorum>, effects: HealthEffects) -> Rules {
        let regular = hosts.iter().map(|host| RealServer::new(rip(*host), Weight(1)));
        let role = ServerRole::Sorry { inhibit: false };
        let sorry = RealServer { role, ..RealServer::new(rip(SORRY), Weight(1)) };
        let effects = HealthEffects { quorum, ..effects };
        let servers = regular.chain([sorry]).collect();
        let service = VirtualService { panic: 0, effects, ..VirtualService::new(identity(), servers) };
        Rules { services: vec![service], ..Rules::default() }
    }

    struct Site {
        registry: Registry,
        loads: Loads,
    }

    impl Site {
        /// All servers answer.
        fn new(rules: &Rules) -> Self {
            let registry = Registry::new(vec![MacAddr([2, 0, 0, 0, 0, 1])]);
            let mut site = Self { registry, loads: Loads::new(16) };
            site.apply(rules);
            site
        }

        fn apply(&mut self, rules: &Rules) {
            self.registry.apply(rules, &|_| Stats::default());
            for server in &rules.services[0].servers {
                self.answer(server.address, true);
            }
        }

        fn answer(&mut self, rip: IpAddr, answers: bool) {
            let IpAddr::V4(address) = rip else { unreachable!() };
            match answers {
                true => self.registry.set_reachable(rip, MacAddr([2, 0, 0, 0, 1, address.octets()[3]])),
                false => self.registry.set_unreachable(rip),
            }
        }

        fn fail(&mut self, host: u8, failed: bool) {
            self.registry.server_mut(identity(), rip(host)).unwrap().failed = failed;
        }

        fn service(&self) -> &ServiceEntry {
            &self.registry.services[0]
        }

        /// The hosts that get new connections in the next snapshot.
        fn in_use(&mut self) -> Vec<u8> {
            self.registry.services[0].check_quorum();
            let _ = self.registry.snapshot(&self.loads, Instant::now());
            let counts = |server: &&ServerEntry| server.is_available() && server.effective_weight() > 0;
            let servers = self.service().servers.iter().filter(counts);
            let host = |server: &ServerEntry| match server.config.address {
                IpAddr::V4(address) => address.octets()[3],
                IpAddr::V6(_) => unreachable!(),
            };
            servers.map(host).collect()
        }

        fn listed(&self) -> usize {
            let service = self.service();
            service.servers.iter().filter(|server| service.lists(server)).count()
        }
    }

    #[test]
    fn the_sorry_server_serves_while_the_quorum_is_lost() {
        let mut site = Site::new(&rules(&[10, 11, 12], None, HealthEffects::default()));
        assert_eq!(site.in_use(), [10, 11, 12]);
        assert_eq!(site.listed(), 3);
        site.fail(10, true);
        site.answer(rip(11), false);
        assert_eq!(site.in_use(), [12], "any weight is a quorum, also for ARP");
        site.fail(12, true);
        assert_eq!((site.in_use(), site.listed()), (vec![SORRY], 4));
        assert_eq!(site.service().servers[2].state(), "down");
        site.answer(rip(11), true);
        assert_eq!((site.in_use(), site.listed()), (vec![11], 3));
        assert_eq!(site.service().sorry_server().unwrap().state(), "standby");
    }

    #[test]
    fn servers_that_are_left_give_way_with_the_quorum() {
        let quorum = Some(Quorum { weight: 2, hysteresis: 1 });
        let effects = HealthEffects { inhibit_on_failure: false, ..HealthEffects::default() };
        let rules = rules(&[10, 11, 12], quorum, effects);
        let mut site = Site::new(&rules);
        assert_eq!(site.in_use(), [10, 11, 12]);
        site.fail(10, true);
        site.fail(11, true);
        assert_eq!(site.in_use(), [12], "it stands at 2 - 1");
        site.fail(12, true);
        assert_eq!(site.in_use(), [SORRY]);
        site.fail(12, false);
        site.fail(11, false);
        assert_eq!(site.in_use(), [SORRY], "it is reached at 2 + 1");
        assert_eq!(site.service().servers[2].state(), "no_quorum");
        assert_eq!(site.listed(), 1, "as where keepalived removes the others");
        site.apply(&rules);
        assert_eq!(site.in_use(), [SORRY], "a reload changes nothing");
        site.fail(10, false);
        assert_eq!(site.in_use(), [10, 11, 12]);
    }

    /// Otherwise nothing would be served at all.
    #[test]
    fn without_a_sorry_server_that_answers_the_others_stay() {
        let quorum = Some(Quorum { weight: 2, hysteresis: 0 });
        let mut site = Site::new(&rules(&[10, 11], quorum, HealthEffects::default()));
        assert_eq!(site.in_use(), [10, 11]);
        site.answer(rip(SORRY), false);
        site.fail(10, true);
        assert_eq!(site.in_use(), [11]);
        site.answer(rip(SORRY), true);
        assert_eq!(site.in_use(), [SORRY]);
        site.fail(SORRY, true); // as forced by the operator
        assert_eq!(site.in_use(), [11]);
    }

    #[test]
    fn never_both_under_random_failures_and_reloads() {
        let mut served = [0_u32; 2];
        for seed in 1..=100 {
            let mut random = SplitMix64::new(seed);
            let mut draw = |below: u64| random.next() % below;
            let quorum = (seed % 3 > 0).then(|| Quorum { weight: 1 + (seed % 3) as u32, hysteresis: 0 });
            let all = [10, 11, 12, 13];
            let mut site = Site::new(&rules(&all, quorum, HealthEffects::default()));
            let mut present = all.to_vec();
            for _ in 0..60 {
                match draw(8) {
                    0 => {
                        present = all.into_iter().filter(|_| draw(3) > 0).collect();
                        site.apply(&rules(&present, quorum, HealthEffects::default()));
                    }
                    1 => site.answer(rip(SORRY), draw(2) == 0),
                    _ if present.is_empty() => {}
                    _ => {
                        let host = present[draw(present.len() as u64) as usize];
                        site.fail(host, draw(2) == 0);
                    }
                }
                let in_use = site.in_use();
                let service = site.service();
                let fit: Vec<_> = service.servers.iter().map(ServerEntry::is_fit).collect();
                let (live, sorry) = (service.live_weight(), *fit.last().unwrap());
                let up = live >= quorum.map_or(1, |quorum| quorum.weight);
                assert_eq!(service.quorum_up, Some(up), "seed {seed}");
                let serves = in_use == [SORRY];
                assert_eq!(serves, !up && sorry, "seed {seed}: {in_use:?}, live {live}");
                assert!(serves || in_use.len() as u32 == live && !in_use.contains(&SORRY), "seed {seed}");
                served[usize::from(serves)] += 1;
            }
        }
        assert!(served.iter().all(|count| *count > 500), "{served:?}");
    }
}
