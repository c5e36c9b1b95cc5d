//! ARP on the wire: the responder in a namespace of its own, against kernels, arping and tcpdump.
//!
//! ```text
//!  director eth0 ───┐
//!                   ├─ bridge (a namespace of its own)
//!  host 1..n eth0 ──┘
//! ```

mod support;

use directrix::io::{FrameKind, FrameSocket, Interface};
use directrix::model::{InterfaceIndex, OnConflict};
use directrix::neighbor::{NeighborEvent, NeighborReport, NeighborTarget, Timing};
use directrix::time::Span;
use directrix::wire::MacAddr;
use directrix::wire::arp::{ArpPacket, FRAME_LEN};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use support::netns::{Netns, veth, wait_until};
use support::responder::{Director, Dump, WAIT, interface, mac_of, quick};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 150);
const DIP: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 10);
const RIP: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 170);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

/// Hosts on one bridge; the first address is the director's.
struct Segment {
    director: Arc<Netns>,
    hosts: Vec<Netns>,
    _switch: Netns,
}

impl Segment {
    fn new(hosts: &[Ipv4Addr]) -> Self {
        let switch = Netns::new("sw");
        switch.run("ip link add br0 type bridge forward_delay 0 && ip link set dev br0 up");
        let plug = |number: usize, address: Ipv4Addr| {
            let host = Netns::new("h");
            let port = format!("port{number}");
            veth((&host, "eth0"), (&switch, &port), 1);
            switch.run(&format!("ip link set dev {port} master br0"));
            host.run(&format!("ip address add {address}/24 dev eth0"));
            host
        };
        let director = Arc::new(plug(0, DIP));
        let hosts = hosts.iter().enumerate().map(|(n, address)| plug(n + 1, *address)).collect();
        Self { director, hosts, _switch: switch }
    }
}

fn server(link: InterfaceIndex) -> NeighborTarget {
    NeighborTarget { interface: link, rip: RIP.into(), own: DIP.into(), mac: None }
}

/// Runs arping(8). Returns the sender address of each reply.
fn arping(from: &Netns, options: &str, target: Ipv4Addr) -> Vec<MacAddr> {
    let text = from.run(&format!("arping -r -i eth0 -W 0.2 {options} {target} || true"));
    text.split_whitespace()
        .map(|mac| mac.parse().unwrap_or_else(|_| panic!("arping printed {text}")))
        .collect()
}

#[test]
fn each_request_and_probe_for_the_vip_is_answered_once() {
    let segment = Segment::new(&[GATEWAY]);
    let (router, mac) = (&segment.hosts[0], mac_of(&segment.director));
    let patient = Timing { announce_wait: Span::from_secs(2), ..quick() };
    let director = Director::start(&segment.director, &["eth0"], OnConflict::Standby, patient);
    let dump = Dump::on(router, "arp");

    director.send(NeighborEvent::AddVip(VIP.into()));
    wait_until("the probes", WAIT, || dump.lines(&format!("who-has {VIP} tell 0.0.0.0")) == 3);
    assert_eq!(arping(router, "-c 2", VIP), [], "before the claim");
    assert_eq!(director.reports(), []);
    assert_eq!(dump.lines(&format!("tell {VIP}")), 0, "{}", dump.text());
    director.wait_for(NeighborReport::Claimed { vip: VIP.into() });

    assert_eq!(arping(router, "-c 5", VIP), [mac; 5]);
    assert_eq!(arping(router, "-0 -c 3", VIP), [mac; 3], "probes");
    assert_eq!(arping(router, &format!("-t {mac} -c 2"), VIP), [mac; 2], "unicast");
    assert_eq!(arping(router, "-c 2", DIP), [mac; 2], "the kernel answers, once");
    assert_eq!(arping(router, "-c 1", Ipv4Addr::new(10, 9, 0, 151)), []);
    assert_eq!(director.counters.answered.get(), 10);
    assert_eq!(director.counters.conflicts.get(), 0);
    wait_until("the answers", WAIT, || dump.lines(&format!("Reply {VIP} is-at {mac}")) >= 10);

    director.send(NeighborEvent::RemoveVip(VIP.into()));
    wait_until("silence", WAIT, || arping(router, "-c 1", VIP).is_empty());
}

