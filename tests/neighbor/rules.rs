//! VIPs: events and expected actions, rule by rule.

use crate::bench::*;
use directrix::model::OnConflict;
use directrix::neighbor::{NeighborEvent, NeighborReport, Timing};
use directrix::time::Span;
use directrix::wire::MacAddr;
use directrix::wire::arp::{ArpPacket, Operation};

// ---- claiming

#[test]
fn a_vip_is_probed_claimed_and_announced() {
    let mut bench = Bench::new(OnConflict::Standby);
    assert_eq!(bench.event(NeighborEvent::AddVip(VIP.into())), [probe()]);
    let seen = bench.run_to(125_000);
    let mut expected =
        vec![(200, probe()), (400, probe()), (900, report(NeighborReport::Claimed { vip: VIP.into() }))];
    let mut announced = |at| expected.extend(announcement().map(|action| (at, action)));
    announced(900);
    announced(2_900);
    announced(4_900);
    for at in [64_900, 124_900] {
        expected.push((at, probe()));
        expected.extend(announcement().map(|action| (at, action)));
    }
    assert_eq!(seen, expected);
    let counters = bench.machine.counters();
    assert_eq!((counters.probed.get(), counters.announced.get()), (5, 5));
}

#[test]
fn rfc_5227_timing_can_be_selected() {
    let mut bench = Bench::with(OnConflict::Standby, Timing::rfc5227());
    let mut seen: Vec<_> =
        bench.event(NeighborEvent::AddVip(VIP.into())).into_iter().map(|action| (0, action)).collect();
    seen.extend(bench.run_to(9_000));
    let at =
        |wanted: Outcome| seen.iter().filter(|(_, a)| *a == wanted).map(|(at, _)| *at).collect::<Vec<_>>();
    let probes = at(probe());
    assert!(probes.len() == 3 && probes[0] <= 1000, "{probes:?}");
    assert!(probes.windows(2).all(|pair| (1000..=2000).contains(&(pair[1] - pair[0]))), "{probes:?}");
    assert_eq!(at(report(NeighborReport::Claimed { vip: VIP.into() })), [probes[2] + 2000]);
}

#[test]
fn a_zero_interval_disables_announcements() {
    let timing = Timing { announce_interval: Span::default(), ..TIMING };
    let mut bench = Bench::with(OnConflict::Standby, timing);
    bench.event(NeighborEvent::AddVip(VIP.into()));
    bench.run_to(5_000);
    assert_eq!(bench.machine.next_deadline(), None);
}

#[test]
fn a_vip_can_be_added_twice_and_removed() {
    let mut bench = Bench::claimed(OnConflict::Standby);
    assert_eq!(bench.event(NeighborEvent::AddVip(VIP.into())), []);
    assert_eq!(bench.receive(question(ROUTER, GATEWAY)).len(), 1);
    assert_eq!(bench.event(NeighborEvent::RemoveVip(VIP.into())), []);
    assert_eq!(bench.receive(question(ROUTER, GATEWAY)), []);
    assert_eq!(bench.machine.next_deadline(), None);
}

// ---- answering

