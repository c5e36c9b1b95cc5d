//! Properties of interfaces.

use crate::model::{Diagnostic, DiagnosticKind};
use crate::sys::{ethtool, rtnetlink};
use crate::wire::MacAddr;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Properties of an interface, read once at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Name, as in `ip link`.
    pub name: String,
    /// Kernel index.
    pub index: u32,
    /// MAC address.
    pub mac: MacAddr,
    /// Largest IP packet, in bytes.
    pub mtu: u32,
    /// Receive queues, at least 1.
    pub queues: u32,
    /// IPv4 addresses with their prefix lengths, in the kernel's order.
    pub addresses: Vec<(Ipv4Addr, u8)>,
    /// Usable IPv6 addresses with their prefix lengths, link-local ones included, in the kernel's order.
    pub ipv6_addresses: Vec<(Ipv6Addr, u8)>,
}

/// An address of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnAddress {
    /// The address.
    pub address: IpAddr,
    /// Prefix length.
    pub prefix: u8,
    /// Name of its interface.
    pub interface: String,
}

impl Interface {
    /// Every address of the calling thread's network namespace, of both families.
    ///
    /// # Errors
    /// Errors of rtnetlink(7).
    pub fn own_addresses() -> io::Result<Vec<OwnAddress>> {
        let links = rtnetlink::links()?;
        let v4 = rtnetlink::all_addresses()?.into_iter();
        let v4 = v4.map(|(index, (address, prefix))| (index, IpAddr::V4(address), prefix));
        let v6 = rtnetlink::all_ipv6_addresses()?.into_iter();
        let v6 = v6.map(|(index, (address, prefix))| (index, IpAddr::V6(address), prefix));
        let own = v4.chain(v6).filter_map(|(index, address, prefix)| {
            let link = links.iter().find(|link| link.index == index)?;
            Some(OwnAddress { address, prefix, interface: link.name.clone() })
        });
        Ok(own.collect())
    }

    /// Reads the properties of the interface `name` in the calling thread's network namespace.
    ///
    /// # Errors
    /// [`Diagnostic`] if there is none of that name (the remedy lists the existing ones), it is down,
    /// or it is not Ethernet. The kind is [`DiagnosticKind::InterfaceAbsent`] if waiting may help.
    pub fn lookup(name: &str) -> Result<Self, Diagnostic> {
        let unreadable = |error| unreadable(name, &error);
        let links = rtnetlink::links().map_err(unreadable)?;
        let link = links.iter().find(|link| link.name == name);
        let link = link.ok_or_else(|| unknown(name, &links))?;
        let mac = link.mac.filter(|_| link.is_ethernet).ok_or_else(|| not_ethernet(name))?;
        if !link.is_up {
            return Err(down(name));
        }
        let addresses = rtnetlink::addresses(link.index).map_err(unreadable)?;
        let ipv6_addresses = ipv6_addresses(link.index).map_err(unreadable)?;
        let queues = ethtool::channels(name).map_or(link.receive_queues, |channels| channels.receive).max(1);
        let (name, index, mtu) = (name.to_owned(), link.index, link.mtu);
        Ok(Self { name, index, mac, mtu, queues, addresses, ipv6_addresses })
    }

    /// Name of its master: a bridge, bond or VRF.
    #[must_use]
    pub fn master(&self) -> Option<String> {
        let master = rtnetlink::link(self.index).ok()??.master?;
        Some(rtnetlink::link(master).ok()??.name)
    }

    /// True if it has a carrier now.
    ///
    /// # Errors
    /// [`Diagnostic`] if it is gone, or its MAC address has changed since the lookup: then no frame arrives any
    /// more.
    pub fn check_carrier(&self) -> Result<bool, Diagnostic> {
        // A failed request is no evidence against the interface.
        let Ok(link) = rtnetlink::link(self.index) else { return Ok(true) };
        let Some(link) = link else { return Err(changed(&self.name, "the interface is gone".into())) };
        match link.mac {
            Some(mac) if mac != self.mac => {
                Err(changed(&self.name, format!("its MAC address has changed from {} to {mac}", self.mac)))
            }
            _ => Ok(link.has_carrier),
        }
    }

    /// Number of transmit queues, at least 1.
    pub(super) fn transmit_queues(&self) -> u32 {
        let count = match ethtool::channels(&self.name) {
            Some(channels) => channels.transmit,
            None => rtnetlink::link(self.index).ok().flatten().map_or(1, |link| link.transmit_queues),
        };
        count.max(1)
    }