#[test]
fn an_announcement_corrects_the_router_s_cache() {
    let segment = Segment::new(&[GATEWAY]);
    let router = &segment.hosts[0];
    let entry = || router.run(&format!("ip neighbour show {VIP}"));
    router.run(&format!("ip neighbour replace {VIP} lladdr 02:00:00:00:00:99 dev eth0 nud stale"));
    assert!(entry().contains("02:00:00:00:00:99"));
    let director = Director::start(&segment.director, &["eth0"], OnConflict::Standby, quick());
    director.claim(VIP);
    let mac = mac_of(&segment.director).to_string();
    wait_until("the new entry", WAIT, || entry().contains(&mac));
}

#[test]
fn a_vip_of_another_host_is_claimed_when_that_gives_it_up() {
    let segment = Segment::new(&[GATEWAY, Ipv4Addr::new(10, 9, 0, 99)]);
    let [router, holder] = &segment.hosts[..] else { unreachable!() };
    let rival = mac_of(holder);
    holder.run(&format!("ip address add {VIP}/32 dev eth0"));
    let director = Director::start(&segment.director, &["eth0"], OnConflict::Standby, quick());
    director.send(NeighborEvent::AddVip(VIP.into()));
    director.wait_for(NeighborReport::Conflict { vip: VIP.into(), mac: rival, server: None });
    assert_eq!(arping(router, "-c 3", VIP), [rival; 3], "the holder alone answers");
    assert_eq!(director.reports().len(), 2, "reported once: {:?}", director.reports());
    assert_eq!(director.reports()[1], NeighborReport::Standby { vip: VIP.into(), mac: rival });

    holder.run(&format!("ip address del {VIP}/32 dev eth0"));
    director.wait_for(NeighborReport::Claimed { vip: VIP.into() });
    let over = NeighborReport::ConflictOver { vip: VIP.into(), mac: rival, server: None };
    assert_eq!(director.reports()[2..], [over, NeighborReport::Claimed { vip: VIP.into() }]);
    assert_eq!(arping(router, "-c 2", VIP), [mac_of(&segment.director); 2]);
}

#[test]
fn on_conflict_claim_keeps_the_vip() {
    let segment = Segment::new(&[GATEWAY]);
    let holder = &segment.hosts[0];
    holder.run(&format!("ip address add {VIP}/32 dev lo"));
    let director = Director::start(&segment.director, &["eth0"], OnConflict::Claim, quick());
    director.claim(VIP);
    let conflict = NeighborReport::Conflict { vip: VIP.into(), mac: mac_of(holder), server: None };
    assert_eq!(director.reports(), [conflict, NeighborReport::Claimed { vip: VIP.into() }]);
}

#[test]
fn real_server_is_resolved_lost_and_resolved_again() {
    let segment = Segment::new(&[RIP]);
    let host = &segment.hosts[0];
    set_up_real_server(host);
    let dump = Dump::on(host, "arp");
    let director = Director::start(&segment.director, &["eth0"], OnConflict::Standby, quick());
    director.send(NeighborEvent::AddServer(server(InterfaceIndex::CLIENT)));
    let resolved = |mac| NeighborReport::Resolved { interface: InterfaceIndex::CLIENT, rip: RIP.into(), mac };
    director.wait_for(resolved(mac_of(host)));
    director.claim(VIP);

    let before = mac_of(host);
    let moved: MacAddr = "02:00:00:00:17:00".parse().unwrap();
    host.run(&format!("ip link set dev eth0 address {moved}"));
    director.wait_for(NeighborReport::Moved {
        interface: InterfaceIndex::CLIENT,
        rip: RIP.into(),
        old: before,
        new: moved,
    });
    assert_eq!(director.reports().len(), 3, "found before it was lost: {:?}", director.reports());

    let lost = NeighborReport::Lost { interface: InterfaceIndex::CLIENT, rip: RIP.into() };
    host.run("sysctl -qw net.ipv4.conf.all.arp_ignore=8");
    director.wait_for(lost);
    host.run("sysctl -qw net.ipv4.conf.all.arp_ignore=1");
    wait_until("it is back", WAIT, || director.reports().last() == Some(&resolved(moved)));
    assert_eq!(director.reports().iter().filter(|report| **report == lost).count(), 1, "reported once");

    assert_eq!(director.counters.conflicts.get(), 0, "{:?}", director.reports());
    let requests = dump.lines(&format!("who-has {RIP}"));
    assert!(requests >= 5, "{}", dump.text());
    assert_eq!(dump.lines(&format!("who-has {RIP} tell {DIP}")), requests, "{}", dump.text());
}

