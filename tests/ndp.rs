//! Neighbor discovery on the wire: the responder in a namespace of its own, against kernels, ndisc6 and tcpdump.
//!
//! ```text
//!  director eth0 ───┐
//!                   ├─ bridge (a namespace of its own; with MLD snooping and a querier where a test says so)
//!  host 1..n eth0 ──┘
//! ```

mod support;

use directrix::io::{FrameKind, FrameSocket};
use directrix::model::{InterfaceIndex, OnConflict};
use directrix::neighbor::{NeighborEvent, NeighborReport, NeighborTarget, Timing};
use directrix::time::Span;
use directrix::wire::MacAddr;
use directrix::wire::ndp::{FRAME_LEN_MAX, NdpKind, NdpPacket, Nonce};
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;
use support::netns::{Netns, veth, wait_until};
use support::responder::{Director, Dump, WAIT, interface, mac_of, quick};

const VIP: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 0x150);
/// A VIP with the same group.
const TWIN: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0x100, 0x150);
const DIP: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 0x10);
const RIP: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 0x170);
const GATEWAY: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 2);

/// Hosts on one bridge; the first address is the director's.
struct Segment {
    director: Arc<Netns>,
    hosts: Vec<Netns>,
    switch: Netns,
}

impl Segment {
    fn new(hosts: &[Ipv6Addr]) -> Self {
        let switch = Netns::new("sw");
        switch.run("ip link add br0 type bridge forward_delay 0 mcast_snooping 0 && ip link set dev br0 up");
        let plug = |number: usize, address: Ipv6Addr| {
            let host = Netns::new("h");
            let port = format!("port{number}");
            host.run("sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0");
            veth((&host, "eth0"), (&switch, &port), 1);
            switch.run(&format!("ip link set dev {port} master br0"));
            host.run(&format!("ip address add {address}/64 dev eth0 nodad"));
            host
        };
        let director = Arc::new(plug(0, DIP));
        let hosts = hosts.iter().enumerate().map(|(n, address)| plug(n + 1, *address)).collect();
        let segment = Self { director, hosts, switch };
        for host in segment.hosts.iter().chain([&*segment.director]) {
            wait_until("a link-local address", WAIT, || link_local(host).is_some());
        }
        segment
    }
}

fn link_local(host: &Netns) -> Option<Ipv6Addr> {
    host.enter(|| interface("eth0").link_local())
}

/// Starts a responder that knows its link-local address.
fn start(segment: &Segment, on_conflict: OnConflict, timing: Timing) -> Director {
    let director = Director::start(&segment.director, &["eth0"], on_conflict, timing);
    let address = link_local(&segment.director);
    director.send(NeighborEvent::LinkLocal { interface: InterfaceIndex::CLIENT, address });
    director
}

fn server() -> NeighborEvent {
    let (interface, rip, own) = (InterfaceIndex::CLIENT, RIP.into(), DIP.into());
    NeighborEvent::AddServer(NeighborTarget { interface, rip, own, mac: None })
}

/// MAC addresses that ndisc6 gets for `target` by one request, each once: an announcement counts as an answer, too.
fn ndisc(from: &Netns, target: Ipv6Addr) -> Vec<MacAddr> {
    let text = from.run(&format!("ndisc6 -m -q -r 1 -w 500 {target} eth0 2>/dev/null || true"));
    let mut macs: Vec<_> = text
        .lines()
        .map(|mac| mac.trim().parse().unwrap_or_else(|_| panic!("ndisc6 printed {text}")))
        .collect();
    macs.dedup();
    macs
}

/// The kernel's entry for `target`.
fn entry(host: &Netns, target: Ipv6Addr) -> String {
    host.run(&format!("ip -6 neighbor show {target} dev eth0"))
}

/// Makes the kernel resolve `target`; nothing answers the ping.
fn resolve(host: &Netns, target: Ipv6Addr) {
    host.run(&format!("ping -6 -c 1 -W 0.3 {target} >/dev/null 2>&1 || true"));
}

