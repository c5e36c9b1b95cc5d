//! Check of this host as a real server, with the consequences of each fault.

use super::facts::{ConfSettings, Facts};
use super::finding::HostFinding;
use super::host::{Address, InterfaceInfo};
use super::options::RealServerOptions;
use super::persist;
use crate::model::Diagnostic;
use std::net::Ipv4Addr;

/// Checks everything that direct routing needs on this host. Needs no privilege.
///
/// # Errors
/// The kernel refuses to list interfaces, addresses, routes or sysctls.
pub fn check(options: &RealServerOptions) -> Result<Vec<HostFinding>, Diagnostic> {
    Ok(findings(options, &Facts::read()?))
}

fn findings(options: &RealServerOptions, facts: &Facts) -> Vec<HostFinding> {
    let vips = options.vips.iter().flat_map(|vip| vip_findings(*vip, options, facts));
    let ignores = arp_findings(options, facts, &ARP_IGNORE);
    let announces = arp_findings(options, facts, &ARP_ANNOUNCE);
    let interface = missing_interface(options, facts).into_iter();
    interface
        .chain(vips)
        .chain(ignores)
        .chain(announces)
        .chain(default_routes(facts))
        .chain(reverse_path(options, facts))
        .chain(after_reboot(options, facts))
        .collect()
}

