//! What control knows of every service and server, and the snapshot that workers get of it.

use crate::forward::{Arm, ArmIndex, Route, Server, ServiceMap, Snapshot};
use crate::model::{
    RealServer, Scheduler, SchedulerFlags, ServerId, ServiceAddress, ServiceId, Timeouts, VirtualService,
};
use crate::schedule::{Candidate, Loads, Pool, Rule, Thresholds};
use crate::wire::MacAddr;
use std::net::{IpAddr, SocketAddr};

/// Every virtual service with its real servers and what ARP has found out about them.
#[derive(Debug)]
pub struct Registry {
    /// The director's interfaces.
    pub arms: Vec<Arm>,
    /// Connection timeouts.
    pub timeouts: Timeouts,
    /// By [`ServiceId`].
    pub services: Vec<ServiceEntry>,
}

/// A virtual service as control sees it.
#[derive(Debug)]
pub struct ServiceEntry {
    /// Protocol, VIP and port.
    pub address: ServiceAddress,
    /// How new connections are spread.
    pub scheduler: Scheduler,
    /// Flags of the scheduler.
    pub scheduler_flags: SchedulerFlags,
    /// Whether each datagram is scheduled by itself.
    pub one_packet: bool,
    /// Whether the VIP is ours.
    pub vip: VipState,
    /// In the order of the configuration.
    pub servers: Vec<ServerEntry>,
    /// Of the last snapshot.
    pool: Pool,
}

/// How far the claim to a VIP has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VipState {
    /// Asking whether somebody has it.
    Probing,
    /// Ours: answered and announced.
    Claimed,
    /// Somebody else's; not served.
    Conflict(MacAddr),
}

/// A real server of one service as control sees it.
#[derive(Debug)]
pub struct ServerEntry {
    /// Its place in counters and loads.
    pub id: ServerId,
    /// As configured.
    pub config: RealServer,
    /// Whether it can be reached.
    pub link: ServerLink,
}

/// What ARP says of a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerLink {
    /// Not answered yet.
    Resolving,
    /// Answers, or has a fixed address.
    Reachable(MacAddr),
    /// Has stopped answering: existing connections go on to the last address known, new ones
    /// are not sent there.
    Unreachable(Option<MacAddr>),
}

impl ServerLink {
    /// The address that frames go to, if one was ever known.
    #[must_use]
    pub fn mac(self) -> Option<MacAddr> {
        match self {
            Self::Resolving => None,
            Self::Reachable(mac) => Some(mac),
            Self::Unreachable(mac) => mac,
        }
    }

    /// The word for listings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Resolving => "resolving",
            Self::Reachable(_) => "reachable",
            Self::Unreachable(_) => "unreachable",
        }
    }
}

impl Registry {
    /// Gives every service and server its place. Nothing is claimed, nobody resolved yet.
    ///
    /// Of either there are at most 65536: the configuration has no more.
    #[must_use]
    pub fn new(services: &[VirtualService], arms: Vec<Arm>, timeouts: Timeouts) -> Self {
        let mut ids = (0..u16::MAX).map(ServerId);
        let services = services
            .iter()
            .map(|service| ServiceEntry {
                address: service.address,
                scheduler: service.scheduler,
                scheduler_flags: service.scheduler_flags,
                one_packet: service.one_packet,
                vip: VipState::Probing,
                servers: service
                    .servers
                    .iter()
                    .zip(&mut ids)
                    .map(|(server, id)| ServerEntry::new(server, id))
                    .collect(),
                pool: Pool::new([]),
            })
            .collect();
        Self { arms, timeouts, services }
    }

    /// Number of server places in use.
    #[must_use]
    pub fn server_count(&self) -> usize {
        self.services.iter().map(|service| service.servers.len()).sum()
    }

    /// Notes what has become of the claim to `vip`.
    pub fn set_vip(&mut self, vip: IpAddr, state: VipState) {
        let of_vip = self.services.iter_mut().filter(|service| service.address.address.ip() == vip);
        of_vip.for_each(|service| service.vip = state);
    }

