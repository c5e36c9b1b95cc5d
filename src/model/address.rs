//! Validity of host addresses.

use std::net::Ipv4Addr;

/// Remedy for a real server on the director itself.
pub(super) const OWN_HOST: &str = "name a server on another host: directrix sends no frames to its own";

/// Checks that `address` can be a VIP or RIP: a unicast address, reachable from other hosts.
///
/// # Errors
/// The class of the address, as in "a multicast address".
pub fn host_address(address: Ipv4Addr) -> Result<(), &'static str> {
    match address {
        _ if address.is_unspecified() => Err("the unspecified address"),
        _ if address.octets()[0] == 0 => Err("an address of network 0, which no host has"),
        _ if address.is_loopback() => Err("a loopback address"),
        _ if address.is_multicast() => Err("a multicast address"),
        _ if address.is_broadcast() => Err("the broadcast address"),
        _ => Ok(()),
    }
}
