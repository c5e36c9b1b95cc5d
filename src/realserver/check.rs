//! Whether this host is fit to be a real server, and what happens if it is not.

use super::facts::{Facts, Settings};
use super::host::{Address, Link};
use super::{Options, persist};
use crate::model::Diagnostic;
use std::fmt;
use std::net::Ipv4Addr;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// As it should be.
    Right,
    /// Wrong in some deployments: for the operator to judge.
    Note,
    /// Direct routing fails because of it.
    Wrong,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// How things stand: "192.168.195.150 is not on this host".
    pub what: String,
    /// What happens because of it; empty if all is right.
    pub effect: String,
    /// What to do about it; empty if all is right.
    pub remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, effect, remedy, .. } = self;
        match self.severity {
            Severity::Right => write!(f, "ok: {what}"),
            Severity::Note => write!(f, "note: {what}: {effect}; {remedy}"),
            Severity::Wrong => write!(f, "wrong: {what}: {effect}; {remedy}"),
        }
    }
}

/// Looks at everything that direct routing needs of this host. Needs no privilege.
///
/// # Errors
/// The kernel does not tell.
pub fn check(options: &Options) -> Result<Vec<Finding>, Diagnostic> {
    Ok(findings(options, &Facts::read()?))
}

fn findings(options: &Options, facts: &Facts) -> Vec<Finding> {
    let vips = options.vips.iter().flat_map(|vip| vip_findings(*vip, options, facts));
    let ignores = arp_findings(options, facts, &ARP_IGNORE);
    let announces = arp_findings(options, facts, &ARP_ANNOUNCE);
    let interface = missing_interface(options, facts).into_iter();
    interface
        .chain(vips)
        .chain(ignores)
        .chain(announces)
        .chain(way_out(facts))
        .chain(reverse_path(options, facts))
        .chain(reboot(options, facts))
        .collect()
}

/// Whether the VIPs that are here will be after a reboot.
fn reboot(options: &Options, facts: &Facts) -> Vec<Finding> {
    persist::findings(options, |vip| facts.addresses.iter().any(|address| address.ip == vip))
}

fn missing_interface(options: &Options, facts: &Facts) -> Option<Finding> {
    let name = &options.interface;
    let is_there = facts.links.iter().any(|link| link.name == *name);
    let missing = || {
        let remedy = format!(
            "name one that is there, as a rule lo; or make it: \
             ip link add {name} type dummy && ip link set dev {name} arp off up"
        );
        wrong(format!("there is no interface {name} on this host"), "it cannot have the VIP", remedy)
    };
    (!is_there).then(missing)
}

fn right(what: String) -> Finding {
    Finding { severity: Severity::Right, what, effect: String::new(), remedy: String::new() }
}

fn wrong(what: String, effect: impl Into<String>, remedy: String) -> Finding {
    Finding { severity: Severity::Wrong, what, effect: effect.into(), remedy }
}

fn vip_findings(vip: Ipv4Addr, options: &Options, facts: &Facts) -> Vec<Finding> {
    let found = facts.addresses.iter().filter(|address| address.ip == vip);
    let found: Vec<_> =
        found.filter_map(|address| Some(vip_finding(address, facts.link(address.index)?))).collect();
    if found.is_empty() {
        return vec![wrong(
            format!("{vip} is not on this host"),
            "the kernel here drops silently what the director sends for the VIP (the DR black hole)",
            format!("ip address add {vip}/32 dev {}", options.interface),
        )];
    }
    found
}

fn vip_finding(address: &Address, link: &Link) -> Finding {
    let (ip, prefix, name) = (address.ip, address.prefix, &link.name);
    let what = format!("{ip}/{prefix} is on {name}");
    let remedy = format!("ip address del {ip}/{prefix} dev {name}, and ip address add {ip}/32 dev lo");
    if link.arp {
        let effect = "it does ARP, and answers for the VIP whatever arp_ignore says: \
                      clients reach this server past the director";
        return wrong(what, effect, remedy);
    }
    if prefix < 32 {
        let effect = "every address of that network counts as this host's own: \
                      it answers itself instead of replying to clients and gateways there";
        return wrong(what, effect, remedy);
    }
    right(what)
}

/// A setting that every interface that does ARP must have.
struct ArpRule {
    name: &'static str,
    of: fn(&Settings) -> i32,
    wanted: i32,
    /// What is bad about a value; `None` if it will do. True: the VIPs have scope host.
    fault: fn(i32, bool) -> Option<&'static str>,
}

/// The values' meaning is that of arp_ignore() in net/ipv4/arp.c.
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
            "this host answers ARP for the VIP: a router that believes it sends everything to this server, past the \
             director and its weights",
        ),
    },
};

