//! Real servers that are on-link by the routing table, at the start and after changes.

use crate::CONFIG;
use crate::support::netns::wait_until;
use crate::support::site::{SOON, Site, end};

/// Service 10.0.0.100:80 with the real server `rip`.
fn config(rip: &str) -> String {
    CONFIG.replace("10.0.0.2\"", &format!("{rip}\""))
}

/// A site whose peer also has the address 10.66.0.5.
fn site() -> Site {
    let site = Site::new();
    site.peer.run("ip address add 10.66.0.5/24 dev eth0");
    site
}

/// Routes by which 10.66.0.5 is on-link, and the sender addresses of ARP requests to it.
const ON_LINK: [(&str, &str); 4] = [
    ("ip route add 10.66.0.0/24 dev eth0", "10.0.0.1"),
    ("ip route add 10.66.0.5/32 dev eth0", "10.0.0.1"),
    (
        "ip address flush dev eth0 && ip address add 10.0.0.1/32 dev eth0 &&
         ip route add 10.66.0.0/24 dev eth0 scope link",
        "10.0.0.1",
    ),
    ("ip address add 10.44.0.1/32 dev lo && ip route add 10.66.0.0/24 dev eth0 src 10.44.0.1", "10.44.0.1"),
];

#[test]
fn a_link_route_makes_a_server_on_link() {
    for (routing, source) in ON_LINK {
        let site = site();
        site.director.run(routing);
        let _director = site.start_and_wait(&config("10.66.0.5"), "");
        assert!(site.log().contains("real server reachable rip=10.66.0.5"), "{routing}: {}", site.log());
        // The kernel learns the sender of an ARP request for one of its addresses.
        let neighbor = site.peer.run(&format!("ip neighbour show {source}"));
        let mac = site.director.run("cat /sys/class/net/eth0/address");
        assert!(neighbor.contains(mac.trim()), "{routing}: {neighbor}");
    }
}

/// Routes by which 10.66.0.5 is not on-link.
const NOT_ON_LINK: [&str; 4] = [
    "true",
    "ip route add default via 10.0.0.2",
    "ip route add 10.66.0.0/24 via 10.0.0.2 dev eth0",
    "ip route add unreachable 10.66.0.0/24",
];

#[test]
fn a_server_behind_a_gateway_or_without_route_is_refused() {
    for routing in NOT_ON_LINK {
        let site = site();
        site.director.run(routing);
        let mut director = site.start(&config("10.66.0.5"), "");
        assert_eq!(end(&mut director), Some(1), "{routing}: {}", site.log());
        let cause = "director.toml:9: real server 10.66.0.5 is not on-link: eth0 has 10.0.0.1/24";
        assert!(site.log().contains(cause) && site.log().contains("ip route add"), "{}", site.log());
    }
}

#[test]
fn live_changes_use_the_current_routing_table() {
    let site = site();
    let _director = site.start_and_wait(&config("10.0.0.2"), "");
    let add = |rip: &str| site.run(&format!("ipvsadm -a -t 10.0.0.100:80 -r {rip} -g"));
    assert!(add("10.66.0.5").1.contains("is not on-link"));
    site.director.run("ip route add 10.66.0.0/24 dev eth0");
    assert_eq!(add("10.66.0.5"), (Some(0), String::new()));
    wait_until("reachable", SOON, || site.log().contains("real server reachable rip=10.66.0.5"));
    site.director.run("ip route del 10.66.0.0/24 dev eth0");
    assert_eq!(
        site.run("ipvsadm -e -t 10.0.0.100:80 -r 10.66.0.5 -g -w 7"),
        (Some(0), String::new()),
        "an edited server stays"
    );
    assert!(add("10.66.0.6").1.contains("is not on-link"));
}

#[test]
fn the_error_for_a_bridge_port_names_the_bridge() {
    let site = Site::new();
    site.director.run("ip link add br9 type bridge && ip link set br9 up && ip address flush dev eth0");
    site.director.run("ip link set eth0 master br9 && ip address add 10.0.0.1/24 dev br9");
    let mut director = site.start(&config("10.0.0.2"), "");
    assert_eq!(end(&mut director), Some(1), "{}", site.log());
    let words = "eth0 has no IPv4 address, as it is a port of br9; name br9 instead of eth0";
    assert!(site.log().contains(words), "{}", site.log());
}

#[test]
fn arp_requests_follow_a_changed_address_of_the_director() {
    let site = Site::new();
    let _director = site.start_and_wait(&config("10.0.0.2"), "");
    let mac = site.director.run("cat /sys/class/net/eth0/address");
    // The kernel learns the sender of an ARP request for one of its addresses.
    let requests_from = |dip: &str| site.peer.run(&format!("ip neighbour show {dip}")).contains(mac.trim());
    assert!(requests_from("10.0.0.1"));
    site.director.run("ip address del 10.0.0.1/24 dev eth0 && ip address add 10.0.0.9/24 dev eth0");
    site.peer.run("ip neighbour flush dev eth0");
    wait_until("a request from the new address", SOON, || requests_from("10.0.0.9"));
    site.wait_for("source address of requests to real servers changed own=10.0.0.9");
    site.peer.run("ip neighbour flush dev eth0");
    wait_until("the next request", SOON, || requests_from("10.0.0.9"));
    assert!(!requests_from("10.0.0.1"), "no request from the old address");
    assert_eq!(site.log().matches("real server reachable").count(), 1, "it stays reachable: {}", site.log());
}
