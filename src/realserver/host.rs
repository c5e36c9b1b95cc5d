//! Interfaces, addresses and routes over rtnetlink, in the calling thread's network namespace.

use crate::model::{Diagnostic, host_address};
use futures_util::TryStreamExt;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressScope, CacheInfo,
};
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use rtnetlink::packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use rtnetlink::{Handle, RouteMessageBuilder};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use tokio::runtime::{Builder, Runtime};

/// Bit of CAP_NET_ADMIN (include/uapi/linux/capability.h).
const CAP_NET_ADMIN: u32 = 12;
/// Maximum length of an address label in bytes: IFNAMSIZ without the terminator.
const LABEL_MAX: usize = 15;
/// Lifetime of an address without an end (INFINITY_LIFE_TIME in include/net/addrconf.h).
const FOREVER: u32 = u32::MAX;

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InterfaceInfo {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) up: bool,
    /// Whether it uses ARP and NDP: neither loopback nor NOARP.
    pub(super) arp: bool,
    /// Whether it is a VRF device. That has NOARP, but answers solicitations on the interfaces of the VRF.
    pub(super) vrf: bool,
    /// Index of the bridge, bond or VRF device that it belongs to.
    pub(super) controller: Option<u32>,
}

/// An address on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) index: u32,
    pub(super) ip: IpAddr,
    pub(super) prefix: u8,
    /// Scope host: never used in ARP answers or as sender address.
    pub(super) host_scope: bool,
    /// Label of an IPv4 address.
    pub(super) label: Option<String>,
    /// Unused, as duplicate address detection found another host with this IPv6 address.
    pub(super) dad_failed: bool,
    /// Never chosen as source of new connections: the preferred lifetime of this IPv6 address is over.
    pub(super) deprecated: bool,
}

/// A next hop of a default route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DefaultRoute {
    /// Index of the interface.
    pub(super) index: u32,
    /// `None` on a point-to-point interface.
    pub(super) gateway: Option<IpAddr>,
    /// Whether it is a route of IPv6.
    pub(super) ipv6: bool,
}

/// A proxy neighbor entry: the kernel answers solicitations for `ip` on the interface, if it forwards there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProxyEntry {
    /// Index of the interface.
    pub(super) index: u32,
    pub(super) ip: Ipv6Addr,
}

/// An rtnetlink connection.
pub(super) struct NetlinkConnection {
    runtime: Runtime,
    handle: Handle,
}

impl NetlinkConnection {
    pub(super) fn open() -> Result<Self, Diagnostic> {
        let failed = |error: io::Error| {
            Diagnostic::system("opening a netlink socket")
                .cause(error.to_string())
                .remedy("the kernel needs CONFIG_NET, the process a free file descriptor")
        };
        let runtime = Builder::new_current_thread().enable_io().build().map_err(failed)?;
        let (connection, handle, _) = {
            let _entered = runtime.enter();
            rtnetlink::new_connection().map_err(failed)?
        };
        runtime.spawn(connection);
        Ok(Self { runtime, handle })
    }

    pub(super) fn links(&self) -> Result<Vec<InterfaceInfo>, Diagnostic> {
        let dump = self.handle.link().get().execute().try_collect::<Vec<_>>();
        let messages = self.runtime.block_on(dump).map_err(|error| failed("listing interfaces", &error))?;
        Ok(messages.iter().filter_map(link).collect())
    }

    pub(super) fn addresses(&self) -> Result<Vec<Address>, Diagnostic> {
        let dump = self.handle.address().get().execute().try_collect::<Vec<_>>();
        let messages = self.runtime.block_on(dump).map_err(|error| failed("listing addresses", &error))?;
        Ok(messages.iter().filter_map(address).collect())
    }

    /// Next hops of the default routes of both families, of all routing tables.
    pub(super) fn default_routes(&self) -> Result<Vec<DefaultRoute>, Diagnostic> {
        let mut hops = Vec::new();
        for request in
            [RouteMessageBuilder::<Ipv4Addr>::new().build(), RouteMessageBuilder::<Ipv6Addr>::new().build()]
        {
            let dump = self.handle.route().get(request).execute().try_collect::<Vec<_>>();
            let messages = self.runtime.block_on(dump).map_err(|error| failed("listing routes", &error))?;
            hops.extend(messages.iter().flat_map(next_hops));
        }
        Ok(hops)
    }

