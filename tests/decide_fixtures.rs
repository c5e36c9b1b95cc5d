//! Described fixtures: frame and configuration in, verdict and frame out.
#![allow(missing_docs)]

mod support;

use directrix::flow::{Flow, FlowTable};
use directrix::forward::{
    Batch, Forwarder, NextHop, RealServerAddresses, Route, ServiceMap, Snapshot, Verdict,
};
use directrix::hash::Seed;
use directrix::model::{
    InterfaceIndex, MatchId, Persistence, Scheduler, ServerId, ServiceAddress, ServiceId,
};
use directrix::schedule::{Candidate, Loads, Params, Pool, Templates, Thresholds};
use directrix::stats::{DropReason, WorkerCounters};
use directrix::time::{Span, Tick};
use directrix::wire::{MacAddr, Protocol};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use support::frames::{self, ACK, DIRECTOR, End, FIN, ROUTER, RST, SYN};

const CLIENT: End = (Ipv4Addr::new(198, 51, 100, 7), 40000);
const WEB: End = (Ipv4Addr::new(192, 168, 195, 150), 80);
const DNS: End = (Ipv4Addr::new(192, 168, 195, 150), 53);
const EMPTY: End = (Ipv4Addr::new(192, 168, 195, 150), 81);
/// The director's own address.
const DIP: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 149);
const RS1: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x11]);
const RS2: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x12]);
const RS3: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x13]);
const SERVER_SIDE: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x5d]);

const SEED: Seed =
    Seed([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89]);

struct Bench {
    forwarder: Forwarder,
    loads: Arc<Loads>,
    templates: Arc<Templates>,
    counters: Arc<WorkerCounters>,
    now: Tick,
}

/// Web (TCP) on servers 1 and 0 in list order, DNS (UDP) on server 2, and a service without servers.
fn snapshot() -> Snapshot {
    let service = |protocol, end: End, id| (ServiceAddress { protocol, address: end.into() }, MatchId(id));
    let pool = |ids: &[u16]| Pool::new(ids.iter().map(|id| Candidate::new(ServerId(*id), 1)));
    let server = |mac| Some(NextHop { interface: InterfaceIndex(0), mac });
    let own_macs = vec![MacAddr(DIRECTOR)];
    Snapshot {
        routes: [Some(RS1), Some(RS2), None].map(|mac| Route::new(&own_macs, server(mac))).into(),
        own_macs,
        services: ServiceMap::new(&[
            service(Protocol::Tcp, WEB, 0),
            service(Protocol::Udp, DNS, 1),
            service(Protocol::Tcp, EMPTY, 2),
        ]),
        matches: [0, 1, 2].map(ServiceId).into(),
        pools: vec![pool(&[1, 0]), pool(&[2]), pool(&[])],
        reserved: vec![DIP.into()],
        ..Snapshot::default()
    }
}

impl Bench {
    fn new(snapshot: Snapshot) -> Self {
        Self::with_capacity(snapshot, 1000)
    }

    fn with_capacity(snapshot: Snapshot, connections: usize) -> Self {
        let (loads, counters) = (Arc::new(Loads::new(3)), Arc::new(WorkerCounters::new(3, 1)));
        let templates = Arc::new(Templates::new(100, 3, SEED));
        let shared = (Arc::clone(&loads), Arc::clone(&templates));
        let mut forwarder = Forwarder::new(connections, SEED, shared.0, shared.1, Arc::clone(&counters));
        forwarder.adopt(Arc::new(snapshot));
        Self { forwarder, loads, templates, counters, now: Tick(u32::MAX - 1000) }
    }

    /// Decides about one frame; returns the verdict and the frame.
    fn decide(&mut self, frame: &[u8]) -> (Verdict, Vec<u8>) {
        let (mut batch, mut verdicts) = ([frame.to_vec()], Vec::new());
        self.forwarder.decide(&mut batch[..], self.now, &mut verdicts);
        assert_eq!(verdicts.len(), 1);
        let [after] = batch;
        (verdicts[0], after)
    }

    /// Forwards a frame; returns the MAC address of its server. Checks that nothing else has changed but
    /// one hop.
    fn server(&mut self, frame: &[u8]) -> MacAddr {
        let (verdict, after) = self.decide(frame);
        assert!(matches!(verdict, Verdict::Forward(_)), "{verdict:?}");
        assert_eq!(after[6..12], DIRECTOR, "the source is the director");
        assert_eq!(after[12..], frames::one_hop_on(frame)[12..], "one hop, and nothing else");
        MacAddr(after[..6].try_into().unwrap())
    }

    /// Drops a frame; returns the reason. Checks that it was counted and that the frame is unchanged.
    fn reason(&mut self, frame: &[u8]) -> DropReason {
        let before =
            DropReason::ALL.iter().map(|reason| self.counters.drops(*reason).get()).collect::<Vec<_>>();
        let (verdict, after) = self.decide(frame);
        let Verdict::Drop(reason) = verdict else { panic!("{verdict:?}") };
        assert_eq!(after, frame, "a dropped frame is unchanged");
        for (counted, before) in DropReason::ALL.iter().zip(before) {
            let expected = before + u64::from(*counted == reason);
            assert_eq!(self.counters.drops(*counted).get(), expected, "{counted:?}");
        }
        reason
    }

    fn wait(&mut self, span: Span) {
        self.now = self.now.after(span);
    }

    fn loads(&self, server: u16) -> (u32, u32) {
        let load = self.loads.get(ServerId(server));
        (load.active, load.inactive)
    }
}

fn syn(port: u16) -> Vec<u8> {
    frames::tcp((CLIENT.0, port), WEB, SYN, &[])
}

