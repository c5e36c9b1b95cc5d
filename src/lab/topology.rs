//! Topology of the deployment: the commands that build it.

use super::arp_mode;
use super::host::{
    CLIENT, CLIENT6, PRIVATE_GATEWAY, PRIVATE_GATEWAY6, ROUTER, ROUTER_CLIENT_SIDE, ROUTER_CLIENT_SIDE6,
    ROUTER6, VIP, VIP6, gateway, ipv6_gateway,
};
use super::layout::Layout;
use super::options::LabOptions;
use super::step::{Step, StepGroup};
use super::{Arp, LabHost};
use std::path::Path;

/// All commands before the start of processes.
#[must_use]
pub fn build(options: &LabOptions) -> Vec<StepGroup> {
    let mut groups = vec![namespaces(options), switch(options), client(options), router(options)];
    groups.push(segment_host(options, LabHost::Director, "it needs no VIP, no ip_forward, no filter rule"));
    for server in LabHost::REAL_SERVERS {
        groups.push(segment_host(options, server, "its default route is the router, not the director"));
    }
    if options.family.has_ipv4() {
        groups.extend(LabHost::REAL_SERVERS.map(|server| vip_on_lo(options, server)));
    }
    if options.family.has_ipv6() {
        groups.extend(LabHost::REAL_SERVERS.map(|server| ipv6_vip(options, server)));
    }
    groups
}

/// Commands that undo [`build`], for the namespaces that exist.
#[must_use]
pub fn undo(name: &str) -> Vec<Step> {
    let names = LabHost::ALL.iter().rev().map(|host| super::options::namespace(name, *host));
    names.filter(|netns| exists(netns)).map(|netns| Step::new(&format!("ip netns del {netns}"))).collect()
}

/// Returns true if `ip netns` lists `netns`.
#[must_use]
pub fn exists(netns: &str) -> bool {
    Path::new("/run/netns").join(netns).symlink_metadata().is_ok()
}

fn namespaces(options: &LabOptions) -> StepGroup {
    let mut group =
        StepGroup::new("One network namespace for each host, with inherited kernel parameters reset");
    let ipv6 = Path::new("/proc/sys/net/ipv6").exists();
    for host in LabHost::ALL {
        let netns = options.namespace(host);
        group.step(&format!("ip netns add {netns}"));
        group.shell(&netns, INHERITED);
        if options.family.has_ipv6() && host != LabHost::Switch {
            group.shell(&netns, "echo 0 | tee /proc/sys/net/ipv6/conf/*/disable_ipv6");
            group.set(&netns, "net/ipv6/conf/all/forwarding", u32::from(host == LabHost::Router));
        } else if ipv6 {
            group.shell(&netns, "echo 1 | tee /proc/sys/net/ipv6/conf/*/disable_ipv6");
        }
        group.set(&netns, "net/ipv4/ip_forward", u32::from(host == LabHost::Router));
        group.ip(&netns, "link set lo up");
    }
    group
}

/// Resets the parameters that a new namespace inherits from the host to the kernel's defaults.
const INHERITED: &str =
    "cd /proc/sys/net/ipv4/conf && echo 0 | tee */rp_filter */arp_ignore */arp_announce */arp_filter";

fn switch(options: &LabOptions) -> StepGroup {
    let netns = options.namespace(LabHost::Switch);
    let mut group = StepGroup::new(
        "switch: the segment, without forwarding delay; checksums are complete before frames reach the director",
    );
    group.ip(&netns, "link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0");
    group.ip(&netns, "link set br0 up");
    for host in LabHost::ON_SEGMENT {
        let (peer, mac) = (options.namespace(host), host.mac());
        group.ip(&netns, &format!("link add {host} type veth peer name eth0 address {mac} netns {peer}"));
        group.ip(&netns, &format!("link set {host} master br0 up"));
    }
    group.within(&netns, &format!("ethtool -K {} tx off", LabHost::Director));
    group
}

fn client(options: &LabOptions) -> StepGroup {
    let (netns, router, mac) =
        (options.namespace(LabHost::Client), options.namespace(LabHost::Router), LabHost::Client.mac());
    let mut group = StepGroup::new(
        "client: behind the router; without checksum offload, so that its checksums are complete",
    );
    group.ip(&netns, &format!("link add eth0 address {mac} type veth peer name eth1 netns {router}"));
    group.within(&netns, "ethtool -K eth0 tx off");
    group.ip(&netns, "link set eth0 up");
    if options.family.has_ipv4() {
        group.ip(&netns, &format!("address add {CLIENT}/24 dev eth0"));
        group.ip(&netns, &format!("route add default via {ROUTER_CLIENT_SIDE}"));
    }
    if options.family.has_ipv6() {
        group.ip(&netns, &format!("address add {CLIENT6}/64 dev eth0 nodad"));
        group.ip(&netns, &format!("-6 route add default via {ROUTER_CLIENT_SIDE6}"));
    }
    group
}