/// The setup of a real server for LVS-DR: the VIP on lo, without ARP answers for it.
fn set_up_real_server(host: &Netns) {
    host.run(&format!("ip address add {VIP}/32 dev lo"));
    host.run("sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2");
}

#[test]
fn a_real_server_with_wrong_arp_settings_is_named() {
    let segment = Segment::new(&[RIP, GATEWAY]);
    let [host, _router] = &segment.hosts[..] else { unreachable!() };
    set_up_real_server(host);
    let director = Director::start(&segment.director, &["eth0"], OnConflict::Standby, quick());
    director.send(NeighborEvent::AddServer(server(InterfaceIndex::CLIENT)));
    director.claim(VIP);

    // It uses the VIP as sender address in requests for its gateway: arp_announce is wrong, and a socket is bound to it.
    host.run("sysctl -qw net.ipv4.conf.all.arp_announce=0");
    host.run(&format!("ping -c 1 -W 1 -I {VIP} {GATEWAY} || true"));
    director.wait_for(NeighborReport::Conflict {
        vip: VIP.into(),
        mac: mac_of(host),
        server: Some(RIP.into()),
    });
    assert!(director.counters.announced.get() >= 2, "it has been defended");
}

#[test]
fn probe_before_announcement_finds_answering_server() {
    let segment = Segment::new(&[RIP]);
    let host = &segment.hosts[0];
    set_up_real_server(host);
    let timing = Timing { announcements: 1, announce_interval: Span::from_millis(300), ..quick() };
    let director = Director::start(&segment.director, &["eth0"], OnConflict::Standby, timing);
    director.send(NeighborEvent::AddServer(server(InterfaceIndex::CLIENT)));
    director.claim(VIP);
    host.run("sysctl -qw net.ipv4.conf.all.arp_ignore=0");
    director.wait_for(NeighborReport::Conflict {
        vip: VIP.into(),
        mac: mac_of(host),
        server: Some(RIP.into()),
    });
    host.run("sysctl -qw net.ipv4.conf.all.arp_ignore=1");
    director.wait_for(NeighborReport::ConflictOver {
        vip: VIP.into(),
        mac: mac_of(host),
        server: Some(RIP.into()),
    });
}

#[test]
fn two_armed_director_answers_on_the_client_side_only() {
    let segment = Segment::new(&[GATEWAY]);
    let inside = Netns::new("in");
    veth((&segment.director, "eth1"), (&inside, "eth0"), 1);
    inside.run(&format!("ip address add {RIP}/24 dev eth0"));
    let both = ["eth0", "eth1"];
    let director = Director::start(&segment.director, &both, OnConflict::Standby, quick());
    director.send(NeighborEvent::AddServer(server(InterfaceIndex(1))));
    director.wait_for(NeighborReport::Resolved {
        interface: InterfaceIndex(1),
        rip: RIP.into(),
        mac: mac_of(&inside),
    });
    director.claim(VIP);
    assert_eq!(arping(&segment.hosts[0], "-c 1", VIP), [mac_of(&segment.director)]);
    assert_eq!(arping(&inside, "-c 2", VIP), []);
}

#[test]
fn an_interface_that_was_down_is_served_again() {
    let segment = Segment::new(&[GATEWAY]);
    let (router, mac) = (&segment.hosts[0], mac_of(&segment.director));
    let director = Director::start(&segment.director, &["eth0"], OnConflict::Standby, quick());
    director.claim(VIP);
    segment.director.run("ip link set dev eth0 down");
    assert_eq!(arping(router, "-c 1", VIP), []);
    segment.director.run("ip link set dev eth0 up");
    wait_until("an answer", WAIT, || arping(router, "-c 1", VIP) == [mac]);
}