    /// What has become of the claim to `vip`; `None` if no service has it.
    #[must_use]
    pub fn vip(&self, vip: IpAddr) -> Option<VipState> {
        self.services.iter().find(|service| service.address.address.ip() == vip).map(|service| service.vip)
    }

    /// Notes that the server at `rip` answers with `mac`.
    pub fn set_reachable(&mut self, rip: IpAddr, mac: MacAddr) {
        self.servers_at(rip).for_each(|server| server.link = ServerLink::Reachable(mac));
    }

    /// Notes that the server at `rip` does not answer.
    pub fn set_unreachable(&mut self, rip: IpAddr) {
        self.servers_at(rip).for_each(|server| server.link = ServerLink::Unreachable(server.link.mac()));
    }

    /// The services whose VIP is claimed: those that frames are wanted for.
    #[must_use]
    pub fn served(&self) -> Vec<ServiceAddress> {
        let claimed = self.services.iter().filter(|service| service.vip == VipState::Claimed);
        claimed.map(|service| service.address).collect()
    }

    /// The picture that workers decide by. Its pools take account of `loads` from now on.
    #[must_use]
    pub fn snapshot(&mut self, loads: &Loads) -> Snapshot {
        let pools = self.services.iter_mut().map(|service| service.pool(loads)).collect();
        let by_id = self.services.iter().zip(0..u16::MAX);
        let mut servers: Vec<_> = self.services.iter().flat_map(|service| &service.servers).collect();
        servers.sort_by_key(|server| server.id);
        let arm = ArmIndex(self.arms.len().saturating_sub(1) as u8); // two arms at most
        Snapshot {
            arms: self.arms.clone(),
            services: ServiceMap::new(
                &by_id.map(|(service, id)| (service.address, ServiceId(id))).collect::<Vec<_>>(),
            ),
            pools,
            routes: Route::to_all(
                &self.arms,
                servers.iter().map(|server| Some(Server { arm, mac: server.link.mac() })),
            ),
            timeouts: self.timeouts,
        }
    }

    /// The service and server behind a server id; `None` if there is none.
    #[must_use]
    pub fn find_server(&self, id: ServerId) -> Option<(&ServiceEntry, &ServerEntry)> {
        self.services
            .iter()
            .find_map(|service| Some((service, service.servers.iter().find(|server| server.id == id)?)))
    }

    fn servers_at(&mut self, rip: IpAddr) -> impl Iterator<Item = &mut ServerEntry> {
        self.services
            .iter_mut()
            .flat_map(|service| &mut service.servers)
            .filter(move |server| server.config.address == rip)
    }
}

impl ServiceEntry {
    /// The servers that take new connections, the last configured first: IPVS adds each new server
    /// at the head of its list (`list_add_rcu` in `__ip_vs_update_dest`, ip_vs_ctl.c), and wlc
    /// prefers the earlier one of equals. The same pool as before if nothing has changed.
    fn pool(&mut self, loads: &Loads) -> Pool {
        let reachable =
            self.servers.iter().rev().filter(|server| matches!(server.link, ServerLink::Reachable(_)));
        let candidate = |server: &ServerEntry| Candidate {
            thresholds: Thresholds {
                upper: server.config.upper_threshold,
                lower: server.config.lower_threshold,
            },
            address: self.server_address(server),
            ..Candidate::new(server.id, server.config.weight.0)
        };
        let (scheduler, flags) = (self.scheduler, self.scheduler_flags);
        let (vip, one_packet) = (self.address.address.ip(), self.one_packet);
        let rule = Rule { scheduler, flags, vip, one_packet };
        self.pool = self.pool.next(rule, reachable.map(candidate), loads);
        self.pool.clone()
    }

    /// A server's address with the service's port, as listings show it.
    #[must_use]
    pub fn server_address(&self, server: &ServerEntry) -> SocketAddr {
        SocketAddr::new(server.config.address, self.address.address.port())
    }
}

