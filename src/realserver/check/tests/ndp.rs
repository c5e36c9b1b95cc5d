//! Findings about IPv6 VIPs.

use super::*;
use crate::realserver::host::ProxyEntry;
use std::net::Ipv6Addr;

const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80);

fn ipv6_options() -> RealServerOptions {
    RealServerOptions { vips: vec![VIP6.into()], ..options() }
}

/// A correct host: the VIP on lo, a default route of IPv6.
fn ipv6_facts() -> Facts {
    let rip = "2001:db8::70".parse().unwrap();
    let gateway = Some("fe80::1".parse().unwrap());
    Facts {
        addresses: vec![address(1, VIP6.into(), 128), address(2, rip, 64)],
        default_routes: vec![DefaultRoute { index: 2, gateway, ipv6: true }],
        // ARP settings are of no concern to IPv6.
        all: ConfSettings::default(),
        ..facts()
    }
}

#[track_caller]
fn complains6(facts: &Facts, wanted: &[&[&str]]) {
    check_complaints(&complaints(&ipv6_options(), facts), wanted);
}

#[test]
fn correct_ipv6_host_has_all_findings_ok() {
    let found = findings(&ipv6_options(), &ipv6_facts());
    let lines: Vec<_> = found.iter().map(HostFinding::to_string).collect();
    let wanted = [
        "ok: 2001:db8::80/128 is on lo, deprecated",
        "ok: replies of IPv6 leave by the default route via fe80::1 on eth0; that must not be the director",
        "note: no known configuration sets 2001:db8::80 up again after a reboot: without the VIP this server \
         drops its share, and the director continues to send it; directrix realserver setup --vip 2001:db8::80 --persist",
    ];
    assert_eq!(lines, wanted);
}

#[test]
fn both_families_are_checked_in_one_run() {
    let mut facts = facts();
    facts.addresses.push(address(1, VIP6.into(), 128));
    facts.addresses.push(address(2, "2001:db8::70".parse().unwrap(), 64));
    let options = RealServerOptions { vips: vec![VIP, VIP6.into()], ..options() };
    check_complaints(
        &complaints(&options, &facts),
        &[&["there is no default route of IPv6", "ip -6 route add"]],
    );
    facts.all.arp_ignore = 0;
    assert_eq!(complaints(&options, &facts).len(), 3, "arp_ignore on eth0 and eth1");
}

#[test]
fn missing_ipv6_vip_is_the_black_hole() {
    let mut facts = ipv6_facts();
    facts.addresses.remove(0);
    let remedy = "; ip address add 2001:db8::80/128 dev lo preferred_lft 0";
    complains6(&facts, &[&["2001:db8::80 is not on this host", "black hole", remedy]]);
}

#[test]
fn whole_network_on_lo_is_a_black_hole() {
    let mut facts = ipv6_facts();
    facts.addresses[0].prefix = 64;
    complains6(
        &facts,
        &[&[
            "2001:db8::80/64 is on lo",
            "routes that whole network to lo",
            "del 2001:db8::80/64 dev lo, and ip",
        ]],
    );
}

#[test]
fn vip_on_the_segment_hijacks_or_fails_detection() {
    let mut facts = ipv6_facts();
    facts.addresses[0] = address(2, VIP6.into(), 128);
    complains6(
        &facts,
        &[&["2001:db8::80/128 is on eth0:", "answers neighbor solicitations", "past the director"]],
    );
    facts.addresses[0].dad_failed = true;
    complains6(&facts, &[&["is on eth0 with dadfailed", "drops the frames", "add 2001:db8::80/128 dev lo"]]);
}

#[test]
fn preferred_vip_is_noted() {
    let mut facts = ipv6_facts();
    facts.addresses[0].deprecated = false;
    let remedy = "ip address change 2001:db8::80/128 dev lo preferred_lft 0";
    complains6(&facts, &[&["note: ", "is not deprecated", "source of its own connections", remedy]]);
}

#[test]
fn host_with_no_other_global_address_is_noted() {
    let mut facts = ipv6_facts();
    facts.addresses[1] = address(2, "fe80::70".parse().unwrap(), 64);
    complains6(
        &facts,
        &[&["note: this host has no global IPv6 address but the VIP", "an address of its own"]],
    );
}

#[test]
fn disabled_ipv6_is_named_with_its_remedy() {
    let mut facts = ipv6_facts();
    let off = Some(Ipv6Settings { disabled: true, ..Ipv6Settings::default() });
    facts.addresses.remove(0);
    facts.ipv6_own = vec![off; 3];
    let on_lo = "echo 0 > /proc/sys/net/ipv6/conf/lo/disable_ipv6";
    complains6(
        &facts,
        &[
            &["is not on this host", on_lo, ", and ip address add 2001:db8::80/128"],
            &["disable_ipv6 is 1 on lo", "EACCES", on_lo],
            &["note: IPv6 is off on eth0", "conf/eth0/disable_ipv6"],
            &["note: IPv6 is off on eth1"],
        ],
    );
    facts.ipv6_all = None;
    let none = ["this kernel has no IPv6", "ipv6.disable=1"];
    assert!(
        complaints(&ipv6_options(), &facts).iter().any(|line| none.iter().all(|part| line.contains(part)))
    );
}

#[test]
fn proxy_entry_answers_only_with_forwarding() {
    let mut facts = ipv6_facts();
    let other = "2001:db8::81".parse().unwrap();
    facts.proxies = vec![ProxyEntry { index: 2, ip: VIP6 }, ProxyEntry { index: 2, ip: other }];
    let remedy = "ip -6 neigh del proxy 2001:db8::80 dev eth0";
    complains6(&facts, &[&["note: there is a proxy neighbor entry for 2001:db8::80 on eth0", remedy]]);
    facts.ipv6_own[1] = Some(Ipv6Settings { forwarding: true, ..Ipv6Settings::default() });
    complains6(&facts, &[&["note: there is a proxy"]]);
    facts.ipv6_all = Some(Ipv6Settings { proxy_ndp: true, ..Ipv6Settings::default() });
    complains6(&facts, &[&["wrong: there is a proxy", "past the director", remedy]]);
}

#[test]
fn vrf_of_the_segment_needs_the_vip_too() {
    let mut facts = ipv6_facts();
    facts.links.push(InterfaceInfo { vrf: true, ..link(4, "red", false) });
    facts.links[1].controller = Some(4);
    let dummy = "ip link add vip0 type dummy && ip link set dev vip0 master red up && ip address add";
    complains6(&facts, &[&["note: eth0 is in the VRF red, and lo is not", dummy]]);
    facts.addresses[0].index = 4;
    let found = complaints(&ipv6_options(), &facts);
    assert!(found[0].contains("is on red: a VRF device answers") && found[0].contains(dummy), "{found:#?}");
    let inside = RealServerOptions { interface: "vip0".into(), ..ipv6_options() };
    facts.links.push(InterfaceInfo { controller: Some(4), ..link(5, "vip0", false) });
    facts.addresses[0].index = 5;
    check_complaints(&complaints(&inside, &facts), &[]);
}
