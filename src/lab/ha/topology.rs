//! Hosts of the drill, and the commands that build them.

use super::super::step::StepGroup;
use super::DrillOptions;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// Port of the virtual services.
pub(super) const PORT: u16 = 7;
const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 150);
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x195, 0, 0, 0, 0, 0x150);

/// Hosts on the segment with the last byte of their addresses.
pub(super) const HOSTS: [(&str, u8); 5] =
    [("client", 10), ("dir1", 5), ("dir2", 6), ("rs1", 170), ("rs2", 171)];
const SWITCH: &str = "switch";

/// The VIP of the client's connections.
pub(super) fn vip(options: &DrillOptions) -> IpAddr {
    if options.is_ipv6 { VIP6.into() } else { VIP.into() }
}

/// RIPs beside that VIP.
pub(super) fn rips(options: &DrillOptions) -> [IpAddr; 2] {
    [170, 171].map(|last| match options.is_ipv6 {
        true => address6(last).into(),
        false => Ipv4Addr::new(192, 168, 195, last).into(),
    })
}

fn address6(last: u8) -> Ipv6Addr {
    // The digits of the IPv4 address, read as hexadecimal ones.
    let digits = u16::from_str_radix(&last.to_string(), 16).expect("decimal digits are hexadecimal ones");
    Ipv6Addr::new(0x2001, 0xdb8, 0x195, 0, 0, 0, 0, digits)
}

/// Namespace of a host.
pub(super) fn namespace(options: &DrillOptions, host: &str) -> String {
    format!("{}-{host}", options.name)
}

/// Commands that set a port of the switch up or down.
pub(super) fn port(options: &DrillOptions, host: &str, state: &str) -> StepGroup {
    let mut group = StepGroup::new(format!("switch: the port of {host} goes {state}"));
    group.ip(&namespace(options, SWITCH), &format!("link set {host} {state}"));
    group
}

/// Commands that build all hosts.
pub(super) fn build(options: &DrillOptions) -> Vec<StepGroup> {
    let mut groups = vec![namespaces(options), segment(options)];
    groups.extend(["rs1", "rs2"].map(|server| vip_on_lo(options, server)));
    groups
}

/// Commands that remove the hosts that are there.
pub(super) fn undo(options: &DrillOptions) -> StepGroup {
    let mut group = StepGroup::new("down");
    let hosts = HOSTS.iter().map(|(host, _)| *host).chain([SWITCH]);
    for netns in hosts.map(|host| namespace(options, host)) {
        if Path::new("/run/netns").join(&netns).exists() {
            group.step(&format!("ip netns del {netns}"));
        }
    }
    group
}

fn namespaces(options: &DrillOptions) -> StepGroup {
    let mut group = StepGroup::new("One network namespace for each host");
    for host in HOSTS.iter().map(|(host, _)| *host).chain([SWITCH]) {
        let netns = namespace(options, host);
        group.step(&format!("ip netns add {netns}"));
        group.shell(
            &netns,
            "cd /proc/sys/net/ipv4/conf && echo 0 | tee */rp_filter */arp_ignore */arp_announce",
        );
        group.shell(&netns, "echo 0 | tee /proc/sys/net/ipv6/conf/*/disable_ipv6");
        group.ip(&netns, "link set lo up");
    }
    group
}

fn segment(options: &DrillOptions) -> StepGroup {
    let switch = namespace(options, SWITCH);
    let mut group = StepGroup::new("The segment: checksums are complete before frames reach the directors");
    group.ip(&switch, "link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0");
    group.ip(&switch, "link set br0 up");
    for (host, last) in HOSTS {
        let netns = namespace(options, host);
        group.ip(&switch, &format!("link add {host} type veth peer name eth0 netns {netns}"));
        group.within(&switch, &format!("ethtool -K {host} tx off"));
        group.within(&netns, "ethtool -K eth0 tx off");
        group.ip(&switch, &format!("link set {host} master br0 up"));
        group.ip(&netns, "link set eth0 up");
        group.ip(&netns, &format!("address add 192.168.195.{last}/24 dev eth0"));
        group.ip(&netns, &format!("address add {}/64 dev eth0 nodad", address6(last)));
    }
    group
}

fn vip_on_lo(options: &DrillOptions, server: &str) -> StepGroup {
    let netns = namespace(options, server);
    let mut group = StepGroup::new(format!("{server}: the VIP on lo, without ARP for it"));
    group.set(&netns, "net/ipv4/conf/all/arp_ignore", 1);
    group.set(&netns, "net/ipv4/conf/all/arp_announce", 2);
    group.ip(&netns, &format!("address add {VIP}/32 dev lo"));
    group.ip(&netns, &format!("address add {VIP6}/128 dev lo nodad preferred_lft 0"));
    group
}
