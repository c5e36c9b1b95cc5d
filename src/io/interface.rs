//! Properties of interfaces.

use crate::model::{Diagnostic, DiagnosticKind};
use crate::sys::{ethtool, rtnetlink};
use crate::wire::MacAddr;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

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
    /// Every IPv4 address of the calling thread's network namespace.
    ///
    /// # Errors
    /// Errors of rtnetlink(7).
    pub fn own_addresses() -> io::Result<Vec<OwnAddress>> {
        let (links, addresses) = (rtnetlink::links()?, rtnetlink::all_addresses()?);
        let mut own = Vec::new();
        for (index, (address, prefix)) in addresses {
            if let Some(link) = links.iter().find(|link| link.index == index) {
                own.push(OwnAddress { address: address.into(), prefix, interface: link.name.clone() });
            }
        }
        Ok(own)
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
        let queues = ethtool::channels(name).map_or(link.receive_queues, |channels| channels.receive).max(1);
        Ok(Self { name: name.to_owned(), index: link.index, mac, mtu: link.mtu, queues, addresses })
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
            IpAddr::V6(_) => false,
        }
    }

    /// The sender address for ARP by the routing table, if an entry has `neighbor` on-link here. 0.0.0.0 if it
    /// names no source.
    #[must_use]
    pub fn source_by_route(&self, neighbor: Ipv4Addr) -> Option<Ipv4Addr> {
        on_link(rtnetlink::route_entry(neighbor, self.index))?;
        let route = on_link(rtnetlink::route(neighbor, self.index))?;
        Some(route.source.unwrap_or(Ipv4Addr::UNSPECIFIED))
    }

    /// The role of an `address` that no host can have: network or broadcast address of one of the interface's
    /// networks. /31 and /32 have neither (RFC 3021).
    #[must_use]
    pub fn reserved(&self, address: Ipv4Addr) -> Option<String> {
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
    pub fn not_others(&self) -> Vec<Ipv4Addr> {
        let addresses = rtnetlink::addresses(self.index).unwrap_or_else(|_| self.addresses.clone());
        let broadcasts = addresses.iter().filter_map(|(own, prefix)| broadcast(*own, *prefix));
        addresses.iter().map(|(own, _)| *own).chain(broadcasts).collect()
    }
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
        Interface { name: "x".into(), index: 1, mac, mtu: 1500, queues: 1, addresses }
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
    fn the_source_address_is_of_the_neighbors_network() {
        let interface = interface(&[([10, 0, 0, 1], 8), ([192, 168, 5, 1], 24)]);
        let towards = |neighbor: [u8; 4]| interface.address_towards(neighbor.into());
        assert_eq!(towards([192, 168, 5, 77]), Some([192, 168, 5, 1].into()));
        assert_eq!(towards([10, 200, 3, 4]), Some([10, 0, 0, 1].into()));
        assert_eq!(towards([192, 168, 6, 77]), None);
    }
}
