//! Who gets room in a full table: floods of clients that never answer, beside clients that do.
#![allow(missing_docs)]

mod support;

use directrix::model::{Persistence, Policy};
use directrix::stats::DropReason;
use std::ops::Range;
use support::bench::Bench;
use support::frames::{ACK, SYN};

fn bench(persistence: Option<Persistence>) -> Bench {
    Bench::new(persistence, Policy::default())
}

/// So many datagrams of each of the clients.
fn flood(bench: &mut Bench, clients: Range<u32>, datagrams: usize) {
    for client in clients {
        for _ in 0..datagrams {
            let _ = bench.dns(client); // some find no room
        }
    }
}

/// Whether a client's handshake and request come through.
fn connects(bench: &mut Bench, port: u16) -> bool {
    [SYN, ACK, ACK].into_iter().all(|flags| bench.web(port, flags).is_ok())
}

fn full(bench: &Bench) -> u64 {
    bench.counters.drops(DropReason::TableFull).get()
}

#[test]
fn clients_connect_through_a_flood_of_single_datagrams() {
    let mut bench = bench(None);
    assert!((0..50).all(|port| connects(&mut bench, port)));
    for round in 0..100 {
        flood(&mut bench, round * 3000..(round + 1) * 3000, 1);
        assert!(connects(&mut bench, 1000 + round as u16), "{round}");
    }
    assert!((0..50).chain(1000..1100).all(|port| bench.web(port, ACK).is_ok()));
    assert_eq!(full(&bench), 0, "single datagrams were evicted");
}

#[test]
fn flows_of_two_datagrams_stay_through_a_flood_of_single_ones() {
    let mut bench = bench(None);
    flood(&mut bench, 0..500, 2);
    flood(&mut bench, 10_000..40_000, 1);
    let before = bench.opened(2) + bench.opened(3);
    flood(&mut bench, 0..500, 1);
    assert_eq!(bench.opened(2) + bench.opened(3), before, "each had its entry");
}

/// As many as an attacker sends twice each are confirmed, and have the service's share of the table.
#[test]
fn one_service_never_takes_the_room_of_the_others() {
    let mut bench = bench(None);
    flood(&mut bench, 0..3000, 2);
    let refused = full(&bench);
    assert!(refused > 0, "its own share is used up");
    assert!((0..100).all(|port| connects(&mut bench, port)), "a ninth is for the others");
    flood(&mut bench, 3000..6000, 1);
    assert!((0..100).all(|port| bench.web(port, ACK).is_ok()));
    assert!(full(&bench) > refused);
}

#[test]
fn a_flood_of_datagrams_takes_no_template_of_a_client() {
    let mut bench = bench(Some(Persistence { timeout: Persistence::TIMEOUT, prefix: 32 }));
    assert!(connects(&mut bench, 1));
    flood(&mut bench, 0..30_000, 1);
    let assured = |bench: &Bench| bench.templates.list(bench.now).filter(|of| of.assured).count();
    assert_eq!(assured(&bench), 1, "that of the client which has connected");
    assert!(connects(&mut bench, 2));
    assert_eq!(bench.templates.unbound(), 0, "all others may give way");
    flood(&mut bench, 30_000..30_010, 2);
    assert_eq!(assured(&bench), 11);
}
