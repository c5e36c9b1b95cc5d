//! Route lookups (RTM_GETROUTE of linux/rtnetlink.h).

use super::message::{Attributes, attribute, dump, get, u32_at};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `struct rtmsg` of linux/rtnetlink.h, in bytes.
const ROUTE_HEADER: usize = 12;

/// The route to one address, from `struct rtmsg` and its RTA_* attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RouteInfo {
    /// RTN_UNICAST: neither local nor broadcast nor multicast.
    pub(crate) is_unicast: bool,
    /// Through a gateway, or one of several.
    pub(crate) has_gateway: bool,
    /// The only gateway, of the same family.
    pub(crate) gateway: Option<IpAddr>,
    /// Preferred source address.
    pub(crate) source: Option<IpAddr>,
    /// Index of the interface.
    pub(crate) interface: Option<u32>,
}

/// Looks up the routing table entry for an address through one interface (RTM_F_FIB_MATCH).
///
/// Without that flag the kernel treats any address as on-link if no entry matches
/// (`ip_route_output_key_hash_rcu` in net/ipv4/route.c).
pub(crate) fn route_entry(to: IpAddr, through: u32) -> io::Result<Option<RouteInfo>> {
    get_route(to, Some(through), libc::RTM_F_FIB_MATCH)
}

/// Looks up the route to an address, through one interface or any, with the source address that the kernel would
/// choose.
pub(crate) fn route(to: IpAddr, through: Option<u32>) -> io::Result<Option<RouteInfo>> {
    get_route(to, through, 0)
}

fn get_route(to: IpAddr, through: Option<u32>, flags: u32) -> io::Result<Option<RouteInfo>> {
    let mut request = vec![0; ROUTE_HEADER];
    request[8..].copy_from_slice(&flags.to_ne_bytes());
    match to {
        IpAddr::V4(to) => {
            request[..2].copy_from_slice(&[libc::AF_INET as u8, 32]); // family 2, bits of the destination
            attribute(&mut request, libc::RTA_DST, &to.octets());
        }
        IpAddr::V6(to) => {
            request[..2].copy_from_slice(&[libc::AF_INET6 as u8, 128]); // 10
            attribute(&mut request, libc::RTA_DST, &to.octets());
        }
    }
    if let Some(through) = through {
        attribute(&mut request, libc::RTA_OIF, &through.to_ne_bytes());
    }
    match get(libc::RTM_GETROUTE, &request) {
        Ok(payload) => Ok(route_of(&payload)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENETUNREACH | libc::EHOSTUNREACH)) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// A destination that the kernel takes as its own: a route of the type RTN_LOCAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LocalRoute {
    /// First address of the network.
    pub(crate) network: IpAddr,
    /// Prefix length.
    pub(crate) prefix: u8,
    /// Index of the interface.
    pub(crate) index: u32,
    /// Number of the routing table: 255 is `local`.
    pub(crate) table: u32,
}

/// Lists the local routes of all tables and both families, own addresses included (dump of RTM_GETROUTE).
pub(crate) fn local_routes() -> io::Result<Vec<LocalRoute>> {
    let mut routes = Vec::new();
    each_route(|header, payload| routes.extend(local_route_of(header, payload)))?;
    Ok(routes)
}

/// Lists the gateways of the default routes of both families.
pub(crate) fn default_gateways() -> io::Result<Vec<IpAddr>> {
    let mut gateways = Vec::new();
    each_route(|header, attributes| {
        if header[1] == 0 && header[7] == libc::RTN_UNICAST {
            let found = Attributes(attributes).find(|(kind, _)| *kind == libc::RTA_GATEWAY);
            gateways.extend(found.and_then(|(_, value)| ip_of(value)));
        }
    })?;
    Ok(gateways)
}

/// Calls `each` with the header and the attributes of every route.
fn each_route(mut each: impl FnMut(&[u8], &[u8])) -> io::Result<()> {
    for family in [libc::AF_INET, libc::AF_INET6] {
        let mut request = [0; ROUTE_HEADER];
        request[0] = family as u8; // 2 or 10
        dump(libc::RTM_GETROUTE, &request, |payload| {
            if let Some((header, attributes)) = payload.split_at_checked(ROUTE_HEADER) {
                each(header, attributes);
            }
        })?;
    }
    Ok(())
}

fn local_route_of(header: &[u8], attributes: &[u8]) -> Option<LocalRoute> {
    if header[7] != libc::RTN_LOCAL {
        return None;
    }
    let any = match header[0].into() {
        libc::AF_INET => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        _ => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let mut route = LocalRoute { network: any, prefix: header[1], index: 0, table: header[4].into() };
    for (kind, value) in Attributes(attributes) {
        match kind {
            libc::RTA_DST => route.network = ip_of(value)?,
            libc::RTA_OIF => route.index = u32_at(value, 0)?,
            libc::RTA_TABLE => route.table = u32_at(value, 0)?,
            _ => (),
        }
    }
    Some(route)
}

fn route_of(payload: &[u8]) -> Option<RouteInfo> {
    let (header, attributes) = payload.split_at_checked(ROUTE_HEADER)?;
    let mut route = RouteInfo { is_unicast: header[7] == libc::RTN_UNICAST, ..RouteInfo::default() };
    for (kind, value) in Attributes(attributes) {
        match kind {
            libc::RTA_GATEWAY => (route.has_gateway, route.gateway) = (true, ip_of(value)),
            libc::RTA_VIA | libc::RTA_MULTIPATH => route.has_gateway = true,
            libc::RTA_PREFSRC => route.source = ip_of(value),
            libc::RTA_OIF => route.interface = u32_at(value, 0),
            _ => (),
        }
    }
    Some(route)
}

/// An address of 4 or 16 bytes.
pub(super) fn ip_of(value: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(value).ok().map(|bytes| Ipv4Addr::from(bytes).into());
    v4.or_else(|| Some(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_network_is_local() {
        let routes = local_routes().unwrap();
        let loopback = IpAddr::from([127, 0, 0, 0]);
        assert!(routes.iter().any(|route| (route.network, route.prefix, route.table) == (loopback, 8, 255)));
    }
}
