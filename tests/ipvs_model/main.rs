//! Model test of the whole decision: random traffic and waits against a naive IPVS, frame by frame. IPv4 and IPv6, TCP,
//! UDP and SCTP, ICMP errors and fragments, with several schedulers, thresholds, persistence, wildcard-port services and
//! groups of ports and protocols.
#![allow(missing_docs)]

mod director;
mod naive;
#[path = "../support/mod.rs"]
mod support;

use director::Director;
use directrix::model::{Persistence, Scheduler};
use directrix::time::Span;
use directrix::wire::Protocol;
use naive::{Flow, Naive, Ports, Setup};
use proptest::prelude::*;

/// Number of random runs of up to 600 operations each, instead of [`CASES`].
const DEPTH: &str = "IPVS_MODEL_CASES";
const CASES: u32 = 200;

#[derive(Clone, Debug)]
enum Operation {
    Packet(Packet),
    /// A packet in two fragments; the second one before, too.
    Fragments(Packet),
    /// Again the second fragment of the last packet but these.
    LaterFragment(usize),
    /// An ICMP error about a packet of the flow.
    Error(Packet),
    Wait {
        ms: u32,
    },
    Compare,
}

#[derive(Clone, Copy, Debug)]
struct Packet {
    protocol: Protocol,
    /// One of 40.
    client: u8,
    /// Control bits of TCP; for SCTP the type of the first chunk.
    event: u8,
    /// To another port, if the service has more than one.
    is_other: bool,
}

fn packet() -> impl Strategy<Value = Packet> {
    let event = prop_oneof![Just(2u8), Just(16), Just(17), Just(4), Just(18), Just(1), Just(10), 0u8..32];
    let protocol = prop_oneof![4 => Just(Protocol::Tcp), 1 => Just(Protocol::Udp), 4 => Just(Protocol::Sctp)];
    (protocol, 0u8..40, event, any::<bool>()).prop_map(|(protocol, client, event, is_other)| Packet {
        protocol,
        client,
        event,
        is_other,
    })
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let operation = prop_oneof![
        20 => packet().prop_map(Operation::Packet),
        3 => packet().prop_map(Operation::Fragments),
        1 => (0usize..5).prop_map(Operation::LaterFragment),
        3 => packet().prop_map(Operation::Error),
        3 => prop_oneof![0u32..50, 0u32..3000, 0u32..200_000].prop_map(|ms| Operation::Wait { ms }),
        1 => Just(Operation::Compare),
    ];
    prop::collection::vec(operation, 1..600)
}

fn setup() -> impl Strategy<Value = Setup> {
    let schedulers = [Scheduler::Wlc, Scheduler::Lc, Scheduler::Sed, Scheduler::Rr, Scheduler::Sh];
    let weight = prop_oneof![Just(0u16), 1u16..5, any::<u16>()];
    let upper = prop_oneof![2 => Just(0u32), 1 => 1u32..7];
    let servers = prop::collection::vec((weight, upper), 1..6);
    let persistence = prop::option::of((1..400u32, 0..=8u8));
    let ports = prop::sample::select(vec![Ports::One, Ports::Two, Ports::Range, Ports::Every]);
    let switches = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), (0u8..4, ports));
    let all = (prop::sample::select(schedulers.to_vec()), servers, persistence, switches, any::<u32>());
    all.prop_map(|(scheduler, servers, persistence, switches, start)| {
        let (weights, upper) = servers.into_iter().unzip();
        let (is_v6, is_group, sloppy, schedule_icmp, (reuse, ports)) = switches;
        let persistence = persistence.map(|(seconds, bits)| Persistence {
            timeout: Span::from_secs(seconds),
            prefix: if is_v6 { 128 - 9 * bits } else { 32 - bits },
        });
        let is_possible = match ports {
            Ports::One => true,
            Ports::Two | Ports::Range => is_group,
            Ports::Every => is_group || persistence.is_some(),
        };
        Setup {
            is_v6,
            scheduler,
            weights,
            upper,
            persistence,
            ports: if is_possible { ports } else { Ports::One },
            is_group,
            reuse,
            sloppy,
            schedule_icmp,
            start,
        }
    })
}

/// Director and model, and the same operations on both.
struct Run {
    director: Director,
    naive: Naive,
    now_ms: u64,
    /// The second fragments of all packets.
    later: Vec<Vec<u8>>,
}

impl Run {
    fn new(setup: Setup) -> Self {
        Self { director: Director::new(&setup), naive: Naive::new(setup), now_ms: 0, later: Vec::new() }
    }

    fn flow(&self, packet: Packet) -> Flow {
        let Packet { protocol, client, is_other, .. } = packet;
        let Setup { is_v6, ports, .. } = self.naive.setup;
        let port = director::port(protocol) + u16::from(ports != Ports::One && is_other);
        (protocol, director::client(is_v6, client), port)
    }

    fn operate(&mut self, operation: &Operation) {
        match *operation {
            Operation::Packet(packet) => self.packet(packet),
            Operation::Fragments(packet) => self.fragments(packet),
            Operation::LaterFragment(back) => {
                if let Some(packet) = self.later.len().checked_sub(back + 1) {
                    self.later_fragment(packet);
                }
            }
            Operation::Error(packet) => {
                let flow = self.flow(packet);
                let frame = self.director.error(flow);
                assert_eq!(self.director.decide(frame, self.now_ms), self.naive.error(flow, self.now_ms));
            }
            Operation::Wait { ms } => self.now_ms += u64::from(ms),
            Operation::Compare => self.director.equals(&mut self.naive, self.now_ms),
        }
    }

    fn packet(&mut self, packet: Packet) {
        let flow = self.flow(packet);
        let frame = self.director.packet(flow, packet.event);
        let expected = self.naive.packet(flow, packet.event, self.now_ms);
        assert_eq!(self.director.decide(frame, self.now_ms), expected);
    }

    fn fragments(&mut self, packet: Packet) {
        let (flow, number) = (self.flow(packet), self.later.len());
        let [first, later] = self.director.fragments(flow, packet.event, number as u16);
        self.later.push(later);
        self.later_fragment(number);
        let expected = self.naive.first_fragment(flow, packet.event, self.now_ms);
        assert_eq!(self.director.decide(first, self.now_ms), expected);
        self.later_fragment(number);
    }

    fn later_fragment(&mut self, packet: usize) {
        let expected = self.naive.later_fragment(packet, self.now_ms);
        assert_eq!(self.director.decide(self.later[packet].clone(), self.now_ms), expected);
    }
}

fn run(setup: Setup, operations: &[Operation]) {
    let mut run = Run::new(setup);
    operations.iter().for_each(|operation| run.operate(operation));
    run.operate(&Operation::Compare);
}

fn cases() -> ProptestConfig {
    let cases = std::env::var(DEPTH).map_or(CASES, |cases| cases.parse().expect("a number of cases"));
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn every_decision_matches_ipvs(setup in setup(), operations in operations()) {
        run(setup, &operations);
    }
}

#[test]
fn a_syn_with_a_reset_reuses_no_closed_connection() {
    let setup = Setup {
        is_v6: false,
        scheduler: Scheduler::Wlc,
        weights: vec![1],
        upper: vec![0],
        persistence: None,
        ports: Ports::One,
        is_group: false,
        reuse: 1,
        sloppy: false,
        schedule_icmp: false,
        start: 0,
    };
    let segment =
        |event| Operation::Packet(Packet { protocol: Protocol::Tcp, client: 35, event, is_other: false });
    run(setup, &[18, 16, 4, 22].map(segment));
}