    /// The first own address whose network contains `neighbor`: the sender address for ARP.
    #[must_use]
    pub fn address_towards(&self, neighbor: Ipv4Addr) -> Option<Ipv4Addr> {
        self.addresses
            .iter()
            .find(|(own, prefix)| network(*own, *prefix) == network(neighbor, *prefix))
            .map(|(own, _)| *own)
    }

    /// True if a network of the interface holds `neighbor`.
    #[must_use]
    pub fn is_on_link(&self, neighbor: IpAddr) -> bool {
        match neighbor {
            IpAddr::V4(neighbor) => self.address_towards(neighbor).is_some(),
            IpAddr::V6(neighbor) => self.has_ipv6_network_of(neighbor),
        }
    }

    /// True if the network of an IPv6 address of the interface holds `neighbor`.
    fn has_ipv6_network_of(&self, neighbor: Ipv6Addr) -> bool {
        let on_link =
            |(own, prefix): &(Ipv6Addr, u8)| ipv6_network(*own, *prefix) == ipv6_network(neighbor, *prefix);
        self.ipv6_addresses.iter().any(on_link)
    }

    /// True if the sysctl disable_ipv6 keeps the interface from having IPv6 addresses.
    #[must_use]
    pub fn is_ipv6_disabled(&self) -> bool {
        let path = format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", self.name);
        std::fs::read_to_string(path).is_ok_and(|value| value.trim() != "0")
    }

    /// The link-local address, once duplicate address detection is over.
    #[must_use]
    pub fn link_local(&self) -> Option<Ipv6Addr> {
        self.ipv6_addresses.iter().map(|(own, _)| *own).find(Ipv6Addr::is_unicast_link_local)
    }

    /// The sender address for neighbor solicitations: the link-local address, as in the kernel (`ndisc_send_ns` in
    /// net/ipv6/ndisc.c), or another one of the interface if it has none. Never one of `vips`: a neighbor would learn
    /// that address from a solicitation.
    #[must_use]
    pub fn ipv6_source(&self, vips: &BTreeSet<IpAddr>) -> Option<Ipv6Addr> {
        let mut others = self.ipv6_addresses.iter().map(|(own, _)| *own);
        self.link_local().or_else(|| others.find(|own| !vips.contains(&IpAddr::V6(*own))))
    }

    /// True while duplicate address detection for the link-local address goes on.
    #[must_use]
    pub fn awaits_link_local(&self) -> bool {
        let all = rtnetlink::tentative_ipv6_addresses().unwrap_or_default();
        all.iter().any(|(index, (own, _))| *index == self.index && own.is_unicast_link_local())
    }

    /// True if IPv6 neighbor `neighbor` is on-link here, by an address of the interface or by the routing table.
    #[must_use]
    pub fn reaches_ipv6(&self, neighbor: Ipv6Addr) -> bool {
        let by_route = || on_link(rtnetlink::route_entry(neighbor.into(), self.index)).is_some();
        self.has_ipv6_network_of(neighbor) || by_route()
    }

    /// The sender address for ARP by the routing table, if an entry has `neighbor` on-link here. 0.0.0.0 if it
    /// names no source.
    #[must_use]
    pub fn source_by_route(&self, neighbor: Ipv4Addr) -> Option<Ipv4Addr> {
        on_link(rtnetlink::route_entry(neighbor.into(), self.index))?;
        let route = on_link(rtnetlink::route(neighbor.into(), Some(self.index)))?;
        match route.source {
            Some(IpAddr::V4(source)) => Some(source),
            _ => Some(Ipv4Addr::UNSPECIFIED),
        }
    }

    /// The next hop by which the kernel reaches distant IPv4 hosts through this interface: the gateway of the default
    /// route. `None` without one, and for one of several gateways (multipath).
    #[must_use]
    pub fn gateway(&self) -> Option<Ipv4Addr> {
        /// A host of TEST-NET-2 (RFC 5737), which no network has: only a route to every host leads there.
        const DISTANT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
        let route = rtnetlink::route_entry(DISTANT.into(), self.index).ok()??;
        match route.gateway.filter(|_| route.is_unicast)? {
            IpAddr::V4(gateway) => Some(gateway),
            IpAddr::V6(_) => None,
        }
    }

    /// The role of an `address` that no host can have: network or broadcast address of one of the interface's
    /// networks, or its Subnet-Router anycast address in IPv6 (RFC 4291 §2.6.1). /31 and /32 have neither (RFC 3021),
    /// nor have /127 (RFC 6164) and /128.
    #[must_use]
    pub fn reserved(&self, address: IpAddr) -> Option<String> {
        match address {
            IpAddr::V4(address) => self.reserved_v4(address),
            IpAddr::V6(address) => self.reserved_v6(address),
        }
    }

