//! VIPs: events and the actions that each must give, rule by rule.

use crate::bench::*;
use directrix::model::OnConflict;
use directrix::neighbor::{Action, Event, Neighbors, Report, Settings, Timing};
use directrix::time::{Span, Tick};
use directrix::wire::MacAddr;
use directrix::wire::arp::{ArpPacket, Operation};

// ---- claiming

#[test]
fn a_vip_is_probed_claimed_announced_and_announced_again_every_minute() {
    let mut bench = Bench::new(OnConflict::Refuse);
    assert_eq!(bench.event(Event::AddVip(VIP)), [probe()]);
    let seen = bench.run_to(125_000);
    let mut expected = vec![(200, probe()), (400, probe()), (900, report(Report::Claimed { vip: VIP }))];
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
fn rfc_5227_s_own_times_are_kept_when_asked_for() {
    let mut bench = Bench::with(OnConflict::Refuse, Timing::rfc5227());
    let mut seen: Vec<_> = bench.event(Event::AddVip(VIP)).into_iter().map(|action| (0, action)).collect();
    seen.extend(bench.run_to(9_000));
    let at =
        |wanted: Action| seen.iter().filter(|(_, a)| *a == wanted).map(|(at, _)| *at).collect::<Vec<_>>();
    let probes = at(probe());
    assert!(probes.len() == 3 && probes[0] <= 1000, "{probes:?}");
    assert!(probes.windows(2).all(|pair| (1000..=2000).contains(&(pair[1] - pair[0]))), "{probes:?}");
    assert_eq!(at(report(Report::Claimed { vip: VIP })), [probes[2] + 2000]);
}

#[test]
fn no_announcement_interval_means_no_periodic_announcement() {
    let timing = Timing { announce_interval: Span::default(), ..TIMING };
    let mut bench = Bench::with(OnConflict::Refuse, timing);
    bench.event(Event::AddVip(VIP));
    bench.run_to(5_000);
    assert_eq!(bench.machine.next_deadline(), None);
}

#[test]
fn a_vip_added_twice_is_one_and_a_removed_one_is_silent() {
    let mut bench = Bench::claimed(OnConflict::Refuse);
    assert_eq!(bench.event(Event::AddVip(VIP)), []);
    assert_eq!(bench.hear(question(ROUTER, GATEWAY)).len(), 1);
    assert_eq!(bench.event(Event::RemoveVip(VIP)), []);
    assert_eq!(bench.hear(question(ROUTER, GATEWAY)), []);
    assert_eq!(bench.machine.next_deadline(), None);
}

// ---- answering

#[test]
fn the_claimed_vip_is_answered_for_and_nothing_else() {
    let from_router = question(ROUTER, GATEWAY);
    let reply = ArpPacket::request(ROUTER, GATEWAY, VIP).answer(OURS);
    assert_eq!((reply.operation, reply.sender_mac, reply.sender_ip), (Operation::Reply, OURS, VIP));
    assert_eq!((reply.destination, reply.target_mac, reply.target_ip), (ROUTER, ROUTER, GATEWAY));
    let yes = |packet: ArpPacket| (packet, vec![send(packet.answer(OURS))]);
    let no = |packet: ArpPacket| (packet, vec![]);
    let cases = [
        ("a broadcast question", (from_router, vec![send(reply)])),
        ("a unicast question", yes(from_router.only_to(OURS))),
        ("a probe", yes(ArpPacket::probe(OTHER, VIP))),
        ("a bridged question", yes(ArpPacket { source: OTHER, ..from_router })),
        ("a question to another station", no(from_router.only_to(OTHER))),
        ("another VIP, not ours", no(ArpPacket::request(ROUTER, GATEWAY, VIP2))),
        ("the director's own address", no(ArpPacket::request(ROUTER, GATEWAY, DIP))),
        ("an answer", no(ArpPacket { operation: Operation::Reply, ..from_router })),
        ("our own probe, come back", no(ArpPacket::probe(OURS, VIP))),
        ("our own announcement, come back", no(ArpPacket::announcement(OURS, VIP))),
        ("our own question, sent on by a proxy", no(ArpPacket { source: OTHER, ..question(OURS, DIP) })),
        ("our other interface's question", no(question(OURS_INSIDE, GATEWAY))),
        ("a frame that we sent for somebody", no(ArpPacket { source: OURS, ..from_router })),
        ("a question from a group address", no(question(MacAddr([3, 0, 0, 0, 0, 1]), GATEWAY))),
        ("a question from nowhere", no(question(MacAddr::ZERO, GATEWAY))),
    ];
    for (what, (packet, expected)) in cases {
        let mut bench = Bench::claimed(OnConflict::Refuse);
        assert_eq!(bench.hear(packet), expected, "{what}");
        assert_eq!(bench.machine.counters().answered.get(), expected.len() as u64, "{what}");
    }
}

#[test]
fn nothing_is_answered_on_the_servers_link() {
    let mut bench = Bench::claimed(OnConflict::Refuse);
    let packet = question(ROUTER, GATEWAY);
    assert_eq!(bench.event(Event::Received { link: INSIDE, packet }), []);
    let packet = ArpPacket::announcement(OTHER, VIP);
    assert_eq!(bench.event(Event::Received { link: INSIDE, packet }), [], "no conflict there either");
}

#[test]
fn a_vip_is_not_answered_for_before_it_is_claimed() {
    let mut bench = Bench::new(OnConflict::Claim);
    bench.event(Event::AddVip(VIP));
    bench.run_to(899);
    assert_eq!(bench.hear(question(ROUTER, GATEWAY)), []);
    bench.run_to(900);
    assert_eq!(bench.hear(question(ROUTER, GATEWAY)).len(), 1);
}

// ---- conflicts before the claim

#[test]
fn an_answer_to_a_probe_keeps_the_vip_from_being_claimed() {
    let rivals = [
        ("an answer", ArpPacket::probe(OURS, VIP).answer(OTHER)),
        ("an announcement", ArpPacket::announcement(OTHER, VIP)),
        ("a question from the VIP", ArpPacket::request(OTHER, VIP, GATEWAY)),
        ("another's probe", ArpPacket::probe(OTHER, VIP)),
    ];
    for (what, packet) in rivals {
        let mut bench = Bench::new(OnConflict::Refuse);
        bench.event(Event::AddVip(VIP));
        assert_eq!(bench.hear(packet), [conflict(OTHER, None)], "{what}");
        assert_eq!(bench.run_to(59_999), [], "{what}");
        assert_eq!(bench.hear(question(ROUTER, GATEWAY)), [], "{what}");
    }
}

#[test]
fn what_is_no_conflict_does_not_stop_the_claim() {
    let harmless = [
        ("a question for it", question(ROUTER, GATEWAY)),
        ("our own probe, come back", ArpPacket::probe(OURS, VIP)),
        ("our own other interface", ArpPacket::request(OURS_INSIDE, VIP, GATEWAY)),
        ("a probe for another address", ArpPacket::probe(OTHER, VIP2)),
        ("another's answer", answer(RS, RIP)),
    ];
    for (what, packet) in harmless {
        let mut bench = Bench::new(OnConflict::Refuse);
        bench.event(Event::AddVip(VIP));
        assert_eq!(bench.hear(packet), [], "{what}");
        let claimed = (900, report(Report::Claimed { vip: VIP }));
        assert!(bench.run_to(900).contains(&claimed), "{what}");
    }
}

#[test]
fn a_refused_vip_is_tried_again_and_each_change_is_told_once() {
    let mut bench = Bench::new(OnConflict::Refuse);
    bench.event(Event::AddVip(VIP));
    let rival = ArpPacket::probe(OURS, VIP).answer(OTHER);
    assert_eq!(bench.hear(rival), [conflict(OTHER, None)]);
    let mut last = 0;
    for round in 0..5 {
        let seen = bench.step();
        let [(at, action)] = seen[..] else { panic!("{round}: {seen:?}") };
        assert_eq!(action, probe(), "{round}");
        assert!((60_000..=75_000).contains(&(at - last)), "{round}: {last}, then {at}");
        assert_eq!(bench.hear(rival), [], "{round}");
        last = at;
    }
    let seen = bench.run_to(bench.now + 77_000);
    let told: Vec<_> = seen.into_iter().map(|(_, a)| a).filter(|a| matches!(a, Action::Report(_))).collect();
    assert_eq!(told, [over(OTHER, None), report(Report::Claimed { vip: VIP })]);
}

#[test]
fn with_claim_the_vip_is_claimed_all_the_same() {
    let mut bench = Bench::new(OnConflict::Claim);
    bench.event(Event::AddVip(VIP));
    let rival = ArpPacket::probe(OURS, VIP).answer(OTHER);
    assert_eq!(bench.hear(rival), [conflict(OTHER, None)]);
    assert!(bench.run_to(900).contains(&(900, report(Report::Claimed { vip: VIP }))));
    let seen = bench.run_to(149_999);
    assert!(!seen.iter().any(|(_, a)| matches!(a, Action::Report(_))), "{seen:?}");
    assert!(bench.run_to(150_000).contains(&(150_000, over(OTHER, None))));
}

#[test]
fn two_directors_that_start_together_end_with_one_owner() {
    for seed in 0..20 {
        let machine = |mac, seed| {
            let timing = Timing::default();
            Neighbors::new(Settings { links: vec![mac], on_conflict: OnConflict::Refuse, timing, seed })
        };
        let mut pair = [machine(OURS, seed), machine(OTHER, seed + 1000)];
        let mut claims = [0, 0];
        let mut mail = vec![(0, Event::AddVip(VIP)), (1, Event::AddVip(VIP))];
        let mut now = Tick(0);
        while !now.reached(Tick(15 * 60_000)) {
            for (to, event) in std::mem::take(&mut mail) {
                let mut actions = Vec::new();
                pair[to].handle(event, now, &mut actions);
                for action in actions {
                    match action {
                        Action::Send { packet, .. } => {
                            mail.push((1 - to, Event::Received { link: CLIENT, packet }));
                        }
                        Action::Report(Report::Claimed { .. }) => claims[to] += 1,
                        Action::Report(_) => {}
                    }
                }
            }
            now = now.after(Span::from_millis(1));
            if mail.is_empty() {
                let due = |machine: &Neighbors| machine.next_deadline().expect("never idle");
                let (one, other) = (due(&pair[0]), due(&pair[1]));
                now = if one.reached(other) { other } else { one };
                mail.extend([(0, Event::Timer), (1, Event::Timer)]);
            }
        }
        assert_eq!(claims[0] + claims[1], 1, "seed {seed}");
    }
}

// ---- conflicts after the claim

#[test]
fn a_claimed_vip_is_defended_at_most_every_ten_seconds_and_never_given_up() {
    for policy in [OnConflict::Refuse, OnConflict::Claim] {
        let mut bench = Bench::claimed(policy);
        let rival = ArpPacket::request(OTHER, VIP, GATEWAY);
        let mut expected = vec![conflict(OTHER, None)];
        expected.extend(announcement());
        assert_eq!(bench.hear(rival), expected);
        for second in 11..=19 {
            assert_eq!(bench.run_to(second * 1000), []);
            assert_eq!(bench.hear(rival), []);
        }
        assert_eq!(bench.run_to(20_000), announcement().map(|action| (20_000, action)));
        assert_eq!(bench.run_to(40_000), [], "no further conflict, no further defence");
        assert_eq!(bench.hear(rival), announcement(), "told once, defended again");
        assert_eq!(bench.hear(question(ROUTER, GATEWAY)).len(), 1, "still answered for");
        assert_eq!(bench.machine.counters().conflicts.get(), 11);
    }
}

#[test]
fn the_end_of_a_conflict_is_told_once() {
    let mut bench = Bench::claimed(OnConflict::Refuse);
    bench.hear(ArpPacket::announcement(OTHER, VIP));
    let told = |seen: Vec<(u32, Action)>| {
        seen.into_iter().filter(|(_, a)| matches!(a, Action::Report(_))).collect::<Vec<_>>()
    };
    assert_eq!(told(bench.run_to(400_000)), [(160_000, over(OTHER, None))]);
    assert_eq!(bench.hear(ArpPacket::announcement(OTHER, VIP))[0], conflict(OTHER, None));
}

#[test]
fn a_probe_for_a_claimed_vip_is_answered_and_no_conflict() {
    let mut bench = Bench::claimed(OnConflict::Refuse);
    let packet = ArpPacket::probe(OTHER, VIP);
    assert_eq!(bench.hear(packet), [send(packet.answer(OURS))]);
    assert_eq!(bench.machine.counters().conflicts.get(), 0);
}

#[test]
fn a_conflict_names_the_real_server_that_makes_it() {
    let mut bench = Bench::claimed(OnConflict::Refuse);
    bench.add_server(None);
    bench.hear(answer(RS, RIP));
    // arp_announce is wrong: it asks for its gateway with the VIP as its own address.
    assert_eq!(bench.hear(ArpPacket::request(RS, VIP, GATEWAY))[0], conflict(RS, Some(RIP)));
}

#[test]
fn a_rival_is_told_again_once_it_turns_out_to_be_a_real_server() {
    let mut bench = Bench::claimed(OnConflict::Refuse);
    assert_eq!(bench.hear(ArpPacket::announcement(RS, VIP))[0], conflict(RS, None));
    bench.add_server(None);
    assert_eq!(bench.hear(answer(RS, RIP)), [resolved(RS), conflict(RS, Some(RIP))]);
    assert_eq!(bench.hear(answer(RS, RIP)), []);

    let mut bench = Bench::claimed(OnConflict::Refuse);
    bench.hear(ArpPacket::announcement(RS, VIP));
    assert_eq!(bench.add_server(Some(RS)), [resolved(RS), conflict(RS, Some(RIP))], "a fixed address too");
}

#[test]
fn a_named_rival_is_not_told_again_when_the_server_comes_back() {
    let mut bench = Bench::claimed(OnConflict::Refuse);
    bench.add_server(None);
    bench.hear(answer(RS, RIP));
    bench.hear(ArpPacket::announcement(RS, VIP));
    let seen = bench.run_to(bench.now + 5_000);
    assert!(seen.iter().any(|(_, action)| *action == lost()));
    assert_eq!(bench.hear(answer(RS, RIP)), [resolved(RS)]);
}

#[test]
fn one_packet_is_one_conflict() {
    let mut bench = Bench::claimed(OnConflict::Refuse);
    bench.hear(ArpPacket::announcement(OTHER, VIP));
    assert_eq!(bench.machine.counters().conflicts.get(), 1);
}

#[test]
fn a_packet_may_misuse_one_vip_and_ask_for_another() {
    let mut bench = Bench::claimed(OnConflict::Refuse);
    bench.event(Event::AddVip(VIP2));
    bench.run_to(20_000);
    let packet = ArpPacket::request(OTHER, VIP, VIP2);
    let actions = bench.hear(packet);
    assert!(actions.contains(&conflict(OTHER, None)) && actions.contains(&send(packet.answer(OURS))));
}

#[test]
fn several_rivals_are_told_apart_and_made_up_ones_do_not_flood_the_log() {
    let mut bench = Bench::claimed(OnConflict::Refuse);
    let mut told = 0;
    for round in 0..3 {
        for n in 0..200 {
            let mac = MacAddr([2, 0, 0, 7, 0, n]);
            let actions = bench.hear(ArpPacket::announcement(mac, VIP));
            told += actions.iter().filter(|a| matches!(a, Action::Report(_))).count();
            assert!(round == 0 || actions.is_empty());
        }
    }
    assert_eq!(told, 16);
}

#[test]
fn times_of_zero_do_not_make_it_spin() {
    let zero = Span::default();
    let timing = Timing {
        probe_gap: (zero, zero),
        announce_wait: zero,
        announce_gap: zero,
        defend_interval: zero,
        reprobe_interval: zero,
        retry: zero,
        unreachable_retry: zero,
        refresh: zero,
        ..TIMING
    };
    let mut bench = Bench::with(OnConflict::Refuse, timing);
    bench.event(Event::AddVip(VIP));
    bench.hear(ArpPacket::probe(OTHER, VIP));
    bench.add_server(None);
    bench.run_to(50);
    bench.hear(answer(RS, RIP));
    bench.hear(ArpPacket::announcement(OTHER, VIP));
    let seen = bench.run_to(150);
    assert!(!seen.is_empty() && seen.len() <= 500, "a few frames a millisecond: {}", seen.len());
}

#[test]
fn times_beyond_a_day_are_cut_so_that_deadlines_compare() {
    let timing = Timing { announce_interval: Span::MAX, ..TIMING };
    let mut bench = Bench::with(OnConflict::Refuse, timing);
    bench.event(Event::AddVip(VIP));
    bench.run_to(10_000);
    let due = bench.machine.next_deadline().expect("the next announcement");
    assert_eq!(due.since(bench.start), Span::from_millis(86_400_000 + 4_900));
}

#[test]
fn a_machine_that_was_not_called_for_long_does_not_catch_up() {
    let mut bench = Bench::claimed(OnConflict::Refuse);
    bench.add_server(Some(RS));
    bench.now += 3_600_000;
    let actions = bench.event(Event::Timer);
    assert_eq!(actions.len(), 3, "one probe and one announcement: {actions:?}");
}