#[test]
fn invalid_frames_are_dropped_with_their_reason() {
    let good = syn(40000);
    let edit = |at: usize, bytes: &[u8]| {
        let mut frame = good.clone();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        frame
    };
    let fixed = |at, bytes: &[u8]| frames::rechecksummed(edit(at, bytes));
    let no_service = frames::tcp(CLIENT, (WEB.0, 8080), SYN, &[]);
    let cases: &[(&str, Vec<u8>, DropReason)] = &[
        ("an empty frame", vec![], DropReason::Truncated),
        ("half an Ethernet header", good[..11].to_vec(), DropReason::Truncated),
        ("no EtherType", good[..13].to_vec(), DropReason::Truncated),
        ("no IP header", good[..14].to_vec(), DropReason::Truncated),
        ("half an IP header", good[..33].to_vec(), DropReason::Truncated),
        ("half a TCP header", good[..53].to_vec(), DropReason::Truncated),
        ("total length beyond the frame", fixed(16, &[0, 200]), DropReason::Truncated),
        ("total length below the header's", fixed(16, &[0, 19]), DropReason::Malformed),
        ("IP version 6 under IPv4's EtherType", edit(14, &[0x65]), DropReason::Malformed),
        ("header length 16", edit(14, &[0x44]), DropReason::Malformed),
        ("header length beyond total length", edit(14, &[0x4f]), DropReason::Malformed),
        ("wrong header checksum", edit(24, &[good[24] ^ 1]), DropReason::Checksum),
        ("ARP", edit(12, &[0x08, 0x06]), DropReason::EtherType),
        ("a VLAN without services", frames::tagged(&good, 10), DropReason::Vlan),
        ("half a tag", [&good[..12], &[0x81, 0, 0]].concat(), DropReason::Truncated),
        ("a tag behind a priority tag", frames::tagged(&frames::tagged(&good, 10), 0), DropReason::Tags),
        ("a priority tag behind a tag", frames::tagged(&frames::tagged(&good, 0), 10), DropReason::Tags),
        ("the reserved VLAN", frames::tagged(&good, 4095), DropReason::Tags),
        ("half an IP header behind a tag", frames::tagged(&good, 0)[..37].to_vec(), DropReason::Truncated),
        ("a time to live of 1", frames::with_ttl(&good, 1), DropReason::TtlExceeded),
        ("a time to live of 0", frames::with_ttl(&good, 0), DropReason::TtlExceeded),
        (
            "the last hop behind a tag",
            frames::tagged(&frames::with_ttl(&good, 1), 0),
            DropReason::TtlExceeded,
        ),
        ("the last hop to no service", frames::with_ttl(&no_service, 1), DropReason::NoService),
        ("ICMP", frames::ipv4(CLIENT.0, WEB.0, 1, &[8; 16], |_| ()), DropReason::Protocol),
        ("GRE", frames::ipv4(CLIENT.0, WEB.0, 47, &[0; 16], |_| ()), DropReason::Protocol),
        ("SCTP of 15 bytes", frames::ipv4(CLIENT.0, WEB.0, 132, &[0; 15], |_| ()), DropReason::Malformed),
        ("SCTP to a TCP service", frames::sctp(CLIENT, WEB, &[(1, 20)]), DropReason::NoService),
        ("TCP data offset 4", edit(46, &[0x40]), DropReason::Malformed),
        ("TCP data offset beyond the segment", edit(46, &[0xf0]), DropReason::Malformed),
        ("TCP of 19 bytes", frames::ipv4(CLIENT.0, WEB.0, 6, &[0; 19], |_| ()), DropReason::Malformed),
        ("UDP of 7 bytes", frames::ipv4(CLIENT.0, DNS.0, 17, &[0; 7], |_| ()), DropReason::Malformed),
        ("to another station", edit(0, &[2, 0, 0, 0, 0, 0x99]), DropReason::OtherHost),
        ("by broadcast", edit(0, &[0xff; 6]), DropReason::OtherHost),
        ("from the own address", edit(6, &DIRECTOR), DropReason::Looped),
        ("another port of the VIP", no_service.clone(), DropReason::NoService),
        ("another address", frames::tcp(CLIENT, (CLIENT.0, 80), SYN, &[]), DropReason::NoService),
        ("UDP to a TCP service", frames::udp(CLIENT, WEB, b"x"), DropReason::NoService),
        ("TCP to a UDP service", frames::tcp(CLIENT, DNS, SYN, &[]), DropReason::NoService),
        ("an ACK of nothing", frames::tcp(CLIENT, WEB, ACK, &[]), DropReason::NoConnection),
        ("a FIN of nothing", frames::tcp(CLIENT, WEB, FIN | ACK, &[]), DropReason::NoConnection),
        ("a RST of nothing", frames::tcp(CLIENT, WEB, RST, &[]), DropReason::NoConnection),
        ("SYN and RST", frames::tcp(CLIENT, WEB, SYN | RST, &[]), DropReason::NoConnection),
        ("no flag at all", frames::tcp(CLIENT, WEB, 0, &[]), DropReason::NoConnection),
        ("a service with no server", frames::tcp(CLIENT, EMPTY, SYN, &[]), DropReason::NoServer),
        ("a server never resolved", frames::udp(CLIENT, DNS, b"x"), DropReason::Unresolved),
    ];
    check(cases);
}

/// Checks the drop reason of each frame.
fn check(cases: &[(&str, Vec<u8>, DropReason)]) {
    for (what, frame, reason) in cases {
        let mut bench = Bench::new(snapshot());
        assert_eq!(bench.reason(frame), *reason, "{what}");
    }
}

#[test]
fn invalid_ipv6_frames_are_dropped_with_their_reason() {
    let good = syn(40000);
    let edit = |at: usize, bytes: &[u8]| {
        let mut frame = good.clone();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        frame
    };
    let [client, vip] = [7, 0x80].map(|end| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, end));
    let syn_v6 = frames::tcp_v6((client, 40000), (vip, 80), SYN, &[]);
    let edit_v6 = |at: usize, bytes: &[u8]| {
        let mut frame = syn_v6.clone();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        frame
    };
    let fragment_v6 = |number: u8| {
        let mut frame = edit_v6(20, &[44]);
        frame[54] = number;
        frame
    };
    check(&[
        ("IPv4 under IPv6's EtherType", edit(12, &[0x86, 0xdd]), DropReason::Malformed),
        ("IPv6 to no service", syn_v6.clone(), DropReason::NoService),
        ("half an IPv6 header", syn_v6[..53].to_vec(), DropReason::Truncated),
        ("half a TCP header behind IPv6", syn_v6[..73].to_vec(), DropReason::Truncated),
        ("a jumbogram", edit_v6(18, &[0, 0]), DropReason::Malformed),
        ("IPv6 of no next header", edit_v6(20, &[59]), DropReason::Protocol),
        ("ICMPv6", edit_v6(20, &[58]), DropReason::Protocol),
        ("hop-by-hop options beyond the packet", edit_v6(20, &[0]), DropReason::ExtensionHeaders),
        ("a route by source", edit_v6(20, &[43, 64]), DropReason::ExtensionHeaders),
        ("a fragment of ICMPv6", fragment_v6(58), DropReason::Fragment),
        ("IPv6 behind a priority tag", frames::tagged(&syn_v6, 0), DropReason::NoService),
    ]);
}

#[test]
fn invalid_fragments_are_dropped_with_their_reason() {
    let good = syn(40000);
    let fragment = |offset: u16, more: bool| {
        frames::ipv4(CLIENT.0, WEB.0, 6, &good[34..54].repeat(2), |ip| {
            ip.more_fragments = more;
            ip.fragment_offset = offset.try_into().unwrap();
        })
    };
    let odd = frames::ipv4(CLIENT.0, WEB.0, 17, &[0; 41], |ip| ip.more_fragments = true);
    check(&[
        ("a fragment that overwrites TCP's flags", fragment(1, false), DropReason::TinyFragment),
        ("a fragment of 41 bytes before others", odd, DropReason::Malformed),
    ]);
}

/// A martian source, the source of a land attack, and the director's own address.
#[test]
fn martian_sources_open_no_connection() {
    let martians: Vec<Ipv4Addr> = [
        [0, 0, 0, 0],
        [0, 1, 2, 3],
        [127, 0, 0, 1],
        [127, 255, 255, 255],
        [224, 0, 0, 1],
        [239, 255, 255, 255],
        [255, 255, 255, 255],
        WEB.0.octets(),
        DIP.octets(),
    ]
    .map(Ipv4Addr::from)
    .to_vec();
    for source in martians {
        let mut bench = Bench::new(snapshot());
        let frame = frames::tcp((source, 40000), WEB, SYN, &[]);
        for frame in [frame.clone(), frames::tagged(&frame, 0)] {
            assert_eq!(bench.reason(&frame), DropReason::Martian, "{source}");
        }
        assert_eq!(bench.reason(&frames::udp((source, 40000), DNS, b"x")), DropReason::Martian, "{source}");
        assert_eq!(bench.counters.entries.get(), 0);
    }
    for source in [[1, 0, 0, 1], [126, 0, 0, 1], [128, 0, 0, 1], [223, 255, 255, 1], [240, 0, 0, 1]] {
        let frame = frames::tcp((source.into(), 40000), WEB, SYN, &[]);
        Bench::new(snapshot()).server(&frame);
    }
}

