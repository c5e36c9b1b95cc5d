//! The next hops of real servers: interface, source address, MAC address.

use crate::io::Interface;
use crate::model::{Diagnostic, InterfaceIndex, RealServer, VirtualService};
use crate::neighbor::NeighborTarget;
use crate::wire::MacAddr;
use crate::wire::vlan::Vlans;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Finds the next hops of the real servers of a set of services.
pub(in crate::control) struct NextHops<'a> {
    interfaces: &'a [Interface],
    /// Configured MAC addresses by RIP: a server has one in all its services.
    macs: HashMap<IpAddr, MacAddr>,
    vips: BTreeSet<IpAddr>,
    /// Present next hops by RIP.
    before: HashMap<IpAddr, NeighborTarget>,
}

impl<'a> NextHops<'a> {
    /// Takes the services and the present next hops.
    pub(in crate::control) fn new(
        services: &[VirtualService],
        interfaces: &'a [Interface],
        before: &[NeighborTarget],
    ) -> Self {
        let servers = services.iter().flat_map(|service| &service.servers);
        let macs = servers.filter_map(|server| Some((server.address, server.mac?))).collect();
        let vips = services.iter().flat_map(VirtualService::vips).collect();
        let before = before.iter().map(|next_hop| (next_hop.rip, *next_hop)).collect();
        Self { interfaces, macs, vips, before }
    }

    /// Returns the next hop of a server; the present one if it is no longer on-link.
    ///
    /// # Errors
    /// If it is not on-link, or is this host, and has no present next hop with the same MAC address.
    pub(in crate::control) fn find(
        &self,
        server: &RealServer,
        vlan: Vlans,
    ) -> Result<NeighborTarget, Diagnostic> {
        let mac = self.macs.get(&server.address).copied();
        let found =
            if vlan.is_none() { self.resolve(server.address, mac) } else { self.tagged(server.address, mac) };
        found.or_else(|error| {
            let before = self.before.get(&server.address);
            before.filter(|before| before.mac == mac).copied().ok_or(error)
        })
    }

    fn resolve(&self, address: IpAddr, mac: Option<MacAddr>) -> Result<NeighborTarget, Diagnostic> {
        let index = self.interfaces.len() - 1; // the last interface is the server side
        let interface = &self.interfaces[index];
        if let Some(own) = self.interfaces.iter().find(|interface| has(interface, address)) {
            return Err(own_address(address, own));
        }
        if let Some(role) = interface.reserved(address) {
            return Err(reserved_address(address, &role));
        }
        let source = match address {
            IpAddr::V4(rip) => self.source(interface, rip, mac).map(IpAddr::V4),
            IpAddr::V6(rip) => self.ipv6_source(interface, rip, mac)?.map(IpAddr::V6),
        };
        let own = source.ok_or_else(|| not_on_link(address, interface))?;
        Ok(NeighborTarget { interface: InterfaceIndex(index as u8), rip: address, own, mac })
    }

    /// Returns the next hop of a server within a VLAN, whose networks are not known. ARP requests have no sender address
    /// there; neighbor solicitations have the interface's link-local one.
    fn tagged(&self, rip: IpAddr, mac: Option<MacAddr>) -> Result<NeighborTarget, Diagnostic> {
        let index = self.interfaces.len() - 1;
        let interface = &self.interfaces[index];
        if let Some(own) = self.interfaces.iter().find(|interface| has(interface, rip)) {
            return Err(own_address(rip, own));
        }
        let own = match rip {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        if rip.is_ipv6() && mac.is_none() && !has_link_local(interface) {
            return Err(no_link_local(rip, interface));
        }
        Ok(NeighborTarget { interface: InterfaceIndex(index as u8), rip, own, mac })
    }
}

impl NextHops<'_> {
    /// Returns the source address of ARP requests for a server, if it is on-link.
    ///
    /// The interface's networks come first, then the present source if it is still an address, then the routing table.
    /// A server with a fixed MAC address needs no source.
    fn source(&self, interface: &Interface, rip: Ipv4Addr, mac: Option<MacAddr>) -> Option<Ipv4Addr> {
        let near = interface.address_towards(rip).or(mac.map(|_| Ipv4Addr::UNSPECIFIED));
        let present = self
            .before
            .get(&rip.into())
            .and_then(|next_hop| v4(next_hop.own))
            .filter(|own| has(interface, (*own).into()));
        near.or(present).or_else(|| interface.source_by_route(rip))
    }