fn router(options: &LabOptions) -> StepGroup {
    let netns = options.namespace(LabHost::Router);
    let mut group = StepGroup::new("router: eth1 towards the client, eth0 on the segment");
    group.within(&netns, "ethtool -K eth0 tx off");
    group.ip(&netns, "link set eth1 up");
    group.ip(&netns, "link set eth0 up");
    for (interface, address) in router_addresses(options) {
        group.ip(&netns, &format!("address add {address} dev {interface}"));
    }
    if options.arp == Arp::Static {
        let mac = LabHost::Director.mac();
        for vip in options.family.vips() {
            group.ip(&netns, &format!("neigh replace {vip} lladdr {mac} dev eth0 nud permanent"));
        }
    }
    group
}

/// Interfaces and addresses of the router.
fn router_addresses(options: &LabOptions) -> Vec<(&'static str, String)> {
    let (mut all, private) = (Vec::new(), options.layout == Layout::TwoSubnets);
    if options.family.has_ipv4() {
        all.extend([("eth1", format!("{ROUTER_CLIENT_SIDE}/24")), ("eth0", format!("{ROUTER}/24"))]);
        all.extend(private.then(|| ("eth0", format!("{PRIVATE_GATEWAY}/24"))));
    }
    if options.family.has_ipv6() {
        // Duplicates are impossible here; detection would delay the start by seconds.
        let nodad = |address| format!("{address}/64 nodad");
        all.extend([("eth1", nodad(ROUTER_CLIENT_SIDE6)), ("eth0", nodad(ROUTER6))]);
        all.extend(private.then(|| ("eth0", nodad(PRIVATE_GATEWAY6))));
    }
    all
}

fn segment_host(options: &LabOptions, host: LabHost, remark: &str) -> StepGroup {
    let netns = options.namespace(host);
    let mut group = StepGroup::new(format!("{host}: {remark}"));
    group.ip(&netns, "link set eth0 up");
    if let Some(address) = host.address(options.layout).filter(|_| options.family.has_ipv4()) {
        group.ip(&netns, &format!("address add {address}/24 dev eth0"));
        group.ip(&netns, &format!("route add default via {}", gateway(options.layout)));
    }
    if let Some(address) = host.ipv6_address(options.layout).filter(|_| options.family.has_ipv6()) {
        group.ip(&netns, &format!("address add {address}/64 dev eth0 nodad"));
        group.ip(&netns, &format!("-6 route add default via {}", ipv6_gateway(options.layout)));
    }
    group
}

/// Adds the IPv6 VIP: to lo, where no solicitation for it is answered; to eth0, if the server is to answer.
fn ipv6_vip(options: &LabOptions, server: LabHost) -> StepGroup {
    let netns = options.namespace(server);
    let interface = options.vip_interface(VIP6.into());
    let (remark, flags) = match options.arp {
        Arp::Sysctl | Arp::Arptables => ("which answers nothing", "preferred_lft 0"),
        Arp::None => ("which answers for it", "nodad"),
        Arp::Static => ("which answers for it; a static entry for the router", "nodad"),
    };
    let mut group = StepGroup::new(format!("{server}: the IPv6 VIP on {interface}, {remark}"));
    group.ip(&netns, &format!("address add {VIP6}/128 dev {interface} {flags}"));
    if options.arp == Arp::Static {
        // A solicitation sent for a reply has the VIP as source. The router's answer to it would follow the router's
        // static entry to the director.
        let (router, mac) = (ipv6_gateway(options.layout), LabHost::Router.mac());
        group.ip(&netns, &format!("neigh replace {router} lladdr {mac} dev {interface} nud permanent"));
    }
    group
}

