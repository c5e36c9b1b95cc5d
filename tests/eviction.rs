//! Eviction from a full table: floods of unconfirmed connections beside clients that complete theirs.
#![allow(missing_docs)]

mod support;

use directrix::forward::Verdict;
use directrix::model::{Persistence, Policy};
use directrix::stats::DropReason;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use support::bench::{Bench, CAPACITY, DNS};
use support::frames::{self, ACK, SYN};

fn bench(persistence: Option<Persistence>) -> Bench {
    Bench::new(persistence, Policy::default())
}

/// Sends this many datagrams of each client.
fn flood(bench: &mut Bench, clients: Range<u32>, datagrams: usize) {
    for client in clients {
        for _ in 0..datagrams {
            let _ = bench.dns(client); // some find no room
        }
    }
}

/// True if a client's handshake and request are forwarded.
fn connects(bench: &mut Bench, port: u16) -> bool {
    [SYN, ACK, ACK].into_iter().all(|flags| bench.web(port, flags).is_ok())
}

fn full(bench: &Bench) -> u64 {
    bench.counters.drops(DropReason::TableFull).get()
}

#[test]
fn clients_connect_during_a_datagram_flood() {
    let mut bench = bench(None);
    assert!((100..150).all(|port| connects(&mut bench, port)));
    for round in 0..100 {
        flood(&mut bench, round * 3000..(round + 1) * 3000, 1);
        assert!(connects(&mut bench, 1000 + round as u16), "{round}");
    }
    assert!((100..150).chain(1000..1100).all(|port| bench.web(port, ACK).is_ok()));
    assert_eq!(full(&bench), 0, "single datagrams were evicted");
}

#[test]
fn confirmed_flows_survive_a_datagram_flood() {
    let mut bench = bench(None);
    flood(&mut bench, 0..500, 2);
    flood(&mut bench, 10_000..40_000, 1);
    let before = bench.opened(2) + bench.opened(3);
    flood(&mut bench, 0..500, 1);
    assert_eq!(bench.opened(2) + bench.opened(3), before, "each had its entry");
}

/// An attacker confirms flows by two datagrams each, up to the service's share of the table.
#[test]
fn a_service_leaves_room_for_others() {
    let mut bench = bench(None);
    flood(&mut bench, 0..3000, 2);
    let refused = full(&bench);
    assert!(refused > 0, "its own share is used up");
    assert!((100..200).all(|port| connects(&mut bench, port)), "a ninth is for the others");
    flood(&mut bench, 3000..6000, 1);
    assert!((100..200).all(|port| bench.web(port, ACK).is_ok()));
    assert!(full(&bench) > refused);
}

/// Fills the share of the DNS service with connections. All but the one in the last bucket are confirmed.
fn confirm_all_but_the_last(bench: &mut Bench) {
    flood(bench, 0..CAPACITY as u32, 1);
    let listed = (0..).map_while(|bucket| bench.forwarder.connections(bucket)).flatten();
    let mut clients: Vec<_> = listed.map(|entry| entry.key.client).collect();
    clients.pop();
    for client in clients {
        let IpAddr::V4(client) = client else { panic!("{client} is an IPv4 client") };
        bench.dns(client.to_bits() & 0xffff).unwrap();
    }
}

/// Verdict on a client's datagram that another worker has passed on.
fn handed(bench: &mut Bench, client: u32) -> Verdict {
    let mut frame = frames::udp((Ipv4Addr::from_bits(0x0a00_0000 + client), 1024), DNS, b"query");
    bench.forwarder.decide_handed(&mut frame, true, bench.now)
}

#[test]
fn handed_frames_of_a_batch_share_one_eviction_budget() {
    let mut bench = bench(None);
    confirm_all_but_the_last(&mut bench);
    let full = Verdict::Drop(DropReason::TableFull);
    bench.forwarder.begin_handed_batch();
    assert!((5000..5004).all(|client| handed(&mut bench, client) == full), "the first 128 buckets");
    let batches = (5004..5010).take_while(|client| {
        bench.forwarder.begin_handed_batch();
        handed(&mut bench, *client) == full
    });
    assert_eq!(batches.count(), 1, "the next 128, and then the last ones");
}

#[test]
fn a_datagram_flood_evicts_no_assured_template() {
    let mut bench = bench(Some(Persistence { timeout: Persistence::TIMEOUT, prefix: 32 }));
    assert!(connects(&mut bench, 1));
    flood(&mut bench, 0..30_000, 1);
    let assured = |bench: &Bench| bench.templates.list(bench.now).filter(|of| of.assured).count();
    assert_eq!(assured(&bench), 1, "the template of the connected client");
    assert!(connects(&mut bench, 2));
    assert_eq!(bench.templates.unbound(), 0, "all others are evictable");
    flood(&mut bench, 30_000..30_010, 2);
    assert_eq!(assured(&bench), 11);
}
