//! States of SCTP connections against a naive model, which reads the kernel's table as text.
#![allow(missing_docs)]

use directrix::flow::ConnState;
use directrix::model::{ConnReuseMode, Timeouts};
use directrix::wire::sctp::SctpEvent;
use std::collections::{HashMap, HashSet};

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
