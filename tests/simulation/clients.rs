//! Simulated clients, each with one connection at a time, and occasional floods.

use crate::director::{DNS, VIP, WEB};
use crate::ipvs::Segment;
use crate::random::Random;
use crate::support::frames::{self, ACK, FIN, RST, SYN};
use directrix::flow::V4Key;
use directrix::model::MatchId;
use std::collections::HashSet;
use std::net::Ipv4Addr;

const CLIENTS: u8 = 120;
const FLOOD: u64 = 60;

pub(crate) struct Clients {
    clients: Vec<Client>,
    flooding: bool,
    /// Flood of datagrams instead of SYNs.
    datagrams: bool,
}

struct Client {
    address: Ipv4Addr,
    port: u16,
    service: MatchId,
    /// Remaining segments: flags, last first; `None` for a datagram.
    plan: Vec<Option<u8>>,
    /// Time of the next segment, or of a new connection.
    due_ms: u64,
}

impl Clients {
    pub(crate) fn new(random: &mut Random) -> Self {
        let client = |n| Client {
            address: Ipv4Addr::new(198, 51, 100, n),
            port: 40_000,
            service: WEB,
            plan: Vec::new(),
            due_ms: random.below(60_000),
        };
        Self { clients: (0..CLIENTS).map(client).collect(), flooding: false, datagrams: false }
    }

    /// Segments that arrive now: at most one per flow.
    pub(crate) fn act(&mut self, now_ms: u64, random: &mut Random) -> Vec<Segment> {
        let due = self.clients.iter_mut().filter(|client| client.due_ms <= now_ms);
        let mut segments: Vec<_> = due.map(|client| client.act(now_ms, random)).collect();
        if random.one_in(if self.flooding { 8 } else { 60 }) {
            self.flooding = !self.flooding;
            self.datagrams = random.one_in(2);
        }
        if self.flooding {
            let mut seen = HashSet::new();
            segments.extend(
                (0..FLOOD)
                    .map(|_| new_client(random, self.datagrams))
                    .filter(|segment| seen.insert(segment.key.port())),
            );
        }
        segments
    }
}

impl Client {
    fn act(&mut self, now_ms: u64, random: &mut Random) -> Segment {
        if self.plan.is_empty() {
            self.begin(random);
        }
        let flags = self.plan.pop().expect("it has a plan");
        self.due_ms = now_ms + pause_ms(self.plan.is_empty(), random);
        let (end, key) = ((self.address, self.port), V4Key::new(self.address, self.port, self.service));
        let frame = match flags {
            Some(flags) => frames::tcp(end, (VIP, 80), flags, b"GET /"),
            None => frames::udp(end, (VIP, 53), b"query"),
        };
        Segment { key, flags, frame }
    }

    /// Starts a new connection, mostly from the next port, sometimes from the same one.
    fn begin(&mut self, random: &mut Random) {
        if !random.one_in(4) {
            self.port = if self.port == u16::MAX { 40_000 } else { self.port + 1 };
        }
        let requests = 1 + random.below(8) as usize;
        if random.one_in(5) {
            self.service = DNS;
            self.plan = vec![None; requests];
            return;
        }
        self.service = WEB;
        let end: &[u8] = match random.below(5) {
            0 => &[RST],            // reset
            1 => &[],               // no close
            2 => &[FIN | ACK, SYN], // and reuse of the ports
            3 => &[FIN | ACK, ACK, FIN | ACK, RST | ACK],
            _ => &[FIN | ACK, ACK],
        };
        let handshake: &[u8] = if random.one_in(6) { &[SYN, SYN, ACK] } else { &[SYN, ACK] };
        let life = handshake.iter().chain(std::iter::repeat_n(&ACK, requests)).chain(end);
        self.plan = life.rev().map(|flags| Some(*flags)).collect();
    }
}

/// A pause, mostly short, sometimes longer than a timeout.
fn pause_ms(over: bool, random: &mut Random) -> u64 {
    match random.below(60) {
        0 => 900_000 + random.below(100_000),
        1 | 2 => random.below(200_000),
        _ if over => random.below(30_000),
        _ => random.below(3000),
    }
}

/// A SYN or a datagram with a forged source address.
fn new_client(random: &mut Random, datagram: bool) -> Segment {
    let address = Ipv4Addr::from_bits(0x0a00_0000 + random.below(1 << 24) as u32);
    let port = 1024 + random.below(60_000) as u16;
    let (service, flags) = if datagram { (DNS, None) } else { (WEB, Some(SYN)) };
    let frame = match flags {
        Some(flags) => frames::tcp((address, port), (VIP, 80), flags, &[]),
        None => frames::udp((address, port), (VIP, 53), b"query"),
    };
    Segment { key: V4Key::new(address, port, service), flags, frame }
}
