//! IPv6: neighbor discovery for the VIP.
//!
//! The kernel answers a solicitation for an address of the receiving interface only (`ndisc_recv_ns` in
//! net/ipv6/ndisc.c, with the strict `ipv6_get_ifaddr`). So a VIP on lo is quiet without any sysctl. There are two
//! exceptions: a VRF device answers for its interfaces, and a proxy entry answers on an interface that forwards.

use super::effect::network_effect;
use crate::model::host_address;
use crate::realserver::facts::Facts;
use crate::realserver::finding::HostFinding;
use crate::realserver::host::{Address, InterfaceInfo, ProxyEntry};
use crate::realserver::options::RealServerOptions;
use crate::realserver::step::add_command;
use std::net::IpAddr;

/// Findings about interfaces: IPv6 switched off, VRFs, proxy entries.
pub(super) fn findings(options: &RealServerOptions, facts: &Facts) -> Vec<HostFinding> {
    if facts.ipv6_all.is_none() {
        return vec![HostFinding::wrong(
            "this kernel has no IPv6",
            "it cannot have the VIP",
            "start it without ipv6.disable=1",
        )];
    }
    let mut found = Vec::from_iter(disabled_for_vip(options, facts));
    found.extend(disabled_on_segment(options, facts));
    found.extend(separate_vrfs(options, facts));
    found.extend(only_vips(options, facts));
    found.extend(facts.proxies.iter().filter_map(|entry| proxy_finding(entry, options, facts)));
    found
}

/// Finding about an IPv6 VIP that the host has.
pub(super) fn vip_finding(
    address: &Address,
    link: &InterfaceInfo,
    what: String,
    remedy: String,
) -> HostFinding {
    if (link.arp || link.vrf) && address.dad_failed {
        let effect = "duplicate address detection failed, as the director has the VIP: the kernel here does not use \
                      the address, and drops the frames for it";
        return HostFinding::wrong(format!("{what} with dadfailed"), effect, remedy);
    }
    if link.vrf {
        let effect = "a VRF device answers solicitations on its interfaces: \
                      clients reach this server past the director";
        let remedy = in_vrf(address.ip, &link.name);
        return HostFinding::wrong(what, effect, remedy);
    }
    if link.arp {
        let effect = "it answers neighbor solicitations for the VIP: \
                      clients reach this server past the director";
        return HostFinding::wrong(what, effect, remedy);
    }
    if address.prefix < 128 {
        return HostFinding::wrong(what, network_effect(address.ip, &link.name), remedy);
    }
    if !address.deprecated {
        return HostFinding::note(
            format!("{what}, and is not deprecated"),
            "this host may choose the VIP as source of its own connections: the replies go to the director",
            format!("ip address change {}/128 dev {} preferred_lft 0", address.ip, link.name),
        );
    }
    HostFinding::right(format!("{what}, deprecated"))
}

/// Command that precedes the one that adds an IPv6 VIP; empty if IPv6 is on.
pub(super) fn enabling(vip: IpAddr, options: &RealServerOptions, facts: &Facts) -> String {
    if vip.is_ipv4() || disabled_for_vip(options, facts).is_none() {
        return String::new();
    }
    format!("{}, and ", enable_command(&options.interface))
}

fn enable_command(interface: &str) -> String {
    format!("echo 0 > /proc/sys/net/ipv6/conf/{interface}/disable_ipv6")
}

/// IPv6 is off on the interface of the VIP.
fn disabled_for_vip(options: &RealServerOptions, facts: &Facts) -> Option<HostFinding> {
    let link = facts.links.iter().find(|link| link.name == options.interface)?;
    facts.ipv6_settings(link.index).filter(|settings| settings.disabled)?;
    Some(HostFinding::wrong(
        format!("disable_ipv6 is 1 on {}", link.name),
        "it cannot have the VIP: the kernel refuses every IPv6 address there (EACCES)",
        enable_command(&link.name),
    ))
}