#[test]
fn only_the_claimed_vip_is_answered_for() {
    let from_router = question(ROUTER, GATEWAY);
    let reply = ArpPacket::request(ROUTER, GATEWAY, VIP).reply(OURS);
    assert_eq!((reply.operation, reply.sender_mac, reply.sender_ip), (Operation::Reply, OURS, VIP));
    assert_eq!((reply.destination, reply.target_mac, reply.target_ip), (ROUTER, ROUTER, GATEWAY));
    let yes = |packet: ArpPacket| (packet, vec![send(packet.reply(OURS))]);
    let no = |packet: ArpPacket| (packet, vec![]);
    let cases = [
        ("a broadcast question", (from_router, vec![send(reply)])),
        ("a unicast question", yes(from_router.unicast_to(OURS))),
        ("a probe", yes(ArpPacket::probe(OTHER, VIP))),
        ("a bridged question", yes(ArpPacket { source: OTHER, ..from_router })),
        ("a question to another station", no(from_router.unicast_to(OTHER))),
        ("a VIP of another host", no(ArpPacket::request(ROUTER, GATEWAY, VIP2))),
        ("the director's own address", no(ArpPacket::request(ROUTER, GATEWAY, DIP))),
        ("an answer", no(ArpPacket { operation: Operation::Reply, ..from_router })),
        ("own probe, reflected", no(ArpPacket::probe(OURS, VIP))),
        ("own announcement, reflected", no(ArpPacket::announcement(OURS, VIP))),
        ("own request, forwarded by a proxy", no(ArpPacket { source: OTHER, ..question(OURS, DIP) })),
        ("request of the other own interface", no(question(OURS_INSIDE, GATEWAY))),
        ("a frame with the own source address", no(ArpPacket { source: OURS, ..from_router })),
        ("a question from a group address", no(question(MacAddr([3, 0, 0, 0, 0, 1]), GATEWAY))),
        ("a question from nowhere", no(question(MacAddr::ZERO, GATEWAY))),
    ];
    for (what, (packet, expected)) in cases {
        let mut bench = Bench::claimed(OnConflict::Standby);
        assert_eq!(bench.receive(packet), expected, "{what}");
        assert_eq!(bench.machine.counters().answered.get(), expected.len() as u64, "{what}");
    }
}

#[test]
fn no_reply_on_the_server_interface() {
    let mut bench = Bench::claimed(OnConflict::Standby);
    let packet = question(ROUTER, GATEWAY);
    assert_eq!(bench.event(received(INSIDE, packet)), []);
    let packet = ArpPacket::announcement(OTHER, VIP);
    assert_eq!(bench.event(received(INSIDE, packet)), [], "no conflict there either");
}

#[test]
fn a_vip_is_not_answered_for_before_it_is_claimed() {
    let mut bench = Bench::new(OnConflict::Claim);
    bench.event(NeighborEvent::AddVip(VIP.into()));
    bench.run_to(899);
    assert_eq!(bench.receive(question(ROUTER, GATEWAY)), []);
    bench.run_to(900);
    assert_eq!(bench.receive(question(ROUTER, GATEWAY)).len(), 1);
}

// ---- timing

#[test]
fn zero_intervals_do_not_spin() {
    let zero = Span::default();
    let timing = Timing {
        probe_gap: (zero, zero),
        announce_wait: zero,
        announce_gap: zero,
        defend_interval: zero,
        standby_interval: zero,
        verify_interval: zero,
        watch_interval: zero,
        retry: zero,
        unreachable_retry: zero,
        refresh: zero,
        ..TIMING
    };
    let mut bench = Bench::with(OnConflict::Standby, timing);
    bench.event(NeighborEvent::AddVip(VIP.into()));
    bench.receive(ArpPacket::probe(OTHER, VIP));
    bench.add_server(None);
    bench.run_to(50);
    bench.receive(reply(RS, RIP));
    bench.receive(ArpPacket::announcement(OTHER, VIP));
    let seen = bench.run_to(150);
    assert!(!seen.is_empty() && seen.len() <= 500, "a few frames a millisecond: {}", seen.len());
}

#[test]
fn intervals_are_limited_to_a_day() {
    let timing = Timing { announce_interval: Span::MAX, ..TIMING };
    let mut bench = Bench::with(OnConflict::Standby, timing);
    bench.event(NeighborEvent::AddVip(VIP.into()));
    bench.run_to(10_000);
    let due = bench.machine.next_deadline().expect("the next announcement");
    assert_eq!(due.since(bench.start), Span::from_millis(86_400_000 + 4_900));
}

#[test]
fn missed_deadlines_are_not_repeated() {
    let mut bench = Bench::claimed(OnConflict::Standby);
    bench.add_server(Some(RS));
    bench.now += 3_600_000;
    let actions = bench.event(NeighborEvent::Timer);
    assert_eq!(actions.len(), 3, "one probe and one announcement: {actions:?}");
}
