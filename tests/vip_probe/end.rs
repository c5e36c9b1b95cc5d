//! The end of probes, of the programs and of their process.

use crate::harness::{DIP, Net, PATIENCE, SILENCE, VIP, mac};
use crate::support::netns::{Netns, Process, wait_until};
use crate::support::wire::Wire;
use aya::programs::{SchedClassifier, TcAttachType};
use directrix::io::Interface;
use directrix::io::probe::{LATE_REPLIES, ProbeEnd, ProbeProtocol, ProbeSocket, ProbeVerdict, VipProbes};
use etherparse::PacketBuilder;
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

const CHILD: &str = "DIRECTRIX_TEST_CHILD";

/// Names of the programs at both hooks of eth0.
fn attached(host: &Netns) -> Vec<String> {
    host.enter(|| {
        let hooks = [TcAttachType::Ingress, TcAttachType::Egress];
        let of = |hook| SchedClassifier::query_tcx("eth0", hook).unwrap().1;
        let programs = hooks.into_iter().flat_map(of);
        programs.map(|program| program.name_as_str().unwrap().to_owned()).collect()
    })
}

#[test]
fn the_pair_ends_with_its_value() {
    let net = Net::new();
    assert_eq!(attached(&net.director), [""; 0]);
    for _ in 0..2 {
        let probes = net.attach();
        assert_eq!(attached(&net.director), ["probe_idle"; 2]);
        probes.translate(true).unwrap();
        assert_eq!(attached(&net.director), ["probe_from_vip", "probe_to_vip"]);
        probes.translate(false).unwrap();
        assert_eq!(attached(&net.director), ["probe_idle"; 2]);
        let armed = probes.arm(&net.target(ProbeProtocol::Tcp, 0), 40_000).unwrap();
        drop(probes);
        wait_until("no program is attached", PATIENCE, || attached(&net.director).is_empty());
        armed.evidence().unwrap();
    }
    assert!(!net.director.run("tc qdisc show dev eth0").contains("clsact"));
}

/// Not a test of its own: the pair in a process of its own, for the test below.
#[test]
#[ignore = "runs as the child of another test"]
fn child() {
    assert!(std::env::var_os(CHILD).is_some(), "only as a child");
    let probes = VipProbes::open(&Interface::lookup("eth0").unwrap(), 8).unwrap();
    probes.translate(true).unwrap();
    std::thread::sleep(PATIENCE * 6);
}

#[test]
fn a_killed_process_leaves_no_program() {
    let net = Net::new();
    let itself = std::env::current_exe().unwrap();
    let mut command =
        net.director.command(&format!("exec {} --exact end::child --ignored", itself.display()));
    command.env(CHILD, "1").stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = Process(command.spawn().unwrap());
    wait_until("the child has attached both", PATIENCE, || attached(&net.director).len() == 2);
    let ids = || -> Vec<u32> {
        net.director.enter(|| {
            let hooks = [TcAttachType::Ingress, TcAttachType::Egress];
            let of = |hook| SchedClassifier::query_tcx("eth0", hook).unwrap().1;
            hooks.into_iter().flat_map(of).map(|program| program.id()).collect()
        })
    };
    let programs = ids();
    let is_there = |id: &u32| aya::programs::loaded_programs().flatten().any(|program| program.id() == *id);
    assert!(programs.iter().all(is_there));
    child.0.kill().unwrap(); // SIGKILL
    child.0.wait().unwrap();
    wait_until("no program is attached", PATIENCE, || attached(&net.director).is_empty());
    wait_until("no program is loaded", PATIENCE, || !programs.iter().any(is_there));
    assert!(!net.director.run("tc qdisc show dev eth0").contains("clsact"));
}

/// A SYN-ACK of the VIP, which comes after the probe.
fn late_reply(net: &Net, port: u16) -> Vec<u8> {
    let [vip, dip] = [VIP[0], DIP[0]].map(|text| text.parse::<Ipv4Addr>().unwrap());
    let (server, director) = (mac(&net.server, "eth0"), mac(&net.director, "eth0"));
    let builder = PacketBuilder::ethernet2(server.0, director.0).ipv4(vip.octets(), dip.octets(), 64);
    let mut frame = Vec::new();
    builder.tcp(80, port, 1, 64).syn().ack(1).write(&mut frame, &[]).unwrap();
    frame
}

/// True if the director asks by ARP for the VIP within this time.
fn asks_for_the_vip(wire: &Wire, time: Duration) -> bool {
    let vip = VIP[0].parse::<Ipv4Addr>().unwrap().octets();
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        let Some(frame) = wire.receive(left) else { return false };
        if frame[12..14] == [8, 6] && frame[38..42] == vip {
            return true;
        }
    }
    false
}

#[test]
fn late_replies_provoke_no_arp_request_for_the_vip() {
    let net = Net::without_vip();
    let probes = net.open();
    let wire = net.server.enter(|| Wire::new(Interface::lookup("eth0").unwrap().index));
    for (how, asks) in [(ProbeEnd::Abandoned, false), (ProbeEnd::Complete, true)] {
        let target = net.target(ProbeProtocol::Tcp, 0);
        let ProbeSocket { socket, armed, .. } = net.director.enter(|| probes.socket(&target)).unwrap();
        let stream = TcpStream::from(socket);
        let port = stream.local_addr().unwrap().port();
        drop(stream);
        armed.end(how);
        wire.send(&late_reply(&net, port));
        assert_eq!(asks_for_the_vip(&wire, SILENCE), asks, "{how:?}");
    }
    let now = Instant::now();
    probes.sweep(now);
    assert_eq!(probes.counts().late, 1);
    probes.sweep(now + LATE_REPLIES);
    assert_eq!(probes.counts().late, 0);
}

/// A dropped probe, as of a task that was cancelled, is one whose late replies are dropped.
#[test]
fn a_dropped_probe_is_abandoned() {
    let net = Net::new();
    let (_services, probes) = (net.serve(), net.open());
    let target = net.target(ProbeProtocol::Tcp, 0);
    drop(net.director.enter(|| probes.socket(&target)).unwrap());
    let counts = probes.counts();
    assert_eq!((counts.armed, counts.late), (0, 1));
    assert_eq!(net.probe(&probes, &target, PATIENCE).verdict, ProbeVerdict::Answered);
}

#[test]
fn the_host_is_named_where_it_refuses_a_socket() {
    let net = Net::new();
    let probes = net.open();
    let refusal = |target| net.director.enter(|| probes.socket(&target).map(|_| ())).unwrap_err().to_string();
    let mut elsewhere = net.target(ProbeProtocol::Tcp, 0);
    elsewhere.own = IpAddr::from([10, 9, 0, 3]);
    let text = refusal(elsewhere);
    assert!(text.contains("EADDRNOTAVAIL") && text.contains("still has 10.9.0.3"), "{text}");
    net.director.run("sysctl -qw net.ipv4.ping_group_range='1 0'");
    let text = refusal(net.target(ProbeProtocol::Ping, 1));
    assert!(text.contains("EACCES") && text.contains("net.ipv4.ping_group_range="), "{text}");
    assert_eq!(probes.counts().armed, 0);
}
