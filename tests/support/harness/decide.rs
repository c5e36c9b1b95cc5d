//! The whole decision: a byte string is a sequence of frames, waits and new snapshots. `ledger` has the
//! invariants after every batch.

use super::super::frames::{self, DIRECTOR, ROUTER};
use super::input::Input;
use super::ledger::Ledger;
use super::packet::make_checksum_right;
use super::packet_v6;
use directrix::flow::FlowTable;
use directrix::forward::{
    BATCH, Forwarder, NextHop, RealServerAddresses, Route, ServiceMap, Snapshot, VlanServices,
};
use directrix::hash::Seed;
use directrix::model::{
    ConnReuseMode, InterfaceIndex, Match, MatchId, Persistence, Policy, PortRange, ServerId, ServiceId,
    Timeouts,
};
use directrix::schedule::{Candidate, Loads, Params, Pool, Templates};
use directrix::stats::WorkerCounters;
use directrix::time::{Span, Tick};
use directrix::wire::vlan::Vlans;
use directrix::wire::{MacAddr, Protocol};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

pub const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 150);
pub const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80);
pub const SERVERS: u16 = 6;
/// By [`ServerId`].
pub type Weights = [u16; SERVERS as usize];
const SERVER_SIDE: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x5d]);
const SEED: Seed = Seed([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 7]);

/// The servers of each service, by [`ServiceId`]. The last four are groups and a service within a VLAN.
const SERVICES: [&[u16]; 10] =
    [&[0, 1, 2], &[3], &[5, 4], &[5, 0], &[1, 4], &[2], &[3, 2], &[1, 5, 3], &[0, 4], &[4, 2]];
/// The group that may be persistent.
const GROUP: ServiceId = ServiceId(7);
/// The VLAN of the last service.
pub const VLAN: u16 = 7;

/// Clients that are real servers of these services.
pub const REAL_SERVERS: [(ServiceId, IpAddr); 2] = [
    (ServiceId(0), IpAddr::V4(Ipv4Addr::new(198, 51, 100, 21))),
    (ServiceId(4), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 21))),
];

/// A match of a service.
pub struct Taken {
    pub of: Match,
    pub service: ServiceId,
    /// 0: none.
    pub vlan: u16,
}

const fn taken(service: u16, protocol: Protocol, vip: IpAddr, ports: PortRange) -> Taken {
    let vlan = if service == 9 { VLAN } else { 0 };
    Taken { of: Match { protocol, vip, ports }, service: ServiceId(service), vlan }
}

const fn range(first: u16, last: u16) -> PortRange {
    PortRange { first, last }
}

/// By [`MatchId`].
pub static MATCHES: [Taken; 15] = {
    let (tcp, udp, v4, v6) = (Protocol::Tcp, Protocol::Udp, IpAddr::V4(VIP), IpAddr::V6(VIP6));
    [
        taken(0, tcp, v4, PortRange::one(80)),
        taken(1, udp, v4, PortRange::one(53)),
        taken(2, tcp, v4, PortRange::one(443)),
        taken(3, tcp, v4, PortRange::EVERY),
        taken(4, tcp, v6, PortRange::one(80)),
        taken(5, udp, v6, PortRange::one(53)),
        taken(6, udp, v6, PortRange::EVERY),
        taken(7, tcp, v4, PortRange::one(8443)),
        taken(7, tcp, v4, range(8000, 8009)),
        taken(7, udp, v4, range(5060, 5061)),
        taken(7, udp, v4, PortRange::one(5070)),
        taken(8, udp, v6, range(5060, 5080)),
        taken(8, tcp, v6, PortRange::one(8443)),
        taken(9, tcp, v4, PortRange::one(80)),
        taken(9, udp, v6, range(53, 54)),
    ]
};

/// Counters at the end of a run.
pub struct Fates {
    pub counters: Arc<WorkerCounters>,
    /// Connections of its own clients that a server of weight 0 got.
    pub kept: u64,
}

/// Runs `input`; returns what was counted.
pub fn check(input: &[u8]) -> Fates {
    let mut input = Input(input);
    let mut life = Run::begin(&mut input);
    while let Some(action) = input.next() {
        life.act(action, &mut input);
    }
    life.decide();
    life.ledger.everything_expires(&mut life.forwarder, life.now);
    Fates { counters: life.counters, kept: life.ledger.kept }
}

struct Run {
    forwarder: Forwarder,
    ledger: Ledger,
    counters: Arc<WorkerCounters>,
    loads: Arc<Loads>,
    templates: Arc<Templates>,
    now: Tick,
    batch: Vec<Vec<u8>>,
}

