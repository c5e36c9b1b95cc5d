//! Forwarding loops of up to three directors on simulated segments: 64 hops at most in any arrangement.
//!
//! An arrangement is a directed graph, with an edge from each director to each of its real servers: directors,
//! itself included, and one host. `tests/e2e/loops.rs` has rings of real directors in namespaces.
#![allow(missing_docs)]

mod support;

use directrix::forward::{Forwarder, NextHop, Route, ServiceMap, Snapshot, Verdict};
use directrix::hash::Seed;
use directrix::model::{InterfaceIndex, MatchId, Scheduler, ServerId, ServiceAddress, ServiceId};
use directrix::schedule::{Candidate, Loads, Params, Pool, Templates};
use directrix::stats::{DropReason, WorkerCounters};
use directrix::time::Tick;
use directrix::wire::{MacAddr, Protocol};
use std::net::Ipv4Addr;
use std::sync::Arc;
use support::frames::{self, ACK, DIRECTOR, End, SYN};

const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 150);
const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const HOST_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xee]);
const SEED: Seed =
    Seed([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89]);

/// By [`ServiceId`]. All have the same real servers, and rr as their scheduler.
const SERVICES: [(Protocol, u16); 3] = [(Protocol::Tcp, 80), (Protocol::Udp, 53), (Protocol::Udp, 54)];
/// Service with one-packet scheduling: a frame takes another edge each time that it returns.
const ONE_PACKET: usize = 2;
/// Initial times to live, and hops from each with which a ring ends.
const TTLS: [(u8, usize); 5] = [(30, 30), (64, 64), (65, 64), (128, 64), (255, 64)];
/// Hops in a loop of two directors on one segment. The tenth frame arrives with a TTL below 56, from the MAC
/// address that it would be sent to.
const PAIR: usize = 10;

/// Interfaces of the directors. Each receives on its first one only.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Layout {
    /// One interface each, on one segment.
    OneArm,
    /// Two interfaces each; the second one is on the segment of the real servers' first one. No frame comes
    /// from the MAC address that it would be sent to.
    TwoArms,
}

/// Real servers of a director: bit `n` is director `n`, the bit after the last director is the host.
type Servers = u16;

/// Directors by number, with their real servers.
#[derive(Clone, Debug)]
struct Arrangement {
    layout: Layout,
    servers: Vec<Servers>,
}

/// Course of a frame: how often it is on a segment, and why it ends; `None`: the host receives it.
#[derive(Clone, Copy, Debug)]
struct Course {
    hops: usize,
    dropped: Option<DropReason>,
}

/// A frame that the client sends to director 0.
struct Sent {
    service: usize,
    /// Of [`TTLS`].
    hops_max: usize,
    bytes: Vec<u8>,
}

impl Layout {
    fn own_macs(self, director: usize) -> Vec<MacAddr> {
        let interfaces = if self == Self::OneArm { 1 } else { 2 };
        (0..interfaces).map(|interface| mac(director, interface)).collect()
    }

    /// Egress interface of all directors.
    fn egress(self) -> u8 {
        u8::from(self != Self::OneArm)
    }
}

fn mac(director: usize, interface: u8) -> MacAddr {
    let [.., first] = DIRECTOR;
    MacAddr([2, 0, 0, 0, 0, first + 0x10 * director as u8 + interface])
}

impl Arrangement {
    fn size(&self) -> usize {
        self.servers.len()
    }

    fn has(&self, director: usize, server: usize) -> bool {
        self.servers[director] >> server & 1 == 1
    }

    fn forwarder(&self, director: usize) -> Forwarder {
        let (own_macs, interface) = (self.layout.own_macs(director), InterfaceIndex(self.layout.egress()));
        let each = self.size() + 1; // server numbers of each service
        let routes = (0..SERVICES.len() * each).map(|id| {
            let server = id % each;
            let mac = if server < self.size() { mac(server, 0) } else { HOST_MAC };
            Route::new(&own_macs, Some(NextHop { interface, mac: Some(mac) }))
        });
        let routes: Vec<_> = routes.collect();
        let loads = Arc::new(Loads::new(routes.len()));
        let pools = (0..SERVICES.len()).map(|service| {
            let servers = (0..each).filter(|server| self.has(director, *server));
            let servers = servers.map(|server| Candidate::new(ServerId((service * each + server) as u16), 1));
            let (scheduler, one_packet) = (Scheduler::Rr, service == ONE_PACKET);
            Pool::new([]).successor(Params { scheduler, one_packet, ..Params::default() }, servers, &loads)
        });
        let services = SERVICES.iter().zip(0..).map(|((protocol, port), id)| {
            (ServiceAddress { protocol: *protocol, address: (VIP, *port).into() }, MatchId(id))
        });
        let services = ServiceMap::new(&services.collect::<Vec<_>>());
        let matches = (0..).map(ServiceId).take(SERVICES.len()).collect();
        let snapshot = Snapshot { matches, pools: pools.collect(), services, ..Snapshot::default() };
        let counters = Arc::new(WorkerCounters::new(routes.len(), SERVICES.len()));
        let templates = Arc::new(Templates::new(1, routes.len(), SEED));
        let mut forwarder = Forwarder::new(64, SEED, loads, templates, counters);
        forwarder.adopt(Arc::new(Snapshot { own_macs, routes, ..snapshot }));
        forwarder
    }

