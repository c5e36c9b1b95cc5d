//! A fault of the real server each, and the cause that its probe names.

use crate::harness::{
    FAMILIES, Net, PATIENCE, PROTOCOLS, Probed, RIP, SILENCE, VIP, add, address, connect_within, join, mac,
};
use crate::peers::Services;
use directrix::io::probe::{
    ProbeEnd, ProbeExchange, ProbeIcmp, ProbeProtocol, ProbeSocket, ProbeTarget, ProbeVerdict, VipProbes,
};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

#[test]
fn a_server_with_the_vip_answers_for_it() {
    let net = Net::new();
    let (_services, probes) = (net.serve(), net.open());
    net.filter(
        "input priority 0",
        "meta l4proto { tcp, udp, icmp } ip ttl != 1 counter name far
         meta l4proto { tcp, udp } ip6 hoplimit != 1 counter name far
         icmpv6 type echo-request ip6 hoplimit != 1 counter name far",
    );
    for target in net.targets() {
        let probed = net.probe(&probes, &target, PATIENCE);
        assert_eq!(probed.verdict, ProbeVerdict::Answered, "{target:?} {probed:?}");
        if target.protocol != ProbeProtocol::Ping {
            assert_eq!(probed.answer, target.vip.to_string(), "the address that the server was asked for");
        }
        let Probed { evidence, .. } = probed;
        assert!(evidence.foreign + evidence.from_rip + evidence.errors == 0, "{evidence:?}");
    }
    let far = net.server.run("nft list counter inet t far");
    assert!(far.contains("packets 0 "), "every packet of a probe has a time to live of 1: {far}");
    let counts = probes.counts();
    assert_eq!((counts.armed, counts.late), (0, 0));
    assert_eq!(
        net.server.run("ss -Htan state all sport = :80 | grep -v LISTEN || true"),
        "",
        "no state is left"
    );
}

#[test]
fn a_missing_vip_is_silent_or_routed() {
    let net = Net::without_vip();
    let probes = net.open();
    for target in net.targets() {
        let probed = net.probe(&probes, &target, SILENCE);
        assert_eq!(probed.verdict, ProbeVerdict::Silent, "{target:?} {probed:?}");
        assert_eq!(probed.outcome, ProbeExchange::TimedOut);
    }
    net.server.run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
    for target in net.targets() {
        let probed = net.probe(&probes, &target, PATIENCE);
        let kind = if target.vip.is_ipv4() { 11 } else { 3 };
        let icmp = ProbeIcmp { kind, code: 0, sender: target.rip };
        assert_eq!(probed.verdict, ProbeVerdict::Routed(icmp), "{target:?} {probed:?}");
        assert_eq!(probed.outcome, ProbeExchange::Failed(libc::EHOSTUNREACH));
    }
}

#[test]
fn a_service_on_the_rip_alone_refuses() {
    let net = Net::new();
    let (_services, probes) = (Services::start(&net.server, &RIP), net.open());
    for target in net.targets().into_iter().filter(|target| target.protocol != ProbeProtocol::Ping) {
        let probed = net.probe(&probes, &target, PATIENCE);
        assert_eq!(probed.verdict, ProbeVerdict::Refused, "{target:?} {probed:?}");
    }
}

#[test]
fn a_firewall_is_named_by_its_code() {
    let net = Net::new();
    let (_services, probes) = (net.serve(), net.open());
    let v4 = [
        ("port-unreachable", 3),
        ("host-unreachable", 1),
        ("net-unreachable", 0),
        ("admin-prohibited", 13),
        ("host-prohibited", 10),
        ("net-prohibited", 9),
    ];
    let v6 = [("port-unreachable", 4), ("addr-unreachable", 3), ("no-route", 0), ("admin-prohibited", 1)];
    for (family, kind, codes) in [(0, 3, &v4[..]), (1, 1, &v6[..])] {
        let (ip, icmp) = [("ip", "icmp"), ("ip6", "icmpv6")][family];
        for (name, code) in codes {
            let vip = VIP[family];
            let reject = format!("{ip} daddr {vip} reject with {icmp} {name}");
            net.filter("input priority 0", &reject);
            for protocol in PROTOCOLS {
                let target = net.target(protocol, family);
                let probed = net.probe(&probes, &target, PATIENCE);
                let icmp = ProbeIcmp { kind, code: *code, sender: target.vip };
                let is_closed_port = protocol == ProbeProtocol::Udp && name.starts_with("port");
                let expected =
                    if is_closed_port { ProbeVerdict::Refused } else { ProbeVerdict::Rejected(icmp) };
                assert_eq!(probed.verdict, expected, "{name} {protocol:?} {probed:?}");
                assert_eq!(probed.evidence.icmp, Some(icmp));
                assert!(matches!(probed.outcome, ProbeExchange::Failed(_)), "at once: {probed:?}");
            }
        }
        net.filter("input priority 0", "tcp dport 80 reject with tcp reset");
        let probed = net.probe(&probes, &net.target(ProbeProtocol::Tcp, family), PATIENCE);
        assert_eq!(probed.verdict, ProbeVerdict::Refused, "a reset: {probed:?}");
    }
}