    /// Returns the source address of neighbor solicitations for a server, if it is on-link. A server with a fixed MAC
    /// address needs no source.
    ///
    /// # Errors
    /// If it is on-link, and the interface has no address but VIPs.
    fn ipv6_source(
        &self,
        interface: &Interface,
        rip: Ipv6Addr,
        mac: Option<MacAddr>,
    ) -> Result<Option<Ipv6Addr>, Diagnostic> {
        let unneeded = mac.map(|_| Ipv6Addr::UNSPECIFIED);
        match interface.ipv6_source(&self.vips) {
            _ if !interface.reaches_ipv6(rip) => Ok(unneeded),
            None if unneeded.is_none() => Err(no_source(rip, &interface.name)),
            source => Ok(source.or(unneeded)),
        }
    }
}

/// Returns true if the interface has a link-local address, or will have one in a moment.
fn has_link_local(interface: &Interface) -> bool {
    interface.link_local().is_some() || interface.awaits_link_local()
}

/// Returns true if `address` is one of the interface's own.
fn has(interface: &Interface, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => interface.addresses.iter().any(|(own, _)| *own == address),
        IpAddr::V6(address) => interface.ipv6_addresses.iter().any(|(own, _)| *own == address),
    }
}

/// Keeps each server once, in the order of first occurrence.
pub(in crate::control) fn once(mut all: Vec<NeighborTarget>) -> Vec<NeighborTarget> {
    let mut seen = HashSet::new();
    all.retain(|server| seen.insert(server.rip));
    all
}

/// Returns the address if it is one of IPv4.
pub(in crate::control) fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

fn own_address(rip: IpAddr, interface: &Interface) -> Diagnostic {
    Diagnostic::system(format!("real server {rip} is this host"))
        .cause(format!(
            "{} has that address, and a director sends frames to other hosts only",
            interface.name
        ))
        .remedy("write the RIP of another host")
}

fn no_source(rip: Ipv6Addr, name: &str) -> Diagnostic {
    Diagnostic::system(format!("real server {rip} cannot be solicited"))
        .cause(format!(
            "{name} has no link-local address and no other one but VIPs, and no solicitation may come from a VIP"
        ))
        .remedy(format!(
            "give {name} a link-local address (sysctl net.ipv6.conf.{name}.addr_gen_mode=0, then set it down and up), \
             or one of the real servers' network"
        ))
}

fn reserved_address(rip: IpAddr, role: &str) -> Diagnostic {
    Diagnostic::system(format!("real server {rip} cannot be a host address"))
        .cause(format!("it is {role}"))
        .remedy("write the RIP of a host")
}

fn no_link_local(rip: IpAddr, interface: &Interface) -> Diagnostic {
    let name = &interface.name;
    Diagnostic::system(format!("real server {rip} cannot be solicited"))
        .cause(format!("{name} has no IPv6 link-local address, from which solicitations within a VLAN come"))
        .remedy(format!("sysctl net.ipv6.conf.{name}.disable_ipv6=0, or give the server a mac"))
}

fn not_on_link(rip: IpAddr, interface: &Interface) -> Diagnostic {
    if rip.is_ipv6() && interface.ipv6_addresses.is_empty() && interface.is_ipv6_disabled() {
        return ipv6_disabled(rip, &interface.name);
    }
    let (own, family, option) = match rip {
        IpAddr::V4(_) => (listed(&interface.addresses), "IPv4", ""),
        IpAddr::V6(_) => (listed(&interface.ipv6_addresses), "IPv6", " -6"),
    };
    let master = interface.master().filter(|_| own.is_empty());
    if let Some(master) = master {
        return bridge_port(rip, &interface.name, &master);
    }
    let own = if own.is_empty() { format!("no {family} address") } else { own };
    let name = &interface.name;
    let remedy = format!(
        "write a RIP of that network, give {name} an address in the server's, or a route to it (ip{option} route add NETWORK \
         dev {name}), or set server_interface"
    );
    Diagnostic::system(format!("real server {rip} is not on-link"))
        .cause(format!("{name} has {own}, and direct routing reaches only neighbors"))
        .remedy(remedy)
}

fn ipv6_disabled(rip: IpAddr, name: &str) -> Diagnostic {
    Diagnostic::system(format!("real server {rip} is not on-link"))
        .cause(format!("{name} has no IPv6 address, as its sysctl disable_ipv6 is 1"))
        .remedy(format!(
            "sysctl net/ipv6/conf/{name}/disable_ipv6=0, then give {name} an address in the server's network"
        ))
}

