//! Addresses and routes of the director's host.

use crate::SERVICE;
use crate::support::netns::veth;
use crate::support::site::Site;

#[test]
fn a_local_vip_is_removed() {
    let site = Site::new();
    site.director.run("ip address add 10.0.0.100/32 dev lo");
    assert!(site.answers("10.0.0.100"), "the kernel answers for the VIP");
    site.mends(SERVICE, ("vip-local", "warn"), "ip address del 10.0.0.100/32 dev lo");
    assert!(!site.answers("10.0.0.100"));
}

#[test]
fn a_route_that_makes_a_vip_local_is_removed() {
    let site = Site::new();
    site.director.run("ip route add local 10.0.0.96/28 dev lo");
    assert!(site.answers("10.0.0.100"), "the kernel answers for the VIP");
    site.mends(SERVICE, ("vip-local-route", "warn"), "ip route del local 10.0.0.96/28 dev lo table 255");
    assert!(!site.answers("10.0.0.100"));
}

#[test]
fn a_local_vip_of_ipv6_is_removed() {
    let site = Site::new();
    site.director
        .run("sysctl -qw net.ipv6.conf.all.disable_ipv6=0; ip address add 2001:db8:1::1/64 dev eth0 nodad");
    let config = "[[service]]\nprotocol = \"tcp\"\naddress = \"[2001:db8:2::80]:80\"\n\
                  [[service.server]]\naddress = \"2001:db8:1::2\"\n";
    site.director.run("ip address add 2001:db8:2::80/128 dev lo nodad");
    site.mends(config, ("vip-local", "warn"), "ip address del 2001:db8:2::80/128 dev lo");
    site.director.run("ip -6 route add local 2001:db8:2::/64 dev lo");
    site.mends(config, ("vip-local-route", "warn"), "ip -6 route del local 2001:db8:2::/64 dev lo table 255");
}

#[test]
fn two_interfaces_in_one_network_answer_for_each_other() {
    let site = Site::new();
    veth((&site.director, "eth1"), (&site.peer, "eth1"), 1);
    site.director.run("ip address add 10.0.0.9/24 dev eth1");
    assert!(site.answers("10.0.0.9"), "eth0 answers for the address of eth1");
    let conf = "/proc/sys/net/ipv4/conf/all";
    let command = format!("echo 1 > {conf}/arp_ignore && echo 2 > {conf}/arp_announce");
    site.mends(SERVICE, ("arp-flux", "warn"), &command);
    assert!(!site.answers("10.0.0.9"));
}

#[test]
fn redirects_of_a_forwarding_host_are_switched_off() {
    let site = Site::new();
    site.is_sound(SERVICE, "send-redirects");
    site.director.run("echo 1 > /proc/sys/net/ipv4/ip_forward");
    let conf = "/proc/sys/net/ipv4/conf";
    let command = format!("echo 0 > {conf}/all/send_redirects && echo 0 > {conf}/eth0/send_redirects");
    site.mends(SERVICE, ("send-redirects", "warn"), &command);
}

#[test]
fn strict_reverse_path_filters_are_loosened() {
    let site = Site::new();
    veth((&site.director, "eth1"), (&site.peer, "eth1"), 1);
    site.director.run("ip address add 10.1.0.1/24 dev eth1; echo 1 > /proc/sys/net/ipv4/conf/eth1/rp_filter");
    site.is_sound(SERVICE, "rp-filter");
    let config = format!("server_interface = \"eth1\"\n{}", SERVICE.replace("10.0.0.2", "10.1.0.2"));
    site.mends(&config, ("rp-filter", "warn"), "echo 2 > /proc/sys/net/ipv4/conf/eth1/rp_filter");
}