impl ServerEntry {
    fn new(config: &RealServer, id: ServerId) -> Self {
        Self { id, config: config.clone(), link: ServerLink::Resolving }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Weight;
    use crate::schedule::Client;
    use crate::wire::Protocol;
    use std::net::Ipv4Addr;

    fn server(address: &str, weight: u16) -> RealServer {
        RealServer::new(address.parse().unwrap(), Weight(weight))
    }

    fn service(address: &str, servers: &[(&str, u16)]) -> VirtualService {
        let address = ServiceAddress { protocol: Protocol::Tcp, address: address.parse().unwrap() };
        let servers = servers.iter().map(|(address, weight)| server(address, *weight)).collect();
        VirtualService::new(address, servers)
    }

    fn registry() -> Registry {
        let services = [
            service("192.0.2.1:80", &[("192.0.2.10", 1), ("192.0.2.11", 1)]),
            service("192.0.2.1:443", &[("192.0.2.10", 0)]),
            service("192.0.2.2:80", &[("192.0.2.10", 5)]),
        ];
        Registry::new(&services, vec![Arm { mac: MacAddr([2, 0, 0, 0, 0, 1]) }], Timeouts::default())
    }

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

    #[test]
    fn only_reachable_servers_with_weight_take_connections_and_the_last_comes_first() {
        let (mut registry, loads) = (registry(), Loads::new(4));
        let pick = |registry: &mut Registry, service| {
            registry.snapshot(&loads).pool(ServiceId(service)).unwrap().pick(&loads, Client::default())
        };
        assert_eq!(pick(&mut registry, 0), None);
        registry.set_reachable("192.0.2.10".parse().unwrap(), MAC);
        assert_eq!([0, 1, 2].map(|s| pick(&mut registry, s)), [Some(ServerId(0)), None, Some(ServerId(3))]);
        registry.set_reachable("192.0.2.11".parse().unwrap(), MAC);
        assert_eq!(pick(&mut registry, 0), Some(ServerId(1)));
        registry.set_unreachable("192.0.2.11".parse().unwrap());
        assert_eq!(pick(&mut registry, 0), Some(ServerId(0)));
        let way = Server { arm: ArmIndex::CLIENT, mac: Some(MAC) };
        let lost = *registry.snapshot(&loads).route(ServerId(1));
        assert_eq!(lost, Route::new(&registry.arms, Some(way)), "its connections still go there");
    }

    #[test]
    fn a_service_is_served_while_its_vip_is_claimed() {
        let mut registry = registry();
        assert_eq!(registry.served(), []);
        registry.set_vip("192.0.2.1".parse().unwrap(), VipState::Claimed);
        registry.set_vip("192.0.2.2".parse().unwrap(), VipState::Conflict(MAC));
        let served: Vec<_> = registry.served().iter().map(ToString::to_string).collect();
        assert_eq!(served, ["TCP 192.0.2.1:80", "TCP 192.0.2.1:443"]);
    }

    #[test]
    fn every_number_that_16_bits_have_but_the_last_is_a_server_or_a_service() {
        let many = 0..u16::MAX;
        let all: Vec<_> = many.clone().map(|n| Ipv4Addr::from_bits(0x0a00_0000 | u32::from(n))).collect();
        let servers: Vec<_> = all.iter().map(|rip| (rip.to_string(), 1)).collect();
        let servers: Vec<_> = servers.iter().map(|(rip, weight)| (rip.as_str(), *weight)).collect();
        let one = Registry::new(&[service("192.0.2.1:80", &servers)], Vec::new(), Timeouts::default());
        assert!(one.services[0].servers.iter().map(|server| server.id.0).eq(many.clone()));
        let services: Vec<_> = all.iter().map(|vip| service(&format!("{vip}:80"), &[])).collect();
        let snapshot = Registry::new(&services, Vec::new(), Timeouts::default()).snapshot(&Loads::new(0));
        let id = |vip: &Ipv4Addr| snapshot.services.find(Protocol::Tcp, *vip, 80).map(|id| id.0);
        assert!(all.iter().map(id).eq(many.map(Some)));
    }
}