/// Addresses with their prefix lengths.
fn listed<A: Display>(addresses: &[(A, u8)]) -> String {
    let all: Vec<_> = addresses.iter().map(|(address, prefix)| format!("{address}/{prefix}")).collect();
    all.join(", ")
}

fn bridge_port(rip: IpAddr, port: &str, master: &str) -> Diagnostic {
    Diagnostic::system(format!("real server {rip} is not on-link"))
        .cause(format!(
            "{port} has no {} address, as it is a port of {master}",
            if rip.is_ipv4() { "IPv4" } else { "IPv6" }
        ))
        .remedy(format!("name {master} instead of {port}"))
}

#[cfg(test)]
pub(in crate::control) mod tests {
    use super::*;
    use crate::model::{ServiceAddress, Weight};
    use crate::wire::Protocol;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

    /// An interface with these addresses, each of a /24.
    pub(in crate::control) fn eth0(addresses: &[[u8; 4]]) -> Interface {
        let addresses = addresses.iter().map(|address| ((*address).into(), 24)).collect();
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        Interface {
            name: "eth0".into(),
            index: 1,
            mac,
            mtu: 1500,
            queues: 1,
            addresses,
            ipv6_addresses: Vec::new(),
        }
    }

    fn server(address: [u8; 4], mac: Option<MacAddr>) -> RealServer {
        RealServer { mac, ..RealServer::new(address.into(), Weight(1)) }
    }

    /// A service on each port from 80 with its servers.
    fn services<const N: usize>(servers: [&[RealServer]; N]) -> Vec<VirtualService> {
        let address =
            |port| ServiceAddress { protocol: Protocol::Tcp, address: ([192, 0, 2, 1], port).into() };
        (80..).zip(servers).map(|(port, all)| VirtualService::new(address(port), all.to_vec())).collect()
    }

    /// Returns the next hops of the servers on a host whose interface has `own`, or the first error.
    fn find_all(
        services: &[VirtualService],
        own: &[[u8; 4]],
        before: &[NeighborTarget],
    ) -> Result<Vec<NeighborTarget>, String> {
        let interfaces = [eth0(own)];
        let next_hops = NextHops::new(services, &interfaces, before);
        let each = services
            .iter()
            .flat_map(|service| &service.servers)
            .map(|server| next_hops.find(server, Vlans::NONE));
        each.collect::<Result<_, _>>().map(once).map_err(|error| error.what)
    }

    #[test]
    fn network_and_broadcast_addresses_are_refused() {
        for (last, role) in [(0, "network"), (255, "broadcast")] {
            for mac in [None, Some(MAC)] {
                let web = services([&[server([192, 0, 2, last], mac)]]);
                let interfaces = [eth0(&[OWN])];
                let refused = NextHops::new(&web, &interfaces, &[])
                    .find(&web[0].servers[0], Vlans::NONE)
                    .unwrap_err()
                    .to_string();
                let wanted = format!(
                    "real server 192.0.2.{last} cannot be a host address: it is the {role} address of 192.0.2.0/24 on eth0"
                );
                assert!(refused.contains(&wanted), "{refused}");
            }
        }
    }

    const OWN: [u8; 4] = [192, 0, 2, 5];
    const HERE: [u8; 4] = [192, 0, 2, 10];

    #[test]
    fn server_keeps_its_next_hop_when_the_address_is_removed() {
        let web = services([&[server(HERE, None), server([192, 0, 2, 11], None)]]);
        let before = find_all(&web, &[OWN], &[]).unwrap();
        assert_eq!(find_all(&web, &[], &before).as_ref(), Ok(&before));
        let heavier = services([&[RealServer { weight: Weight(9), ..server(HERE, None) }]]);
        assert_eq!(find_all(&heavier, &[], &before).unwrap(), before[..1]);
        let two = services([&[server(HERE, None)], &[server(HERE, None)]]);
        assert_eq!(find_all(&two, &[], &before).unwrap(), before[..1], "one next hop per host");
        // Also if the director has the address by now.
        assert_eq!(find_all(&web, &[HERE], &before).unwrap()[0], before[0]);
    }