/// The values' meaning is that of arp_solicit() in net/ipv4/arp.c: only 2 is strict.
const ARP_ANNOUNCE: ArpRule = ArpRule {
    name: "arp_announce",
    of: |settings| settings.arp_announce,
    wanted: 2,
    fault: |value, _| match value {
        2 => None,
        1 => Some(
            "a reply from a VIP of the gateway's own network makes this host ask for the gateway with the VIP as \
             sender: the router learns this server's MAC for the VIP",
        ),
        _ => Some(
            "this host may ask for its gateway with the VIP as sender: the router learns this server's MAC for \
             the VIP, and sends everything here",
        ),
    },
};

fn arp_findings(options: &Options, facts: &Facts, rule: &ArpRule) -> Vec<Finding> {
    let host_scope = all_host_scope(options, facts);
    let found: Vec<_> = facts
        .speaking(options)
        .filter_map(|(link, held)| {
            let value = (rule.of)(&held);
            (rule.fault)(value, host_scope).map(|effect| arp_finding(rule, facts, link, (value, effect)))
        })
        .collect();
    if found.is_empty() {
        let names: Vec<_> = facts.speaking(options).map(|(link, _)| link.name.as_str()).collect();
        let speaking = if names.is_empty() { "none is up".into() } else { names.join(", ") };
        return vec![right(format!("{} holds on every interface that does ARP: {speaking}", rule.name))];
    }
    found
}

fn arp_finding(rule: &ArpRule, facts: &Facts, link: &Link, (value, effect): (i32, &str)) -> Finding {
    let (name, all) = (rule.name, (rule.of)(&facts.all));
    // Raising `all` helps all interfaces; a value of the interface's own that is too large must go.
    let place = if value > all { &link.name } else { "all" };
    let place = if value < rule.wanted { "all" } else { place };
    wrong(
        format!("{name} is {value} on {} (the larger of conf/all and conf/{} holds)", link.name, link.name),
        effect,
        format!("echo {} > /proc/sys/net/ipv4/conf/{place}/{name}", rule.wanted),
    )
}

fn all_host_scope(options: &Options, facts: &Facts) -> bool {
    let mut vips = facts.addresses.iter().filter(|address| options.vips.contains(&address.ip));
    vips.all(|address| address.host_scope)
}

fn way_out(facts: &Facts) -> Option<Finding> {
    let routes = facts.default_routes.iter();
    let ways = routes.filter_map(|route| Some((facts.link(route.index)?.name.as_str(), route.gateway)));
    let ways: Vec<_> = ways
        .map(|(name, gateway)| match gateway {
            Some(gateway) => format!("via {gateway} on {name}"),
            None => format!("on {name}"),
        })
        .collect();
    if ways.is_empty() {
        return Some(wrong(
            "there is no default route".into(),
            "replies to clients beyond this host's own networks cannot leave",
            "ip route add default via GATEWAY, which must not be the director".into(),
        ));
    }
    let ways = ways.join(", ");
    Some(right(format!("replies leave by the default route {ways}; that must not be the director")))
}