/// Likewise of IPv6, where an IPv4-mapped source would have the key of an IPv4 client, and of a wildcard-port service.
#[test]
fn martian_sources_open_no_connection_with_a_wide_key() {
    let [vip, dip] = [0x80, 0x81].map(|end| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, end));
    let service = |protocol, port, id| {
        let address = std::net::SocketAddr::from((vip, port));
        (ServiceAddress { protocol, address }, MatchId(id))
    };
    let snapshot = |sloppy| {
        let mut all = snapshot();
        all.services = ServiceMap::new(&[
            service(Protocol::Tcp, 80, 0),
            service(Protocol::Udp, 53, 0),
            (ServiceAddress { protocol: Protocol::Tcp, address: (WEB.0, 0).into() }, MatchId(1)),
        ]);
        all.pools[1] = Pool::new([Candidate::new(ServerId(0), 1)]);
        all.reserved.push(dip.into());
        (all.policy.sloppy_tcp, all.policy.sloppy_sctp) = (sloppy, sloppy);
        all
    };
    let bench = |sloppy| {
        let mut bench = Bench::new(snapshot(sloppy));
        bench.forwarder.set_wide_table(FlowTable::new(100, SEED));
        bench
    };
    let mapped = |v4: Ipv4Addr| v4.to_ipv6_mapped();
    let sources = ["::", "::1", "ff02::1"].map(|source| source.parse().unwrap());
    for source in sources.into_iter().chain([vip, dip, mapped(CLIENT.0), mapped(WEB.0), mapped(DIP)]) {
        let (syn, ack) =
            [SYN, ACK].map(|flags| frames::tcp_v6((source, 40000), (vip, 80), flags, &[])).into();
        let datagram = frames::udp_v6((source, 40000), (vip, 53), b"x");
        for frame in [&syn, &frames::tagged(&syn, 0), &datagram] {
            assert_eq!(bench(false).reason(frame), DropReason::Martian, "{source}");
        }
        assert_eq!(bench(true).reason(&ack), DropReason::Martian, "{source} to a sloppy service");
    }
    for source in [Ipv4Addr::LOCALHOST, WEB.0, DIP] {
        let frame = frames::tcp((source, 40000), WEB, SYN, &[]);
        assert_eq!(bench(false).reason(&frame), DropReason::Martian, "{source} to a wildcard port");
    }
    let good: Ipv6Addr = "2001:db8:1::7".parse().unwrap();
    bench(false).server(&frames::tcp_v6((good, 40000), (vip, 80), SYN, &[]));
    bench(true).server(&frames::tcp_v6((good, 40000), (vip, 80), ACK, &[]));
}

/// Real servers 0 and 1 of the web service, and 2 of DNS: at address .170 and so on.
fn with_real_servers(mut snapshot: Snapshot) -> Snapshot {
    let servers = [(0, rip(0)), (0, rip(1)), (1, rip(2))];
    let wide = [0, 1].map(|n| (ServiceId(0), rip_v6(n)));
    let servers = servers.map(|(service, rip)| (ServiceId(service), rip.into()));
    snapshot.real_servers = Arc::new(RealServerAddresses::new(servers.into_iter().chain(wide)));
    snapshot
}

fn rip(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 195, 170 + n)
}

fn rip_v6(n: u16) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x170 + n).into()
}

#[test]
fn a_real_server_is_no_client_of_its_own_service() {
    let bench = || Bench::new(with_real_servers(snapshot()));
    let web = |source, flags| frames::tcp((source, 40000), WEB, flags, &[]);
    for source in [rip(0), rip(1)] {
        let mut bench = bench();
        for frame in [web(source, SYN), frames::tagged(&web(source, SYN), 0)] {
            assert_eq!(bench.reason(&frame), DropReason::RealServer, "{source}");
        }
        assert_eq!(bench.counters.entries.get(), 0);
        bench.server(&web(CLIENT.0, SYN));
    }
    // Of another service it is one, and so are its neighbors.
    bench().server(&web(rip(2), SYN));
    bench().server(&web(rip(3), SYN));
    assert_eq!(bench().reason(&frames::udp((rip(2), 40000), DNS, b"x")), DropReason::RealServer);
    let mut without_mac = bench();
    assert_eq!(without_mac.reason(&frames::udp((rip(0), 40000), DNS, b"x")), DropReason::Unresolved);
}

#[test]
fn a_real_server_of_ipv6_is_no_client_of_its_own_service() {
    let vip = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80);
    let bench = || {
        let mut all = with_real_servers(snapshot());
        let address = std::net::SocketAddr::from((vip, 80));
        all.services = ServiceMap::new(&[(ServiceAddress { protocol: Protocol::Tcp, address }, MatchId(0))]);
        let mut bench = Bench::new(all);
        bench.forwarder.set_wide_table(FlowTable::new(100, SEED));
        bench
    };
    let syn = |source: IpAddr| {
        let IpAddr::V6(source) = source else { panic!("{source} is of IPv6") };
        frames::tcp_v6((source, 40000), (vip, 80), SYN, &[])
    };
    for n in 0..2 {
        assert_eq!(bench().reason(&syn(rip_v6(n))), DropReason::RealServer);
    }
    bench().server(&syn(rip_v6(2)));
}

#[test]
fn a_connection_of_a_host_that_becomes_a_real_server_goes_on() {
    let mut bench = Bench::new(snapshot());
    let segment = |flags| frames::tcp((rip(0), 40000), WEB, flags, &[]);
    let server = bench.server(&segment(SYN));
    bench.forwarder.adopt(Arc::new(with_real_servers(snapshot())));
    assert_eq!(bench.server(&segment(ACK)), server);
    assert_eq!(bench.reason(&frames::tcp((rip(0), 40001), WEB, SYN, &[])), DropReason::RealServer);
}

#[test]
fn a_priority_tag_makes_no_difference() {
    let mut bench = Bench::new(snapshot());
    let segment = |flags| frames::tcp((CLIENT.0, 1), WEB, flags, b"GET /");
    assert_eq!(bench.server(&frames::tagged(&segment(SYN), 0)), RS2);
    assert_eq!(bench.server(&segment(ACK)), RS2, "one connection");
    assert_eq!(bench.server(&frames::tagged(&segment(ACK), 0)), RS2);
    assert_eq!(bench.server(&frames::tagged(&segment(FIN | ACK), 0)), RS2);
    assert_eq!((bench.counters.entries.get(), bench.loads(1)), (1, (0, 1)));
    assert_eq!(bench.counters.server(ServerId(1)).packets.get(), 4);
    let mut bench = Bench::with_wildcard(false, 1000);
    assert_eq!(bench.server(&frames::tagged(&to(1, 22, SYN), 0)), RS2);
    assert_eq!(bench.server(&to(1, 22, ACK)), RS2);
}

#[test]
fn an_expired_frame_is_looped_if_its_connection_is_known() {
    let mut bench = Bench::new(snapshot());
    let expired = frames::with_ttl(&syn(1), 1);
    assert_eq!(bench.reason(&expired), DropReason::TtlExceeded, "traceroute");
    let _ = bench.decide(&syn(1));
    assert_eq!(bench.reason(&expired), DropReason::Looped);
    assert_eq!(bench.reason(&frames::with_ttl(&syn(2), 1)), DropReason::TtlExceeded);
}