/// IPv6 is off on interfaces where the director's frames may arrive.
fn disabled_on_segment(options: &RealServerOptions, facts: &Facts) -> Vec<HostFinding> {
    let off = |link: &InterfaceInfo| facts.ipv6_settings(link.index).is_none_or(|settings| settings.disabled);
    let links = facts.with_arp(options).map(|(link, _)| link).filter(|link| off(link));
    let notes = links.map(|link| {
        HostFinding::note(
            format!("IPv6 is off on {}", link.name),
            "if the director sends here by this interface, clients' packets are dropped",
            format!("in that case: {}", enable_command(&link.name)),
        )
    });
    notes.collect()
}

/// No global IPv6 address but the VIPs. By RFC 6724 §5 the scope of a source address counts more than its preference.
fn only_vips(options: &RealServerOptions, facts: &Facts) -> Option<HostFinding> {
    let global = |ip: IpAddr| ip.is_ipv6() && host_address(ip).is_ok();
    let mut addresses = facts.addresses.iter().map(|address| address.ip).filter(|ip| global(*ip)).peekable();
    addresses.peek()?;
    if addresses.any(|ip| !options.vips.contains(&ip)) {
        return None;
    }
    Some(HostFinding::note(
        "this host has no global IPv6 address but the VIP",
        "it chooses the VIP as source of its own connections, even a deprecated one: the replies go to the director",
        "give it an address of its own, if it connects to other hosts by IPv6",
    ))
}

/// Interfaces in a VRF that the VIP is not in. A socket outside the VRF gets no packet from such an interface.
fn separate_vrfs(options: &RealServerOptions, facts: &Facts) -> Vec<HostFinding> {
    let vrf_of = |link: &InterfaceInfo| {
        let vrf = facts.link(link.controller?)?;
        vrf.vrf.then_some(vrf)
    };
    let vip_link = facts.links.iter().find(|link| link.name == options.interface);
    let vip_vrf = vip_link.and_then(vrf_of);
    let links = facts.with_arp(options).filter_map(|(link, _)| Some((link, vrf_of(link)?)));
    let separate = links.filter(|(_, vrf)| vip_vrf != Some(vrf));
    let notes = separate.map(|(link, vrf)| {
        let vip = options.vips.iter().find(|vip| vip.is_ipv6());
        HostFinding::note(
            format!("{} is in the VRF {}, and {} is not", link.name, vrf.name, options.interface),
            "if the director sends here by this interface, a service of the VRF finds no VIP",
            format!("in that case: {}", vip.map_or_else(String::new, |vip| in_vrf(*vip, &vrf.name))),
        )
    });
    notes.collect()
}

/// Commands that put a VIP into a VRF, on an interface that answers nothing.
fn in_vrf(vip: IpAddr, vrf: &str) -> String {
    format!(
        "ip link add vip0 type dummy && ip link set dev vip0 master {vrf} up && {}",
        add_command(vip, "vip0")
    )
}

/// A proxy entry for a VIP; `None` for another address.
fn proxy_finding(entry: &ProxyEntry, options: &RealServerOptions, facts: &Facts) -> Option<HostFinding> {
    let link = facts.link(entry.index).filter(|_| options.vips.contains(&entry.ip.into()))?;
    let own = facts.ipv6_settings(entry.index).unwrap_or_default();
    let all = facts.ipv6_all.unwrap_or_default();
    let what = format!("there is a proxy neighbor entry for {} on {}", entry.ip, link.name);
    let remedy = format!("ip -6 neigh del proxy {} dev {}", entry.ip, link.name);
    if own.forwarding && (own.proxy_ndp || all.proxy_ndp) {
        let effect = "this host answers neighbor solicitations for the VIP: \
                      clients reach this server past the director";
        return Some(HostFinding::wrong(what, effect, remedy));
    }
    let effect =
        "with forwarding and proxy_ndp switched on, this host answers neighbor solicitations for the VIP";
    Some(HostFinding::note(what, effect, remedy))
}
