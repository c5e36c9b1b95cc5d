//! States of SCTP connections against a naive model, which reads the kernel's table as text: of the table alone, and of
//! a director that forwards packets.
#![allow(missing_docs)]

mod support;

use directrix::flow::{ConnState, FlowTable};
use directrix::forward::{Forwarder, NextHop, Route, ServiceMap, Snapshot, Verdict};
use directrix::hash::Seed;
use directrix::model::{
    ConnReuseMode, InterfaceIndex, MatchId, Policy, ServerId, ServiceAddress, ServiceId, Timeouts,
};
use directrix::schedule::{Candidate, Loads, Pool, Templates};
use directrix::stats::{DropReason, WorkerCounters};
use directrix::time::{Span, Tick};
use directrix::wire::sctp::SctpEvent;
use directrix::wire::{MacAddr, Protocol};
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use support::frames::{self, DIRECTOR};

/// The input-only table of net/netfilter/ipvs/ip_vs_proto_sctp.c: rows by event, columns by current state.
const TABLE: &str = "
     NO I1 IN CS CR CW CO CE ES SS SR SA RJ CL
d    ES I1 IN CS CR ES CO CE ES SS SR SA RJ CL
i    I1 IN IN IN IN IN CO CE ES SS SR SA IN IN
ia   CE CE CE CE CE CE CO CE ES SS SR SA RJ CL
ce   ES ES ES ES ES ES CO CE ES SS SR SA RJ CL
ca   ES I1 IN ES ES CW ES ES ES SS SR SA RJ CL
s    SR I1 IN CS CR CW CO CE SR SS SR SA RJ CL
sa   CL IN IN CS CR CW CO CE CL CL SR CL RJ CL
sc   CL CL CL CL CL CW CO CE ES SS CL CL RJ CL
err  CL I1 IN CS CR CW CO CE ES SS SR SA RJ CL
ab   CL CL CL CL CL RJ CL CL CL CL CL CL CL CL";

/// States by letters, with their names in `ipvsadm -Lc` and timeouts in seconds.
const STATES: [(&str, &str, u32); 14] = [
    ("NO", "NONE", 2),
    ("I1", "INIT1", 4),
    ("IN", "INIT", 61),
    ("CS", "C-SENT", 61),
    ("CR", "C-REPLIED", 61),
    ("CW", "C-WAIT", 61),
    ("CO", "COOKIE", 61),
    ("CE", "C-ECHOED", 61),
    ("ES", "ESTABLISHED", 900),
    ("SS", "S-SENT", 61),
    ("SR", "S-RECEIVED", 61),
    ("SA", "S-ACK-SENT", 61),
    ("RJ", "REJECTED", 4),
    ("CL", "CLOSED", 61),
];

/// Chunk types by event; every other one is an event `d`.
const CHUNKS: [(u8, &str); 9] =
    [(1, "i"), (2, "ia"), (6, "ab"), (7, "s"), (8, "sa"), (9, "err"), (10, "ce"), (11, "ca"), (14, "sc")];

/// A packet as the model reads it: chunks of a type and a length.
struct Sent {
    chunks: Vec<(u8, u16)>,
}

impl Sent {
    fn event(&self) -> &'static str {
        let event = |kind: u8| CHUNKS.iter().find(|(of, _)| *of == kind).map_or("d", |(_, event)| event);
        let first = event(self.chunks[0].0);
        let aborts = self.chunks.get(1).is_some_and(|(kind, _)| *kind == 6);
        if aborts && ["ce", "ca"].contains(&first) { "ab" } else { first }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; 12];
        for (kind, len) in &self.chunks {
            bytes.extend([*kind, 0]);
            bytes.extend(len.to_be_bytes());
            bytes.extend(std::iter::repeat_n(0xff, usize::from(len.next_multiple_of(4) - 4)));
        }
        bytes
    }
}

/// Next state by state and event.
struct Naive(HashMap<(&'static str, &'static str), &'static str>);

impl Naive {
    fn new() -> Self {
        let mut lines = TABLE.trim_start_matches('\n').lines();
        let columns: Vec<_> = lines.next().unwrap().split_whitespace().collect();
        let cells = lines.flat_map(|line| {
            let mut row = line.split_whitespace();
            let event = row.next().unwrap();
            columns.clone().into_iter().zip(row).map(move |(state, next)| ((state, event), next))
        });
        Self(cells.collect())
    }

    fn next(&self, state: &'static str, event: &'static str) -> &'static str {
        self.0[&(state, event)]
    }
}

/// The states of SCTP, in the order of [`STATES`].
fn states() -> Vec<ConnState> {
    ConnState::ALL.into_iter().filter(|state| *state as u8 >= ConnState::SctpNone as u8).collect()
}

/// Deterministic random numbers (a xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn packet(&mut self) -> Sent {
        let count = 1 + self.below(3);
        let chunks = (0..count).map(|_| (self.below(16) as u8, 4 + self.below(40) as u16)).collect();
        Sent { chunks }
    }
}

