//! Validity of host addresses.

use super::IpFamily;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Remedy for a real server on the director itself.
pub(super) const OWN_HOST: &str = "name a server on another host: directrix sends no frames to its own";

/// Example of a RIP, for remedies.
pub(super) fn rip_example(family: IpFamily) -> &'static str {
    match family {
        IpFamily::Ipv4 => "192.168.195.170",
        IpFamily::Ipv6 => "2001:db8::170",
    }
}

/// Example of a VIP and port, for remedies.
pub(super) fn vip_example(family: IpFamily) -> &'static str {
    match family {
        IpFamily::Ipv4 => "192.168.195.150:80",
        IpFamily::Ipv6 => "[2001:db8::150]:80",
    }
}

/// Checks that a real server is of the family of its VIP.
///
/// # Errors
/// The reason, as a sentence without a subject.
pub(super) fn same_family(rip: IpAddr, vip: IpFamily) -> Result<(), &'static str> {
    match (rip, vip) {
        (IpAddr::V4(_), IpFamily::Ipv4) | (IpAddr::V6(_), IpFamily::Ipv6) => Ok(()),
        (IpAddr::V6(_), IpFamily::Ipv4) => {
            Err("an IPv6 address, and the VIP is one of IPv4: direct routing cannot change the family")
        }
        (IpAddr::V4(_), IpFamily::Ipv6) => {
            Err("an IPv4 address, and the VIP is one of IPv6: direct routing cannot change the family")
        }
    }
}

/// Checks that `address` can be a VIP or RIP: a unicast address, reachable from other hosts.
///
/// Refuses link-local addresses as IPVS does (`ip_vs_add_dest` in net/netfilter/ipvs/ip_vs_ctl.c).
///
/// # Errors
/// The class of the address, as in "a multicast address".
pub fn host_address(address: impl Into<IpAddr>) -> Result<(), &'static str> {
    match address.into() {
        IpAddr::V4(address) => host_address_v4(address),
        IpAddr::V6(address) => host_address_v6(address),
    }
}

fn host_address_v4(address: Ipv4Addr) -> Result<(), &'static str> {
    match address {
        _ if address.is_unspecified() => Err("the unspecified address"),
        _ if address.octets()[0] == 0 => Err("an address of network 0, which no host has"),
        _ if address.is_loopback() => Err("a loopback address"),
        _ if address.is_multicast() => Err("a multicast address"),
        _ if address.is_broadcast() => Err("the broadcast address"),
        _ => Ok(()),
    }
}

fn host_address_v6(address: Ipv6Addr) -> Result<(), &'static str> {
    match address {
        _ if address.is_unspecified() => Err("the unspecified address"),
        _ if address.is_loopback() => Err("a loopback address"),
        _ if address.is_multicast() => Err("a multicast address"),
        _ if address.is_unicast_link_local() => Err("a link-local address, which is valid on one link only"),
        _ if address.to_ipv4_mapped().is_some() => Err("an IPv4-mapped address, which never is on the wire"),
        _ if address.segments()[..6] == [0; 6] => Err("an IPv4-compatible address, which no host has"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unicast_addresses_of_hosts_are_valid() {
        for good in ["192.0.2.1", "10.0.0.1", "2001:db8::80", "fd00::1", "2a00::1"] {
            assert_eq!(host_address(good.parse::<IpAddr>().unwrap()), Ok(()), "{good}");
        }
        for (bad, class) in [
            ("0.0.0.0", "the unspecified"),
            ("0.1.2.3", "network 0"),
            ("127.0.0.1", "loopback"),
            ("224.0.0.1", "multicast"),
            ("255.255.255.255", "broadcast"),
            ("::", "the unspecified"),
            ("::1", "loopback"),
            ("ff02::1", "multicast"),
            ("fe80::1", "link-local"),
            ("febf::1", "link-local"),
            ("::ffff:192.0.2.1", "IPv4-mapped"),
            ("::192.0.2.1", "IPv4-compatible"),
        ] {
            let flaw = host_address(bad.parse::<IpAddr>().unwrap()).unwrap_err();
            assert!(flaw.contains(class), "{bad}: {flaw}");
        }
    }
}
