//! Logged hints about permitted settings that are usually mistakes.

use crate::CONFIG;
use crate::support::site::Site;

#[test]
fn a_vip_among_the_host_s_addresses_is_logged() {
    let site = Site::new();
    site.director.run("ip address add 10.0.0.100/32 dev eth0");
    let _director = site.start_and_wait(CONFIG, "");
    site.wait_for("the VIP is an address of this host");
    site.wait_for("vip=10.0.0.100 interface=\"eth0\" remedy=\"ip address del 10.0.0.100/32 dev eth0\"");
    site.director.run("ip address del 10.0.0.100/32 dev eth0");
    site.wait_for("the VIP is no longer an address of this host vip=10.0.0.100");
    site.director.run("ip address add 10.0.0.100/24 dev lo");
    site.wait_for("remedy=\"ip address del 10.0.0.100/24 dev lo\"");
    // The address is there before the VIP.
    site.director.run("ip address add 10.0.0.101/32 dev lo");
    assert_eq!(site.log().matches("is an address of this host:").count(), 2, "{}", site.log());
    site.run("ipvsadm -A -t 10.0.0.101:80");
    site.wait_for("remedy=\"ip address del 10.0.0.101/32 dev lo\"");
}

#[test]
fn a_vip_outside_the_interface_s_networks_is_logged_once() {
    let site = Site::new();
    let more = "[[service]]\nprotocol = \"udp\"\naddress = \"10.8.0.2:53\"\n";
    let _director = site.start_and_wait(&format!("{CONFIG}{more}"), "");
    let message = "VIP outside the interface's networks";
    assert_eq!(site.log().matches(message).count(), 1, "{}", site.log());
    assert!(site.log().contains("interface=\"eth0\" vips=\"10.8.0.2\""), "{}", site.log());
    site.run("ipvsadm -A -u 10.8.0.2:54");
    site.run("ipvsadm -A -u 10.8.0.3:53");
    site.wait_for("vips=\"10.8.0.3\"");
    assert_eq!(site.log().matches(message).count(), 2, "{}", site.log());
}