#[test]
fn three_million_packets_move_states_as_ipvs_does() {
    let (mut random, naive, states) = (Random(0x2545_f491_4f6c_dd1d), Naive::new(), states());
    let packets: Vec<_> = (0..20_000).map(|_| random.packet()).collect();
    let events =
        packets.iter().map(|sent| (sent.event(), SctpEvent::of(&sent.bytes()).expect("it has a chunk")));
    let events: Vec<_> = events.collect();
    let mut connections = [(0, ConnState::SctpNone); 64];
    let mut seen = HashSet::new();
    for step in 0..3_000_000 {
        let (letters, event) = events[random.below(events.len() as u64) as usize];
        let (at, state) = &mut connections[random.below(64) as usize];
        seen.insert((*at, letters));
        let next = naive.next(STATES[*at].0, letters);
        (*at, *state) = (STATES.iter().position(|of| of.0 == next).unwrap(), state.after(event.flags()));
        assert_eq!(*state, states[*at], "step {step}, {letters}");
        if random.below(20) == 0 {
            *at = random.below(14) as usize;
            *state = states[*at];
        }
    }
    assert_eq!(seen.len(), 140, "every pair of state and event");
}

#[test]
fn states_have_ipvs_s_names_timeouts_and_activity() {
    for (state, (letters, name, seconds)) in states().into_iter().zip(STATES) {
        assert_eq!(state.name(), name);
        assert_eq!(state.timeout(&Timeouts::default()).secs(), seconds, "{name}");
        assert_eq!(state.is_active(), letters == "ES", "{name}");
        assert_eq!(state.is_unconfirmed(), ["NO", "I1", "IN"].contains(&letters), "{name}");
    }
}

#[test]
fn each_state_moves_on_each_event_as_ipvs_says() {
    let (naive, states) = (Naive::new(), states());
    assert_eq!(states.len(), STATES.len());
    for (state, (letters, name, _)) in states.iter().zip(STATES) {
        assert_eq!(state.name(), name);
        for kind in 0..=255 {
            let sent = Sent { chunks: vec![(kind, 4)] };
            let after = state.after(SctpEvent::of(&sent.bytes()).unwrap().flags());
            let expected = STATES.iter().position(|of| of.0 == naive.next(letters, sent.event())).unwrap();
            assert_eq!(after, states[expected], "{name} on {kind}");
        }
    }
}

/// `is_new_conn_expected`, and conn_reuse_mode.
#[test]
fn an_init_opens_a_new_connection_in_place_of_a_closed_one() {
    for event in SctpEvent::ALL {
        for mode in 0..=3 {
            let renewed =
                states().into_iter().filter(|state| state.is_reused_by(event.flags(), ConnReuseMode(mode)));
            let expected: &[_] =
                if event == SctpEvent::Init && mode > 0 { &[ConnState::SctpClosed] } else { &[] };
            assert_eq!(renewed.collect::<Vec<_>>(), expected, "{event:?} with {mode}");
        }
    }
}

/// The life of an association through a director, which sees the client's packets.
#[test]
fn an_association_is_active_from_its_cookie_to_its_shutdown() {
    use SctpEvent::{CookieEcho, Data, Init, Shutdown, ShutdownAck, ShutdownComplete};
    let life = |events: &[SctpEvent]| {
        let mut state = ConnState::SctpNone;
        let states = events.iter().map(|event| {
            state = state.after(event.flags());
            state.name()
        });
        states.collect::<Vec<_>>()
    };
    assert_eq!(
        life(&[Init, Init, CookieEcho, Data, Init]),
        ["INIT1", "INIT", "ESTABLISHED", "ESTABLISHED", "ESTABLISHED"]
    );
    let closed_by_client = [Init, CookieEcho, Shutdown, ShutdownComplete, Init];
    assert_eq!(life(&closed_by_client), ["INIT1", "ESTABLISHED", "S-RECEIVED", "CLOSED", "INIT"]);
    assert_eq!(life(&[Init, CookieEcho, ShutdownAck]), ["INIT1", "ESTABLISHED", "CLOSED"]);
}

const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 150);
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80);
const PORT: u16 = 3868;
const SEED: Seed =
    Seed([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89]);