/// Suppresses ARP, then adds the VIP, in the order required on a live segment.
fn vip_on_lo(options: &LabOptions, server: LabHost) -> StepGroup {
    let netns = options.namespace(server);
    let mut group = arp_mode::suppress_arp(options, server);
    group.ip(&netns, &format!("address add {VIP}/32 dev lo"));
    group
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::Family;

    fn lines(options: &LabOptions) -> Vec<String> {
        build(options).iter().flat_map(|group| group.steps.iter().map(Step::to_string)).collect()
    }

    fn reference() -> LabOptions {
        LabOptions::new("d", "/usr/bin/directrix")
    }

    #[test]
    fn reference_deployment_has_the_documented_commands() {
        let lines = lines(&reference());
        for wanted in [
            "ip netns add d-client",
            "ip -n d-switch link add rs1 type veth peer name eth0 address 02:00:00:00:01:70 netns d-rs1",
            "ip -n d-client route add default via 198.51.100.1",
            "ip -n d-router address add 192.168.195.2/24 dev eth0",
            "ip -n d-director address add 192.168.195.5/24 dev eth0",
            "ip -n d-rs2 address add 192.168.195.171/24 dev eth0",
            "ip -n d-rs2 route add default via 192.168.195.2",
            "ip -n d-rs1 address add 192.168.195.150/32 dev lo",
            "ip netns exec d-router sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'",
            "ip netns exec d-client ethtool -K eth0 tx off",
            "ip netns exec d-switch ethtool -K director tx off",
        ] {
            assert!(lines.iter().any(|line| line == wanted), "{wanted} is not in {lines:#?}");
        }
    }

    #[test]
    fn only_router_forwards_and_only_real_servers_own_vip() {
        let lines = lines(&reference());
        let with = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
        assert_eq!(with("echo 1 > /proc/sys/net/ipv4/ip_forward"), 1);
        assert_eq!(with("192.168.195.150/32 dev lo"), 2);
        assert_eq!(with("192.168.195.150"), 2);
    }

    #[test]
    fn arp_is_suppressed_before_vip_is_added() {
        for arp in [Arp::Sysctl, Arp::Arptables] {
            let lines = lines(&LabOptions { arp, ..reference() });
            let vip =
                lines.iter().position(|line| line.contains("d-rs1 address add 192.168.195.150")).unwrap();
            let quiet = |line: &String| {
                line.contains("d-rs1") && (line.contains("echo 2 >") || line.contains("arptables -A OUTPUT"))
            };
            assert!(lines.iter().rposition(quiet).unwrap() < vip, "{arp:?}");
        }
    }

    #[test]
    fn two_subnets_have_public_vip_and_private_hosts() {
        let lines = lines(&LabOptions { layout: Layout::TwoSubnets, ..reference() });
        for wanted in [
            "ip -n d-router address add 192.168.195.2/24 dev eth0",
            "ip -n d-router address add 10.195.0.2/24 dev eth0",
            "ip -n d-director address add 10.195.0.5/24 dev eth0",
            "ip -n d-rs1 route add default via 10.195.0.2",
        ] {
            assert!(lines.iter().any(|line| line == wanted), "{wanted}");
        }
        assert!(!lines.iter().any(|line| line.contains("d-director address add 192.168.195")));
    }

    #[test]
    fn ipv6_alone_has_no_ipv4_address() {
        let lines = lines(&LabOptions { family: Family::V6, layout: Layout::TwoSubnets, ..reference() });
        for wanted in [
            "ip -n d-client address add 2001:db8:100::10/64 dev eth0 nodad",
            "ip -n d-router address add 2001:db8:195::2/64 nodad dev eth0",
            "ip -n d-router address add fd00:195::2/64 nodad dev eth0",
            "ip -n d-director address add fd00:195::5/64 dev eth0 nodad",
            "ip -n d-rs1 -6 route add default via fd00:195::2",
            "ip -n d-rs2 address add 2001:db8:195::150/128 dev lo preferred_lft 0",
            "ip netns exec d-router sh -c 'echo 1 > /proc/sys/net/ipv6/conf/all/forwarding'",
        ] {
            assert!(lines.iter().any(|line| line == wanted), "{wanted} is not in {lines:#?}");
        }
        assert!(
            !lines.iter().any(|line| line.contains("192.168.") || line.contains("arp_ignore\'")),
            "{lines:#?}"
        );
        assert!(!lines.iter().any(|line| line.contains("d-director") && line.contains("150")));
    }

    #[test]
    fn static_ipv6_entry_of_the_router_needs_one_of_each_server() {
        for (layout, router) in [(Layout::OneSubnet, "2001:db8:195::2"), (Layout::TwoSubnets, "fd00:195::2")]
        {
            let lines = lines(&LabOptions { arp: Arp::Static, family: Family::V6, layout, ..reference() });
            let entries: Vec<_> = lines.iter().filter(|line| line.contains(" neigh ")).collect();
            let of = |host: &str, address: &str, mac: &str| {
                format!("ip -n d-{host} neigh replace {address} lladdr {mac} dev eth0 nud permanent")
            };
            let wanted = [
                of("router", "2001:db8:195::150", "02:00:00:00:00:05"),
                of("rs1", router, "02:00:00:00:00:02"),
                of("rs2", router, "02:00:00:00:00:02"),
            ];
            assert_eq!(entries, wanted.iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn static_entry_is_on_the_router_only() {
        let lines = lines(&LabOptions { arp: Arp::Static, ..reference() });
        let entry =
            "ip -n d-router neigh replace 192.168.195.150 lladdr 02:00:00:00:00:05 dev eth0 nud permanent";
        assert_eq!(lines.iter().filter(|line| *line == entry).count(), 1);
        assert_eq!(lines.iter().filter(|line| line.contains("neigh")).count(), 1);
        assert!(!lines.iter().any(|line| line.contains("echo 2 >") || line.contains("arptables")));
    }
}