    fn reserved_v6(&self, address: Ipv6Addr) -> Option<String> {
        let networks = self.ipv6_addresses.iter().filter(|(_, prefix)| *prefix < 127);
        let mut firsts =
            networks.map(|(own, prefix)| (Ipv6Addr::from_bits(ipv6_network(*own, *prefix)), prefix));
        let (first, prefix) = firsts.find(|(first, _)| *first == address)?;
        Some(format!("the Subnet-Router anycast address of {first}/{prefix} on {}", self.name))
    }

    fn reserved_v4(&self, address: Ipv4Addr) -> Option<String> {
        self.addresses.iter().filter(|(_, prefix)| *prefix < 31).find_map(|(own, prefix)| {
            let [first, last] = ends(*own, *prefix);
            let role = match address.to_bits() {
                bits if bits == first => "network",
                bits if bits == last => "broadcast",
                _ => return None,
            };
            let name = &self.name;
            Some(format!("the {role} address of {}/{prefix} on {name}", Ipv4Addr::from_bits(first)))
        })
    }

    /// Current own and broadcast addresses, which no other host may use as source. Those of the lookup, if
    /// rtnetlink fails.
    #[must_use]
    pub fn not_others(&self) -> Vec<IpAddr> {
        let addresses = rtnetlink::addresses(self.index).unwrap_or_else(|_| self.addresses.clone());
        let broadcasts = addresses.iter().filter_map(|(own, prefix)| broadcast(*own, *prefix));
        let v4 = addresses.iter().map(|(own, _)| *own).chain(broadcasts).map(IpAddr::from);
        let ipv6 = ipv6_addresses(self.index).unwrap_or_else(|_| self.ipv6_addresses.clone());
        v4.chain(ipv6.iter().map(|(own, _)| IpAddr::from(*own))).collect()
    }
}

fn ipv6_addresses(index: u32) -> io::Result<Vec<(Ipv6Addr, u8)>> {
    let all = rtnetlink::all_ipv6_addresses()?.into_iter();
    Ok(all.filter(|(of, _)| *of == index).map(|(_, found)| found).collect())
}