#[test]
fn idle_responder_sleeps_without_its_interface() {
    let segment = Segment::new(&[GATEWAY]);
    let director = Director::start(&segment.director, &["eth0"], OnConflict::Standby, quick());
    director.claim(VIP);
    std::thread::sleep(Duration::from_secs(1));
    segment.director.run("ip link set dev eth0 down");
    std::thread::sleep(Duration::from_secs(1));
    segment.director.run("ip link delete dev eth0");
    director.send(NeighborEvent::AddServer(server(InterfaceIndex::CLIENT)));
    director.wait_for(NeighborReport::Lost { interface: InterfaceIndex::CLIENT, rip: RIP.into() });
    std::thread::sleep(Duration::from_secs(1));
    let busy = director.stop();
    assert!(busy < Duration::from_millis(250), "busy for {busy:?} of more than 4 s");
}

#[test]
fn frames_of_a_vlan_and_broken_ones_are_not_answered() {
    let segment = Segment::new(&[GATEWAY]);
    let director = Director::start(&segment.director, &["eth0"], OnConflict::Standby, quick());
    director.claim(VIP);
    let router = &segment.hosts[0];
    router.enter(|| {
        let eth0 = interface("eth0");
        let socket = FrameSocket::open(&eth0, FrameKind::Arp).unwrap();
        let mut question = [0; FRAME_LEN];
        ArpPacket::request(eth0.mac, GATEWAY, VIP).emit(&mut question);
        let mut tagged = question.to_vec();
        tagged.splice(12..12, [0x81, 0x00, 0x00, 0x07]);
        let mut hardware = question;
        hardware[15] = 6;
        let mut operation = question;
        operation[21] = 9;
        for frame in [&tagged[..], &hardware, &operation, &question[..20], &question[..41]] {
            socket.send(frame).unwrap();
        }
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(answers_within(&socket, Duration::ZERO), 0);
        socket.send(&question).unwrap();
        assert_eq!(answers_within(&socket, Duration::from_millis(200)), 1);
    });
    assert_eq!(director.counters.answered.get(), 1);
}

/// Answers for the VIP that are there now or come within `span`.
fn answers_within(socket: &FrameSocket, span: Duration) -> usize {
    std::thread::sleep(span);
    let mut buffer = [0; FRAME_LEN];
    let mut answers = 0;
    while let Ok(frame) = socket.receive(&mut buffer) {
        let packet = ArpPacket::parse(frame).unwrap();
        answers += usize::from(packet.sender_ip == VIP && packet.target_ip == GATEWAY);
    }
    answers
}

#[test]
fn socket_receives_no_outgoing_frames() {
    let segment = Segment::new(&[GATEWAY]);
    segment.director.enter(|| {
        let eth0 = interface("eth0");
        let socket = FrameSocket::open(&eth0, FrameKind::Arp).unwrap();
        let mut buffer = [0; FRAME_LEN];
        let empty = |buffer: &mut [u8]| socket.receive(buffer).unwrap_err().kind();
        assert_eq!(empty(&mut buffer), std::io::ErrorKind::WouldBlock);
        let mut frame = [0; FRAME_LEN];
        ArpPacket::request(eth0.mac, DIP, GATEWAY).emit(&mut frame);
        socket.send(&frame).unwrap();
        let mut seen = Vec::new();
        wait_until("the answer", WAIT, || {
            seen.extend(socket.receive(&mut buffer).ok().map(|frame| ArpPacket::parse(frame).unwrap()));
            !seen.is_empty()
        });
        assert_eq!((seen[0].sender_ip, seen[0].sender_mac), (GATEWAY, mac_of(&segment.hosts[0])));
        assert_eq!(empty(&mut buffer), std::io::ErrorKind::WouldBlock);
    });
}

#[test]
fn removed_interface_is_named_in_the_error() {
    let namespace = Netns::new("gone");
    let failure = namespace.enter(|| {
        let eth7 = Interface {
            name: "eth7".into(),
            index: 7_777,
            mac: MacAddr([2, 0, 0, 0, 0, 7]),
            mtu: 1500,
            queues: 1,
            ipv6_addresses: Vec::new(),
            addresses: vec![],
        };
        FrameSocket::open(&eth7, FrameKind::Arp).unwrap_err().to_string()
    });
    assert!(failure.contains("eth7") && failure.contains("is gone"), "{failure}");
}