impl Bench {
    /// Verdicts for frames from the MAC address of a server.
    fn sent_by(&mut self, server: MacAddr, frame: &[u8], ttl: u8) -> Result<MacAddr, DropReason> {
        let mut frame = frames::with_ttl(frame, ttl);
        frame[6..12].copy_from_slice(&server.0);
        match self.decide(&frame) {
            (Verdict::Forward(_), after) => Ok(MacAddr(after[..6].try_into().unwrap())),
            (Verdict::HandOver | Verdict::Hold, _) => panic!("there is one worker, and no early fragment"),
            (Verdict::Drop(reason), after) => {
                assert_eq!(after, frame, "a dropped frame is unchanged");
                Err(reason)
            }
        }
    }
}

#[test]
fn a_frame_is_not_returned_to_its_sender() {
    let mut bench = Bench::new(snapshot());
    assert_eq!(bench.sent_by(RS2, &syn(1), 55), Err(DropReason::Looped));
    assert_eq!((bench.counters.entries.get(), bench.loads(1)), (0, (0, 0)), "no connection");
    assert_eq!(bench.counters.looped_from.get(), RS2.bits());
    assert_eq!(bench.counters.server(ServerId(1)).connections.get(), 0);
    // A frame that started elsewhere.
    assert_eq!(bench.server(&syn(2)), RS2);
    for (flags, state) in [(SYN, (1, 0)), (ACK, (1, 0)), (FIN | ACK, (1, 0)), (RST, (1, 0))] {
        let segment = frames::tcp((CLIENT.0, 2), WEB, flags, &[]);
        assert_eq!(bench.sent_by(RS2, &segment, 55), Err(DropReason::Looped), "{flags}");
        assert_eq!(bench.loads(1), state, "nothing has moved");
    }
    assert_eq!(bench.server(&frames::tcp((CLIENT.0, 2), WEB, ACK, &[])), RS2, "from the router it goes on");
    assert_eq!(bench.counters.server(ServerId(1)).packets.get(), 2);
}

/// A real server may be a client or the gateway of clients, and may share its MAC address with some.
#[test]
fn frames_of_real_servers_without_a_loop_are_forwarded() {
    let mut bench = Bench::new(snapshot());
    assert_eq!(bench.sent_by(RS1, &syn(1), 40), Ok(RS2), "a gateway of far clients");
    assert_eq!(bench.sent_by(RS3, &syn(2), 40), Ok(RS1), "another service's server");
    for ttl in [255, 128, 64, 57, 56] {
        assert_eq!(bench.sent_by(RS2, &syn(1), ttl), Ok(RS2), "clients behind the server's address");
    }
}

