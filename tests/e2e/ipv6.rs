//! The reference deployment over IPv6: HTTP, ICMPv6, live changes.

use crate::deployment::{Deployment, VIP6, mac};
use crate::director::{Config, Director};
use crate::on_both_backends;
use crate::peers::{NAMES, PATIENCE, Peers};
use std::io::{ErrorKind, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

on_both_backends! {
    http_ping_and_refusals_work_over_ipv6
    services_and_servers_change_live_over_ipv6
}

/// The reference deployment with IPv6.
pub(crate) struct Site {
    pub(crate) deployment: Deployment,
    rips: [IpAddr; 2],
    _peers: Peers,
}

impl Site {
    pub(crate) fn new() -> Self {
        let deployment = Deployment::reference().with_ipv6();
        let peers = Peers::start(&deployment);
        Self { rips: deployment.rips_of(VIP6.into()), deployment, _peers: peers }
    }

    /// Bodies of `times` requests, one after the other.
    pub(crate) fn get(&self, times: usize) -> [usize; 2] {
        let url = format!("'http://[{VIP6}]/[1-{times}]'");
        let text = self
            .deployment
            .client
            .run(&format!("curl -sS --fail -H 'Connection: close' --max-time 60 {url}"));
        NAMES.map(|name| text.matches(name).count())
    }
}

pub(crate) fn config(backend: &str, weights: [u16; 2]) -> Config {
    Config { weights, ..Config::new(backend).with("conn_reuse_mode = 3") }
}

pub(crate) fn vip(port: u16) -> SocketAddr {
    (VIP6, port).into()
}

fn http_ping_and_refusals_work_over_ipv6(backend: &str) {
    let site = Site::new();
    let director = Director::start(&site.deployment, &config(backend, [1, 2]));
    let client = &site.deployment.client;
    let [first, second] = site.get(30);
    assert_eq!(first + second, 30);
    client.run(&format!("timeout 60 ab -q -s 20 -n 2000 -c 20 'http://[{VIP6}]/' 2>&1"));
    let [_, first, second] = director.stats(&format!("-t [{VIP6}]:80"))[..] else { panic!("two servers") };
    // ab opens a connection more at times. A port that the client uses again is a new connection, by conn_reuse_mode.
    assert!((2030..2050).contains(&(first[0] + second[0])), "{first:?} {second:?}");
    let pinged = client.run(&format!("ping -6 -c 3 -i 0.1 -W 2 {VIP6}"));
    assert!(pinged.contains("3 received") && pinged.contains("ttl=64"), "{pinged}");
    let neighbors = client.run("ip -6 neighbor show dev eth0");
    let found = neighbors.lines().find(|line| line.starts_with(&VIP6.to_string())).unwrap();
    assert!(found.contains(&mac(&site.deployment.director)), "{found}");
    director.write_config(&config(backend, [0, 0]).text(&site.deployment));
    director.change("reload");
    let refused = client.enter(|| TcpStream::connect_timeout(&vip(80), PATIENCE)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

fn services_and_servers_change_live_over_ipv6(backend: &str) {
    let site = Site::new();
    let director = Director::start(&site.deployment, &config(backend, [1, 1]));
    let service = format!("[{VIP6}]:8080");
    director.change(&format!("ipvsadm -A -t {service} -s rr -p 300 -M 64"));
    for rip in site.rips {
        director.change(&format!("ipvsadm -a -t {service} -r [{rip}]:8080 -g -w 1"));
    }
    let listeners = [0, 1]
        .map(|n| site.deployment.real[n].enter(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, 8080))).unwrap());
    let text = director.cli("ipvsadm -Ln");
    assert!(text.contains(&format!("TCP  [{VIP6}]:8080 rr persistent 300 mask 64\n")), "{text}");
    assert!(text.contains(&format!("  -> [{}]:8080 ", site.rips[0])), "{text}");
    let connect =
        || site.deployment.client.enter(|| TcpStream::connect_timeout(&vip(8080), PATIENCE)).unwrap();
    let connections: Vec<_> = (0..4).map(|_| connect()).collect();
    let listed = director.connections("8080");
    let established = listed.iter().filter(|line| line.contains("ESTABLISHED")).collect::<Vec<_>>();
    assert_eq!(established.len(), 4, "{listed:?}");
    let servers =
        site.rips.map(|rip| established.iter().filter(|line| line.contains(&rip.to_string())).count());
    assert!(servers == [4, 0] || servers == [0, 4], "one client has one server: {listed:?}");
    connections.into_iter().for_each(|mut connection| connection.write_all(b"x").unwrap());
    director.change(&format!("ipvsadm -D -t {service}"));
    assert!(!director.cli("ipvsadm -Ln").contains("8080"));
    drop(listeners);
}
