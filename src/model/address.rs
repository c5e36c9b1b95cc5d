//! Which addresses a host can have.

use std::net::Ipv4Addr;

/// What to do instead of a real server on the director itself.
pub(super) const OWN_HOST: &str = "name a server on another host: directrix hands no frames to its own";

/// Whether `address` can be a VIP or RIP: one host's address, reachable from others.
///
/// # Errors
/// What the address is instead, as in "a multicast address".
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