#[test]
fn unfinished_checksums_are_counted_per_connection() {
    let mut bench = Bench::new(snapshot());
    let mut segment = syn(1);
    // The sum of the pseudo-header: addresses, protocol, length.
    let words = [&segment[26..34], &[0, 6, 0, 20]].concat();
    let sum: u32 = words.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    segment[50..52].copy_from_slice(&((((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes()));
    for frame in [segment.clone(), segment] {
        assert_eq!(bench.server(&frame), RS2, "forwarded all the same");
    }
    assert_eq!(bench.counters.unfinished.get(), 1);
    bench.server(&syn(2));
    let mut wrong = syn(3);
    wrong[50] ^= 1;
    bench.server(&wrong);
    assert_eq!(bench.counters.unfinished.get(), 1, "neither right ones nor wrong ones");
}

#[test]
fn a_connection_keeps_its_server() {
    let mut bench = Bench::new(snapshot());
    assert_eq!(bench.server(&syn(1)), RS2, "the head of the list");
    assert_eq!(bench.server(&syn(2)), RS1);
    assert_eq!(bench.server(&syn(3)), RS2);
    for flags in [ACK, ACK, FIN | ACK, ACK] {
        assert_eq!(bench.server(&frames::tcp((CLIENT.0, 1), WEB, flags, b"GET /")), RS2);
        assert_eq!(bench.server(&frames::tcp((CLIENT.0, 2), WEB, flags, b"GET /")), RS1);
    }
    assert_eq!((bench.loads(0), bench.loads(1)), ((0, 1), (1, 1)));
}

#[test]
fn bytes_are_ip_total_lengths() {
    let mut bench = Bench::new(snapshot());
    let frame = syn(1);
    assert_eq!(frame.len(), 60, "padded");
    bench.server(&frame);
    bench.server(&frames::tcp((CLIENT.0, 1), WEB, ACK, &[b'x'; 100]));
    let counters = bench.counters.server(ServerId(1));
    assert_eq!((counters.connections.get(), counters.packets.get(), counters.bytes.get()), (1, 2, 40 + 140));
}

#[test]
fn ip_options_are_accepted() {
    let mut segment = frames::tcp(CLIENT, WEB, SYN, &[])[34..54].to_vec();
    segment.resize(20, 0);
    let frame = frames::ipv4(CLIENT.0, WEB.0, 6, &segment, |ip| {
        ip.options = [1u8; 40].into();
        ip.total_len = 60 + 20;
    });
    let mut bench = Bench::new(snapshot());
    assert_eq!(bench.server(&frame), RS2);
    assert_eq!(bench.counters.server(ServerId(1)).bytes.get(), 80);
}

#[test]
fn frames_have_the_egress_interface_s_mac() {
    let mut two_interfaces = snapshot();
    two_interfaces.own_macs.push(SERVER_SIDE);
    let server = Some(NextHop { interface: InterfaceIndex(1), mac: Some(RS1) });
    two_interfaces.routes = vec![Route::new(&two_interfaces.own_macs, server); 3];
    let mut bench = Bench::new(two_interfaces);
    let (verdict, after) = bench.decide(&syn(1));
    assert_eq!(verdict, Verdict::Forward(InterfaceIndex(1)));
    assert_eq!((&after[..6], &after[6..12]), (&RS1.0[..], &SERVER_SIDE.0[..]));
    let mut looped = syn(2);
    looped[6..12].copy_from_slice(&SERVER_SIDE.0);
    assert_eq!(bench.reason(&looped), DropReason::Looped, "either own address");
}

#[test]
fn an_idle_connection_expires_by_its_state() {
    for (flags, timeout) in
        [(vec![SYN], 60), (vec![SYN, ACK], 900), (vec![SYN, ACK, FIN | ACK], 120), (vec![SYN, RST], 60)]
    {
        let mut bench = Bench::new(snapshot());
        for flag in &flags {
            bench.server(&frames::tcp(CLIENT, WEB, *flag, &[]));
        }
        bench.wait(Span::from_millis(timeout * 1000 - 1));
        bench.server(&frames::tcp(CLIENT, WEB, ACK, &[]));
        let mut bench = Bench::new(snapshot());
        for flag in &flags {
            bench.server(&frames::tcp(CLIENT, WEB, *flag, &[]));
        }
        bench.wait(Span::from_secs(timeout));
        assert_eq!(bench.reason(&frames::tcp(CLIENT, WEB, ACK, &[])), DropReason::NoConnection, "{flags:?}");
        assert_eq!(bench.loads(1), (0, 0));
    }
}

#[test]
fn connection_stays_while_frames_arrive() {
    let mut bench = Bench::new(snapshot());
    let servers: Vec<_> = (1000..1032).map(|port| bench.server(&syn(port))).collect();
    for port in 1000..1032 {
        bench.server(&frames::tcp((CLIENT.0, port), WEB, ACK, &[]));
    }
    for _ in 0..3600 / 600 {
        bench.wait(Span::from_secs(600));
        while bench.forwarder.sweep(bench.now) {}
        for (port, server) in servers.iter().enumerate() {
            let segment = frames::tcp((CLIENT.0, 1000 + port as u16), WEB, ACK, b"still here");
            assert_eq!(bench.server(&segment), *server);
        }
    }
    assert_eq!((bench.loads(0), bench.loads(1)), ((16, 0), (16, 0)));
    bench.wait(Span::from_secs(900));
    for _ in 0..3 {
        while bench.forwarder.sweep(bench.now) {}
        bench.wait(Span::from_secs(2));
    }
    assert_eq!((bench.loads(0), bench.loads(1)), ((0, 0), (0, 0)));
    assert_eq!((bench.counters.expired.get(), bench.counters.entries.get()), (32, 0));
}

#[test]
fn a_syn_on_a_closed_connection_is_scheduled_again() {
    let mut bench = Bench::new(snapshot());
    bench.server(&syn(1));
    bench.server(&frames::tcp((CLIENT.0, 1), WEB, ACK, &[]));
    bench.server(&frames::tcp((CLIENT.0, 1), WEB, RST | ACK, &[]));
    assert_eq!(bench.loads(1), (0, 1));
    assert_eq!(bench.server(&syn(1)), RS2, "its old entry was evicted, so no server has a load");
    assert_eq!((bench.loads(0), bench.loads(1)), ((0, 0), (1, 0)));
    assert_eq!(bench.counters.server(ServerId(1)).connections.get(), 2);
}

#[test]
fn a_closed_connection_without_a_new_server_is_removed() {
    let mut bench = Bench::new(snapshot());
    bench.server(&syn(1));
    bench.server(&frames::tcp((CLIENT.0, 1), WEB, FIN | ACK, &[]));
    assert_eq!((bench.counters.entries.get(), bench.loads(1)), (1, (0, 1)));
    let mut quiesced = snapshot();
    quiesced.pools[0] = Pool::new([]);
    bench.forwarder.adopt(Arc::new(quiesced));
    assert_eq!(bench.reason(&syn(1)), DropReason::NoServer);
    assert_eq!((bench.counters.entries.get(), bench.loads(1)), (0, (0, 0)));
}

#[test]
fn a_repeated_syn_is_the_same_connection() {
    let mut bench = Bench::new(snapshot());
    assert_eq!((bench.server(&syn(1)), bench.server(&syn(1)), bench.server(&syn(1))), (RS2, RS2, RS2));
    assert_eq!(bench.counters.server(ServerId(1)).connections.get(), 1);
}

#[test]
fn udp_keeps_one_server_for_a_flow_and_counts_as_inactive() {
    let mut resolved = snapshot();
    resolved.routes[2] = resolved.routes[0];
    let mut bench = Bench::new(resolved);
    for _ in 0..5 {
        assert_eq!(bench.server(&frames::udp(CLIENT, DNS, b"query")), RS1);
        bench.wait(Span::from_secs(299));
    }
    assert_eq!(bench.loads(2), (0, 1));
}

/// DNS with servers 2, 0 and 1 in list order, by round robin with one-packet scheduling.
fn one_packet(loads: &Loads) -> Snapshot {
    let mut turns = snapshot();
    turns.routes[2] =
        Route::new(&turns.own_macs, Some(NextHop { interface: InterfaceIndex(0), mac: Some(RS3) }));
    let rule = Params { scheduler: Scheduler::Rr, one_packet: true, ..Params::default() };
    let limited = Thresholds { upper: 1, lower: 0 };
    let list = [2, 0, 1].map(|id| Candidate { thresholds: limited, ..Candidate::new(ServerId(id), 1) });
    turns.pools[1] = turns.pools[1].successor(rule, list, loads);
    turns
}

#[test]
fn one_packet_scheduling_picks_for_every_datagram() {
    let mut bench = Bench::new(snapshot());
    let turns = one_packet(&bench.loads);
    bench.forwarder.adopt(Arc::new(turns));
    let query = frames::udp(CLIENT, DNS, b"query");
    let servers = [0; 6].map(|_| bench.server(&query));
    assert_eq!(servers, [RS3, RS1, RS2, RS3, RS1, RS2], "no server stays overloaded");
    assert_eq!(bench.counters.entries.get(), 0, "there are no connections");
    for server in 0..3 {
        let counters = bench.counters.server(ServerId(server));
        assert_eq!((counters.connections.get(), counters.packets.get()), (2, 2));
        assert_eq!(bench.loads(server), (0, 0));
    }
}

/// As in IPVS, which looks up connections first.
#[test]
fn an_open_flow_survives_one_packet_scheduling() {
    let mut bench = Bench::new(snapshot());
    let turns = one_packet(&bench.loads);
    let mut before = snapshot();
    before.routes = turns.routes.clone();
    bench.forwarder.adopt(Arc::new(before));
    let query = frames::udp(CLIENT, DNS, b"query");
    assert_eq!(bench.server(&query), RS3);
    bench.forwarder.adopt(Arc::new(turns));
    assert_eq!([0; 3].map(|_| bench.server(&query)), [RS3; 3]);
    bench.wait(Span::from_secs(301));
    bench.forwarder.sweep_all(bench.now);
    assert_eq!([0; 3].map(|_| bench.server(&query)), [RS3, RS1, RS2]);
    assert_eq!(bench.counters.entries.get(), 0);
}

/// Persistent web service with servers 1 and 0, by round robin.
fn persistent(loads: &Loads, quiesced: Option<u16>) -> Snapshot {
    let mut web = snapshot();
    let persistence = Some(Persistence { timeout: Span::from_secs(100), prefix: 24 });
    let rule = Params { scheduler: Scheduler::Rr, persistence, ..Params::default() };
    let list = [1, 0].map(|id| Candidate::new(ServerId(id), u16::from(Some(id) != quiesced)));
    web.pools[0] = web.pools[0].successor(rule, list, loads);
    web
}

fn from(client: u8, port: u16, flags: u8) -> Vec<u8> {
    frames::tcp((Ipv4Addr::new(203, 0, client, 7), port), WEB, flags, &[])
}

#[test]
fn later_connections_follow_the_template() {
    let mut bench = Bench::new(snapshot());
    let templates = Arc::clone(&bench.templates);
    bench.forwarder.adopt(Arc::new(persistent(&bench.loads, None)));
    let servers =
        |bench: &mut Bench, clients: [u8; 4], port| clients.map(|of| bench.server(&from(of, port, SYN)));
    assert_eq!(servers(&mut bench, [1, 2, 3, 1], 1), [RS2, RS1, RS2, RS2]);
    assert_eq!(servers(&mut bench, [1, 2, 1, 2], 2), [RS2, RS1, RS2, RS1]);
    let in_the_same_network = frames::tcp((Ipv4Addr::new(203, 0, 2, 99), 1), WEB, SYN, &[]);
    assert_eq!(bench.server(&in_the_same_network), RS1);
    assert_eq!((templates.of(ServerId(0)), templates.of(ServerId(1))), (1, 2));
    bench.forwarder.adopt(Arc::new(persistent(&bench.loads, Some(1))));
    assert_eq!(
        servers(&mut bench, [1, 4, 5, 3], 3),
        [RS2, RS1, RS1, RS2],
        "a quiesced server keeps its clients"
    );
    let mut unreachable = persistent(&bench.loads, None);
    let rule =
        Params { persistence: unreachable.pools[0].persistence().map(|(of, _)| of), ..Params::default() };
    unreachable.pools[0] =
        unreachable.pools[0].successor(rule, [Candidate::new(ServerId(0), 1)], &bench.loads);
    bench.forwarder.adopt(Arc::new(unreachable));
    assert_eq!(servers(&mut bench, [1, 2, 3, 4], 4), [RS1; 4], "a removed server has no clients");
    bench.forwarder.adopt(Arc::new(persistent(&bench.loads, None)));
    assert_eq!(servers(&mut bench, [1, 2, 3, 4], 5), [RS1; 4], "and they do not return to it");
}

/// 60 s of an unfinished connection, then 100 s of the template.
#[test]
fn a_template_lasts_while_it_has_connections() {
    let mut bench = Bench::new(snapshot());
    let templates = Arc::clone(&bench.templates);
    bench.forwarder.adopt(Arc::new(persistent(&bench.loads, None)));
    let assured = |bench: &Bench| templates.list(bench.now).next().unwrap().assured;
    let wait = |bench: &mut Bench, seconds| {
        bench.wait(Span::from_secs(seconds));
        bench.forwarder.sweep_all(bench.now);
    };
    assert_eq!(bench.server(&from(1, 1, SYN)), RS2);
    wait(&mut bench, 99);
    assert_eq!(bench.server(&from(1, 2, SYN)), RS2, "the second opening renews the timeout");
    assert!(!assured(&bench));
    assert_eq!(bench.server(&from(1, 2, ACK)), RS2);
    assert!(assured(&bench), "the client has completed a connection");
    wait(&mut bench, 899);
    assert_eq!(bench.server(&from(1, 3, SYN)), RS2, "the template had a connection all the time");
    wait(&mut bench, 101);
    assert_eq!(
        [1, 2].map(|client| bench.server(&from(client, 4, SYN))),
        [RS1, RS2],
        "expired, scheduled again"
    );
}

/// Connections opened before the service was persistent, or in an older generation.
#[test]
fn a_template_releases_only_counted_connections() {
    let mut bench = Bench::new(snapshot());
    let templates = Arc::clone(&bench.templates);
    let by = |bench: &Bench, generation| {
        let mut web = persistent(&bench.loads, None);
        let (persistence, _) = web.pools[0].persistence().unwrap();
        let persistence = Some(Persistence { prefix: 24 + 2 * generation, ..persistence });
        let rule = Params { scheduler: Scheduler::Rr, persistence, generation, ..Params::default() };
        let list = [1, 0].map(|id| Candidate::new(ServerId(id), 1));
        web.pools[0] = web.pools[0].successor(rule, list, &bench.loads);
        web
    };
    bench.server(&from(1, 1, SYN));
    bench.forwarder.adopt(Arc::new(by(&bench, 0)));
    bench.server(&from(1, 2, SYN));
    bench.forwarder.adopt(Arc::new(by(&bench, 1)));
    bench.server(&from(1, 3, SYN));
    bench.server(&from(1, 3, ACK));
    let connections = |bench: &Bench| {
        let all = templates.list(bench.now).map(|of| (of.key.generation, of.connections));
        let mut all: Vec<_> = all.collect();
        all.sort_unstable();
        all
    };
    assert_eq!(connections(&bench), [(0, 1), (1, 1)]);
    bench.wait(Span::from_secs(61));
    bench.forwarder.sweep_all(bench.now);
    assert_eq!(bench.counters.entries.get(), 1, "both half-open ones have expired");
    assert_eq!(connections(&bench), [(0, 1), (1, 1)], "the first is not counted any more; the other is live");
}

#[test]
fn a_refused_connection_holds_no_template() {
    let mut bench = Bench::with_capacity(snapshot(), 1);
    let templates = Arc::clone(&bench.templates);
    bench.forwarder.adopt(Arc::new(persistent(&bench.loads, None)));
    let fill = |bench: &mut Bench, port| {
        bench.decide(&from(1, port, SYN));
        bench.decide(&from(1, port, ACK));
    };
    (1..20).for_each(|port| fill(&mut bench, port));
    assert_eq!(bench.reason(&from(2, 1, SYN)), DropReason::TableFull);
    let connections: Vec<_> = templates.list(bench.now).map(|of| of.connections).collect();
    assert_eq!(connections.len(), 2);
    assert_eq!(connections.iter().sum::<u32>(), bench.counters.entries.get() as u32);
}

/// Persistent wildcard-port service of the web's VIP on servers 1 and 0 by round robin. With `with_web`,
/// beside the web service on server 0.
fn wildcard(loads: &Loads, with_web: bool) -> Snapshot {
    let mut all = persistent(loads, None);
    let service =
        |end: End, id| (ServiceAddress { protocol: Protocol::Tcp, address: end.into() }, MatchId(id));
    let mut services = vec![service((WEB.0, 0), 2)];
    services.extend(with_web.then(|| service(WEB, 0)));
    all.services = ServiceMap::new(&services);
    all.pools.swap(0, 2);
    all.pools[0] = Pool::new([Candidate::new(ServerId(0), 1)]);
    all
}

impl Bench {
    /// A bench with [`wildcard`], its table and templates.
    fn with_wildcard(with_web: bool, connections: usize) -> Self {
        let mut bench = Self::new(snapshot());
        bench.forwarder.set_wide_table(FlowTable::new(connections, SEED));
        bench.forwarder.adopt(Arc::new(wildcard(&bench.loads, with_web)));
        bench
    }

    fn listed(&self) -> Vec<Flow> {
        let buckets = (0..).map_while(|bucket| self.forwarder.connections(bucket));
        buckets.flatten().map(|entry| entry.key).collect()
    }
}

/// A segment from port 40000 of a client in the network of that number.
fn to(client: u8, port: u16, flags: u8) -> Vec<u8> {
    frames::tcp((Ipv4Addr::new(203, 0, client, 7), 40000), (WEB.0, port), flags, &[])
}

#[test]
fn two_ports_of_a_wildcard_service_are_two_connections() {
    let mut bench = Bench::with_wildcard(false, 1000);
    assert_eq!([22, 443, 0, 65535].map(|port| bench.server(&to(1, port, SYN))), [RS2; 4]);
    assert_eq!([443, 22].map(|port| bench.server(&to(2, port, SYN))), [RS1; 2], "in turn, by client");
    assert_eq!(bench.counters.entries.get(), 6);
    assert_eq!((bench.loads(0), bench.loads(1)), ((2, 0), (4, 0)));
    bench.server(&to(1, 22, FIN | ACK));
    assert_eq!((bench.loads(0), bench.loads(1)), ((2, 0), (3, 1)), "the others go on");
    assert_eq!(bench.reason(&to(1, 23, ACK)), DropReason::NoConnection);
    let mut ports: Vec<_> = bench.listed().iter().map(|flow| (flow.client, flow.port)).collect();
    ports.sort_unstable();
    assert_eq!(
        ports,
        [(1, 0), (1, 22), (1, 443), (1, 65535), (2, 22), (2, 443)]
            .map(|(of, port)| (Ipv4Addr::new(203, 0, of, 7).into(), Some(port)))
    );
}

#[test]
fn a_wildcard_service_takes_its_protocol_only() {
    let mut bench = Bench::with_wildcard(true, 1000);
    assert_eq!(bench.reason(&frames::udp(CLIENT, DNS, b"query")), DropReason::NoService);
    assert_eq!(bench.reason(&frames::tcp(CLIENT, (CLIENT.0, 443), SYN, &[])), DropReason::NoService);
    let mut options = to(1, 443, SYN)[34..54].to_vec();
    options.resize(20, 0);
    let with_options = frames::ipv4(Ipv4Addr::new(203, 0, 1, 7), WEB.0, 6, &options, |ip| {
        ip.options = [1u8; 40].into();
        ip.total_len = 60 + 20;
    });
    assert_eq!(bench.server(&with_options), RS2);
}

#[test]
fn fixed_port_has_precedence_over_the_wildcard() {
    let mut bench = Bench::with_wildcard(true, 1000);
    assert_eq!([80, 81].map(|port| bench.server(&to(1, port, SYN))), [RS1, RS2]);
    assert_eq!([80, 81].map(|port| bench.server(&to(1, port, ACK))), [RS1, RS2]);
    let mut ports: Vec<_> = bench.listed().iter().map(|flow| (flow.match_id, flow.port)).collect();
    ports.sort_unstable();
    assert_eq!(ports, [(MatchId(0), None), (MatchId(2), Some(81))]);
}

#[test]
fn connections_survive_a_new_fixed_port_service() {
    let mut bench = Bench::with_wildcard(false, 1000);
    let both = |bench: &mut Bench, flags| [80, 443].map(|port| bench.server(&to(1, port, flags)));
    assert_eq!(both(&mut bench, SYN), [RS2; 2]);
    bench.forwarder.adopt(Arc::new(wildcard(&bench.loads, true)));
    assert_eq!(both(&mut bench, ACK), [RS2; 2], "as before");
    assert_eq!(bench.server(&to(2, 80, SYN)), RS1, "others go by the new service");
    assert_eq!(both(&mut bench, RST | ACK), [RS2; 2]);
    assert_eq!((bench.loads(0), bench.loads(1)), ((1, 0), (0, 2)));
    bench.wait(Span::from_secs(11));
    assert_eq!(both(&mut bench, SYN), [RS1, RS2], "what is over goes by the new service, too");
    bench.forwarder.adopt(Arc::new(wildcard(&bench.loads, false)));
    assert_eq!(bench.reason(&to(2, 80, ACK)), DropReason::NoConnection, "its service was removed");
    bench.forwarder.adopt(Arc::new(wildcard(&bench.loads, true)));
    assert_eq!(bench.server(&to(2, 80, ACK)), RS1, "and there again");
    assert_eq!(bench.reason(&to(3, 80, ACK)), DropReason::NoConnection);
}

#[test]
fn wildcard_connections_expire() {
    let mut bench = Bench::with_wildcard(true, 1000);
    for port in 1..=100 {
        bench.server(&to(1, port, SYN));
    }
    assert_eq!((bench.loads(0), bench.loads(1)), ((1, 0), (99, 0)), "port 80 is the web's");
    bench.wait(Span::from_secs(60));
    assert_eq!(bench.reason(&to(1, 7, ACK)), DropReason::NoConnection, "it has expired");
    for _ in 0..3 {
        while bench.forwarder.sweep(bench.now) {}
        bench.wait(Span::from_secs(2));
    }
    assert_eq!((bench.loads(0), bench.loads(1)), ((0, 0), (0, 0)));
    assert_eq!((bench.counters.expired.get(), bench.counters.entries.get()), (100, 0));
}

#[test]
fn a_full_wildcard_table_takes_no_connection() {
    let mut bench = Bench::new(snapshot());
    bench.forwarder.adopt(Arc::new(wildcard(&bench.loads, true)));
    assert_eq!(bench.reason(&to(1, 443, SYN)), DropReason::TableFull, "there is no table yet");
    assert_eq!(bench.server(&to(1, 80, SYN)), RS1);
    let mut bench = Bench::with_wildcard(true, 1);
    let open = |bench: &mut Bench, port| [SYN, ACK].map(|flags| bench.decide(&to(1, port, flags)));
    for port in 1000..1020 {
        open(&mut bench, port);
    }
    assert_eq!(bench.reason(&to(1, 2000, SYN)), DropReason::TableFull);
    assert_eq!(bench.server(&to(1, 80, SYN)), RS1, "another table");
}

/// A server at its upper threshold gets no connections until it is below the lower one.
#[test]
fn an_overloaded_server_is_not_picked() {
    let mut bench = Bench::new(snapshot());
    let mut limited = snapshot();
    let of =
        |id| Candidate { thresholds: Thresholds { upper: 2, lower: 1 }, ..Candidate::new(ServerId(id), 1) };
    limited.pools[0] = limited.pools[0].successor(Params::default(), [1, 0].map(of), &bench.loads);
    bench.forwarder.adopt(Arc::new(limited));
    assert_eq!([1, 2, 3, 4].map(|port| bench.server(&syn(port))), [RS2, RS1, RS2, RS1]);
    assert_eq!(bench.reason(&syn(5)), DropReason::NoServer);
    let close = |bench: &mut Bench, port| {
        for flag in [ACK, RST] {
            bench.server(&frames::tcp((CLIENT.0, port), WEB, flag, &[]));
        }
        bench.wait(Span::from_secs(11));
        bench.forwarder.sweep_all(bench.now);
    };
    close(&mut bench, 1);
    assert_eq!(bench.loads(1), (1, 0));
    assert_eq!(bench.reason(&syn(5)), DropReason::NoServer, "one is not below the lower threshold");
    close(&mut bench, 3);
    assert_eq!([5, 6].map(|port| bench.server(&syn(port))), [RS2, RS2]);
}

#[test]
fn connections_of_a_removed_or_quiesced_server() {
    let mut bench = Bench::new(snapshot());
    assert_eq!((bench.server(&syn(1)), bench.server(&syn(2))), (RS2, RS1));
    let mut changed = snapshot();
    changed.routes[0] = Route::Removed;
    changed.pools[0] = Pool::new([]); // and the other server quiesced
    bench.forwarder.adopt(Arc::new(changed));
    assert_eq!(bench.server(&frames::tcp((CLIENT.0, 1), WEB, ACK, &[])), RS2, "quiesced: it goes on");
    assert_eq!(bench.reason(&frames::tcp((CLIENT.0, 2), WEB, ACK, &[])), DropReason::ServerRemoved);
    assert_eq!(bench.reason(&syn(3)), DropReason::NoServer);
}

#[test]
fn a_cut_ends_connections_and_reschedules_new_ones() {
    let mut bench = Bench::new(snapshot());
    assert_eq!((bench.server(&syn(1)), bench.server(&syn(2))), (RS2, RS1));
    let ack = |port| frames::tcp((CLIENT.0, port), WEB, ACK, &[]);
    assert_eq!((bench.server(&ack(1)), bench.server(&ack(2))), (RS2, RS1));
    let mut changed = snapshot();
    changed.routes[0] = Route::Cut;
    bench.forwarder.adopt(Arc::new(changed));
    for _ in 0..2 {
        assert_eq!(bench.reason(&ack(2)), DropReason::ServerDown, "each frame has its answer");
    }
    assert!(bench.forwarder.is_answered(DropReason::ServerDown));
    assert_eq!(bench.server(&ack(1)), RS2, "other connections go on");
    bench.forwarder.adopt(Arc::new(snapshot()));
    assert_eq!(bench.server(&ack(2)), RS1, "the server is back before the client has sent a reset");
}

/// A client that sends without pause would otherwise stay bound to it for ever.
#[test]
fn frames_do_not_renew_connections_of_a_removed_server() {
    let mut bench = Bench::new(snapshot());
    assert_eq!((bench.server(&syn(1)), bench.server(&syn(2))), (RS2, RS1));
    let mut changed = snapshot();
    changed.routes[0] = Route::Removed;
    bench.forwarder.adopt(Arc::new(changed));
    for _ in 0..6 {
        bench.wait(Span::from_secs(9)); // a half-open connection lives for 60 s
        assert_eq!(bench.reason(&frames::tcp((CLIENT.0, 2), WEB, ACK, &[])), DropReason::ServerRemoved);
    }
    bench.wait(Span::from_secs(9));
    assert_eq!(bench.reason(&frames::tcp((CLIENT.0, 2), WEB, ACK, &[])), DropReason::NoConnection);
}

/// A service may hold 89 of 100 entries while there are other services.
#[test]
fn a_service_at_its_share_keeps_its_connections() {
    let mut bench = Bench::with_capacity(snapshot(), 100);
    for port in 1000..1089 {
        bench.server(&syn(port));
        bench.server(&frames::tcp((CLIENT.0, port), WEB, ACK, &[]));
    }
    assert_eq!(bench.reason(&syn(2000)), DropReason::TableFull);
    assert_eq!((bench.loads(0), bench.loads(1)), ((44, 0), (45, 0)));
    for port in 1000..1089 {
        bench.server(&frames::tcp((CLIENT.0, port), WEB, ACK, &[]));
    }
}

#[test]
fn a_syn_flood_evicts_no_established_connection() {
    let mut bench = Bench::with_capacity(snapshot(), 1000);
    for port in 1000..1500 {
        bench.server(&syn(port));
        bench.server(&frames::tcp((CLIENT.0, port), WEB, ACK, &[]));
    }
    for n in 0..20_000u32 {
        bench.decide(&frames::tcp((Ipv4Addr::from_bits(0x0a00_0000 + n), 7), WEB, SYN, &[]));
    }
    for port in 1000..1500 {
        bench.server(&frames::tcp((CLIENT.0, port), WEB, ACK, &[]));
    }
    assert_eq!(bench.counters.drops(DropReason::TableFull).get(), 0, "half-open ones gave way");
    assert_eq!(bench.counters.evicted.get(), 19_611, "389 others found room");
    let (a, b) = (bench.loads(0), bench.loads(1));
    assert_eq!(a.0 + b.0 + a.1 + b.1, 889, "loads are what is in the table");
}

#[test]
fn frames_for_other_macs_are_dropped() {
    let mut bench = Bench::new(snapshot());
    let mut frame = syn(1);
    frame[..6].copy_from_slice(&ROUTER);
    assert_eq!(bench.reason(&frame), DropReason::OtherHost);
}

#[test]
fn a_full_sweep_takes_two_seconds() {
    let mut resolved = snapshot();
    resolved.routes[2] = resolved.routes[0];
    // 3997 buckets: nearly two become due per millisecond.
    let mut bench = Bench::with_capacity(resolved, 11_990);
    for port in 1000..2000 {
        bench.server(&frames::udp((CLIENT.0, port), DNS, b"query"));
    }
    bench.wait(Span::from_millis(300_000 - 1));
    while bench.forwarder.sweep(bench.now) {}
    assert_eq!(bench.loads(2), (0, 1000), "none has expired yet");
    for _ in 0..=2000 {
        bench.wait(Span::from_millis(1));
        while bench.forwarder.sweep(bench.now) {}
    }
    assert_eq!(bench.loads(2), (0, 0));
}

/// A frame that ends where its buffer does.
struct Brimful([Vec<u8>; 1]);

impl Batch for Brimful {
    fn len(&self) -> usize {
        1
    }

    fn frame(&mut self, index: usize) -> &mut [u8] {
        &mut self.0[index]
    }

    fn may_be_cut(&self, _: usize) -> bool {
        true
    }
}

#[test]
fn a_frame_cut_by_its_driver_is_not_truncated() {
    let whole = frames::tcp(CLIENT, WEB, SYN, &[b'x'; 1400]);
    let verdict = |bench: &mut Bench, batch: &mut dyn Batch| {
        let mut verdicts = Vec::new();
        bench.forwarder.decide(batch, bench.now, &mut verdicts);
        verdicts[0]
    };
    let mut bench = Bench::new(snapshot());
    let cut = verdict(&mut bench, &mut Brimful([whole[..1024].to_vec()]));
    assert_eq!(cut, Verdict::Drop(DropReason::CutByDriver));
    assert_eq!(bench.counters.drops(DropReason::CutByDriver).get(), 1);
    assert_eq!(bench.reason(&whole[..1024]), DropReason::Truncated, "no buffer ends there");
    let fits = verdict(&mut bench, &mut Brimful([whole]));
    assert_eq!(fits, Verdict::Forward(InterfaceIndex(0)), "a whole frame may end there, too");
}

/// A frame of which only the first part is contiguous.
struct Split {
    beginning: Vec<u8>,
    rest: usize,
}

impl Batch for Split {
    fn len(&self) -> usize {
        1
    }

    fn frame(&mut self, _: usize) -> &mut [u8] {
        &mut self.beginning
    }

    fn rest(&self, _: usize) -> usize {
        self.rest
    }
}

#[test]
fn a_multi_buffer_frame_is_decided_by_the_first() {
    for frame in [frames::tcp(CLIENT, WEB, SYN, &[b'x'; 8000]), frames::udp(CLIENT, DNS, &[b'x'; 8000])] {
        let mut bench = Bench::new(resolved());
        let mut decide = |beginning: usize, rest: usize| {
            let mut batch = Split { beginning: frame[..beginning].to_vec(), rest };
            let mut verdicts = Vec::new();
            bench.forwarder.decide(&mut batch, bench.now, &mut verdicts);
            verdicts[0]
        };
        assert_eq!(decide(3840, frame.len() - 3840), Verdict::Forward(InterfaceIndex(0)));
        assert_eq!(
            decide(3840, frame.len() - 3841),
            Verdict::Drop(DropReason::Truncated),
            "a byte is missing"
        );
        assert_eq!(decide(30, frame.len() - 30), Verdict::Drop(DropReason::Truncated), "within its header");
        let bytes: u64 = (0..3).map(|id| bench.counters.server(ServerId(id)).bytes.get()).sum();
        assert_eq!(bytes, frame.len() as u64 - 14, "by the IP length");
    }
}

/// [`snapshot`] with a known MAC address for every server.
fn resolved() -> Snapshot {
    let mut snapshot = snapshot();
    let server = Some(NextHop { interface: InterfaceIndex(0), mac: Some(RS1) });
    snapshot.routes = vec![Route::new(&snapshot.own_macs, server); 3];
    snapshot
}
