//! Route lookups (RTM_GETROUTE of linux/rtnetlink.h).

use super::message::{Attributes, attribute, get};
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
    /// Preferred source address.
    pub(crate) source: Option<IpAddr>,
}

/// Looks up the routing table entry for an address through one interface (RTM_F_FIB_MATCH).
///
/// Without that flag the kernel treats any address as on-link if no entry matches
/// (`ip_route_output_key_hash_rcu` in net/ipv4/route.c).
pub(crate) fn route_entry(to: IpAddr, through: u32) -> io::Result<Option<RouteInfo>> {
    get_route(to, through, libc::RTM_F_FIB_MATCH)
}

/// Looks up the route to an address through one interface, with the source address that the kernel would
/// choose.
pub(crate) fn route(to: IpAddr, through: u32) -> io::Result<Option<RouteInfo>> {
    get_route(to, through, 0)
}

fn get_route(to: IpAddr, through: u32, flags: u32) -> io::Result<Option<RouteInfo>> {
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
    attribute(&mut request, libc::RTA_OIF, &through.to_ne_bytes());
    match get(libc::RTM_GETROUTE, &request) {
        Ok(payload) => Ok(route_of(&payload)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENETUNREACH | libc::EHOSTUNREACH)) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn route_of(payload: &[u8]) -> Option<RouteInfo> {
    let (header, attributes) = payload.split_at_checked(ROUTE_HEADER)?;
    let mut route = RouteInfo { is_unicast: header[7] == libc::RTN_UNICAST, ..RouteInfo::default() };
    for (kind, value) in Attributes(attributes) {
        match kind {
            libc::RTA_GATEWAY | libc::RTA_VIA | libc::RTA_MULTIPATH => route.has_gateway = true,
            libc::RTA_PREFSRC => route.source = ip_of(value),
            _ => (),
        }
    }
    Some(route)
}

/// An address of 4 or 16 bytes.
fn ip_of(value: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(value).ok().map(|bytes| Ipv4Addr::from(bytes).into());
    v4.or_else(|| Some(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?).into()))
}
