//! Findings over described hosts.

mod boot;
mod ndp;

use super::*;
use crate::realserver::facts::{ConfSettings, Ipv6Settings};
use crate::realserver::finding::Severity;
use crate::realserver::host::DefaultRoute;
use std::net::Ipv4Addr;
use std::path::PathBuf;

const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 195, 150));
const RIP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 195, 170));
const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 195, 2));

fn options() -> RealServerOptions {
    let root = PathBuf::from("/nonexistent");
    RealServerOptions { vips: vec![VIP], interface: "lo".into(), state_dir: PathBuf::new(), root }
}

fn link(index: u32, name: &str, arp: bool) -> InterfaceInfo {
    InterfaceInfo { index, name: name.into(), up: true, arp, vrf: false, controller: None }
}

fn address(index: u32, ip: IpAddr, prefix: u8) -> Address {
    let deprecated = ip.is_ipv6();
    Address { index, ip, prefix, host_scope: false, label: None, dad_failed: false, deprecated }
}

/// A correct host: lo, and eth0 and eth1 with ARP.
fn facts() -> Facts {
    Facts {
        links: vec![link(1, "lo", false), link(2, "eth0", true), link(3, "eth1", true)],
        addresses: vec![address(1, VIP, 32), address(2, RIP, 24), address(3, [10, 0, 0, 1].into(), 24)],
        default_routes: vec![DefaultRoute { index: 2, gateway: Some(GATEWAY), ipv6: false }],
        proxies: Vec::new(),
        all: ConfSettings { arp_ignore: 1, arp_announce: 2, rp_filter: 0 },
        own: vec![ConfSettings::default(); 3],
        ipv6_all: Some(Ipv6Settings::default()),
        ipv6_own: vec![Some(Ipv6Settings::default()); 3],
    }
}

/// Findings other than `Right` as lines, without those about a reboot.
fn complaints(options: &RealServerOptions, facts: &Facts) -> Vec<String> {
    let mut found = findings(options, facts);
    found.retain(|finding| !finding.diagnostic.what.contains("after a reboot"));
    let bad = found.iter().filter(|finding| finding.severity != Severity::Right);
    bad.map(HostFinding::to_string).collect()
}

#[track_caller]
fn complains(facts: &Facts, wanted: &[&[&str]]) {
    check_complaints(&complaints(&options(), facts), wanted);
}

#[track_caller]
fn check_complaints(complaints: &[String], wanted: &[&[&str]]) {
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
    complains(&facts, &[&["192.168.195.150/32 is on eth0", "past the director", "del 192.168.195.150/32"]]);
    facts.addresses[0] = address(1, VIP, 24);
    complains(
        &facts,
        &[&["192.168.195.150/24 is on lo", "this host's own", "add 192.168.195.150/32 dev lo"]],
    );
    facts.addresses.push(address(2, VIP, 32));
    assert_eq!(complaints(&options(), &facts).len(), 2);
}

#[test]
fn remedy_adds_no_vip_that_is_on_lo_already() {
    let on_both = |vip: IpAddr, prefix| {
        let mut facts = facts();
        facts.addresses.retain(|address| address.ip != vip);
        let own = address(2, "2001:db8::170".parse().unwrap(), 64);
        facts.addresses.extend([address(1, vip, prefix), address(2, vip, prefix), own]);
        let options = RealServerOptions { vips: vec![vip], ..options() };
        complaints(&options, &facts).join("\n")
    };
    for (vip, prefix) in [(VIP, 32), ("2001:db8::80".parse().unwrap(), 128)] {
        let text = on_both(vip, prefix);
        let remedy = format!("ip address del {vip}/{prefix} dev eth0");
        assert!(text.contains(&remedy) && !text.contains("ip address add"), "{text}");
    }
}

#[test]
fn own_address_is_not_to_be_removed() {
    let facts = Facts { addresses: vec![address(2, RIP, 24)], ..facts() };
    let options = RealServerOptions { vips: vec![RIP], ..options() };
    let lines = complaints(&options, &facts);
    let on = "192.168.195.170/24 is on eth0";
    check_complaints(&lines, &[&[on, "this host's own address", "name the VIP", "not the RIP"]]);
    assert!(!lines[0].contains("ip address del"), "{lines:#?}");
    assert!(super::boot::findings(&options, &facts).is_empty(), "it need not be set up as VIP");
}

#[test]
fn only_address_of_the_host_may_be_a_vip_if_lo_has_it_too() {
    for (vip, prefix) in [(VIP, 32), ("2001:db8::80".parse().unwrap(), 128)] {
        let facts = Facts { addresses: vec![address(1, vip, prefix), address(2, vip, prefix)], ..facts() };
        let options = RealServerOptions { vips: vec![vip], ..options() };
        let text = complaints(&options, &facts).join("\n");
        let removal = format!("if it is the VIP: ip address del {vip}/{prefix} dev eth0");
        assert!(text.contains("if it is the RIP, name") && text.contains(&removal), "{text}");
        assert!(!text.contains("this host's own address"), "{text}");
    }
}

#[test]
fn only_address_of_an_interface_may_be_rip_or_vip() {
    let either = |named, at: &str, dev: &str, facts: &Facts| {
        let options = RealServerOptions { vips: vec![named], ..options() };
        let (on, del) = (format!("{at} is on {dev}: "), format!("ip address del {at} dev {dev}, and ip"));
        let vip = "if it is the VIP: ";
        check_complaints(&complaints(&options, facts), &[&[&on, "if it is the RIP, name", vip, &del]]);
        assert!(super::boot::findings(&options, facts).is_empty(), "it may need no setup as VIP");
    };
    let mut facts = facts();
    either(RIP, "192.168.195.170/24", "eth0", &facts);
    facts.addresses.remove(0);
    facts.addresses[1] = address(3, VIP, 24);
    either(VIP, "192.168.195.150/24", "eth1", &facts);
    facts.addresses[1].prefix = 32;
    let moved =
        ["192.168.195.150/32 is on eth1: it uses ARP", "; ip address del 192.168.195.150/32 dev eth1"];
    complains(&facts, &[&moved]);
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
            &["arp_announce is 0 on eth1", "as sender", "echo 2 > /proc/sys/net/ipv4/conf/all/arp_announce"],
        ],
    );
    facts.own[2] = facts.own[1];
    complains(&facts, &[]);
    facts.own[0] = ConfSettings { arp_ignore: 1, arp_announce: 2, rp_filter: 0 };
    facts.own[1] = ConfSettings::default();
    assert_eq!(complaints(&options(), &facts).len(), 2, "what is set on lo counts for nothing on eth0");
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