fn ipv6_network(address: Ipv6Addr, prefix: u8) -> u128 {
    address.to_bits() & u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

/// The route found, if it has the destination on-link.
fn on_link(route: io::Result<Option<rtnetlink::RouteInfo>>) -> Option<rtnetlink::RouteInfo> {
    route.ok().flatten().filter(|route| route.is_unicast && !route.has_gateway)
}

/// Broadcast address of an own address's network. /31 and /32 have none (RFC 3021).
fn broadcast(own: Ipv4Addr, prefix: u8) -> Option<Ipv4Addr> {
    (prefix < 31).then(|| Ipv4Addr::from_bits(ends(own, prefix)[1]))
}

/// Network and broadcast address of a network.
fn ends(address: Ipv4Addr, prefix: u8) -> [u32; 2] {
    let first = network(address, prefix);
    [first, first | u32::MAX.checked_shr(prefix.into()).unwrap_or(0)]
}

fn network(address: Ipv4Addr, prefix: u8) -> u32 {
    address.to_bits() & u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

fn unreadable(name: &str, error: &io::Error) -> Diagnostic {
    Diagnostic::system(format!("reading the facts of interface {name}"))
        .cause(crate::sys::errno(error))
        .remedy("see whether `ip address` works here; it sends the same requests")
}

fn unknown(name: &str, links: &[rtnetlink::LinkInfo]) -> Diagnostic {
    let ethernet = links.iter().filter(|link| link.is_ethernet);
    let names: Vec<&str> = ethernet.map(|link| link.name.as_str()).collect();
    Diagnostic::new(DiagnosticKind::InterfaceAbsent, format!("looking up interface {name}"))
        .cause("there is no interface of that name here")
        .remedy(match names.as_slice() {
            [] => "there is no Ethernet interface at all: see `ip link`".into(),
            _ => format!("name one of these: {}", names.join(", ")),
        })
}

fn changed(name: &str, cause: String) -> Diagnostic {
    Diagnostic::system(format!("serving on {name}"))
        .cause(cause)
        .remedy("start directrix again when it is there to stay")
}

fn not_ethernet(name: &str) -> Diagnostic {
    Diagnostic::system(format!("looking up interface {name}"))
        .cause("it is not Ethernet, and direct routing works by Ethernet addresses")
        .remedy("name the Ethernet interface that the VIP's clients reach")
}

fn down(name: &str) -> Diagnostic {
    Diagnostic::new(DiagnosticKind::InterfaceAbsent, format!("looking up interface {name}"))
        .cause("it is down")
        .remedy(format!("bring it up: ip link set dev {name} up"))
}

/// Returns all addresses of this network namespace; none if they cannot be read.
pub(in crate::io) fn local_addresses() -> Vec<IpAddr> {
    let addresses = getifaddrs().into_iter().flatten().filter_map(|entry| entry.address);
    let ip = |address: SockaddrStorage| {
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    };
    addresses.filter_map(ip).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_name_lists_the_existing_ones() {
        let failure = Interface::lookup("no-such-if").unwrap_err().to_string();
        assert!(failure.contains("no interface of that name"), "{failure}");
    }

    #[test]
    fn the_loopback_interface_is_refused() {
        let failure = Interface::lookup("lo").unwrap_err().to_string();
        assert!(failure.contains("not Ethernet"), "{failure}");
    }

    /// An interface "x" with these addresses.
    fn interface(addresses: &[([u8; 4], u8)]) -> Interface {
        let addresses = addresses.iter().map(|(address, prefix)| ((*address).into(), *prefix)).collect();
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        Interface {
            name: "x".into(),
            index: 1,
            mac,
            mtu: 1500,
            queues: 1,
            addresses,
            ipv6_addresses: Vec::new(),
        }
    }

    #[test]
    fn the_ends_of_a_network_are_reserved_if_it_has_any() {
        let interface = interface(&[
            ([192, 168, 5, 1], 24),
            ([10, 1, 2, 3], 14),
            ([10, 9, 0, 1], 31),
            ([10, 9, 0, 5], 32),
            ([10, 9, 0, 9], 30),
        ]);
        for (address, reserved) in [
            ("192.168.5.0", Some("the network address of 192.168.5.0/24 on x")),
            ("192.168.5.255", Some("the broadcast address of 192.168.5.0/24 on x")),
            ("10.0.0.0", Some("the network address of 10.0.0.0/14 on x")),
            ("10.3.255.255", Some("the broadcast address of 10.0.0.0/14 on x")),
            ("10.9.0.11", Some("the broadcast address of 10.9.0.8/30 on x")),
            ("10.1.0.0", None),
            ("10.1.255.255", None),
            ("192.168.5.254", None),
            ("192.168.6.0", None),
            ("10.9.0.0", None),
            ("10.9.0.1", None),
            ("10.9.0.5", None),
        ] {
            assert_eq!(interface.reserved(address.parse().unwrap()).as_deref(), reserved, "{address}");
        }
    }

    #[test]
    fn ipv6_networks_hold_neighbors_and_an_anycast_address() {
        let parse = |text: &str| text.parse::<Ipv6Addr>().unwrap();
        let mut interface = interface(&[]);
        interface.ipv6_addresses = vec![
            (parse("2001:db8::5"), 64),
            (parse("fd00::1"), 127),
            (parse("fd01::1"), 128),
            (parse("fe80::5"), 64),
        ];
        assert_eq!(interface.ipv6_source(&BTreeSet::new()), Some(parse("fe80::5")));
        for (neighbor, near) in
            [("2001:db8::ffff", true), ("fd00::0", true), ("fd01::2", false), ("2001:db8:0:1::5", false)]
        {
            assert_eq!(interface.is_on_link(parse(neighbor).into()), near, "{neighbor}");
        }
        let anycast = "the Subnet-Router anycast address of 2001:db8::/64 on x";
        assert_eq!(interface.reserved(parse("2001:db8::").into()).as_deref(), Some(anycast));
        for host in ["2001:db8::1", "fd00::", "fd01::", "2001:db8::ffff:ffff:ffff:ffff"] {
            assert_eq!(interface.reserved(parse(host).into()), None, "{host}");
        }
    }

    #[test]
    fn the_source_address_is_of_the_neighbors_network() {
        let interface = interface(&[([10, 0, 0, 1], 8), ([192, 168, 5, 1], 24)]);
        let towards = |neighbor: [u8; 4]| interface.address_towards(neighbor.into());
        assert_eq!(towards([192, 168, 5, 77]), Some([192, 168, 5, 1].into()));
        assert_eq!(towards([10, 200, 3, 4]), Some([10, 0, 0, 1].into()));
        assert_eq!(towards([192, 168, 6, 77]), None);
    }
}
