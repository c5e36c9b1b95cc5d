//! Frames of every kind, built in advance and returned without allocation.

use super::frames::{self, ACK, DIRECTOR, End, FIN, RST, SYN};
use directrix::forward::{Batch, NextHop, Route, ServiceMap, Snapshot};
use directrix::model::{InterfaceIndex, MatchId, Persistence, ServerId, ServiceAddress, ServiceId, Timeouts};
use directrix::schedule::{Candidate, Loads, Params, Pool};
use directrix::time::Span;
use directrix::wire::{MacAddr, Protocol};
use std::net::Ipv4Addr;

const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 150);
/// Address of the wildcard-port service.
const OTHER_VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 151);
const FRAME: usize = 60;
/// Numbers of regular clients, and of clients with a single frame.
const REGULARS: u16 = 600;
const NEW_CLIENTS: u32 = 5000;

pub const SERVERS: u16 = 4;

/// Prebuilt frames, and the random order of their use.
pub struct Traffic {
    deck: Vec<[u8; FRAME]>,
    random: u64,
}

/// Batch of frames in memory of their own.
pub struct Frames(pub Vec<[u8; FRAME]>);

impl Batch for Frames {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn frame(&mut self, index: usize) -> &mut [u8] {
        &mut self.0[index]
    }
}

impl Traffic {
    /// Complete connections of regular clients over TCP and UDP, a SYN flood, and every kind of dropped
    /// frame.
    pub fn new(seed: u64) -> Self {
        let mut deck = Vec::new();
        for port in 0..REGULARS {
            let client = (Ipv4Addr::new(198, 51, 100, (port % 250) as u8), 1024 + port);
            for flags in [SYN, ACK, ACK, ACK, ACK, ACK, ACK, ACK, FIN | ACK, SYN, RST] {
                deck.push(frames::tcp(client, (VIP, 80), flags, b"GET"));
            }
            for flags in [SYN, ACK, ACK, FIN | ACK] {
                deck.push(frames::tcp(client, (OTHER_VIP, 1 + port % 7), flags, &[]));
            }
            deck.push(frames::udp(client, (VIP, 53), b"query"));
            deck.push(frames::tcp(client, (VIP, 81), SYN, &[]));
            deck.push(frames::ipv4(client.0, VIP, 1, &[0; 8], |_| ()));
            for (at, value) in [(0, 0x22), (12, 0x86), (24, 0xee), (14, 0x65), (16, 0xff), (20, 0x20)] {
                let mut broken = frames::tcp(client, (VIP, 80), SYN, &[]);
                broken[at] = value;
                deck.push(if at == 20 { frames::rechecksummed(broken) } else { broken });
            }
            let mut looped = frames::tcp(client, (VIP, 80), SYN, &[]);
            looped[6..12].copy_from_slice(&DIRECTOR);
            deck.push(looped);
        }
        let new_client = |n| (Ipv4Addr::from_bits(0x0a00_0000 + n), 7);
        deck.extend((0..NEW_CLIENTS).map(|n| frames::tcp(new_client(n), (VIP, 80), SYN, &[])));
        let deck = deck.iter().map(|frame| frame[..].try_into().expect("all are 60 bytes long")).collect();
        Self { deck, random: seed | 1 }
    }

    /// Copies the next frame.
    pub fn write(&mut self, frame: &mut [u8; FRAME]) {
        let card = self.below(self.deck.len() as u64);
        *frame = self.deck[card as usize];
    }

    /// A random number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        ((self.random >> 32) * limit) >> 32
    }
}

/// Snapshot with a web service on three servers, DNS on one, and a wildcard-port service on three. With
/// `absent` = 1 there is a fixed-port service of port 3 beside it. Server `absent` is quiesced.
pub fn snapshot(absent: u16, timeouts: Timeouts) -> Snapshot {
    let service = |protocol, end: End, id| (ServiceAddress { protocol, address: end.into() }, MatchId(id));
    let mut services = vec![
        service(Protocol::Tcp, (VIP, 80), 0),
        service(Protocol::Udp, (VIP, 53), 1),
        service(Protocol::Tcp, (OTHER_VIP, 0), 2),
    ];
    services.extend((absent == 1).then(|| service(Protocol::Tcp, (OTHER_VIP, 3), 0)));
    let mac = |id| MacAddr([2, 1, 0, 0, 0, id as u8]);
    let own_macs = vec![MacAddr(DIRECTOR)];
    let server = |id| Some(NextHop { interface: InterfaceIndex(0), mac: Some(mac(id)) });
    Snapshot {
        routes: (0..SERVERS).map(|id| Route::new(&own_macs, server(id))).collect(),
        own_macs,
        services: ServiceMap::new(&services),
        matches: [0, 1, 2].map(ServiceId).into(),
        pools: lists(absent).map(Pool::new).into(),
        timeouts,
        ..Snapshot::default()
    }
}

/// Snapshot after `before`, with another server absent.
pub fn next_snapshot(before: &Snapshot, absent: u16, loads: &Loads) -> Snapshot {
    let lists = before.pools.iter().zip(lists(absent));
    let persistence = Persistence { timeout: Span::from_millis(300), prefix: 28 };
    let rule = Params { persistence: (absent != 2).then_some(persistence), ..Params::default() };
    let pools = lists.map(|(pool, list)| pool.successor(rule, list, loads)).collect();
    Snapshot { pools, ..snapshot(absent, before.timeouts) }
}

fn lists(absent: u16) -> [Vec<Candidate>; 3] {
    let candidate = |id| Candidate::new(ServerId(id), u16::from(id != absent));
    let three = || (0..3).map(candidate).collect();
    [three(), vec![candidate(3)], three()]
}