    /// Delivers frames from the client to director 0, and all that directors send, until none is left.
    fn deliver(&self, sent: &[Sent]) -> Vec<Course> {
        let mut courses = vec![Course { hops: 1, dropped: None }; sent.len()];
        let mut directors: Vec<_> = (0..self.size()).map(|number| self.forwarder(number)).collect();
        let mut arriving: Vec<Vec<(usize, Vec<u8>)>> = vec![Vec::new(); self.size()];
        arriving[0] = sent.iter().map(|sent| sent.bytes.clone()).enumerate().collect();
        while let Some(number) = arriving.iter().position(|frames| !frames.is_empty()) {
            let (ids, mut batch): (Vec<_>, Vec<_>) =
                std::mem::take(&mut arriving[number]).into_iter().unzip();
            let mut verdicts = Vec::new();
            directors[number].decide(&mut batch[..], Tick(1000), &mut verdicts);
            for ((id, frame), verdict) in ids.into_iter().zip(batch).zip(verdicts) {
                if let Verdict::Drop(reason) = verdict {
                    courses[id].dropped = Some(reason);
                    continue;
                }
                courses[id].hops += 1;
                assert!(courses[id].hops <= sent[id].hops_max, "{self:?}");
                let own =
                    |number: &usize| self.layout.own_macs(*number).iter().any(|mac| mac.0 == frame[..6]);
                match (0..self.size()).find(own) {
                    Some(receiver) => arriving[receiver].push((id, frame)),
                    None => assert_eq!(frame[..6], HOST_MAC.0),
                }
            }
        }
        courses
    }

    /// True if a frame on this path of directors can come to one of them again.
    fn has_cycle(&self, path: &[usize]) -> bool {
        let servers = (0..self.size()).filter(|server| self.has(path[path.len() - 1], *server));
        let mut paths = servers.map(|server| (server, [path, &[server]].concat()));
        paths.any(|(server, longer)| path.contains(&server) || self.has_cycle(&longer))
    }
}

/// Two frames of a connection for each service and each initial TTL; the second one has a priority tag.
fn traffic() -> Vec<Sent> {
    SERVICES.into_iter().enumerate().flat_map(traffic_of).collect()
}

fn traffic_of((service, (protocol, port)): (usize, (Protocol, u16))) -> impl Iterator<Item = Sent> {
    TTLS.into_iter().zip(1000..).flat_map(move |((ttl, hops_max), client)| {
        let (client, server): (End, End) = ((CLIENT, client), (VIP, port));
        let frame = |flags| match protocol {
            Protocol::Tcp => frames::tcp(client, server, flags, &[]),
            _ => frames::udp(client, server, b"query"),
        };
        let both = [frame(SYN), frame(ACK)].map(|frame| frames::with_ttl(&frame, ttl));
        let both = [both[0].clone(), frames::tagged(&both[1], 0)];
        both.map(|bytes| Sent { service, hops_max, bytes })
    })
}

/// Frames to a director without real servers are refused, others arrive at the host or loop. Nothing that can
/// arrive is taken for a loop.
fn check(arrangement: &Arrangement, sent: &[Sent], courses: &[Course]) {
    let cycle = arrangement.has_cycle(&[0]);
    for (sent, Course { hops, dropped }) in sent.iter().zip(courses) {
        let expected = match dropped {
            None => true,
            Some(DropReason::NoServer) => arrangement.servers.contains(&0),
            // After a SYN that was dropped.
            Some(DropReason::NoConnection) => cycle || arrangement.servers.contains(&0),
            Some(DropReason::Looped) => cycle,
            Some(DropReason::TtlExceeded) => cycle && sent.service == ONE_PACKET && *hops == sent.hops_max,
            Some(_) => false,
        };
        assert!(expected, "{dropped:?} after {hops} hops: {arrangement:?}");
    }
}

/// Every directed graph of one to three directors, each with and without the host.
#[test]
fn no_arrangement_makes_more_than_64_hops() {
    let sent = traffic();
    for (layout, size) in
        [Layout::OneArm, Layout::TwoArms].into_iter().flat_map(|layout| [1, 2, 3].map(|size| (layout, size)))
    {
        let each = size + 1;
        for bits in 0..1u16 << (size * each) {
            let servers = (0..size).map(|director| bits >> (director * each) & ((1 << each) - 1)).collect();
            let arrangement = Arrangement { layout, servers };
            check(&arrangement, &sent, &arrangement.deliver(&sent));
        }
    }
}

/// Servers of each director.
type Lists<'a> = [&'a [usize]; 3];

/// The most hops of a frame with one interface and with two.
#[test]
fn known_loops_end_after_known_hops() {
    const HOST: usize = 3;
    let sent = traffic();
    let cases: [(&str, Lists<'_>, [usize; 2]); 7] = [
        ("no loop", [&[1], &[2], &[HOST]], [4, 4]),
        ("a director with itself", [&[0], &[], &[]], [2, 2]),
        ("a director with itself and the host", [&[0, HOST], &[], &[]], [2, 2]),
        ("two with each other", [&[1], &[0], &[]], [PAIR, 64]),
        ("two with each other behind a third one", [&[1], &[2], &[1]], [PAIR, 64]),
        ("a ring of three", [&[1], &[2], &[0]], [64, 64]),
        ("all with all", [&[1, 2], &[0, 2], &[0, 1]], [64, 64]),
    ];
    for (name, servers, hops) in cases {
        for (layout, hops) in [Layout::OneArm, Layout::TwoArms].into_iter().zip(hops) {
            let bits = servers.map(|servers| servers.iter().map(|server| 1 << server).sum());
            let arrangement = Arrangement { layout, servers: bits.to_vec() };
            let courses = arrangement.deliver(&sent);
            check(&arrangement, &sent, &courses);
            assert_eq!(courses.iter().map(|course| course.hops).max(), Some(hops), "{name}, {layout:?}");
        }
    }
}
