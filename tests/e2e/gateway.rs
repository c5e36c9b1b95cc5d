//! A VIP that is stolen in the gateway alone: the director hears nothing, and its test of the gateway's entry tells.

use crate::deployment::{Deployment, VIP, mac};
use crate::director::{Config, Director};
use crate::on_both_backends;
use crate::support::netns::{Netns, beside, wait_until};
use crate::support::responder::Dump;
use directrix::control::api::audit::Finding;
use directrix::control::client::Blocking;
use directrix::io::{FrameKind, FrameSocket, Interface};
use directrix::wire::MacAddr;
use directrix::wire::arp::{ArpPacket, FRAME_LEN};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

on_both_backends! {
    a_vip_that_is_stolen_in_the_gateway_is_named
}

const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 1);
const THIEF: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 66);
const SOON: Duration = Duration::from_secs(30);
/// Five rounds, the calibration among them.
const ROUNDS: Duration = Duration::from_secs(12);

struct Site {
    deployment: Deployment,
    gateway: Netns,
    thief: Netns,
}

impl Site {
    /// The clients' segment with a router, which is the director's gateway, and another host.
    fn new() -> Self {
        let deployment = Deployment::reference();
        let [gateway, thief] =
            [("gateway", GATEWAY), ("thief", THIEF)].map(|(port, ip)| deployment.plug(port, ip));
        gateway.run("sysctl -qw net.ipv4.ip_forward=1");
        deployment.director.run(&format!("ip route add default via {GATEWAY}"));
        Self { deployment, gateway, thief }
    }

    fn director(&self, backend: &str) -> (Director, Blocking) {
        let director = Director::start(&self.deployment, &Config::new(backend).with("audit_interval = 1"));
        let client = Blocking::new(&director.socket()).unwrap();
        (director, client)
    }

    /// Runs `f` while the thief announces the VIP to the gateway alone.
    fn with_theft<T>(&self, f: impl FnOnce() -> T) -> T {
        let announce = |stop: &AtomicBool| announce(&mac(&self.gateway), &mac(&self.thief), stop);
        beside(|stop| self.thief.enter(|| announce(stop)), f)
    }

    fn entry(&self) -> String {
        self.gateway.run(&format!("ip neighbor show to {VIP}"))
    }
}

/// Announces the VIP by unicast to `gateway`, ten times a second.
fn announce(gateway: &str, thief: &str, stop: &AtomicBool) {
    let [gateway, thief]: [MacAddr; 2] = [gateway, thief].map(|mac| mac.parse().unwrap());
    let socket = FrameSocket::open(&Interface::lookup("eth0").unwrap(), FrameKind::Arp).unwrap();
    let mut frame = [0; FRAME_LEN];
    ArpPacket::announcement(thief, VIP).emit(&mut frame);
    frame[..6].copy_from_slice(&gateway.0);
    while !stop.load(Ordering::Relaxed) {
        socket.send(&frame).unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn of(client: &Blocking, misuse: &str) -> Option<Finding> {
    client.audit().unwrap().findings.into_iter().find(|finding| finding.misuse == misuse)
}

fn a_vip_that_is_stolen_in_the_gateway_is_named(backend: &str) {
    let site = Site::new();
    let pings = Dump::on(&site.gateway, "icmp");
    let (director, client) = site.director(backend);
    let came_back = format!("{} > {}", mac(&site.gateway), mac(&site.deployment.director));
    wait_until("a frame that came back", SOON, || pings.lines(&came_back) > 1);
    assert_eq!(client.audit().unwrap().findings, []);
    let found = site.with_theft(|| {
        wait_until("the finding", SOON, || of(&client, "diverted").is_some());
        assert!(site.entry().contains(&mac(&site.thief)), "{}", site.entry());
        of(&client, "diverted").unwrap()
    });
    assert_eq!((found.level.as_str(), found.address, found.mac), ("error", VIP.into(), mac(&site.gateway)));
    let sentence = format!("gateway {GATEWAY} ({}) sends frames for the VIP {VIP}", mac(&site.gateway));
    assert!(found.text.starts_with(&sentence), "{}", found.text);
    assert_eq!(found.command.as_deref(), Some(format!("ip neighbor show to {VIP}").as_str()));
    assert_eq!(client.audit().unwrap().findings.len(), 1, "the director has heard nothing of it");
    site.gateway.run(&format!("ip neighbor del {VIP} dev eth0"));
    wait_until("its end", SOON, || client.audit().unwrap().findings.is_empty());
    assert_eq!(director.logged("a host misuses an address"), 1, "{}", director.log());
    assert_eq!(director.logged("audit finding is over"), 1);
    assert_eq!(pings.lines("echo reply"), 0, "no frame that came back was answered: {}", pings.text());
    assert_eq!(site.deployment.arrived().map(|count| count.packets), [0, 0], "nor forwarded");
}

/// The gateway drops what leaves by the interface on which it came: its silence tells nothing.
#[test]
fn a_gateway_without_hairpins_is_no_finding() {
    let site = Site::new();
    site.gateway.run("nft add table ip t");
    site.gateway.run("nft 'add chain ip t f { type filter hook forward priority 0; }'");
    site.gateway.run("nft add rule ip t f iifname eth0 oifname eth0 counter drop");
    let (director, client) = site.director("packet");
    site.with_theft(|| std::thread::sleep(ROUNDS));
    assert_eq!(client.audit().unwrap().findings, [], "{}", director.log());
    let rules = site.gateway.run("nft list chain ip t f");
    assert!(!rules.contains("packets 0 "), "the gateway was tested: {rules}");
}