/// Strict reverse path filtering bites where the client's packets come in by another interface
/// than the one that replies leave by.
fn reverse_path(options: &Options, facts: &Facts) -> Vec<Finding> {
    let addressed = |link: &Link| facts.addresses.iter().any(|address| address.index == link.index);
    let off_path = |link: &Link| !facts.default_routes.is_empty() && !facts.leaves_by(link.index);
    let strict = facts
        .speaking(options)
        .filter(|(link, held)| held.rp_filter == 1 && addressed(link) && off_path(link));
    let notes = strict.map(|(link, _)| Finding {
        severity: Severity::Note,
        what: format!("rp_filter is 1 on {}, and the default route leaves by another interface", link.name),
        effect: "if the director sends here by this interface, clients' packets are dropped as martians"
            .into(),
        remedy: format!("in that case: echo 2 > /proc/sys/net/ipv4/conf/{}/rp_filter", link.name),
    });
    notes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::realserver::host::DefaultRoute;
    use std::path::PathBuf;

    const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 150);
    const RIP: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 170);
    const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 2);

    fn options() -> Options {
        let root = PathBuf::from("/nonexistent");
        Options { vips: vec![VIP], interface: "lo".into(), state_dir: PathBuf::new(), root }
    }

    fn link(index: u32, name: &str, arp: bool) -> Link {
        Link { index, name: name.into(), up: true, arp }
    }

    fn address(index: u32, ip: Ipv4Addr, prefix: u8) -> Address {
        Address { index, ip, prefix, host_scope: false, label: None }
    }

    /// lo, and eth0 and eth1 that do ARP; all as it should be.
    fn facts() -> Facts {
        Facts {
            links: vec![link(1, "lo", false), link(2, "eth0", true), link(3, "eth1", true)],
            addresses: vec![
                address(1, VIP, 32),
                address(2, RIP, 24),
                address(3, Ipv4Addr::new(10, 0, 0, 1), 24),
            ],
            default_routes: vec![DefaultRoute { index: 2, gateway: Some(GATEWAY) }],
            all: Settings { arp_ignore: 1, arp_announce: 2, rp_filter: 0 },
            own: vec![Settings::default(); 3],
        }
    }

    /// What is not right in `facts`, as lines, but for what comes of a reboot.
    fn complaints(facts: &Facts) -> Vec<String> {
        let mut found = findings(&options(), facts);
        found.retain(|finding| !finding.what.contains("after a reboot"));
        let bad = found.iter().filter(|finding| finding.severity != Severity::Right);
        bad.map(Finding::to_string).collect()
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
    fn a_host_that_is_right_is_told_so_point_by_point() {
        let lines: Vec<_> = findings(&options(), &facts()).iter().map(Finding::to_string).collect();
        let wanted = [
            "ok: 192.168.195.150/32 is on lo",
            "ok: arp_ignore holds on every interface that does ARP: eth0, eth1",
            "ok: arp_announce holds on every interface that does ARP: eth0, eth1",
            "ok: replies leave by the default route via 192.168.195.2 on eth0; that must not be the director",
            "note: nothing that is known here sets 192.168.195.150 up again after a reboot: without the VIP this server \
             drops its share, and the director goes on sending it; directrix realserver setup --vip 192.168.195.150 --persist",
        ];
        assert_eq!(lines, wanted);
    }

    #[test]
    fn an_interface_that_is_not_there_is_named() {
        let options = Options { interface: "dummy0".into(), ..options() };
        let found = findings(&options, &facts());
        let wrong: Vec<_> = found.iter().filter(|finding| finding.severity == Severity::Wrong).collect();
        assert_eq!(wrong.len(), 1, "{wrong:#?}");
        assert_eq!(wrong[0].what, "there is no interface dummy0 on this host");
        assert!(wrong[0].remedy.contains("ip link add dummy0 type dummy"), "{}", wrong[0]);
    }

    #[test]
    fn a_missing_vip_is_the_black_hole() {
        let mut facts = facts();
        facts.addresses.remove(0);
        let remedy = "ip address add 192.168.195.150/32 dev lo";
        complains(&facts, &[&["192.168.195.150 is not on this host", "black hole", remedy]]);
    }

    #[test]
    fn a_vip_speakingarp_is_done_and_a_vip_with_a_network_are_wrong() {
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
    fn the_larger_of_all_and_the_interfaces_own_setting_counts() {
        let mut facts = facts();
        facts.all = Settings::default();
        facts.own[1] = Settings { arp_ignore: 1, arp_announce: 2, rp_filter: 0 };
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
        facts.own[0] = Settings { arp_ignore: 1, arp_announce: 2, rp_filter: 0 };
        facts.own[1] = Settings::default();
        assert_eq!(complaints(&facts).len(), 2, "what is set on lo counts for nothing on eth0");
    }

    #[test]
    fn each_value_of_arp_ignore_is_judged_as_the_kernel_takes_it() {
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
    fn each_value_of_arp_announce_is_judged_as_the_kernel_takes_it() {
        for (value, effect) in [(1, "the gateway's own network"), (0, "may ask"), (3, "may ask")] {
            let mut facts = facts();
            facts.all.arp_announce = value;
            let line = [effect, "echo 2 > /proc/sys/net/ipv4/conf/all/arp_announce"];
            complains(&facts, &[&line, &line]);
        }
    }

    #[test]
    fn interfaces_that_are_down_or_do_no_arp_do_not_matter() {
        let mut facts = facts();
        facts.own[2].arp_ignore = 3;
        facts.links[2].up = false;
        complains(&facts, &[]);
        facts.links[2] = link(3, "dummy0", false);
        complains(&facts, &[]);
    }

    #[test]
    fn without_a_default_route_replies_cannot_leave() {
        let mut facts = facts();
        facts.default_routes.clear();
        facts.all.rp_filter = 1;
        complains(&facts, &[&["wrong: there is no default route", "cannot leave", "not be the director"]]);
    }

    #[test]
    fn strict_reverse_path_filtering_is_noted_off_the_default_route_only() {
        let mut facts = facts();
        facts.all.rp_filter = 1;
        complains(&facts, &[&["note: rp_filter is 1 on eth1", "martians", "conf/eth1/rp_filter"]]);
        facts.own[2].rp_filter = 2;
        complains(&facts, &[]);
    }
}
