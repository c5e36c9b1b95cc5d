//! Addresses that the kernel takes as its own, and networks with two ways.

use crate::doctor::conf;
use crate::doctor::facts::{DirectorFacts, LocalNetwork};
use crate::doctor::fault::{Fault, Judgement};
use crate::doctor::finding::FindingLevel;
use crate::io::OwnAddress;
use std::net::IpAddr;

/// Consequences of a VIP that the kernel takes as its own.
const ANSWERS: &str = "the kernel answers ARP for it on every interface, also while another director has it, and answers what is no \
                       frame of a service";

/// A local VIP. Where nothing keeps the kernel from its frames, AF_PACKET refuses to start.
fn local(facts: &DirectorFacts, what: String) -> Fault {
    let unguarded = facts.kernel.tcx.is_some_and(|tcx| tcx.is_err_and(|error| error != libc::EPERM));
    if unguarded && !facts.needs_xdp() {
        let effect =
            format!("{ANSWERS}; without TCX (Linux 6.6) it answers these, too, and AF_PACKET does not start");
        return Fault::new(facts.without_packet(), what, effect);
    }
    Fault::new(FindingLevel::Warn, what, ANSWERS)
}

/// VIPs among the host's addresses.
pub(in crate::doctor) fn vip_local(facts: &DirectorFacts) -> Judgement {
    if facts.wanted.vips.is_empty() {
        return Judgement::Moot;
    }
    let all = match &facts.network.addresses {
        Err(reason) => return Fault::unknown("whether a VIP is an address of this host", reason).into(),
        Ok(all) => all,
    };
    let own = all.iter().filter(|own| facts.wanted.vips.contains(&own.address));
    let faults = own.map(|OwnAddress { address, prefix, interface }| {
        let what = format!("the VIP {address} is an address of this host, on {interface}");
        local(facts, what).command(format!("ip address del {address}/{prefix} dev {interface}"))
    });
    faults.collect::<Vec<_>>().into()
}

/// VIPs within a network that a route makes local.
pub(in crate::doctor) fn vip_routed(facts: &DirectorFacts) -> Judgement {
    if facts.wanted.vips.is_empty() {
        return Judgement::Moot;
    }
    let routes = match &facts.network.local_routes {
        Err(reason) => return Fault::unknown("whether a route makes a VIP local", reason).into(),
        Ok(routes) => routes,
    };
    let covering = |route: &&LocalNetwork| facts.wanted.vips.iter().any(|vip| holds(route, *vip));
    let faults = routes.iter().filter(covering).map(|route| {
        let LocalNetwork { network, prefix, interface, table } = route;
        let vip = facts.wanted.vips.iter().find(|vip| holds(route, **vip)).expect("the route holds one");
        let what = format!("a route makes {network}/{prefix} local, and with it the VIP {vip}");
        let family = if network.is_ipv6() { " -6" } else { "" };
        let line = format!("ip{family} route del local {network}/{prefix} dev {interface} table {table}");
        local(facts, what).command(line)
    });
    faults.collect::<Vec<_>>().into()
}

fn holds(route: &LocalNetwork, address: IpAddr) -> bool {
    same_network(route.network, address, route.prefix)
}

/// Whether two addresses share the first `prefix` bits.
fn same_network(one: IpAddr, other: IpAddr, prefix: u8) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    };
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
    one.is_ipv4() == other.is_ipv4() && (bits(one) ^ bits(other)) & mask == 0
}

