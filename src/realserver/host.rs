//! Interfaces, addresses and routes over rtnetlink, in the calling thread's network namespace.

use crate::model::Diagnostic;
use futures_util::TryStreamExt;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use rtnetlink::{Handle, RouteMessageBuilder};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use tokio::runtime::{Builder, Runtime};

/// Bit of CAP_NET_ADMIN (include/uapi/linux/capability.h).
const CAP_NET_ADMIN: u32 = 12;
/// Maximum length of an address label in bytes: IFNAMSIZ without the terminator.
const LABEL_MAX: usize = 15;

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InterfaceInfo {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) up: bool,
    /// Whether it uses ARP: neither loopback nor NOARP.
    pub(super) arp: bool,
}

/// An IPv4 address on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) index: u32,
    pub(super) ip: Ipv4Addr,
    pub(super) prefix: u8,
    /// Scope host: never used in ARP answers or as sender address.
    pub(super) host_scope: bool,
    pub(super) label: Option<String>,
}

/// A next hop of a default route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DefaultRoute {
    /// Index of the interface.
    pub(super) index: u32,
    /// `None` on a point-to-point interface.
    pub(super) gateway: Option<Ipv4Addr>,
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

    /// Next hops of the default routes of all routing tables.
    pub(super) fn default_routes(&self) -> Result<Vec<DefaultRoute>, Diagnostic> {
        let request = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let dump = self.handle.route().get(request).execute().try_collect::<Vec<_>>();
        let messages = self.runtime.block_on(dump).map_err(|error| failed("listing routes", &error))?;
        Ok(messages.iter().flat_map(next_hops).collect())
    }

    /// Adds `ip`/32 to an interface, like `ip address add`.
    pub(super) fn add_address(
        &self,
        index: u32,
        ip: Ipv4Addr,
        label: Option<&str>,
    ) -> Result<(), Diagnostic> {
        let mut request = self.handle.address().add(index, IpAddr::V4(ip), 32);
        let label = label.map(|label| AddressAttribute::Label(label.into()));
        request.message_mut().attributes.extend(label);
        let done = self.runtime.block_on(request.execute());
        done.map_err(|error| failed(&format!("adding {ip}/32"), &error))
    }

    /// Removes `ip`/32 from an interface.
    pub(super) fn delete_address(&self, index: u32, ip: Ipv4Addr) -> Result<(), Diagnostic> {
        // A delete request takes the same message as an add request.
        let message = self.handle.address().add(index, IpAddr::V4(ip), 32).message_mut().clone();
        let done = self.runtime.block_on(self.handle.address().del(message).execute());
        done.map_err(|error| failed(&format!("removing {ip}/32"), &error))
    }
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
    Some(InterfaceInfo { index: message.header.index, name, up: flags.contains(LinkFlags::Up), arp })
}

fn address(message: &AddressMessage) -> Option<Address> {
    let attributes = &message.attributes;
    let local = attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(IpAddr::V4(ip)) => Some(*ip),
        _ => None,
    })?;
    let label = attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Label(label) => Some(label.clone()),
        _ => None,
    });
    let header = &message.header;
    let host_scope = header.scope == AddressScope::Host;
    Some(Address { index: header.index, ip: local, prefix: header.prefix_len, host_scope, label })
}

/// Next hops of a default route; none for another route.
fn next_hops(message: &RouteMessage) -> Vec<DefaultRoute> {
    let default = message.header.destination_prefix_length == 0 && message.header.kind == RouteType::Unicast;
    if !default {
        return Vec::new();
    }
    let own = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => {
            Some(DefaultRoute { index: *index, gateway: gateway(&message.attributes) })
        }
        _ => None,
    });
    let hops = message.attributes.iter().flat_map(|attribute| match attribute {
        RouteAttribute::MultiPath(hops) => hops.as_slice(),
        _ => &[],
    });
    let hops = hops.map(|hop| DefaultRoute { index: hop.interface_index, gateway: gateway(&hop.attributes) });
    own.into_iter().chain(hops).collect()
}

fn gateway(attributes: &[RouteAttribute]) -> Option<Ipv4Addr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(gateway)) => Some(*gateway),
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
            ip: Ipv4Addr::LOCALHOST,
            prefix: 32,
            host_scope: false,
            label: Some(label.into()),
        };
        assert_eq!(free_label("lo", &[]).as_deref(), Some("lo:dr0"));
        assert_eq!(free_label("lo", &[address("lo:dr0"), address("lo:dr2")]).as_deref(), Some("lo:dr1"));
        assert_eq!(free_label("abcdefghijk", &[]).as_deref(), Some("abcdefghijk:dr0"));
        assert_eq!(free_label("abcdefghijkl", &[]), None);
    }
}