#[test]
fn a_kernel_resolves_the_vip_after_its_claim() {
    let segment = Segment::new(&[GATEWAY]);
    let (router, mac) = (&segment.hosts[0], mac_of(&segment.director));
    let patient = Timing { announce_wait: Span::from_secs(2), ..quick() };
    let director = start(&segment, OnConflict::Standby, patient);
    let dump = Dump::on(router, "icmp6");

    director.send(NeighborEvent::AddVip(VIP.into()));
    let probes =
        || dump.lines(&format!(":: > ff02::1:ff00:150: ICMP6, neighbor solicitation, who has {VIP}"));
    wait_until("the probes", WAIT, || probes() == 3);
    assert_eq!(ndisc(router, VIP), [], "before the claim");
    director.wait_for(NeighborReport::Claimed { vip: VIP.into() });

    assert_eq!(ndisc(router, VIP), [mac]);
    resolve(router, VIP);
    assert!(entry(router, VIP).contains(&mac.to_string()), "{}", entry(router, VIP));
    assert_eq!(ndisc(router, DIP), [mac], "the kernel answers for its own");
    assert_eq!(ndisc(router, TWIN), [], "another address of the group");
    assert_eq!(director.counters.conflicts.get(), 0);
    let announced = format!("{VIP} > ff02::1: ICMP6, neighbor advertisement, tgt is {VIP}");
    wait_until(&format!("{announced}: {}", dump.text()), WAIT, || dump.lines(&announced) >= 1);

    director.send(NeighborEvent::RemoveVip(VIP.into()));
    wait_until("silence", WAIT, || ndisc(router, VIP).is_empty());
}

#[test]
fn unicast_solicitations_confirm_a_router_s_entry() {
    let segment = Segment::new(&[GATEWAY]);
    let (router, mac) = (&segment.hosts[0], mac_of(&segment.director));
    router.run("sysctl -qw net.ipv6.neigh.eth0.delay_first_probe_time=1");
    let director = start(&segment, OnConflict::Standby, quick());
    director.claim(VIP);
    let dump = Dump::on(router, "icmp6");
    router.run(&format!("ip -6 neighbor replace {VIP} lladdr {mac} dev eth0 nud stale"));
    resolve(router, VIP);
    wait_until("a unicast solicitation", WAIT, || {
        dump.lines(&format!("> {VIP}: ICMP6, neighbor solicitation")) > 0
    });
    wait_until("the confirmation", WAIT, || entry(router, VIP).contains("REACHABLE"));
}

#[test]
fn address_detection_of_another_host_finds_the_vip() {
    let segment = Segment::new(&[GATEWAY]);
    let other = &segment.hosts[0];
    let director = start(&segment, OnConflict::Standby, quick());
    director.claim(VIP);
    other.run(&format!("ip -6 address add {VIP}/64 dev eth0"));
    wait_until("dadfailed", WAIT, || other.run("ip -6 address show dev eth0").contains("dadfailed"));
    assert_eq!(director.counters.conflicts.get(), 0, "a probe is no conflict");
}

#[test]
fn a_vip_of_another_host_is_claimed_when_that_gives_it_up() {
    let segment = Segment::new(&[GATEWAY, "2001:db8:9::99".parse().unwrap()]);
    let [router, holder] = &segment.hosts[..] else { unreachable!() };
    let (vip, mac) = (VIP.into(), mac_of(holder));
    holder.run(&format!("ip -6 address add {VIP}/128 dev eth0 nodad"));
    let director = start(&segment, OnConflict::Standby, quick());
    director.send(NeighborEvent::AddVip(vip));
    director.wait_for(NeighborReport::Conflict { vip, mac, server: None });
    assert_eq!(ndisc(router, VIP), [mac], "the holder alone answers");
    assert_eq!(director.reports()[1..], [NeighborReport::Standby { vip, mac }]);
    holder.run(&format!("ip -6 address del {VIP}/128 dev eth0"));
    director.wait_for(NeighborReport::Claimed { vip });
    let over = NeighborReport::ConflictOver { vip, mac, server: None };
    assert_eq!(director.reports()[2..], [over, NeighborReport::Claimed { vip }]);
    assert_eq!(ndisc(router, VIP), [mac_of(&segment.director)]);
}

#[test]
fn on_conflict_claim_takes_a_router_s_entry_at_once() {
    let segment = Segment::new(&[GATEWAY]);
    let router = &segment.hosts[0];
    router.run(&format!("ip -6 neighbor replace {VIP} lladdr 02:00:00:00:00:99 dev eth0 nud stale"));
    let timing = Timing { probe_wait: Span::from_secs(60), ..quick() };
    let director = start(&segment, OnConflict::Claim, timing);
    director.claim(VIP);
    let mac = mac_of(&segment.director).to_string();
    wait_until("the new entry", WAIT, || entry(router, VIP).contains(&mac));
}