/// Two interfaces in one IPv4 network: each answers ARP for the other's address.
pub(in crate::doctor) fn flux(facts: &DirectorFacts) -> Judgement {
    let Some(client) = facts.client() else { return Judgement::Moot };
    let all = match &facts.network.addresses {
        Err(reason) => return Fault::unknown("whether two interfaces are in one network", reason).into(),
        Ok(all) => all,
    };
    if facts.network.all.arp_ignore.max(client.settings.arp_ignore) > 0 {
        return Vec::new().into();
    }
    let is_of =
        |own: &&OwnAddress| own.interface == client.name() && own.address.is_ipv4() && own.prefix < 32;
    let twin = all.iter().filter(is_of).find_map(|own| {
        let beside = |other: &&OwnAddress| {
            other.interface != own.interface
                && other.prefix < 32
                && same_network(own.address, other.address, own.prefix)
        };
        Some((own, all.iter().find(beside)?))
    });
    twin.map(|(own, other)| {
        let what = format!(
            "{} ({}/{}) and {} ({}/{}) are in one network, and arp_ignore is 0",
            own.interface, own.address, own.prefix, other.interface, other.address, other.prefix
        );
        let effect = "each answers ARP for the other's address: real servers may learn the wrong MAC address for the director";
        let line = format!("{} && {}", conf::writes(1, "all", "arp_ignore"), conf::writes(2, "all", "arp_announce"));
        Fault::new(FindingLevel::Warn, what, effect).command(line)
    })
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::sample;
    use FindingLevel::{Error, Unknown, Warn};

    fn own(address: &str, prefix: u8, interface: &str) -> OwnAddress {
        OwnAddress { address: address.parse().unwrap(), prefix, interface: interface.into() }
    }

    #[test]
    fn prefixes_of_both_families_are_compared() {
        for (one, other, prefix, wanted) in [
            ("10.0.0.1", "10.0.0.2", 24, true),
            ("10.0.0.1", "10.0.1.2", 24, false),
            ("10.0.0.1", "192.0.2.1", 0, true),
            ("10.0.0.1", "10.0.0.1", 32, true),
            ("2001:db8::1", "2001:db8::2", 64, true),
            ("2001:db8::1", "2001:db8::2", 128, false),
            ("0.0.0.0", "::", 0, false),
        ] {
            assert_eq!(
                same_network(one.parse().unwrap(), other.parse().unwrap(), prefix),
                wanted,
                "{one} {other}"
            );
        }
    }

    #[test]
    fn a_local_vip_has_its_command_in_both_families() {
        let mut facts = sample::sound();
        facts.wanted.vips = vec!["10.0.0.100".parse().unwrap(), "2001:db8::80".parse().unwrap()];
        facts.network.addresses = Ok(vec![own("10.0.0.100", 32, "lo"), own("2001:db8::80", 64, "eth0")]);
        assert_eq!(
            sample::commands(vip_local(&facts)),
            ["ip address del 10.0.0.100/32 dev lo", "ip address del 2001:db8::80/64 dev eth0"]
        );
        assert_eq!(sample::level(vip_local(&facts)), Some(Warn));
        facts.kernel.tcx = Some(Err(libc::EINVAL));
        facts.wanted.backend = crate::model::BackendChoice::Packet;
        assert_eq!(sample::level(vip_local(&facts)), Some(Error));
        facts.network.addresses = Err("EPERM".into());
        assert_eq!(sample::level(vip_local(&facts)), Some(Unknown));
        facts.wanted.vips.clear();
        assert_eq!(vip_local(&facts), Judgement::Moot);
    }

    #[test]
    fn a_local_network_that_holds_a_vip_is_found() {
        let mut facts = sample::sound();
        let network = |network: &str, prefix| LocalNetwork {
            network: network.parse().unwrap(),
            prefix,
            interface: "lo".into(),
            table: 255,
        };
        facts.network.local_routes = Ok(vec![network("10.0.1.0", 24)]);
        assert_eq!(sample::level(vip_routed(&facts)), None);
        facts.network.local_routes = Ok(vec![network("10.0.0.0", 8)]);
        assert_eq!(sample::level(vip_routed(&facts)), Some(Warn));
        assert_eq!(sample::commands(vip_routed(&facts)), ["ip route del local 10.0.0.0/8 dev lo table 255"]);
    }

    #[test]
    fn two_interfaces_in_one_network_need_arp_ignore() {
        let mut facts = sample::sound();
        facts.network.addresses = Ok(vec![own("10.0.0.1", 24, "eth0"), own("10.0.0.9", 24, "eth1")]);
        assert_eq!(sample::level(flux(&facts)), Some(Warn));
        facts.network.all.arp_ignore = 1;
        assert_eq!(sample::level(flux(&facts)), None);
    }
}