/// A director with an SCTP service of each family on one server.
fn director(policy: Policy) -> (Forwarder, Arc<Loads>) {
    let (loads, templates) = (Arc::new(Loads::new(1)), Arc::new(Templates::new(16, 1, SEED)));
    let counters = Arc::new(WorkerCounters::new(1, 1));
    let mut forwarder = Forwarder::new(256, SEED, Arc::clone(&loads), templates, counters);
    forwarder.set_wide_table(FlowTable::new(256, SEED));
    let services = [VIP.into(), VIP6.into()].map(|vip: IpAddr| (vip, PORT).into());
    let services = services.map(|address| ServiceAddress { protocol: Protocol::Sctp, address });
    let own_macs = vec![MacAddr(DIRECTOR)];
    let hop = NextHop { interface: InterfaceIndex(0), mac: Some(MacAddr([2, 1, 0, 0, 0, 0])) };
    let pool = Pool::new([Candidate::new(ServerId(0), 1)]);
    forwarder.adopt(Arc::new(Snapshot {
        routes: vec![Route::new(&own_macs, Some(hop))],
        own_macs,
        services: ServiceMap::new(&[(services[0], MatchId(0)), (services[1], MatchId(1))]),
        matches: [0, 1].map(ServiceId).into(),
        pools: vec![pool.clone(), pool],
        policy,
        ..Snapshot::default()
    }));
    (forwarder, loads)
}

/// Connections as IPVS has them: letters of the state and the time of their end in milliseconds, by client.
struct NaiveTable {
    next: Naive,
    connections: HashMap<(bool, u16), (&'static str, u64)>,
    sloppy: bool,
    reuse: bool,
}

impl NaiveTable {
    fn expire(&mut self, now: u64) {
        self.connections.retain(|_, (_, end)| now < *end);
    }

    fn packet(&mut self, client: (bool, u16), event: &'static str, now: u64) -> Result<(), DropReason> {
        self.expire(now);
        let known = self.connections.get(&client).map(|(state, _)| *state);
        let renewed = event == "i" && known == Some("CL") && self.reuse;
        let state = match known.filter(|_| !renewed) {
            Some(state) => state,
            None if event == "i" || (self.sloppy && event != "ab") => "NO",
            None => return Err(DropReason::NoConnection),
        };
        let state = self.next.next(state, event);
        let seconds = STATES.iter().find(|of| of.0 == state).unwrap().2;
        self.connections.insert(client, (state, now + u64::from(seconds) * 1000));
        Ok(())
    }

    /// Name of the state and client of each connection.
    fn listed(&self) -> HashSet<((bool, u16), &'static str)> {
        let name = |letters| STATES.iter().find(|of| of.0 == letters).unwrap().1;
        self.connections.iter().map(|(client, (state, _))| (*client, name(*state))).collect()
    }

    fn load(&self) -> (u32, u32) {
        let active = self.connections.values().filter(|(state, _)| *state == "ES").count() as u32;
        (active, self.connections.len() as u32 - active)
    }
}

fn listed(forwarder: &Forwarder) -> HashSet<((bool, u16), &'static str)> {
    let entries = (0..).map_while(|bucket| forwarder.connections(bucket)).flatten();
    entries.map(|entry| ((entry.key.client.is_ipv6(), entry.key.client_port), entry.state.name())).collect()
}

fn frame((v6, port): (bool, u16), chunks: &[(u8, u16)]) -> Vec<u8> {
    if v6 {
        let client = Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, 1);
        return frames::sctp_v6((client, port), (VIP6, PORT), chunks);
    }
    frames::sctp((Ipv4Addr::new(198, 51, 100, 7), port), (VIP, PORT), chunks)
}

#[test]
fn a_director_s_connections_are_those_of_ipvs() {
    for (sloppy, reuse) in [(false, true), (true, true), (false, false), (true, false)] {
        let mode = ConnReuseMode(u8::from(reuse));
        let (mut forwarder, loads) =
            director(Policy { sloppy_sctp: sloppy, conn_reuse_mode: mode, ..Policy::default() });
        let mut naive = NaiveTable { next: Naive::new(), connections: HashMap::new(), sloppy, reuse };
        let (mut random, mut verdicts, mut now_ms) = (Random(0x9e37_79b9_7f4a_7c15), Vec::new(), 0);
        for step in 0..50_000 {
            now_ms += if random.below(50) == 0 { random.below(70_000) } else { random.below(50) };
            let now = Tick(u32::MAX - 1000).after(Span::from_millis(now_ms as u32));
            let client = (random.below(2) == 1, 1000 + random.below(24) as u16);
            let sent = if random.below(3) == 0 { Sent { chunks: vec![(1, 20)] } } else { random.packet() };
            let mut batch = [frame(client, &sent.chunks)];
            forwarder.decide(&mut batch[..], now, &mut verdicts);
            let expected = match naive.packet(client, sent.event(), now_ms) {
                Ok(()) => Verdict::Forward(InterfaceIndex(0)),
                Err(reason) => Verdict::Drop(reason),
            };
            assert_eq!(verdicts, [expected], "step {step}, {} of {client:?}", sent.event());
            if step % 8 > 0 {
                continue;
            }
            forwarder.sweep_all(now);
            let load = loads.get(ServerId(0));
            assert_eq!((load.active, load.inactive), naive.load(), "step {step}");
            assert_eq!(listed(&forwarder), naive.listed(), "step {step}");
        }
    }
}