#[test]
fn real_server_with_the_vip_on_lo_is_quiet_and_resolved() {
    let segment = Segment::new(&[RIP, GATEWAY]);
    let [host, router] = &segment.hosts[..] else { unreachable!() };
    host.run(&format!("ip -6 address add {VIP}/128 dev lo preferred_lft 0"));
    let dump = Dump::on(host, "icmp6");
    let director = start(&segment, OnConflict::Standby, quick());
    director.send(server());
    let resolved = |mac| NeighborReport::Resolved { interface: InterfaceIndex::CLIENT, rip: RIP.into(), mac };
    director.wait_for(resolved(mac_of(host)));
    director.claim(VIP);
    assert_eq!(ndisc(router, VIP), [mac_of(&segment.director)], "the director alone");
    let own = link_local(&segment.director).unwrap();
    let asked = format!("ICMP6, neighbor solicitation, who has {RIP}");
    wait_until("refreshes", WAIT, || dump.lines(&format!("{own} > {RIP}: {asked}")) >= 2);
    let from_others = dump.lines(&asked)
        - dump.lines(&format!("{own} > {RIP}: {asked}"))
        - dump.lines(&format!("{own} > ff02"));
    assert_eq!(from_others, 0, "from the link-local address only: {}", dump.text());

    let (old, new) = (mac_of(host), "02:00:00:00:17:00".parse().unwrap());
    host.run(&format!("ip link set dev eth0 address {new}"));
    let interface = InterfaceIndex::CLIENT;
    director.wait_for(NeighborReport::Moved { interface, rip: RIP.into(), old, new });
    host.run("ip link set dev eth0 down");
    director.wait_for(NeighborReport::Lost { interface, rip: RIP.into() });
    assert_eq!(director.counters.conflicts.get(), 0, "{:?}", director.reports());
}

#[test]
fn a_real_server_with_the_vip_on_its_interface_is_named() {
    let segment = Segment::new(&[RIP, GATEWAY]);
    let host = &segment.hosts[0];
    let timing = Timing { announcements: 1, announce_interval: Span::from_millis(300), ..quick() };
    let director = start(&segment, OnConflict::Standby, timing);
    director.send(server());
    director.claim(VIP);
    host.run(&format!("ip -6 address add {VIP}/128 dev eth0 nodad"));
    let (vip, mac, rip) = (VIP.into(), mac_of(host), Some(RIP.into()));
    director.wait_for(NeighborReport::Held { vip, mac, server: rip });
    host.run(&format!("ip -6 address del {VIP}/128 dev eth0"));
    director.wait_for(NeighborReport::ConflictOver { vip, mac, server: rip });
    assert!(!director.reports().contains(&NeighborReport::Standby { vip, mac }), "the VIP stays");
}

/// Switches MLD snooping on. The switch has forgotten all groups.
fn snoop(switch: &Netns) {
    switch.run("sysctl -qw net.ipv6.conf.br0.disable_ipv6=0");
    switch.run("ip link set dev br0 type bridge mcast_snooping 0");
    switch.run(
        "ip link set dev br0 type bridge mcast_snooping 1 mcast_querier 1 mcast_startup_query_interval 100",
    );
}

#[test]
fn a_snooping_switch_learns_the_group_and_forgets_it() {
    let segment = Segment::new(&[GATEWAY]);
    let (router, switch, mac) = (&segment.hosts[0], &segment.switch, mac_of(&segment.director));
    snoop(switch);
    let groups = || switch.run("bridge mdb show");
    let director = start(&segment, OnConflict::Standby, quick());
    director.claim(VIP);
    director.claim(TWIN);
    wait_until("the report", WAIT, || groups().contains("port0 grp ff02::1:ff00:150"));
    // Until its first query the bridge floods.
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(ndisc(router, VIP), [mac]);
    assert_eq!(ndisc(router, TWIN), [mac]);
    director.send(NeighborEvent::RemoveVip(TWIN.into()));
    assert_eq!(ndisc(router, TWIN), []);
    assert_eq!(ndisc(router, VIP), [mac], "the other VIP keeps the group");
    let member = || segment.director.run("ip -6 maddress show dev eth0").contains("ff02::1:ff00:150");
    assert!(member());
    director.send(NeighborEvent::RemoveVip(VIP.into()));
    wait_until("the group is left", WAIT, || !member());
}