impl Run {
    /// All servers present, tables for 1 to 64 connections each, one of two services persistent, and any
    /// start tick.
    fn begin(input: &mut Input<'_>) -> Self {
        let shape = input.byte();
        let capacity = usize::from(shape % 64) + 1;
        let persistent = [ServiceId(0), ServiceId(2), ServiceId(4), GROUP][usize::from(shape >> 6)];
        let now = Tick(u32::from(input.word()) << 16);
        let loads = Arc::new(Loads::new(SERVERS.into()));
        let counters = Arc::new(WorkerCounters::new(SERVERS.into(), 1));
        let templates = Arc::new(Templates::new(capacity, SERVERS.into(), SEED));
        let (shared, own) = ((Arc::clone(&loads), Arc::clone(&templates)), Arc::clone(&counters));
        let mut forwarder = Forwarder::new(capacity, SEED, shared.0, shared.1, own);
        forwarder.set_wide_table(FlowTable::new(capacity, SEED));
        let (snapshot, weights) = snapshot(&mut Input(&[0, 5, 5, 5, 5, 5, 5]), persistent, &loads);
        let snapshot = Arc::new(snapshot);
        forwarder.adopt(Arc::clone(&snapshot));
        let mut ledger = Ledger::new(capacity, snapshot, Arc::clone(&loads), Arc::clone(&counters));
        (ledger.weights, ledger.persistent) = (weights, persistent);
        Self { forwarder, ledger, counters, loads, templates, now, batch: Vec::new() }
    }

    fn act(&mut self, action: u8, input: &mut Input<'_>) {
        match action % 8 {
            0 if action & 0x18 == 0 => self.push(error(input)),
            1 => self.push(any_v6(input)),
            0..=2 => self.push(tcp(input)),
            3 => self.push(udp(input)),
            4 if action & 0x18 == 0 => self.tag(input),
            4 => self.push(raw(input)),
            5 => self.corrupt(input),
            6 => self.wait(input),
            _ => self.adopt(input),
        }
    }

    fn push(&mut self, frame: Vec<u8>) {
        self.batch.push(frame);
        if self.batch.len() == BATCH {
            self.decide();
        }
    }

    fn decide(&mut self) {
        let mut batch = std::mem::take(&mut self.batch);
        self.ledger.decide(&mut self.forwarder, &mut batch, self.now);
    }

    /// Puts a tag in front of the last frame: of the VLAN with a service, of none, or of another one.
    fn tag(&mut self, input: &mut Input<'_>) {
        let shape = input.byte();
        let Some(frame) = self.batch.last_mut().filter(|frame| frame.len() >= 14) else { return };
        let vlan = [VLAN, VLAN, 0, u16::from(shape)][usize::from(shape & 3)];
        let tagged = if shape & 0xc0 == 0xc0 { frames::service_tagged } else { frames::tagged };
        *frame = tagged(frame, vlan);
    }

    /// Changes a byte of the last frame, or its source to the director's.
    fn corrupt(&mut self, input: &mut Input<'_>) {
        let (at, value) = (input.byte(), input.byte());
        let Some(frame) = self.batch.last_mut() else { return };
        match frame.get_mut(usize::from(at & 0x7f)) {
            Some(byte) => *byte ^= value,
            None if value & 1 == 0 => {
                frame.splice(6.min(frame.len())..12.min(frame.len()), DIRECTOR).for_each(drop)
            }
            None => return,
        }
        if at & 0x80 == 0 {
            make_checksum_right(frame);
        }
    }

    /// Sweeps, then waits for up to 42 minutes: frames may meet entries that expired meanwhile.
    fn wait(&mut self, input: &mut Input<'_>) {
        self.decide();
        while self.forwarder.sweep(self.now) {}
        self.templates.sweep(self.now, |_| true);
        self.ledger.balance(&self.forwarder);
        let unit_ms = [1, 50, 1000, 10_000][usize::from(input.byte() % 4)];
        self.now = self.now.after(Span::from_millis(u32::from(input.byte()) * unit_ms));
    }

    fn adopt(&mut self, input: &mut Input<'_>) {
        self.decide();
        let (snapshot, weights) = snapshot(input, self.ledger.persistent, &self.loads);
        let snapshot = Arc::new(snapshot);
        self.forwarder.adopt(Arc::clone(&snapshot));
        (self.ledger.snapshot, self.ledger.weights) = (snapshot, weights);
    }
}

/// MAC address of a server.
pub fn mac(server: u16) -> MacAddr {
    MacAddr([2, 1, 0, 0, (server >> 8) as u8, server as u8])
}

