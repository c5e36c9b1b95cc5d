//! Real servers: events and expected actions, rule by rule.

use crate::bench::*;
use directrix::model::{InterfaceIndex, OnConflict};
use directrix::neighbor::{NeighborEvent, NeighborReport, NeighborTarget, Timing};
use directrix::wire::MacAddr;
use directrix::wire::arp::ArpPacket;
use std::net::Ipv4Addr;

/// Address that the server moves to, or that a forger claims.
const NEW: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x66]);

fn moved(old: MacAddr, new: MacAddr) -> Outcome {
    report(NeighborReport::Moved { interface: CLIENT, rip: RIP.into(), old, new })
}

fn disputed(mac: MacAddr, claimant: MacAddr) -> Outcome {
    report(NeighborReport::Disputed { interface: CLIENT, rip: RIP.into(), mac, claimant })
}

fn dispute_over(claimant: MacAddr) -> Outcome {
    report(NeighborReport::DisputeOver { interface: CLIENT, rip: RIP.into(), claimant })
}

/// A bench with a resolved server, some time after its last request.
fn resolved_bench() -> Bench {
    let mut bench = Bench::new(OnConflict::Standby);
    bench.add_server(None);
    bench.receive(reply(RS, RIP));
    bench.run_to(700);
    bench
}

