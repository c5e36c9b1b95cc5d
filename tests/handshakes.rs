//! The counters of TCP handshakes, as frames of clients move them through the decision.
#![allow(missing_docs)]

mod support;

use directrix::model::{ConnReuseMode, Persistence, Policy, ServerId};
use directrix::stats::Handshakes;
use support::bench::Bench;
use support::frames::{ACK, FIN, RST, SYN};

fn bench() -> Bench {
    Bench::new(None, Policy::default())
}

/// The handshakes with all servers of the bench.
fn handshakes(bench: &Bench) -> [u64; 3] {
    let each = (0..4).map(|server| bench.counters.handshakes(ServerId(server)).get());
    let Handshakes { opened, completed, repeated } = each.sum();
    [opened, completed, repeated]
}

#[test]
fn each_client_counts_once_for_each_step() {
    for (segments, expected) in [
        (&[SYN, ACK, ACK, FIN | ACK, ACK][..], [1, 1, 0]),
        (&[SYN], [1, 0, 0]),
        (&[SYN, SYN, SYN, SYN], [1, 0, 1]),
        (&[SYN, SYN, ACK], [1, 1, 1]),
        (&[SYN, RST], [1, 1, 0]),
        (&[SYN, RST, RST, SYN, SYN, ACK], [1, 1, 0]),
        (&[SYN, SYN, RST | ACK, ACK], [1, 1, 1]),
        (&[SYN, FIN | ACK], [1, 1, 0]),
    ] {
        let mut bench = bench();
        for client in 1..=5 {
            for flags in segments {
                bench.web(client, *flags).unwrap();
            }
        }
        assert_eq!(handshakes(&bench), expected.map(|count| count * 5), "{segments:?}");
    }
}

#[test]
fn a_handshake_belongs_to_the_server_that_got_it() {
    let mut bench = bench();
    let servers: Vec<_> = (1..=8).map(|client| bench.web(client, SYN).unwrap()).collect();
    for (client, server) in (1..=8).zip(&servers) {
        assert_eq!(bench.web(client, ACK), Ok(*server));
    }
    for server in 0..2_u8 {
        let expected = servers.iter().filter(|of| **of == server).count() as u64;
        let counted = bench.counters.handshakes(ServerId(server.into())).get();
        assert_eq!((counted.opened, counted.completed, counted.repeated), (expected, expected, 0));
    }
}

#[test]
fn other_packets_are_no_handshakes() {
    let mut bench = Bench::new(None, Policy { sloppy_tcp: true, ..Policy::default() });
    bench.web(1, ACK).unwrap();
    bench.web(1, FIN | ACK).unwrap();
    bench.dns(1).unwrap();
    bench.signalling(1, &[1]).unwrap();
    bench.signalling(1, &[1]).unwrap();
    assert_eq!(handshakes(&bench), [0; 3]);
}

#[test]
fn a_reused_connection_is_another_handshake() {
    let persistence = Some(Persistence { timeout: Persistence::TIMEOUT, prefix: 32 });
    let policy = Policy { conn_reuse_mode: ConnReuseMode(1), ..Policy::default() };
    // A persistent client keeps its entry, which goes from CLOSE to SYN_RECV; without persistence it gets a new one.
    for persistence in [None, persistence] {
        let mut bench = Bench::new(persistence, policy);
        for flags in [SYN, ACK, RST | ACK, SYN, SYN, ACK] {
            bench.web(1, flags).unwrap();
        }
        assert_eq!(handshakes(&bench), [2, 2, 1]);
    }
}
