//! Neighbor discovery for the VIP as its neighbors see it: ndisc6 asks, tcpdump reads the flags.

use crate::deployment::{CLIENT, Deployment, VIP6, ipv6_beside, mac};
use crate::director::{Config, Director};
use crate::on_both_backends;
use crate::peers::{EchoConnection, PATIENCE, Peers};
use crate::support::netns::{Netns, wait_until};
use crate::support::responder::Dump;

on_both_backends! {
    the_director_alone_advertises_the_vip
    ipv6_of_the_interface_goes_and_returns
}

/// Lines of advertisements of the VIP with these flags, all valid (RFC 4861 section 7.1.2).
fn advertised(dump: &Dump, to: &str, flags: &str) -> usize {
    let head = "hlim 255, next-header ICMPv6 (58) payload length: 32)";
    let advertisement =
        format!("{head} {VIP6} > {to}: [icmp6 sum ok] ICMP6, neighbor advertisement, length 32, ");
    dump.lines(&format!("{advertisement}tgt is {VIP6}, Flags [{flags}]"))
}

/// MAC addresses that answer a request of ndisc6 within 0.5 s.
fn ndisc(client: &Netns) -> Vec<String> {
    let text = client.run(&format!("ndisc6 -m -r 1 -w 500 {VIP6} eth0 || true"));
    let found = text.lines().filter_map(|line| line.strip_prefix("Target link-layer address: "));
    found.map(|mac| mac.trim().to_lowercase()).collect()
}

fn the_director_alone_advertises_the_vip(backend: &str) {
    let deployment = Deployment::reference().with_ipv6();
    let client = &deployment.client;
    assert!(ndisc(client).is_empty(), "the real servers have the VIP on lo and are silent");
    let dump = Dump::verbose(client, "icmp6 and ip6[40] = 136");
    let _director = Director::start(&deployment, &Config::new(backend));
    let own = mac(&deployment.director);
    wait_until("the announcement", PATIENCE, || advertised(&dump, "ff02::1", "override") > 0);
    wait_until("the introduction to routers", PATIENCE, || advertised(&dump, "ff02::2", "none") > 0);
    (0..3).for_each(|_| assert!(ndisc(client).iter().all(|mac| *mac == own)));
    let solicited = || {
        let to = |address: &str| advertised(&dump, address, "solicited, override");
        to(&ipv6_beside(CLIENT).to_string()) + to(&link_local(client))
    };
    wait_until("three answers", PATIENCE, || solicited() >= 3);
    let known = solicited() + advertised(&dump, "ff02::1", "override") + advertised(&dump, "ff02::2", "none");
    assert_eq!(dump.lines(&format!("tgt is {VIP6},")), known, "no other advertisement: {}", dump.text());
    assert_eq!(
        dump.lines(&format!("(1): {own}")),
        known,
        "each with the director's MAC address: {}",
        dump.text()
    );
}

fn link_local(host: &Netns) -> String {
    let text = host.run("ip -6 -o address show dev eth0 scope link");
    text.split_whitespace().nth(3).and_then(|cidr| cidr.split('/').next()).unwrap().to_owned()
}

fn ipv6_of_the_interface_goes_and_returns(backend: &str) {
    let deployment = Deployment::reference().with_ipv6();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend));
    let (host, sysctl) = (&deployment.director, "sysctl -qw net.ipv6.conf.eth0.disable_ipv6");
    let mut session = EchoConnection::open_to(&deployment.client, VIP6.into());
    host.run(&format!("{sysctl}=1"));
    wait_until("no address", PATIENCE, || host.run("ip -6 address show dev eth0").is_empty());
    assert_eq!(ndisc(&deployment.client), [mac(host)], "the VIP is answered for all the same");
    assert!(host.run("ip maddress show dev eth0").contains("33:33:ff:00:01:50"));
    session.exchange("without IPv6 on the director");
    host.run(&format!("{sysctl}=0"));
    let reported = "the multicast groups of the VIPs are reported";
    wait_until("the report", PATIENCE, || director.logged(reported) == 1);
    session.exchange("with IPv6 again");
    EchoConnection::open_to(&deployment.client, VIP6.into()).exchange("data");
}