/// Snapshot from bytes. The first one selects one or two interfaces, timeouts, and IPVS's sysctls. One byte
/// per server selects its weight, whether its MAC address is known, and whether it is removed, or down with its connections cut.
/// Also returns the weights.
fn snapshot(input: &mut Input<'_>, persistent: ServiceId, loads: &Loads) -> (Snapshot, Weights) {
    let shape = input.byte();
    let own_macs = [MacAddr(DIRECTOR), SERVER_SIDE];
    let own_macs = own_macs[..1 + usize::from(shape & 1)].to_vec();
    let traits: Vec<u8> = (0..SERVERS).map(|_| input.byte()).collect();
    let interface = InterfaceIndex(own_macs.len() as u8 - 1);
    let server = |id: u16| {
        let (known, removed) = (traits[usize::from(id)] & 4 != 0, traits[usize::from(id)] & 24 == 24);
        (!removed).then(|| NextHop { interface, mac: known.then(|| mac(id)) })
    };
    let is_cut = |id: u16| traits[usize::from(id)] & 0xe0 == 0xe0;
    let weight = |id: u16| match is_cut(id) {
        true => 0,
        false => [0, 1, 3, u16::MAX][usize::from(traits[usize::from(id)] & 3)],
    };
    let policy = Policy {
        conn_reuse_mode: ConnReuseMode(shape >> 3 & 3),
        expire_nodest_conn: shape & 0x20 != 0,
        expire_quiescent_template: shape & 0x40 != 0,
        sloppy_tcp: shape & 0x80 != 0,
        ..Policy::default()
    };
    let candidate = |id: &u16| {
        let accepts_persistent = weight(*id) > 0 || !policy.expire_quiescent_template && !is_cut(*id);
        Candidate { accepts_persistent, ..Candidate::new(ServerId(*id), weight(*id)) }
    };
    let pool = |(service, ids): (u16, &&[u16])| {
        let persistence = (ServiceId(service) == persistent)
            .then_some(Persistence { timeout: Persistence::TIMEOUT, prefix: 32 });
        let rule = Params { persistence, ..Params::default() };
        Pool::new([]).successor(rule, ids.iter().map(candidate).collect::<Vec<_>>(), loads)
    };
    let route = |id: u16| {
        let route = Route::new(&own_macs, server(id));
        if is_cut(id) && route != Route::Removed {
            return Route::Cut;
        }
        if policy.expire_nodest_conn && weight(id) == 0 { route.quiesced() } else { route }
    };
    let snapshot = Snapshot {
        routes: (0..SERVERS).map(route).collect(),
        own_macs,
        services: services_of(0),
        vlans: VlanServices::new([(Vlans::new(&[VLAN]).expect("a VLAN"), services_of(VLAN))]),
        matches: MATCHES.iter().map(|of| of.service).collect(),
        pools: (0..).zip(&SERVICES).map(pool).collect(),
        timeouts: [Timeouts::default(), short(), endless()][usize::from(shape >> 1) % 3],
        real_servers: Arc::new(RealServerAddresses::new(REAL_SERVERS)),
        policy,
        ..Snapshot::default()
    };
    (snapshot, std::array::from_fn(|id| weight(id as u16)))
}

/// The services of a VLAN; 0: of none.
fn services_of(vlan: u16) -> ServiceMap {
    let of_vlan = (0..).map(MatchId).zip(&MATCHES).filter(|(_, of)| of.vlan == vlan);
    ServiceMap::new(&of_vlan.map(|(id, taken)| (taken.of, id)).collect::<Vec<_>>())
}

fn short() -> Timeouts {
    let ms = Span::from_millis;
    Timeouts { tcp: ms(1), tcp_fin: ms(2), udp: ms(1000) }
}

fn endless() -> Timeouts {
    Timeouts { tcp: Span::MAX, tcp_fin: Span::MAX, udp: Span::MAX }
}

/// One of 32 clients, and one of its two ports.
fn client(number: u8) -> frames::End {
    (Ipv4Addr::new(198, 51, 100, number & 31), 40_000 + u16::from(number >> 7))
}

/// One of 32 IPv6 clients, and one of its two ports.
fn client_v6(number: u8) -> frames::End6 {
    let host = u16::from(number & 31);
    (Ipv6Addr::new(0x2001, 0xdb8, host & 3, 0, 0, 0, 0, host), 40_000 + u16::from(number >> 7))
}

