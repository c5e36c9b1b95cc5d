//! The routing table's word on one address.

use super::message::{Attributes, attribute, get};
use std::io;
use std::net::Ipv4Addr;

/// `struct rtmsg` of linux/rtnetlink.h, in bytes.
const ROUTE_HEADER: usize = 12;

/// What RTM_GETROUTE tells of the way to one address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RouteInfo {
    /// To one host, and not to this one or to many.
    pub(crate) is_unicast: bool,
    /// By a next hop, or one of several.
    pub(crate) has_gateway: bool,
    /// The address to send from.
    pub(crate) source: Option<Ipv4Addr>,
}

/// The entry of the routing table that an address is reached by through one interface; `None` if there is none.
///
/// The kernel takes any address to be on-link there if no entry says otherwise (`ip_route_output_key_hash_rcu`
/// in net/ipv4/route.c), so the entry itself is asked for.
pub(crate) fn route_entry(to: Ipv4Addr, through: u32) -> io::Result<Option<RouteInfo>> {
    ask_route(to, through, libc::RTM_F_FIB_MATCH)
}

/// The way to an address through one interface, with the source address that the kernel would choose.
pub(crate) fn route(to: Ipv4Addr, through: u32) -> io::Result<Option<RouteInfo>> {
    ask_route(to, through, 0)
}

fn ask_route(to: Ipv4Addr, through: u32, flags: u32) -> io::Result<Option<RouteInfo>> {
    let mut request = vec![0; ROUTE_HEADER];
    request[0] = libc::AF_INET as u8; // 2
    request[1] = 32; // bits of the destination
    request[8..].copy_from_slice(&flags.to_ne_bytes());
    attribute(&mut request, libc::RTA_DST, &to.octets());
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
            libc::RTA_PREFSRC => route.source = <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from),
            _ => (),
        }
    }
    Some(route)
}
