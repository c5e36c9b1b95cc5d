//! The forwarder under test, with the same servers for a service of each protocol, and the frames to it.

use crate::naive::{Fate, Flow, Naive, Ports, Setup};
use crate::support::frames::{self, DIRECTOR};
use directrix::flow::FlowTable;
use directrix::forward::{Forwarder, NextHop, Route, ServiceMap, Snapshot, Verdict};
use directrix::hash::Seed;
use directrix::model::{
    ConnReuseMode, InterfaceIndex, Match, MatchDestination, MatchId, Policy, PortRange, SchedulerFlags,
    ServerId, ServiceId,
};
use directrix::schedule::{Candidate, Loads, Params, Pool, Templates, Thresholds};
use directrix::stats::WorkerCounters;
use directrix::time::{Span, Tick};
use directrix::wire::{MacAddr, Protocol};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 150);
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80);
const SEED: Seed =
    Seed([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89]);
/// Bytes behind the header of a packet. Two fragments have the header and a part of them, and the rest.
const PAYLOAD: usize = 40;
/// Bytes of the first fragment.
const CUT: usize = 24;

pub(crate) struct Director {
    forwarder: Forwarder,
    loads: Arc<Loads>,
    templates: Arc<Templates>,
    counters: Arc<WorkerCounters>,
    start: Tick,
    is_v6: bool,
    destinations: Vec<MatchDestination>,
    verdicts: Vec<Verdict>,
}

impl Director {
    pub(crate) fn new(setup: &Setup) -> Self {
        let servers = setup.weights.len();
        let (loads, counters) = (Arc::new(Loads::new(servers)), Arc::new(WorkerCounters::new(servers, 1)));
        let templates = Arc::new(Templates::new(1000, servers, SEED));
        let (shared, own) = ((Arc::clone(&loads), Arc::clone(&templates)), Arc::clone(&counters));
        let mut forwarder = Forwarder::new(1024, SEED, shared.0, shared.1, own);
        forwarder.set_wide_table(FlowTable::new(1024, SEED));
        forwarder.adopt(Arc::new(snapshot(setup, &loads)));
        let (start, is_v6) = (Tick(setup.start), setup.is_v6);
        let destinations = destinations(setup);
        Self { forwarder, loads, templates, counters, start, is_v6, destinations, verdicts: Vec::new() }
    }

    fn tick(&self, now_ms: u64) -> Tick {
        self.start.after(Span::from_millis(now_ms as u32))
    }

    /// Decides about a frame. Expired connections are swept before, as the model has none.
    pub(crate) fn decide(&mut self, frame: Vec<u8>, now_ms: u64) -> Fate {
        let (mut batch, now) = ([frame], self.tick(now_ms));
        self.forwarder.sweep_all(now);
        self.forwarder.decide(&mut batch[..], now, &mut self.verdicts);
        match self.verdicts[0] {
            Verdict::Forward(_) => Fate::Forwarded(usize::from(batch[0][4]) << 8 | usize::from(batch[0][5])),
            Verdict::Drop(reason) => Fate::Dropped(reason),
            Verdict::Hold => Fate::Held,
            Verdict::HandOver => panic!("there is one worker"),
        }
    }

    /// Compares connections, templates, loads and counters with the model's.
    pub(crate) fn equals(&mut self, naive: &mut Naive, now_ms: u64) {
        let now = self.tick(now_ms);
        self.forwarder.sweep_all(now);
        naive.expire(now_ms);
        self.connections_equal(naive);
        assert_eq!(self.templates.list(now).count(), naive.templates(now_ms), "templates");
        for (server, id) in (0..naive.overloaded.len()).map(|server| (server, ServerId(server as u16))) {
            let (load, counters) = (self.loads.get(id), self.counters.server(id));
            assert_eq!((load.active.into(), load.inactive.into()), naive.load(server), "{id:?}");
            assert_eq!(self.loads.is_overloaded(id), naive.overloaded[server], "{id:?}");
            assert_eq!(counters.connections.get(), naive.opened[server], "{id:?}");
            assert_eq!(counters.packets.get(), naive.forwarded[server], "{id:?}");
        }
    }

    fn connections_equal(&self, naive: &Naive) {
        let entries = (0..).map_while(|bucket| self.forwarder.connections(bucket)).flatten();
        let listed = entries.map(|entry| {
            let MatchDestination { protocol, port, .. } =
                self.destinations[usize::from(entry.key.match_id.0)];
            let port = entry.key.port.or(port).expect("in the key or in its match");
            let flow = (protocol, (entry.key.client, entry.key.client_port).into(), port);
            (flow, (usize::from(entry.server.0), entry.state.name(), entry.deadline))
        });
        let expected = naive.connections.iter().map(|(flow, connection)| {
            (*flow, (connection.server, connection.state, self.tick(connection.deadline_ms)))
        });
        assert_eq!(listed.collect::<HashMap<Flow, _>>(), expected.collect());
    }

    fn vip(&self, port: u16) -> SocketAddr {
        if self.is_v6 { (VIP6, port).into() } else { (VIP, port).into() }
    }

    /// A segment with control bits, a datagram, or a packet with a chunk of this type.
    pub(crate) fn packet(&self, (protocol, client, port): Flow, event: u8) -> Vec<u8> {
        packet(protocol, client, self.vip(port), event)
    }

