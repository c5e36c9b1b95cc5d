//! Check of this host as a real server, with the consequences of each fault.

mod arp;
mod boot;
mod effect;
mod ndp;
#[cfg(test)]
mod tests;

use super::facts::Facts;
use super::finding::HostFinding;
use super::host::{Address, AddressUse, InterfaceInfo, address_use, single_prefix};
use super::options::RealServerOptions;
use super::step::add_command;
use crate::model::Diagnostic;
use effect::network_effect;
use std::net::IpAddr;

/// Checks everything that direct routing needs on this host. Needs no privilege.
///
/// # Errors
/// The kernel refuses to list interfaces, addresses, routes or sysctls.
pub fn check(options: &RealServerOptions) -> Result<Vec<HostFinding>, Diagnostic> {
    Ok(findings(options, &Facts::read()?))
}

fn findings(options: &RealServerOptions, facts: &Facts) -> Vec<HostFinding> {
    let mut found = Vec::from_iter(missing_interface(options, facts));
    found.extend(options.vips.iter().flat_map(|vip| vip_findings(*vip, options, facts)));
    if options.has_ipv4() {
        found.extend(arp::findings(options, facts));
        found.push(default_routes(facts, false));
        found.extend(arp::reverse_path(options, facts));
    }
    if options.has_ipv6() {
        found.extend(ndp::findings(options, facts));
        found.push(default_routes(facts, true));
    }
    found.extend(boot::findings(options, facts));
    found
}

fn missing_interface(options: &RealServerOptions, facts: &Facts) -> Option<HostFinding> {
    let name = &options.interface;
    if facts.links.iter().any(|link| link.name == *name) {
        return None;
    }
    let remedy = format!(
        "name one that is there, as a rule lo; or make it: \
         ip link add {name} type dummy && ip link set dev {name} arp off up"
    );
    let what = format!("there is no interface {name} on this host");
    Some(HostFinding::wrong(what, "it cannot have the VIP", remedy))
}

fn vip_findings(vip: IpAddr, options: &RealServerOptions, facts: &Facts) -> Vec<HostFinding> {
    let found = facts.addresses.iter().filter(|address| address.ip == vip);
    let found: Vec<_> =
        found.filter_map(|address| Some(vip_finding(address, facts.link(address.index)?, facts))).collect();
    if found.is_empty() {
        return vec![HostFinding::wrong(
            format!("{vip} is not on this host"),
            "the kernel here silently drops frames that the director sends for the VIP (the DR black hole)",
            ndp::enabling(vip, options, facts) + &add_command(vip, &options.interface),
        )];
    }
    found
}

fn vip_finding(address: &Address, link: &InterfaceInfo, facts: &Facts) -> HostFinding {
    let (ip, prefix, name) = (address.ip, address.prefix, &link.name);
    let what = format!("{ip}/{prefix} is on {name}");
    let mut remedy = format!("ip address del {ip}/{prefix} dev {name}");
    if !is_on_quiet(ip, facts) {
        remedy += &format!(", and {}", add_command(ip, "lo"));
    }
    match address_use(address, link, &facts.addresses) {
        AddressUse::Own => {
            let effect = format!("it is this host's own address, the only one on {name}, and no VIP");
            return HostFinding::wrong(what, effect, "name the VIP of the service with --vip, not the RIP");
        }
        AddressUse::OwnOrVip => return own_or_vip(what, name, &remedy),
        AddressUse::Vip => {}
    }
    if ip.is_ipv6() {
        return ndp::vip_finding(address, link, what, remedy);
    }
    if link.arp {
        let effect = "it uses ARP and answers for the VIP with every arp_ignore: \
                      clients reach this server past the director";
        return HostFinding::wrong(what, effect, remedy);
    }
    if prefix < 32 {
        return HostFinding::wrong(what, network_effect(ip, name), remedy);
    }
    HostFinding::right(what)
}

/// True if the VIP is as it should be on an interface that does not answer for it, beside another one.
fn is_on_quiet(vip: IpAddr, facts: &Facts) -> bool {
    let of_vip = |address: &&Address| address.ip == vip && address.prefix == single_prefix(vip);
    let mut links = facts.addresses.iter().filter(of_vip).filter_map(|address| facts.link(address.index));
    links.any(|link| !link.arp && !link.vrf)
}

/// The only address of an interface. `removal` moves the VIP.
fn own_or_vip(what: String, name: &str, removal: &str) -> HostFinding {
    HostFinding::wrong(
        what,
        format!(
            "it is the only address on {name}, so it may be the RIP; a VIP there answers, and clients reach this server \
             past the director"
        ),
        format!(
            "if it is the RIP, name the VIP of the service with --vip; if it is the VIP: {removal}, and check again"
        ),
    )
}

/// The way of the replies of one family.
fn default_routes(facts: &Facts, ipv6: bool) -> HostFinding {
    let routes = facts.default_routes(ipv6);
    let ways = routes.filter_map(|route| Some((facts.link(route.index)?.name.as_str(), route.gateway)));
    let ways: Vec<_> = ways
        .map(|(name, gateway)| match gateway {
            Some(gateway) => format!("via {gateway} on {name}"),
            None => format!("on {name}"),
        })
        .collect();
    let (family, option) = if ipv6 { (" of IPv6", " -6") } else { ("", "") };
    if ways.is_empty() {
        return HostFinding::wrong(
            format!("there is no default route{family}"),
            "replies to clients beyond this host's own networks cannot leave",
            format!("ip{option} route add default via GATEWAY, which must not be the director"),
        );
    }
    let ways = ways.join(", ");
    HostFinding::right(format!(
        "replies{family} leave by the default route {ways}; that must not be the director"
    ))
}