/// A TCP segment, a UDP datagram or an ICMP error over IPv6.
fn any_v6(input: &mut Input<'_>) -> Vec<u8> {
    const HOP_LIMIT: usize = 21;
    let (number, shape) = (input.byte(), input.byte());
    let client = if shape == 0x22 { (Ipv6Addr::LOCALHOST, 40_000) } else { client_v6(number) };
    let flags =
        [frames::SYN, frames::ACK, frames::FIN | frames::ACK, frames::RST][usize::from(shape >> 2 & 3)];
    let mut frame = match shape & 3 {
        0 => {
            let port = if number & 8 == 0 { 53 } else { 5080 };
            frames::udp_v6(client, (VIP6, port + u16::from(shape >> 7)), &vec![0x66; usize::from(shape)])
        }
        1 if shape & 0x10 == 0 => {
            let quoted = frames::tcp_v6((VIP6, 80), client, frames::ACK, &[0; 64]);
            frames::icmp_error_v6(VIP6, &quoted[14..14 + 36 + usize::from(shape >> 5) * 4])
        }
        _ => {
            let port = if number & 8 == 0 { 80 } else { 8443 };
            frames::tcp_v6(client, (VIP6, port + u16::from(shape == 0xff)), flags, &[])
        }
    };
    if number & 0x60 == 0x60 {
        frame[HOP_LIMIT] = 1;
    }
    frame
}

/// Sets the time to live of a frame by its client's byte.
fn live_for(mut frame: Vec<u8>, client: u8) -> Vec<u8> {
    const TIME_TO_LIVE: usize = 22;
    frame[TIME_TO_LIVE] = [64, 128, 255, 1][usize::from(client >> 5 & 3)];
    make_checksum_right(&mut frame);
    frame
}

fn tcp(input: &mut Input<'_>) -> Vec<u8> {
    let (number, flags) = (input.byte(), input.byte());
    let client = client(number);
    let which = usize::from(flags & 0x40 != 0) + usize::from(number & 2) + usize::from(number & 8) / 2;
    let port = [80, 443, 81, 80, 8443, 8001, 8009, 8010][which];
    let mut frame = frames::tcp(client, (VIP, port), 0, &[]);
    // Any flags, often the bare SYN or ACK.
    frame[47] = match flags & 0xc0 {
        0x80 => frames::SYN,
        0xc0 => frames::ACK,
        _ => flags & 0x3f,
    };
    live_for(frame, number)
}

/// An ICMP error, most often about a segment of a service to a client.
fn error(input: &mut Input<'_>) -> Vec<u8> {
    let (number, shape) = (input.byte(), input.byte());
    let port = [80, 443, 81, 53, 8443, 8001, 5060, 80][usize::from(shape & 7)];
    let from = if shape & 0xf8 == 0xf8 { Ipv4Addr::LOCALHOST } else { VIP };
    let quoted = if [53, 5060].contains(&port) {
        frames::udp((from, port), client(number), &[0; 64])
    } else {
        frames::tcp((from, port), client(number), frames::ACK, &[0; 64])
    };
    let length = 12 + usize::from(shape >> 4) * 4;
    live_for(frames::icmp_error(VIP, &quoted[14..14 + length]), number)
}

fn udp(input: &mut Input<'_>) -> Vec<u8> {
    let (length, number) = (usize::from(input.byte()), input.byte());
    let port = if number & 8 == 0 { 53 } else { [5060, 5061, 5062, 5070][length & 3] };
    live_for(frames::udp(client(number), (VIP, port), &vec![0x55; length]), number)
}

/// Raw bytes, or an IPv4 or IPv6 packet to the director, perhaps of a VLAN or with tags that exclude each other.
fn raw(input: &mut Input<'_>) -> Vec<u8> {
    let shape = input.byte();
    let frame = untagged(shape, input);
    match (shape >> 1 & 7, frame.len()) {
        (1, 14..) => frames::tagged(&frame, 7),
        (2, 14..) => frames::service_tagged(&frames::tagged(&frame, 0), 7),
        _ => frame,
    }
}

fn untagged(shape: u8, input: &mut Input<'_>) -> Vec<u8> {
    let bytes = input.take(usize::from(shape & 0x7f));
    if shape & 0x80 == 0 {
        return bytes.to_vec();
    }
    if shape & 1 == 0 {
        let mut frame = [&DIRECTOR, &ROUTER, &[0x86, 0xdd][..], bytes].concat();
        packet_v6::dress(&mut frame, true);
        return frame;
    }
    let mut frame = [&DIRECTOR, &ROUTER, &[0x08, 0x00][..], bytes].concat();
    make_checksum_right(&mut frame);
    frame
}