#[test]
fn a_firewall_that_drops_is_silent() {
    let net = Net::new();
    let (_services, probes) = (net.serve(), net.open());
    net.filter("input priority 0", "ip daddr 10.9.0.80 drop; ip6 daddr fd09::80 drop");
    for target in net.targets() {
        let probed = net.probe(&probes, &target, SILENCE);
        assert_eq!(probed.verdict, ProbeVerdict::Silent, "{target:?} {probed:?}");
    }
}

/// The server's replies, and its ICMP errors, leave by its second NIC.
#[test]
fn replies_from_another_mac_address_are_dropped() {
    let net = Net::new();
    join(&net.server, "eth1", (&net.switch, "real2"));
    add(&net.server, "eth1", &["10.9.0.12", "fd09::12"]);
    // Behind the local table, by which the VIP is its own.
    for family in ["-4", "-6"] {
        let network = if family == "-4" { "10.9.0.0/24" } else { "fd09::/64" };
        net.server.run(&format!("ip {family} route add {network} dev eth1 table 7"));
        net.server.run(&format!("ip {family} rule add pref 1 from all lookup 7"));
    }
    let (_services, probes) = (net.serve(), net.open());
    let other = mac(&net.server, "eth1");
    for target in net.targets() {
        let probed = net.probe(&probes, &target, SILENCE);
        assert_eq!(probed.verdict, ProbeVerdict::Foreign(other), "{target:?} {probed:?}");
    }
    // The same MAC address is right where it is expected.
    for target in net.targets() {
        let target = ProbeTarget { reply_mac: other, ..target };
        let probed = net.probe(&probes, &target, PATIENCE);
        assert_eq!(probed.verdict, ProbeVerdict::Answered, "{target:?} {probed:?}");
    }
}

/// Without the VIP, the server translates to its own address and back for no packet.
#[test]
fn replies_from_the_rip_are_dropped() {
    let net = Net::without_vip();
    let (_services, probes) = (Services::start(&net.server, &RIP), net.open());
    net.filter(
        "prerouting priority -300",
        "ip daddr 10.9.0.80 ip daddr set 10.9.0.11
         ip6 daddr fd09::80 ip6 daddr set fd09::11",
    );
    for target in net.targets() {
        let probed = net.probe(&probes, &target, SILENCE);
        assert_eq!(probed.verdict, ProbeVerdict::FromRip, "{target:?} {probed:?}");
    }
}

#[test]
fn a_server_without_a_mac_address_gets_no_packet() {
    let net = Net::new();
    let probes = net.open();
    for (family, rip) in FAMILIES.into_iter().zip(["10.9.0.99", "fd09::99"]) {
        for protocol in PROTOCOLS {
            let mut target = net.target(protocol, family);
            target.rip = address(rip);
            let probed = net.probe(&probes, &target, SILENCE);
            assert_eq!(probed.verdict, ProbeVerdict::NeverLeft, "{target:?} {probed:?}");
        }
    }
    // The kernel gives up on the neighbor after three seconds.
    let mut target = net.target(ProbeProtocol::Tcp, 0);
    target.rip = address("10.9.0.98");
    let probed = net.probe(&probes, &target, Duration::from_secs(10));
    assert_eq!(probed.verdict, ProbeVerdict::NeverLeft, "{probed:?}");
    assert_eq!(probed.outcome, ProbeExchange::Failed(libc::EHOSTUNREACH));
}

/// A veth leaves transmit checksums unfinished with the offload, and has them finished without.
#[test]
fn probes_work_with_and_without_checksum_offload() {
    let net = Net::new();
    let (_services, probes) = (net.serve(), net.open());
    for (director, server) in [("on", "on"), ("off", "on"), ("on", "off"), ("off", "off")] {
        net.director.run(&format!("ethtool -K eth0 tx {director} >/dev/null"));
        net.server.run(&format!("ethtool -K eth0 tx {server} >/dev/null"));
        for target in net.targets() {
            let probed = net.probe(&probes, &target, PATIENCE);
            assert_eq!(probed.verdict, ProbeVerdict::Answered, "{director} {server} {target:?} {probed:?}");
        }
        FAMILIES.into_iter().for_each(|family| exchange_much(&net, &probes, family));
    }
}

/// A request and an answer of many segments, which leave and arrive as few merged ones with the offload.
fn exchange_much(net: &Net, probes: &VipProbes, family: usize) {
    const ANSWER: usize = 2_000_000;
    let target = net.target(ProbeProtocol::Tcp, family);
    let padding = "x".repeat(40_000);
    net.director.enter(|| {
        let ProbeSocket { socket, destination, armed } = probes.socket(&target).unwrap();
        connect_within(&socket, &destination.into(), PATIENCE).unwrap();
        let (mut stream, mut answer) = (TcpStream::from(socket), Vec::new());
        write!(stream, "GET /{ANSWER} HTTP/1.0\r\nPadding: {padding}\r\n\r\n").unwrap();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.len() > ANSWER, "{} bytes of {ANSWER}", answer.len());
        let evidence = armed.evidence().unwrap();
        assert!(evidence.sent > 2 && evidence.replies > 2, "{evidence:?}");
        drop(stream);
        armed.end(ProbeEnd::Complete);
    });
}
