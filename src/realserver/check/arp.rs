//! IPv4: ARP for the VIP, and reverse path filtering.

use crate::realserver::facts::{ConfSettings, Facts};
use crate::realserver::finding::HostFinding;
use crate::realserver::host::InterfaceInfo;
use crate::realserver::options::RealServerOptions;
use std::net::IpAddr;

/// Findings about `arp_ignore` and `arp_announce`.
pub(super) fn findings(options: &RealServerOptions, facts: &Facts) -> Vec<HostFinding> {
    let mut found = arp_findings(options, facts, &ARP_IGNORE);
    found.extend(arp_findings(options, facts, &ARP_ANNOUNCE));
    found
}

/// Requirement for a sysctl on every interface with ARP.
struct ArpRule {
    name: &'static str,
    of: fn(&ConfSettings) -> i32,
    wanted: i32,
    /// Consequence of a value; `None` if it is acceptable. The flag: all VIPs have scope host.
    fault: fn(i32, bool) -> Option<&'static str>,
}

/// Values by `arp_ignore()` in net/ipv4/arp.c.
const ARP_IGNORE: ArpRule = ArpRule {
    name: "arp_ignore",
    of: |settings| settings.arp_ignore,
    wanted: 1,
    fault: |value, host_scope| match value {
        1 | 2 => None,
        3 if host_scope => None,
        8 => Some(
            "it answers no ARP at all: the director cannot find this server, unless its mac is configured",
        ),
        _ => Some(
            "this host answers ARP for the VIP: a router that accepts the answer sends everything to this server, past the \
             director and its weights",
        ),
    },
};

/// Values by `arp_solicit()` in net/ipv4/arp.c: only 2 is strict.
const ARP_ANNOUNCE: ArpRule = ArpRule {
    name: "arp_announce",
    of: |settings| settings.arp_announce,
    wanted: 2,
    fault: |value, _| match value {
        2 => None,
        1 => Some(
            "a reply from a VIP of the gateway's own network makes this host send ARP requests for the gateway with the VIP as \
             sender: the router learns this server's MAC for the VIP",
        ),
        _ => Some(
            "this host may send ARP requests for its gateway with the VIP as sender: the router learns this server's MAC for \
             the VIP, and sends everything here",
        ),
    },
};

fn arp_findings(options: &RealServerOptions, facts: &Facts, rule: &ArpRule) -> Vec<HostFinding> {
    let host_scope = all_host_scope(options, facts);
    let found: Vec<_> = facts
        .with_arp(options)
        .filter_map(|(link, held)| {
            let value = (rule.of)(&held);
            (rule.fault)(value, host_scope).map(|effect| arp_finding(rule, facts, link, value, effect))
        })
        .collect();
    if found.is_empty() {
        let names: Vec<_> = facts.with_arp(options).map(|(link, _)| link.name.as_str()).collect();
        let list = if names.is_empty() { "none is up".into() } else { names.join(", ") };
        return vec![HostFinding::right(format!(
            "{} holds on every interface that uses ARP: {list}",
            rule.name
        ))];
    }
    found
}

fn arp_finding(rule: &ArpRule, facts: &Facts, link: &InterfaceInfo, value: i32, effect: &str) -> HostFinding {
    let (name, all) = (rule.name, (rule.of)(&facts.all));
    // Raising `all` corrects all interfaces; a larger value of the interface itself must be lowered there.
    let place = if value > all { &link.name } else { "all" };
    let place = if value < rule.wanted { "all" } else { place };
    HostFinding::wrong(
        format!("{name} is {value} on {} (the larger of conf/all and conf/{} holds)", link.name, link.name),
        effect,
        format!("echo {} > /proc/sys/net/ipv4/conf/{place}/{name}", rule.wanted),
    )
}

fn all_host_scope(options: &RealServerOptions, facts: &Facts) -> bool {
    let is_vip = |ip: IpAddr| ip.is_ipv4() && options.vips.contains(&ip);
    let mut vips = facts.addresses.iter().filter(|address| is_vip(address.ip));
    vips.all(|address| address.host_scope)
}

/// Notes strict reverse path filtering on interfaces without the default route: it drops clients' packets that arrive
/// there.
pub(super) fn reverse_path(options: &RealServerOptions, facts: &Facts) -> Vec<HostFinding> {
    let leaves_by = |index| facts.default_routes(false).any(|route| route.index == index);
    if facts.default_routes(false).next().is_none() {
        return Vec::new();
    }
    let off_path = facts.with_arp(options).filter(|(link, _)| !leaves_by(link.index));
    let strict = off_path.filter(|(link, held)| held.rp_filter == 1 && facts.has_ipv4_address(link.index));
    let notes = strict.map(|(link, _)| {
        HostFinding::note(
            format!("rp_filter is 1 on {}, and the default route leaves by another interface", link.name),
            "if the director sends here by this interface, clients' packets are dropped as martians",
            format!("in that case: echo 2 > /proc/sys/net/ipv4/conf/{}/rp_filter", link.name),
        )
    });
    notes.collect()
}