    /// The same in two fragments.
    pub(crate) fn fragments(&self, flow: Flow, event: u8, identification: u16) -> [Vec<u8>; 2] {
        frames::fragmented(&self.packet(flow, event), CUT, identification)
    }

    /// An ICMP error about a packet of the flow's server to its client.
    pub(crate) fn error(&self, (protocol, client, port): Flow) -> Vec<u8> {
        let quoted = &packet(protocol, self.vip(port), client, 0)[14..];
        if self.is_v6 {
            frames::icmp_error_v6(VIP6, &quoted[..60])
        } else {
            frames::icmp_error(VIP, &quoted[..28])
        }
    }
}

fn packet(protocol: Protocol, from: SocketAddr, to: SocketAddr, event: u8) -> Vec<u8> {
    let (payload, chunk) = (&[0x5a; PAYLOAD], [(event, PAYLOAD as u16)]);
    match (from.ip(), to.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let (from, to) = ((source, from.port()), (destination, to.port()));
            match protocol {
                Protocol::Tcp => frames::tcp(from, to, event, payload),
                Protocol::Udp => frames::udp(from, to, payload),
                Protocol::Sctp => frames::sctp(from, to, &chunk),
            }
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let (from, to) = ((source, from.port()), (destination, to.port()));
            match protocol {
                Protocol::Tcp => frames::tcp_v6(from, to, event, payload),
                Protocol::Udp => frames::udp_v6(from, to, payload),
                Protocol::Sctp => frames::sctp_v6(from, to, &chunk),
            }
        }
        ends => panic!("two families: {ends:?}"),
    }
}

/// One of 40 clients.
pub(crate) fn client(is_v6: bool, number: u8) -> SocketAddr {
    let port = 1000 + u16::from(number);
    if is_v6 {
        let network = u16::from(number) & 3;
        (Ipv6Addr::new(0x2001, 0xdb8, 1, network, 0, 0, 0, number.into()), port).into()
    } else {
        (Ipv4Addr::new(198, 51, 100, number), port).into()
    }
}

/// Port of the service of a protocol.
pub(crate) fn port(protocol: Protocol) -> u16 {
    match protocol {
        Protocol::Tcp => 80,
        Protocol::Udp => 53,
        Protocol::Sctp => 3868,
    }
}

/// The matches of all services.
fn matches(setup: &Setup) -> Vec<Match> {
    let vip: IpAddr = if setup.is_v6 { VIP6.into() } else { VIP.into() };
    let of_protocol = |protocol: Protocol| {
        let first = port(protocol);
        let ranges = match setup.ports {
            Ports::One => vec![PortRange::one(first)],
            Ports::Two => vec![PortRange::one(first), PortRange::one(first + 1)],
            Ports::Range => vec![PortRange { first, last: first + 1 }],
            Ports::Every => vec![PortRange::EVERY],
        };
        ranges.into_iter().map(move |ports| Match { protocol, vip, ports })
    };
    Protocol::ALL.into_iter().flat_map(of_protocol).collect()
}

/// The destinations of all matches, each once, by their ids.
fn destinations(setup: &Setup) -> Vec<MatchDestination> {
    let mut destinations: Vec<_> = matches(setup).iter().map(Match::destination).collect();
    destinations.dedup();
    destinations
}

/// The service of a destination: one for each protocol, or the group.
fn service(setup: &Setup, of: &MatchDestination) -> ServiceId {
    let place = Protocol::ALL.iter().position(|protocol| *protocol == of.protocol);
    ServiceId(if setup.is_group { 0 } else { place.expect("it is one of all") as u16 })
}

fn snapshot(setup: &Setup, loads: &Loads) -> Snapshot {
    let destinations = destinations(setup);
    let id = |of: &Match| destinations.iter().position(|known| *known == of.destination());
    let matches: Vec<_> =
        matches(setup).iter().map(|of| (*of, MatchId(id(of).expect("each has one") as u16))).collect();
    let candidates =
        (0..).zip(setup.weights.iter().zip(&setup.upper)).map(|(id, (weight, upper))| Candidate {
            thresholds: Thresholds { upper: *upper, lower: 0 },
            ..Candidate::new(ServerId(id), *weight)
        });
    let flags = SchedulerFlags { fallback: false, port: true };
    let Setup { scheduler, persistence, .. } = *setup;
    let params = Params { scheduler, flags, persistence, ..Params::default() };
    let pool = Pool::new([]).successor(params, candidates, loads);
    let server = |id: u16| {
        let [high, low] = id.to_be_bytes();
        NextHop { interface: InterfaceIndex(0), mac: Some(MacAddr([2, 1, 0, 0, high, low])) }
    };
    let own_macs = vec![MacAddr(DIRECTOR)];
    Snapshot {
        routes: (0..setup.weights.len() as u16).map(|id| Route::new(&own_macs, Some(server(id)))).collect(),
        own_macs,
        services: ServiceMap::new(&matches),
        matches: destinations.iter().map(|of| service(setup, of)).collect(),
        pools: vec![pool.clone(), pool.clone(), pool],
        policy: Policy {
            conn_reuse_mode: ConnReuseMode(setup.reuse),
            sloppy_tcp: setup.sloppy,
            sloppy_sctp: setup.sloppy,
            schedule_icmp: setup.schedule_icmp,
            ..Policy::default()
        },
        ..Snapshot::default()
    }
}