/// Findings about the VIPs after a reboot.
fn after_reboot(options: &RealServerOptions, facts: &Facts) -> Vec<HostFinding> {
    persist::findings(options, |vip| facts.addresses.iter().any(|address| address.ip == vip))
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

fn vip_findings(vip: Ipv4Addr, options: &RealServerOptions, facts: &Facts) -> Vec<HostFinding> {
    let found = facts.addresses.iter().filter(|address| address.ip == vip);
    let found: Vec<_> =
        found.filter_map(|address| Some(vip_finding(address, facts.link(address.index)?))).collect();
    if found.is_empty() {
        return vec![HostFinding::wrong(
            format!("{vip} is not on this host"),
            "the kernel here silently drops frames that the director sends for the VIP (the DR black hole)",
            format!("ip address add {vip}/32 dev {}", options.interface),
        )];
    }
    found
}

fn vip_finding(address: &Address, link: &InterfaceInfo) -> HostFinding {
    let (ip, prefix, name) = (address.ip, address.prefix, &link.name);
    let what = format!("{ip}/{prefix} is on {name}");
    let remedy = format!("ip address del {ip}/{prefix} dev {name}, and ip address add {ip}/32 dev lo");
    if link.arp {
        let effect = "it uses ARP and answers for the VIP with every arp_ignore: \
                      clients reach this server past the director";
        return HostFinding::wrong(what, effect, remedy);
    }
    if prefix < 32 {
        let effect = "every address of that network counts as this host's own: \
                      it answers itself instead of replying to clients and gateways there";
        return HostFinding::wrong(what, effect, remedy);
    }
    HostFinding::right(what)
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
    let mut vips = facts.addresses.iter().filter(|address| options.vips.contains(&address.ip));
    vips.all(|address| address.host_scope)
}

fn default_routes(facts: &Facts) -> Option<HostFinding> {
    let routes = facts.default_routes.iter();
    let ways = routes.filter_map(|route| Some((facts.link(route.index)?.name.as_str(), route.gateway)));
    let ways: Vec<_> = ways
        .map(|(name, gateway)| match gateway {
            Some(gateway) => format!("via {gateway} on {name}"),
            None => format!("on {name}"),
        })
        .collect();
    if ways.is_empty() {
        return Some(HostFinding::wrong(
            "there is no default route",
            "replies to clients beyond this host's own networks cannot leave",
            "ip route add default via GATEWAY, which must not be the director",
        ));
    }
    let ways = ways.join(", ");
    Some(HostFinding::right(format!(
        "replies leave by the default route {ways}; that must not be the director"
    )))
}

/// Notes strict reverse path filtering on interfaces without the default route: it drops clients' packets that arrive
/// there.
fn reverse_path(options: &RealServerOptions, facts: &Facts) -> Vec<HostFinding> {
    if facts.default_routes.is_empty() {
        return Vec::new();
    }
    let off_path = facts.with_arp(options).filter(|(link, _)| !facts.leaves_by(link.index));
    let strict = off_path.filter(|(link, held)| held.rp_filter == 1 && facts.has_address(link.index));
    let notes = strict.map(|(link, _)| {
        HostFinding::note(
            format!("rp_filter is 1 on {}, and the default route leaves by another interface", link.name),
            "if the director sends here by this interface, clients' packets are dropped as martians",
            format!("in that case: echo 2 > /proc/sys/net/ipv4/conf/{}/rp_filter", link.name),
        )
    });
    notes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::realserver::finding::Severity;
    use crate::realserver::host::DefaultRoute;
    use std::path::PathBuf;

    const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 150);
    const RIP: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 170);
    const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 2);

    fn options() -> RealServerOptions {
        let root = PathBuf::from("/nonexistent");
        RealServerOptions { vips: vec![VIP], interface: "lo".into(), state_dir: PathBuf::new(), root }
    }

    fn link(index: u32, name: &str, arp: bool) -> InterfaceInfo {
        InterfaceInfo { index, name: name.into(), up: true, arp }
    }

    fn address(index: u32, ip: Ipv4Addr, prefix: u8) -> Address {
        Address { index, ip, prefix, host_scope: false, label: None }
    }

    /// A correct host: lo, and eth0 and eth1 with ARP.
    fn facts() -> Facts {
        Facts {
            links: vec![link(1, "lo", false), link(2, "eth0", true), link(3, "eth1", true)],
            addresses: vec![
                address(1, VIP, 32),
                address(2, RIP, 24),
                address(3, Ipv4Addr::new(10, 0, 0, 1), 24),
            ],
            default_routes: vec![DefaultRoute { index: 2, gateway: Some(GATEWAY) }],
            all: ConfSettings { arp_ignore: 1, arp_announce: 2, rp_filter: 0 },
            own: vec![ConfSettings::default(); 3],
        }
    }

    /// Findings other than `Right` as lines, without those about a reboot.
    fn complaints(facts: &Facts) -> Vec<String> {
        let mut found = findings(&options(), facts);
        found.retain(|finding| !finding.diagnostic.what.contains("after a reboot"));
        let bad = found.iter().filter(|finding| finding.severity != Severity::Right);
        bad.map(HostFinding::to_string).collect()
    }

    #[track_caller]
    fn complains(facts: &Facts, wanted: &[&[&str]]) {
        let complaints = complaints(facts);
        assert_eq!(complaints.len(), wanted.len(), "{complaints:#?}");
        for (complaint, parts) in complaints.iter().zip(wanted) {
            for part in *parts {
                assert!(complaint.contains(part), "{complaint:?} lacks {part:?}");
            }
        }
    }

    #[test]
    fn correct_host_has_all_findings_ok() {
        let lines: Vec<_> = findings(&options(), &facts()).iter().map(HostFinding::to_string).collect();
        let wanted = [
            "ok: 192.168.195.150/32 is on lo",
            "ok: arp_ignore holds on every interface that uses ARP: eth0, eth1",
            "ok: arp_announce holds on every interface that uses ARP: eth0, eth1",
            "ok: replies leave by the default route via 192.168.195.2 on eth0; that must not be the director",
            "note: no known configuration sets 192.168.195.150 up again after a reboot: without the VIP this server \
             drops its share, and the director continues to send it; directrix realserver setup --vip 192.168.195.150 --persist",
        ];
        assert_eq!(lines, wanted);
    }

    #[test]
    fn missing_interface_is_named() {
        let options = RealServerOptions { interface: "dummy0".into(), ..options() };
        let found = findings(&options, &facts());
        let wrong: Vec<_> = found.iter().filter(|finding| finding.severity == Severity::Wrong).collect();
        assert_eq!(wrong.len(), 1, "{wrong:#?}");
        assert_eq!(wrong[0].diagnostic.what, "there is no interface dummy0 on this host");
        assert!(wrong[0].diagnostic.remedy.contains("ip link add dummy0 type dummy"), "{}", wrong[0]);
    }

    #[test]
    fn missing_vip_is_the_black_hole() {
        let mut facts = facts();
        facts.addresses.remove(0);
        let remedy = "ip address add 192.168.195.150/32 dev lo";
        complains(&facts, &[&["192.168.195.150 is not on this host", "black hole", remedy]]);
    }

    #[test]
    fn vip_with_arp_or_with_a_network_is_wrong() {
        let mut facts = facts();
        facts.addresses[0] = address(2, VIP, 32);
        complains(
            &facts,
            &[&["192.168.195.150/32 is on eth0", "past the director", "del 192.168.195.150/32"]],
        );
        facts.addresses[0] = address(1, VIP, 24);
        complains(
            &facts,
            &[&["192.168.195.150/24 is on lo", "this host's own", "add 192.168.195.150/32 dev lo"]],
        );
        facts.addresses.push(address(2, VIP, 32));
        assert_eq!(complaints(&facts).len(), 2);
    }

    #[test]
    fn larger_of_all_and_own_sysctl_is_effective() {
        let mut facts = facts();
        facts.all = ConfSettings::default();
        facts.own[1] = ConfSettings { arp_ignore: 1, arp_announce: 2, rp_filter: 0 };
        complains(
            &facts,
            &[
                &[
                    "arp_ignore is 0 on eth1",
                    "answers ARP for the VIP",
                    "echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore",
                ],
                &[
                    "arp_announce is 0 on eth1",
                    "as sender",
                    "echo 2 > /proc/sys/net/ipv4/conf/all/arp_announce",
                ],
            ],
        );
        facts.own[2] = facts.own[1];
        complains(&facts, &[]);
        facts.own[0] = ConfSettings { arp_ignore: 1, arp_announce: 2, rp_filter: 0 };
        facts.own[1] = ConfSettings::default();
        assert_eq!(complaints(&facts).len(), 2, "what is set on lo counts for nothing on eth0");
    }

    #[test]
    fn arp_ignore_values_follow_the_kernel() {
        for value in [1, 2] {
            let mut facts = facts();
            facts.own[1].arp_ignore = value;
            complains(&facts, &[]);
        }
        for value in [3, 4, 7, 9] {
            let mut facts = facts();
            facts.own[1].arp_ignore = value;
            let remedy = "echo 1 > /proc/sys/net/ipv4/conf/eth0/arp_ignore";
            complains(&facts, &[&["answers ARP for the VIP", remedy]]);
        }
        let mut facts = facts();
        facts.all.arp_ignore = 8;
        let silent = ["answers no ARP at all", "echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore"];
        complains(&facts, &[&silent, &silent]);
        facts.all.arp_ignore = 3;
        facts.addresses[0].host_scope = true;
        complains(&facts, &[]);
    }

    #[test]
    fn arp_announce_values_follow_the_kernel() {
        for (value, effect) in
            [(1, "the gateway's own network"), (0, "may send ARP requests"), (3, "may send ARP requests")]
        {
            let mut facts = facts();
            facts.all.arp_announce = value;
            let line = [effect, "echo 2 > /proc/sys/net/ipv4/conf/all/arp_announce"];
            complains(&facts, &[&line, &line]);
        }
    }

    #[test]
    fn interfaces_down_or_without_arp_are_ignored() {
        let mut facts = facts();
        facts.own[2].arp_ignore = 3;
        facts.links[2].up = false;
        complains(&facts, &[]);
        facts.links[2] = link(3, "dummy0", false);
        complains(&facts, &[]);
    }

    #[test]
    fn missing_default_route_is_wrong() {
        let mut facts = facts();
        facts.default_routes.clear();
        facts.all.rp_filter = 1;
        complains(&facts, &[&["wrong: there is no default route", "cannot leave", "not be the director"]]);
    }

    #[test]
    fn strict_rp_filter_is_noted_off_the_default_route() {
        let mut facts = facts();
        facts.all.rp_filter = 1;
        complains(&facts, &[&["note: rp_filter is 1 on eth1", "martians", "conf/eth1/rp_filter"]]);
        facts.own[2].rp_filter = 2;
        complains(&facts, &[]);
    }
}