/// All packets by which a station can claim RIP for its MAC address.
fn claims(mac: MacAddr) -> [(&'static str, ArpPacket); 5] {
    [
        ("an unasked reply", reply(mac, RIP)),
        ("a broadcast reply", ArpPacket { destination: MacAddr::BROADCAST, ..reply(mac, RIP) }),
        ("a request with the server's address as sender", ArpPacket::request(mac, RIP, GATEWAY)),
        ("a gratuitous request", ArpPacket::announcement(mac, RIP)),
        ("a gratuitous reply", ArpPacket::announcement_reply(mac, RIP)),
    ]
}

/// Runs for `ms`. Each broadcast request for the server is answered by `answering`, in order.
fn run(bench: &mut Bench, ms: u32, answering: &[MacAddr]) -> Vec<(u32, Outcome)> {
    let (end, mut seen) = (bench.now + ms, Vec::new());
    while let Some(due) = bench.machine.next_deadline() {
        let at = due.since(bench.start).millis();
        if at > end {
            break;
        }
        for (at, action) in bench.run_to(at) {
            let answering = match action {
                Outcome::Send { packet, .. } if packet.target_ip == RIP => {
                    let to = packet.destination;
                    answering.iter().filter(|mac| to == MacAddr::BROADCAST || to == **mac).copied().collect()
                }
                _ => Vec::new(),
            };
            seen.push((at, action));
            for mac in answering {
                seen.extend(bench.receive(reply(mac, RIP)).into_iter().map(|action| (at, action)));
            }
        }
    }
    bench.run_to(end);
    seen
}

fn reports(seen: &[(u32, Outcome)]) -> Vec<(u32, Outcome)> {
    seen.iter().filter(|(_, action)| matches!(action, Outcome::Report(_))).copied().collect()
}

// ---- resolving

#[test]
fn a_server_is_requested_until_it_answers() {
    let mut bench = Bench::new(OnConflict::Standby);
    assert_eq!(bench.add_server(None), [request()]);
    assert_eq!(bench.run_to(700), [(500, request())]);
    assert_eq!(bench.receive(reply(RS, RIP)), [resolved(RS)]);
    assert_eq!(bench.add_server(None), [], "another service with the same server");
}

#[test]
fn a_silent_server_is_lost_after_three_requests() {
    let mut bench = Bench::new(OnConflict::Standby);
    bench.add_server(None);
    let expected = [
        (500, request()),
        (1_000, request()),
        (1_500, lost()),
        (1_500, request()),
        (6_500, request()),
        (11_500, request()),
    ];
    assert_eq!(bench.run_to(15_000), expected);
    assert_eq!(bench.receive(reply(RS, RIP)), [resolved(RS)]);
}

#[test]
fn a_reachable_server_is_refreshed_by_unicast() {
    let mut bench = Bench::new(OnConflict::Standby);
    bench.add_server(None);
    bench.receive(reply(RS, RIP));
    let seen = bench.step();
    let [(at, first)] = seen[..] else { panic!("{seen:?}") };
    assert!((1_000..=1_125).contains(&at), "{at}");
    assert_eq!(first, send(ArpPacket::request(OURS, DIP, RIP).unicast_to(RS)));
    let seen = bench.run_to(at + 1_500);
    // The broadcasts would find a new address.
    assert_eq!(
        seen,
        [(at + 500, request()), (at + 1_000, request()), (at + 1_500, lost()), (at + 1_500, request())]
    );
    assert_eq!(bench.receive(reply(RS, RIP)), [resolved(RS)], "back again");
}

#[test]
fn a_server_that_sends_is_not_requested() {
    let mut bench = Bench::new(OnConflict::Standby);
    bench.add_server(None);
    let own_question = ArpPacket::request(RS, RIP, GATEWAY);
    assert_eq!(bench.receive(own_question), [resolved(RS)]);
    for n in 1..20 {
        assert_eq!(bench.run_to(n * 900), []);
        assert_eq!(bench.receive(own_question), []);
    }
    assert_eq!(bench.machine.counters().requested.get(), 1);
}

// ---- claims by other addresses

#[test]
fn a_claim_to_a_reachable_server_is_verified_at_once() {
    for (what, claim) in claims(NEW) {
        let mut bench = resolved_bench();
        assert_eq!(bench.receive(claim), [request()], "{what}: by broadcast");
        assert_eq!(bench.receive(reply(RS, RIP)), [disputed(RS, NEW)], "{what}: the known address answers");
        let seen = run(&mut bench, 29_000, &[RS]);
        assert_eq!(reports(&seen), [], "{what}");
        let seen = run(&mut bench, 5_000, &[RS]);
        assert_eq!(reports(&seen), [(30_700, dispute_over(NEW))], "{what}");
        assert_eq!(bench.machine.counters().disputed.get(), 1, "{what}");
    }
}

#[test]
fn a_forger_that_answers_moves_no_server() {
    for order in [[RS, NEW], [NEW, RS]] {
        let mut bench = resolved_bench();
        let mut seen: Vec<_> =
            bench.receive(reply(NEW, RIP)).into_iter().map(|action| (700, action)).collect();
        for mac in order {
            seen.extend(bench.receive(reply(mac, RIP)).into_iter().map(|action| (700, action)));
        }
        for n in 0..600 {
            seen.extend(run(&mut bench, 200, &order));
            let (_, claim) = claims(NEW)[n % 5];
            seen.extend(bench.receive(claim).into_iter().map(|action| (0, action)));
        }
        assert_eq!(reports(&seen), [(700, disputed(RS, NEW))], "reported once, never moved");
        let requested = bench.machine.counters().requested.get();
        assert!(requested <= 1 + 2 * 121, "two requests a second at most: {requested} in 120 s");
    }
}

#[test]
fn an_old_forged_claim_replaces_no_lost_server() {
    for (what, claim) in claims(NEW) {
        let mut bench = resolved_bench();
        assert_eq!(bench.receive(claim), [request()], "{what}");
        assert_eq!(reports(&run(&mut bench, 1_600, &[])), [(2_200, lost())], "{what}");
    }
}

#[test]
fn an_announced_move_is_found_in_two_seconds() {
    for (what, claim) in claims(NEW) {
        let mut bench = resolved_bench();
        bench.receive(claim);
        let claimed_at = bench.now;
        let mut seen: Vec<_> =
            bench.receive(reply(NEW, RIP)).into_iter().map(|action| (700, action)).collect();
        seen.extend(run(&mut bench, 2_000, &[NEW]));
        assert_eq!(reports(&seen), [(claimed_at + 1_500, moved(RS, NEW))], "{what}");
        assert_eq!(reports(&run(&mut bench, 60_000, &[NEW])), [], "{what}: it stays");
    }
}

#[test]
fn a_silent_move_is_found_in_three_seconds() {
    let mut bench = resolved_bench();
    let before = bench.now;
    let seen = reports(&run(&mut bench, 3_000, &[NEW]));
    let [(at, action)] = seen[..] else { panic!("{seen:?}") };
    assert_eq!(action, moved(RS, NEW));
    assert!(at - before <= 2_700, "{at}");
}

#[test]
fn a_returning_server_replaces_a_silent_forger() {
    let mut bench = resolved_bench();
    assert_eq!(reports(&run(&mut bench, 5_000, &[])).last().map(|(_, action)| *action), Some(lost()));
    assert_eq!(bench.receive(reply(NEW, RIP)), [moved(RS, NEW)], "the only one that still answers");
    let claimed_at = bench.now;
    bench.receive(ArpPacket::announcement(RS, RIP));
    assert_eq!(reports(&run(&mut bench, 3_000, &[RS]))[0].1, moved(NEW, RS));
    assert!(bench.now - claimed_at <= 3_000);
}

#[test]
fn forged_claims_flood_neither_log_nor_wire() {
    let mut bench = resolved_bench();
    let mut seen = Vec::new();
    for n in 0..10_000_u32 {
        let [_, _, high, low] = n.to_be_bytes();
        let claimant = MacAddr([2, 0, 0, 7, high, low]);
        seen.extend(bench.receive(reply(claimant, RIP)).into_iter().map(|action| (bench.now, action)));
        seen.extend(run(&mut bench, 1, &[RS]));
    }
    assert_eq!(reports(&seen).len(), 4, "{:?}", reports(&seen));
    let requested = seen.iter().filter(|(_, action)| *action == request()).count();
    assert!(requested <= 21, "{requested} requests in 10 s");
}

#[test]
fn any_number_of_attempts_leaves_time_for_a_new_address() {
    for attempts in 1..=10 {
        let mut bench = Bench::with(OnConflict::Standby, Timing { attempts, ..TIMING });
        bench.add_server(None);
        bench.receive(reply(RS, RIP));
        let seen = reports(&run(&mut bench, 10_000, &[NEW]));
        assert_eq!(seen.last().map(|(_, action)| *action), Some(moved(RS, NEW)), "{attempts}: {seen:?}");
        assert_eq!(seen.iter().filter(|(_, action)| *action == lost()).count(), usize::from(attempts == 1));
    }
}

#[test]
fn a_conflict_names_a_server_that_has_moved() {
    let mut bench = Bench::claimed(OnConflict::Standby);
    bench.add_server(None);
    bench.receive(reply(RS, RIP));
    assert_eq!(bench.receive(ArpPacket::announcement(NEW, VIP))[0], conflict(NEW, None));
    let seen = reports(&run(&mut bench, 3_000, &[NEW]));
    let actions: Vec<_> = seen.into_iter().map(|(_, action)| action).collect();
    assert_eq!(actions, [moved(RS, NEW), conflict(NEW, Some(RIP))]);
}

// ---- many servers

/// Requests for this many servers, all of which answer.
struct Pace {
    /// Most in a millisecond.
    at_once: usize,
    /// Most in a second, and mean, after the first second.
    peak: usize,
    average: usize,
}

fn pace(servers: u32, seconds: u32) -> Pace {
    let mut bench = Bench::new(OnConflict::Standby);
    let mut requested = vec![0; 1_000 * seconds as usize + 1];
    let mut actions = Vec::new();
    for n in 0..servers {
        let rip = Ipv4Addr::from_bits(0x0a00_0000 + n);
        let added = bench.event(NeighborEvent::AddServer(NeighborTarget {
            interface: CLIENT,
            rip: rip.into(),
            own: DIP.into(),
            mac: None,
        }));
        actions.extend(added.into_iter().map(|action| (0, action)));
    }
    while bench.now < 1_000 * seconds {
        for (at, action) in std::mem::take(&mut actions) {
            if let Outcome::Send { packet, .. } = action {
                requested[at as usize] += 1;
                let back = bench.receive(packet.reply(RS));
                actions.extend(back.into_iter().map(|action| (bench.now, action)));
            }
        }
        let due = bench.machine.next_deadline().expect("never idle").since(bench.start).millis();
        actions.extend(bench.run_to(due.min(1_000 * seconds)));
    }
    let peak = requested.windows(1_000).skip(1_000).map(|window| window.iter().sum()).max();
    Pace {
        at_once: requested.iter().copied().max().unwrap_or_default(),
        peak: peak.unwrap_or_default(),
        average: requested[1_000..].iter().sum::<usize>() / (seconds as usize - 1),
    }
}

#[test]
fn a_thousand_servers_get_1000_requests_per_second() {
    let Pace { at_once, peak, average } = pace(1_000, 20);
    assert!(at_once <= 64, "{at_once} within a millisecond");
    assert!(peak <= 1_010 && (850..=1_000).contains(&average), "{peak}, {average} a second");
}

#[test]
fn the_interval_grows_with_the_servers() {
    let Pace { at_once, peak, average } = pace(4_000, 20);
    assert!(at_once <= 64, "{at_once} within a millisecond");
    assert!(peak <= 4_064 && average <= 1_000, "{peak}, {average} a second");
}

// ---- settings

#[test]
fn only_unicast_addresses_are_learned() {
    let mut bench = Bench::new(OnConflict::Standby);
    bench.add_server(None);
    assert_eq!(bench.receive(reply(MacAddr::BROADCAST, RIP)), []);
    assert_eq!(bench.receive(reply(MacAddr([1, 0, 0x5e, 0, 0, 1]), RIP)), []);
    assert_eq!(bench.receive(reply(MacAddr::ZERO, RIP)), []);
    assert_eq!(bench.receive(reply(OURS, RIP)), [], "that is ourselves");
    assert_eq!(bench.receive(ArpPacket::request(RS, GATEWAY, RIP)), [], "a request by another host");
    let packet = reply(RS, RIP);
    assert_eq!(bench.event(received(INSIDE, packet)), [], "on another interface");
    assert_eq!(bench.receive(packet), [resolved(RS)]);
}

#[test]
fn a_static_address_never_changes() {
    let mut bench = Bench::new(OnConflict::Standby);
    assert_eq!(bench.add_server(Some(RS)), [resolved(RS)]);
    assert_eq!(bench.machine.next_deadline(), None);
    assert_eq!(bench.receive(reply(OTHER, RIP)), []);
    assert_eq!(bench.run_to(1_000_000), []);
}

#[test]
fn changed_settings_restart_a_server() {
    let mut bench = Bench::new(OnConflict::Standby);
    bench.add_server(None);
    assert_eq!(bench.add_server(Some(RS)), [resolved(RS)]);
    assert_eq!(bench.add_server(None), [request()]);
    assert_eq!(bench.event(NeighborEvent::RemoveServer { interface: CLIENT, rip: RIP.into() }), []);
    assert_eq!(bench.receive(reply(RS, RIP)), []);
    assert_eq!(bench.machine.next_deadline(), None);
}

#[test]
fn requests_use_the_interface_s_mac() {
    let mut bench = Bench::new(OnConflict::Standby);
    let settings = NeighborTarget { interface: INSIDE, rip: RIP.into(), own: DIP.into(), mac: None };
    let packet = ArpPacket::request(OURS_INSIDE, DIP, RIP);
    assert_eq!(
        bench.event(NeighborEvent::AddServer(settings)),
        [Outcome::Send { interface: INSIDE, packet }]
    );
    let packet = packet.reply(RS);
    let expected = [report(NeighborReport::Resolved { interface: INSIDE, rip: RIP.into(), mac: RS })];
    assert_eq!(bench.event(received(INSIDE, packet)), expected);
}

#[test]
fn requests_never_come_from_a_vip() {
    let mut bench = Bench::claimed(OnConflict::Standby);
    let settings = NeighborTarget { interface: CLIENT, rip: RIP.into(), own: VIP.into(), mac: None };
    assert_eq!(bench.event(NeighborEvent::AddServer(settings)), [send(ArpPacket::probe(OURS, RIP))]);
}

#[test]
#[should_panic(expected = "no such interface")]
fn a_server_on_an_unknown_interface_panics() {
    let settings =
        NeighborTarget { interface: InterfaceIndex(2), rip: RIP.into(), own: DIP.into(), mac: None };
    Bench::new(OnConflict::Standby).event(NeighborEvent::AddServer(settings));
}

#[test]
fn a_new_sender_address_keeps_the_server() {
    let mut bench = Bench::new(OnConflict::Standby);
    bench.add_server(None);
    assert_eq!(bench.receive(reply(RS, RIP)), [resolved(RS)]);
    let own = Ipv4Addr::new(192, 168, 195, 11);
    let moved = NeighborTarget { interface: CLIENT, rip: RIP.into(), own: own.into(), mac: None };
    assert_eq!(bench.event(NeighborEvent::AddServer(moved)), []);
    let requested: Vec<_> = bench.step().into_iter().map(|(_, action)| action).collect();
    assert_eq!(requested, [send(ArpPacket::request(OURS, own, RIP).unicast_to(RS))]);
    assert_eq!(bench.receive(reply(RS, RIP)), [], "no news");
}