    /// Proxy neighbor entries of IPv6.
    pub(super) fn proxies(&self) -> Result<Vec<ProxyEntry>, Diagnostic> {
        let request = self.handle.neighbours().get().proxies().set_address_family(AddressFamily::Inet6);
        let dump = request.execute().try_collect::<Vec<_>>();
        let messages =
            self.runtime.block_on(dump).map_err(|error| failed("listing proxy neighbors", &error))?;
        Ok(messages.iter().filter_map(proxy).collect())
    }

    /// Adds the single address `ip` to an interface, like `ip address add`; an IPv6 address as deprecated.
    pub(super) fn add_address(&self, index: u32, ip: IpAddr, label: Option<&str>) -> Result<(), Diagnostic> {
        let prefix = single_prefix(ip);
        let mut request = self.handle.address().add(index, ip, prefix);
        let label = label.map(|label| AddressAttribute::Label(label.into()));
        let lifetime = ip.is_ipv6().then(|| lifetimes(0));
        request.message_mut().attributes.extend(label.into_iter().chain(lifetime));
        let done = self.runtime.block_on(request.execute());
        done.map_err(|error| failed(&format!("adding {ip}/{prefix}"), &error))
    }

    /// Deprecates a present IPv6 address, or makes it preferred for ever, like `ip address change`.
    pub(super) fn set_deprecated(&self, index: u32, ip: IpAddr, deprecated: bool) -> Result<(), Diagnostic> {
        let mut request = self.handle.address().add(index, ip, single_prefix(ip)).replace();
        let preferred = if deprecated { 0 } else { FOREVER };
        request.message_mut().attributes.push(lifetimes(preferred));
        let done = self.runtime.block_on(request.execute());
        done.map_err(|error| failed(&format!("changing the preferred lifetime of {ip}"), &error))
    }

    /// Removes the single address `ip` from an interface.
    pub(super) fn delete_address(&self, index: u32, ip: IpAddr) -> Result<(), Diagnostic> {
        let prefix = single_prefix(ip);
        // A delete request takes the same message as an add request.
        let message = self.handle.address().add(index, ip, prefix).message_mut().clone();
        let done = self.runtime.block_on(self.handle.address().del(message).execute());
        done.map_err(|error| failed(&format!("removing {ip}/{prefix}"), &error))
    }
}

/// Prefix length of a single address: 32 or 128.
pub(super) fn single_prefix(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// Use of an address of the host that was named as VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddressUse {
    /// A VIP, perhaps at a wrong place.
    Vip,
    /// The host's own address: the only one of its family on the host, and on one interface.
    Own,
    /// Either: the only one of its family on an interface with ARP or neighbor discovery.
    OwnOrVip,
}

/// Returns the use of `address` on `link`. Loopback and link-local addresses do not count as others.
///
/// A single address (/32, /128) is a VIP if the host has an address with a network elsewhere.
pub(super) fn address_use(address: &Address, link: &InterfaceInfo, addresses: &[Address]) -> AddressUse {
    let single = single_prefix(address.ip);
    let of_family =
        |other: &&Address| other.ip.is_ipv4() == address.ip.is_ipv4() && host_address(other.ip).is_ok();
    let others: Vec<_> = addresses.iter().filter(of_family).filter(|other| other.ip != address.ip).collect();
    let is_alternative = |other: &&Address| {
        other.index == address.index || (address.prefix == single && other.prefix < single)
    };
    let is_elsewhere = addresses.iter().any(|other| other.ip == address.ip && other.index != address.index);
    match others.as_slice() {
        _ if !link.arp => AddressUse::Vip,
        [] if !is_elsewhere => AddressUse::Own,
        others if others.iter().any(is_alternative) => AddressUse::Vip,
        _ => AddressUse::OwnOrVip,
    }
}

/// Lifetimes of an address that stays valid, in seconds.
fn lifetimes(preferred: u32) -> AddressAttribute {
    let mut info = CacheInfo::default();
    (info.ifa_preferred, info.ifa_valid) = (preferred, FOREVER);
    AddressAttribute::CacheInfo(info)
}

/// Fails without CAP_NET_ADMIN.
pub(super) fn require_net_admin(what: &str) -> Result<(), Diagnostic> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    match effective_capabilities(&status) {
        Some(bits) if bits >> CAP_NET_ADMIN & 1 == 0 => Err(not_permitted(what)),
        _ => Ok(()), // unknown: the kernel decides
    }
}

/// First unused label of the form `lo:dr0`; `None` if it exceeds [`LABEL_MAX`].
pub(super) fn free_label(interface: &str, addresses: &[Address]) -> Option<String> {
    let mut labels = (0..).map(|n| format!("{interface}:dr{n}"));
    let label = labels.find(|label| addresses.iter().all(|address| address.label.as_ref() != Some(label)))?;
    (label.len() <= LABEL_MAX).then_some(label)
}