/// The kernel forgets memberships together with the interface's IPv6, and the interface's filter while that is off.
#[test]
fn the_group_is_received_without_ipv6_and_reported_with_it() {
    let segment = Segment::new(&[GATEWAY]);
    let (host, switch) = (&segment.director, &segment.switch);
    let director = start(&segment, OnConflict::Standby, quick());
    director.claim(VIP);
    director.claim(TWIN);
    let tell = || {
        let address = link_local(host);
        director.send(NeighborEvent::LinkLocal { interface: InterfaceIndex::CLIENT, address });
    };
    let filtered = || host.run("ip maddress show dev eth0").contains("33:33:ff:00:01:50");
    let reported = || switch.run("bridge mdb show").contains("port0 grp ff02::1:ff00:150");
    let sysctl = "sysctl -qw net.ipv6.conf.eth0.disable_ipv6";
    let changes = [
        (format!("{sysctl}=1"), format!("{sysctl}=0")),
        ("ip link set dev eth0 mtu 1200".to_owned(), "ip link set dev eth0 mtu 1500".to_owned()),
    ];
    for (off, on) in changes {
        host.run(&off);
        wait_until("no address", WAIT, || link_local(host).is_none());
        tell();
        assert!(filtered(), "{off}: the interface still receives the group");
        snoop(switch);
        host.run(&on);
        wait_until("a link-local address", WAIT, || link_local(host).is_some());
        tell();
        wait_until(&format!("the report after {on}"), WAIT, reported);
    }
    director.send(NeighborEvent::RemoveVip(VIP.into()));
    director.send(NeighborEvent::RemoveVip(TWIN.into()));
    wait_until("the group is left", WAIT, || !filtered());
}

#[test]
fn without_ipv6_on_the_interface_the_packet_socket_listens() {
    let segment = Segment::new(&[GATEWAY]);
    let (router, mac) = (&segment.hosts[0], mac_of(&segment.director));
    segment.director.run("sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1");
    let director = Director::start(&segment.director, &["eth0"], OnConflict::Standby, quick());
    director.claim(VIP);
    assert_eq!(ndisc(router, VIP), [mac]);
}

#[test]
fn frames_of_a_vlan_and_broken_ones_are_not_answered() {
    let segment = Segment::new(&[GATEWAY]);
    let director = start(&segment, OnConflict::Standby, quick());
    director.claim(VIP);
    segment.hosts[0].enter(|| {
        let eth0 = interface("eth0");
        let socket = FrameSocket::open(&eth0, FrameKind::Ndp).unwrap();
        let from = eth0.link_local().unwrap();
        let mut question = [0; FRAME_LEN_MAX];
        let question = NdpPacket::solicitation(eth0.mac, from, VIP).emit(&mut question).to_vec();
        let edited = |at: usize, value: u8| {
            let mut frame = question.clone();
            frame[at] = value;
            frame
        };
        let mut tagged = question.clone();
        tagged.splice(12..12, [0x81, 0x00, 0x00, 0x07]);
        for frame in [tagged, edited(21, 254), edited(57, 0), edited(79, 0), question[..80].to_vec()] {
            socket.send(&frame).unwrap();
        }
        socket.send(&question).unwrap();
        wait_until("the answer", WAIT, || answers(&socket) == 1);
        assert_eq!(director.counters.answered.get(), 1, "frames are received in the order of sending");
        let mut probe = [0; FRAME_LEN_MAX];
        socket.send(NdpPacket::probe(eth0.mac, VIP, Nonce([7; 6])).emit(&mut probe)).unwrap();
        wait_until("the answer to all", WAIT, || director.counters.answered.get() == 2);
    });
}

/// Answers for the VIP to a solicitation that are there now. Announcements may come at any time.
fn answers(socket: &FrameSocket) -> usize {
    let mut buffer = [0; 1514];
    let mut answers = 0;
    while let Ok(frame) = socket.receive(&mut buffer) {
        let answer = NdpPacket::parse(frame).is_ok_and(|packet| {
            let solicited = matches!(packet.kind, NdpKind::Advertisement(flags) if flags.solicited);
            packet.target == VIP && packet.source_ip == VIP && solicited
        });
        answers += usize::from(answer);
    }
    answers
}