    #[test]
    fn added_or_changed_server_is_checked() {
        let before = find_all(&services([&[server(HERE, Some(MAC))]]), &[OWN], &[]).unwrap();
        let error = |services: &[VirtualService]| find_all(services, &[], &before).unwrap_err();
        let more = services([&[server(HERE, Some(MAC)), server([192, 0, 2, 11], None)]]);
        assert_eq!(error(&more), "real server 192.0.2.11 is not on-link");
        let by_arp = services([&[server(HERE, None)]]);
        assert_eq!(error(&by_arp), "real server 192.0.2.10 is not on-link");
        assert_eq!(find_all(&more, &[OWN], &before).unwrap().len(), 2);
    }

    #[test]
    fn source_address_follows_the_interface() {
        let web = services([&[server(HERE, None)]]);
        let before = find_all(&web, &[OWN], &[]).unwrap();
        let now = find_all(&web, &[[192, 0, 2, 6]], &before).unwrap();
        assert_eq!((before[0].own, now[0].own), (OWN.into(), IpAddr::from([192, 0, 2, 6])));
    }

    #[test]
    fn ipv6_server_is_solicited_from_the_link_local_address() {
        let [link, dip] = ["fe80::5", "2001:db8::5"].map(|text| text.parse::<Ipv6Addr>().unwrap());
        let mut interface = eth0(&[OWN]);
        interface.ipv6_addresses = vec![(dip, 64), (link, 64)];
        let find = |interface: &Interface, rip: &str, mac| {
            let address =
                ServiceAddress { protocol: Protocol::Tcp, address: "[2001:db8::80]:80".parse().unwrap() };
            let server = RealServer { mac, ..RealServer::new(rip.parse().unwrap(), Weight(1)) };
            let services = [VirtualService::new(address, vec![server])];
            let interfaces = std::slice::from_ref(interface);
            let found = NextHops::new(&services, interfaces, &[]).find(&services[0].servers[0], Vlans::NONE);
            found.map(|next_hop| next_hop.own.to_string()).map_err(|error| error.to_string())
        };
        assert_eq!(find(&interface, "2001:db8::9", None).as_deref(), Ok("fe80::5"));
        let fault = |rip: &str| find(&interface, rip, None).unwrap_err();
        assert!(fault("2001:db8::5").contains("is this host"), "{}", fault("2001:db8::5"));
        let anycast = "it is the Subnet-Router anycast address of 2001:db8::/64 on eth0";
        assert!(fault("2001:db8::").contains(anycast), "{}", fault("2001:db8::"));
        let far = fault("2001:db8:9::9");
        assert!(
            far.contains("eth0 has 2001:db8::5/64, fe80::5/64") && far.contains("ip -6 route add"),
            "{far}"
        );
        assert_eq!(
            find(&interface, "2001:db8:9::9", Some(MAC)).as_deref(),
            Ok("::"),
            "a fixed MAC needs no source"
        );
        interface.ipv6_addresses.pop();
        assert_eq!(find(&interface, "2001:db8::9", None).as_deref(), Ok("2001:db8::5"));
        let vip = "2001:db8::80".parse().unwrap();
        interface.ipv6_addresses = vec![(vip, 64), (dip, 64)];
        assert_eq!(find(&interface, "2001:db8::9", None).as_deref(), Ok("2001:db8::5"), "never the VIP");
        interface.ipv6_addresses.pop();
        let missing = find(&interface, "2001:db8::9", None).unwrap_err();
        assert!(missing.contains("eth0 has no link-local address and no other one but VIPs"), "{missing}");
        interface.ipv6_addresses.clear();
        interface.name = "none0".into(); // no interface of this host, whose sysctl would count
        let missing = find(&interface, "2001:db8::9", None).unwrap_err();
        assert!(missing.contains("none0 has no IPv6 address, and direct routing"), "{missing}");
    }

    #[test]
    fn mac_address_of_one_service_applies_to_all() {
        let two = services([&[server(HERE, None)], &[server(HERE, Some(MAC))]]);
        let before = find_all(&two, &[], &[]).unwrap();
        let next_hop = NeighborTarget {
            interface: InterfaceIndex(0),
            rip: HERE.into(),
            own: Ipv4Addr::UNSPECIFIED.into(),
            mac: Some(MAC),
        };
        assert_eq!(before, [next_hop]);
        assert_eq!(find_all(&two[1..], &[], &before).unwrap(), before);
        assert_eq!(find_all(&two[..1], &[], &before).unwrap_err(), "real server 192.0.2.10 is not on-link");
    }
}