fn effective_capabilities(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn not_permitted(what: &str) -> Diagnostic {
    let cause = "the process lacks CAP_NET_ADMIN (EPERM)";
    Diagnostic::system(what).cause(cause).remedy("run as root, or with CAP_NET_ADMIN")
}

fn failed(what: &str, error: &rtnetlink::Error) -> Diagnostic {
    let cause = match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other.to_string()),
    };
    if cause.kind() == io::ErrorKind::PermissionDenied {
        return not_permitted(what);
    }
    let remedy = "see what \"ip address\" shows, and try again";
    Diagnostic::system(what).cause(cause.to_string()).remedy(remedy)
}

fn link(message: &LinkMessage) -> Option<InterfaceInfo> {
    let name = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })?;
    let flags = message.header.flags;
    let arp = !flags.intersects(LinkFlags::Loopback | LinkFlags::Noarp);
    let controller = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Controller(index) => Some(*index),
        _ => None,
    });
    let (index, up, vrf) = (message.header.index, flags.contains(LinkFlags::Up), is_vrf(message));
    Some(InterfaceInfo { index, name, up, arp, vrf, controller })
}

fn is_vrf(message: &LinkMessage) -> bool {
    let infos = message.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    infos.flatten().any(|info| matches!(info, LinkInfo::Kind(InfoKind::Vrf)))
}

fn address(message: &AddressMessage) -> Option<Address> {
    let attributes = &message.attributes;
    let local = attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(ip) => Some(*ip),
        _ => None,
    });
    // An IPv6 address without a peer has no local attribute.
    let own = attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(ip) => Some(*ip),
        _ => None,
    });
    let label = attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Label(label) => Some(label.clone()),
        _ => None,
    });
    let flags = attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Flags(flags) => Some(*flags),
        _ => None,
    });
    let flags = flags.unwrap_or(AddressFlags::empty());
    let header = &message.header;
    Some(Address {
        index: header.index,
        ip: local.or(own)?,
        prefix: header.prefix_len,
        host_scope: header.scope == AddressScope::Host,
        label,
        dad_failed: flags.contains(AddressFlags::Dadfailed),
        deprecated: flags.contains(AddressFlags::Deprecated),
    })
}

fn proxy(message: &NeighbourMessage) -> Option<ProxyEntry> {
    let index = message.header.ifindex;
    message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => Some(ProxyEntry { index, ip: *ip }),
        _ => None,
    })
}

/// Next hops of a default route; none for another route.
fn next_hops(message: &RouteMessage) -> Vec<DefaultRoute> {
    let default = message.header.destination_prefix_length == 0 && message.header.kind == RouteType::Unicast;
    if !default {
        return Vec::new();
    }
    let ipv6 = message.header.address_family == AddressFamily::Inet6;
    let own = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => {
            Some(DefaultRoute { index: *index, gateway: gateway(&message.attributes), ipv6 })
        }
        _ => None,
    });
    let hops = message.attributes.iter().flat_map(|attribute| match attribute {
        RouteAttribute::MultiPath(hops) => hops.as_slice(),
        _ => &[],
    });
    let hops =
        hops.map(|hop| DefaultRoute { index: hop.interface_index, gateway: gateway(&hop.attributes), ipv6 });
    own.into_iter().chain(hops).collect()
}

fn gateway(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(gateway)) => Some(IpAddr::V4(*gateway)),
        RouteAttribute::Gateway(RouteAddress::Inet6(gateway)) => Some(IpAddr::V6(*gateway)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effective_capabilities_are_parsed() {
        let status = "Name:\tx\nCapPrm:\t0000000000000000\nCapEff:\t0000000000001000\n";
        assert_eq!(effective_capabilities(status), Some(1 << CAP_NET_ADMIN));
        assert_eq!(effective_capabilities("Name:\tx\n"), None);
    }

    #[test]
    fn first_free_label_fits_the_kernel() {
        let address = |label: &str| Address {
            index: 1,
            ip: Ipv4Addr::LOCALHOST.into(),
            prefix: 32,
            host_scope: false,
            label: Some(label.into()),
            dad_failed: false,
            deprecated: false,
        };
        assert_eq!(free_label("lo", &[]).as_deref(), Some("lo:dr0"));
        assert_eq!(free_label("lo", &[address("lo:dr0"), address("lo:dr2")]).as_deref(), Some("lo:dr1"));
        assert_eq!(free_label("abcdefghijk", &[]).as_deref(), Some("abcdefghijk:dr0"));
        assert_eq!(free_label("abcdefghijkl", &[]), None);
    }
}
