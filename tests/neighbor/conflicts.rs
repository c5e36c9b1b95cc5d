//! VIP conflicts: events and expected actions, rule by rule.

use crate::bench::*;
use directrix::model::OnConflict;
use directrix::neighbor::{NeighborEvent, NeighborReport, NeighborSettings, Neighbors, Timing};
use directrix::time::Tick;
use directrix::wire::MacAddr;
use directrix::wire::arp::ArpPacket;
use std::net::Ipv4Addr;

fn standby(mac: MacAddr) -> Outcome {
    report(NeighborReport::Standby { vip: VIP.into(), mac })
}

fn held(mac: MacAddr, server: Option<Ipv4Addr>) -> Outcome {
    report(NeighborReport::Held { vip: VIP.into(), mac, server: server.map(Into::into) })
}

fn reports(seen: &[(u32, Outcome)]) -> Vec<(u32, Outcome)> {
    seen.iter().filter(|(_, action)| matches!(action, Outcome::Report(_))).copied().collect()
}

/// A station that uses the VIP.
#[derive(Clone, Copy)]
struct Rival {
    mac: MacAddr,
    /// It answers probes for the VIP.
    answers: bool,
    /// It announces the VIP when another station does, at most every ten seconds.
    defends: bool,
}

/// Runs for `ms` beside `rival`.
fn run(bench: &mut Bench, ms: u32, rival: Rival) -> Vec<(u32, Outcome)> {
    let (end, mut seen, mut rests) = (bench.now + ms, Vec::new(), 0);
    while let Some(due) = bench.machine.next_deadline() {
        let at = due.since(bench.start).millis();
        if at > end {
            break;
        }
        let mut actions = bench.run_to(at);
        while !actions.is_empty() {
            let received: Vec<_> =
                actions.iter().filter_map(|(_, action)| react(rival, action, at, &mut rests)).collect();
            seen.append(&mut actions);
            actions =
                received.into_iter().flat_map(|packet| bench.receive(packet)).map(|a| (at, a)).collect();
        }
    }
    bench.run_to(end);
    seen
}

fn react(rival: Rival, action: &Outcome, at: u32, rests: &mut u32) -> Option<ArpPacket> {
    let Outcome::Send { packet, .. } = action else { return None };
    let to_it = packet.destination == MacAddr::BROADCAST || packet.destination == rival.mac;
    if rival.answers && to_it && packet.is_probe() && packet.target_ip == VIP {
        return Some(packet.reply(rival.mac));
    }
    if rival.defends && packet.sender_ip == VIP && at >= *rests {
        *rests = at + 10_000;
        return Some(ArpPacket::announcement(rival.mac, VIP));
    }
    None
}

/// MAC addresses below and above the director's.
const LOWER: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x02]);
const HIGHER: MacAddr = OTHER;

// ---- before the claim

#[test]
fn a_vip_with_a_holder_is_not_claimed() {
    let rivals = [
        ("an answer", ArpPacket::probe(OURS, VIP).reply(OTHER)),
        ("an announcement", ArpPacket::announcement(OTHER, VIP)),
        ("a question from the VIP", ArpPacket::request(OTHER, VIP, GATEWAY)),
        ("another's probe", ArpPacket::probe(OTHER, VIP)),
    ];
    for (what, packet) in rivals {
        let mut bench = Bench::new(OnConflict::Standby);
        bench.event(NeighborEvent::AddVip(VIP.into()));
        assert_eq!(bench.receive(packet), [conflict(OTHER, None), standby(OTHER)], "{what}");
        assert_eq!(bench.run_to(999), [], "{what}");
        assert_eq!(bench.receive(question(ROUTER, GATEWAY)), [], "{what}");
    }
}

#[test]
fn of_two_probers_the_higher_mac_continues() {
    let mut bench = Bench::new(OnConflict::Standby);
    bench.event(NeighborEvent::AddVip(VIP.into()));
    assert_eq!(bench.receive(ArpPacket::probe(LOWER, VIP)), []);
    assert!(bench.run_to(900).contains(&(900, report(NeighborReport::Claimed { vip: VIP.into() }))));
}

#[test]
fn a_standby_probes_by_unicast_and_reports_once() {
    let mut bench = Bench::new(OnConflict::Standby);
    bench.event(NeighborEvent::AddVip(VIP.into()));
    let answer = ArpPacket::probe(OURS, VIP).reply(OTHER);
    assert_eq!(bench.receive(answer), [conflict(OTHER, None), standby(OTHER)]);
    let mut last = 0;
    for round in 0..5 {
        let seen = bench.step();
        let [(at, action)] = seen[..] else { panic!("{round}: {seen:?}") };
        assert_eq!(action, send(ArpPacket::probe(OURS, VIP).unicast_to(OTHER)), "{round}");
        assert!((1_000..=1_250).contains(&(at - last)), "{round}: {last}, then {at}");
        assert_eq!(bench.receive(answer), [], "{round}");
        last = at;
    }
    let seen = bench.run_to(last + 3_000);
    let reported: Vec<_> = reports(&seen).into_iter().map(|(_, action)| action).collect();
    assert_eq!(reported, [over(OTHER, None), report(NeighborReport::Claimed { vip: VIP.into() })]);
}

#[test]
fn a_standby_claims_the_vip_within_three_seconds() {
    for seed in 0..50 {
        let timing = Timing::default();
        let settings =
            NeighborSettings { own_macs: vec![OURS], on_conflict: OnConflict::Standby, timing, seed };
        let mut bench = Bench { machine: Neighbors::new(settings), start: Tick(0), now: 0 };
        bench.event(NeighborEvent::AddVip(VIP.into()));
        let holder = Rival { mac: OTHER, answers: true, defends: false };
        run(&mut bench, 60_000 + 37 * seed as u32, holder);
        let died = bench.now;
        let seen = reports(&bench.run_to(died + 3_000));
        let claimed =
            seen.iter().find(|(_, action)| *action == report(NeighborReport::Claimed { vip: VIP.into() }));
        assert!(claimed.is_some_and(|(at, _)| at - died <= 2_700), "seed {seed}: {seen:?}");
    }
}

#[test]
fn a_standby_tolerates_lost_replies() {
    let mut bench = Bench::new(OnConflict::Standby);
    bench.event(NeighborEvent::AddVip(VIP.into()));
    bench.receive(ArpPacket::announcement(OTHER, VIP));
    let holder = Rival { mac: OTHER, answers: true, defends: false };
    for _ in 0..20 {
        let [(_, sent)] = bench.step()[..] else { panic!("one question") };
        assert_eq!(sent, send(ArpPacket::probe(OURS, VIP).unicast_to(OTHER)));
        let [(_, sent)] = bench.step()[..] else { panic!("the answer is lost") };
        assert_eq!(sent, probe(), "by broadcast");
        bench.receive(ArpPacket::probe(OURS, VIP).reply(OTHER));
        assert_eq!(reports(&run(&mut bench, 900, holder)), []);
    }
}

#[test]
fn a_standby_reports_the_next_holder() {
    let mut bench = Bench::new(OnConflict::Standby);
    bench.event(NeighborEvent::AddVip(VIP.into()));
    bench.receive(ArpPacket::announcement(OTHER, VIP));
    let second = Rival { mac: ROUTER, answers: true, defends: false };
    bench.receive(ArpPacket::announcement(ROUTER, VIP));
    let seen = reports(&run(&mut bench, 200_000, second));
    let reported: Vec<_> = seen.into_iter().map(|(_, action)| action).collect();
    assert_eq!(reported, [over(OTHER, None), standby(ROUTER)]);
}

#[test]
fn on_conflict_claim_claims_the_vip() {
    let mut bench = Bench::new(OnConflict::Claim);
    bench.event(NeighborEvent::AddVip(VIP.into()));
    let rival = ArpPacket::probe(OURS, VIP).reply(OTHER);
    assert_eq!(bench.receive(rival), [conflict(OTHER, None)]);
    assert!(bench.run_to(900).contains(&(900, report(NeighborReport::Claimed { vip: VIP.into() }))));
    let seen = bench.run_to(149_999);
    assert_eq!(reports(&seen), []);
    assert!(bench.run_to(150_000).contains(&(150_000, over(OTHER, None))));
}

#[test]
fn packets_without_conflict_do_not_stop_the_claim() {
    let harmless = [
        ("a question for it", question(ROUTER, GATEWAY)),
        ("own probe, reflected", ArpPacket::probe(OURS, VIP)),
        ("the other own interface", ArpPacket::request(OURS_INSIDE, VIP, GATEWAY)),
        ("a probe for another address", ArpPacket::probe(OTHER, VIP2)),
        ("another's answer", reply(RS, RIP)),
    ];
    for (what, packet) in harmless {
        let mut bench = Bench::new(OnConflict::Standby);
        bench.event(NeighborEvent::AddVip(VIP.into()));
        assert_eq!(bench.receive(packet), [], "{what}");
        let claimed = (900, report(NeighborReport::Claimed { vip: VIP.into() }));
        assert!(bench.run_to(900).contains(&claimed), "{what}");
    }
}

// ---- after the claim

#[test]
fn a_claimed_vip_is_defended_every_ten_seconds_at_most() {
    for policy in [OnConflict::Standby, OnConflict::Claim] {
        let mut bench = Bench::claimed(policy);
        let rival = ArpPacket::request(OTHER, VIP, GATEWAY);
        let mut expected = vec![conflict(OTHER, None)];
        expected.extend(announcement());
        expected.push(probe());
        assert_eq!(bench.receive(rival), expected);
        let announced = |seen: &[(u32, Outcome)]| {
            let ours = |(_, action): &&(u32, Outcome)| *action == announcement()[0];
            seen.iter().filter(ours).map(|(at, _)| *at).collect::<Vec<_>>()
        };
        let mut seen = Vec::new();
        for second in 11..=19 {
            seen.extend(bench.run_to(second * 1000));
            assert_eq!(bench.receive(rival), [], "reported once");
        }
        assert_eq!(announced(&seen), [12_000, 14_000], "the rest of the round");
        assert_eq!(announced(&bench.run_to(30_000)), [20_000, 22_000, 24_000]);
        assert_eq!(announced(&bench.run_to(40_000)), [0; 0], "no further conflict, no further defence");
        assert!(bench.receive(rival).starts_with(&announcement()), "reported once, defended again");
        assert_eq!(bench.receive(question(ROUTER, GATEWAY)).len(), 1, "still answered for");
        assert_eq!(bench.machine.counters().conflicts.get(), 11);
    }
}

#[test]
fn the_end_of_a_conflict_is_reported_once() {
    let mut bench = Bench::claimed(OnConflict::Standby);
    bench.receive(ArpPacket::announcement(OTHER, VIP));
    assert_eq!(reports(&bench.run_to(400_000)), [(160_000, over(OTHER, None))]);
    assert_eq!(bench.receive(ArpPacket::announcement(OTHER, VIP))[0], conflict(OTHER, None));
}

#[test]
fn a_stray_packet_is_verified_by_a_few_probes() {
    for packet in [ArpPacket::announcement(HIGHER, VIP), ArpPacket::probe(OURS, VIP).reply(HIGHER)] {
        let mut bench = Bench::claimed(OnConflict::Standby);
        bench.receive(packet);
        let seen = bench.run_to(60_000);
        let probes: Vec<_> =
            seen.iter().filter(|(_, action)| *action == probe()).map(|(at, _)| *at).collect();
        assert_eq!(probes, [10_500, 11_000, 11_500], "after the one at once: {seen:?}");
        assert_eq!(reports(&seen), []);
    }
}

#[test]
fn a_server_that_answers_probes_is_a_holder() {
    for mac in [LOWER, RS] {
        for policy in [OnConflict::Standby, OnConflict::Claim] {
            let mut bench = Bench::claimed(policy);
            bench.add_server(Some(mac));
            bench.receive(ArpPacket::probe(OURS, VIP).reply(mac));
            let wrong = Rival { mac, answers: true, defends: false };
            let mut seen = bench.receive(ArpPacket::probe(OURS, VIP).reply(mac)); // to the first probe
            seen.extend(run(&mut bench, 600_000, wrong).into_iter().map(|(_, action)| action));
            let reported: Vec<_> =
                seen.iter().filter(|action| matches!(action, Outcome::Report(_))).collect();
            assert_eq!(reported, [&held(mac, Some(RIP))], "reported once, and the VIP stays claimed");
            let probes = seen.iter().filter(|action| **action == probe()).count();
            assert!((110..=140).contains(&probes), "every five seconds: {probes}");
            let quiet = bench.now;
            let seen = reports(&bench.run_to(quiet + 60_000));
            let [(at, action)] = seen[..] else { panic!("{seen:?}") };
            assert_eq!(action, over(mac, Some(RIP)));
            assert!((10_000..=20_000).contains(&(at - quiet)), "{}", at - quiet);
        }
    }
}

#[test]
fn a_holder_may_miss_a_probe() {
    let mut bench = Bench::claimed(OnConflict::Standby);
    let wrong = Rival { mac: RS, answers: true, defends: false };
    bench.receive(ArpPacket::announcement(RS, VIP));
    assert_eq!(reports(&run(&mut bench, 5_000, wrong)).len(), 1);
    for _ in 0..20 {
        let mut seen = Vec::new();
        while !seen.iter().any(|(_, action)| *action == probe()) {
            seen = bench.step(); // left unanswered
        }
        assert_eq!(reports(&run(&mut bench, 6_000, wrong)), []);
    }
}

#[test]
fn only_a_higher_director_gets_a_claimed_vip() {
    for mac in [LOWER, HIGHER] {
        for answers in [false, true] {
            for defends in [false, true] {
                for policy in [OnConflict::Standby, OnConflict::Claim] {
                    let mut bench = Bench::claimed(policy);
                    bench.receive(ArpPacket::announcement(mac, VIP));
                    let seen = run(&mut bench, 60_000, Rival { mac, answers, defends });
                    let gave_way = seen.iter().any(|(_, action)| *action == standby(mac));
                    let expected = mac == HIGHER && answers && defends && policy == OnConflict::Standby;
                    assert_eq!(gave_way, expected, "{mac} {answers} {defends} {policy:?}: {seen:?}");
                }
            }
        }
    }
}

#[test]
fn a_probe_for_a_claimed_vip_is_no_conflict() {
    let mut bench = Bench::claimed(OnConflict::Standby);
    let packet = ArpPacket::probe(OTHER, VIP);
    assert_eq!(bench.receive(packet), [send(packet.reply(OURS))]);
    assert_eq!(bench.machine.counters().conflicts.get(), 0);
}

#[test]
fn a_conflict_names_its_real_server() {
    let mut bench = Bench::claimed(OnConflict::Standby);
    bench.add_server(None);
    bench.receive(reply(RS, RIP));
    // Wrong arp_announce: requests its gateway with the VIP as sender address.
    assert_eq!(bench.receive(ArpPacket::request(RS, VIP, GATEWAY))[0], conflict(RS, Some(RIP)));
}

#[test]
fn an_identified_rival_is_reported_again() {
    let mut bench = Bench::claimed(OnConflict::Standby);
    assert_eq!(bench.receive(ArpPacket::announcement(RS, VIP))[0], conflict(RS, None));
    bench.add_server(None);
    assert_eq!(bench.receive(reply(RS, RIP)), [resolved(RS), conflict(RS, Some(RIP))]);
    assert_eq!(bench.receive(reply(RS, RIP)), []);

    let mut bench = Bench::claimed(OnConflict::Standby);
    bench.receive(ArpPacket::announcement(RS, VIP));
    assert_eq!(bench.add_server(Some(RS)), [resolved(RS), conflict(RS, Some(RIP))], "a fixed address too");
}

#[test]
fn an_identified_rival_is_not_reported_twice() {
    let mut bench = Bench::claimed(OnConflict::Standby);
    bench.add_server(None);
    bench.receive(reply(RS, RIP));
    bench.receive(ArpPacket::announcement(RS, VIP));
    let seen = bench.run_to(bench.now + 5_000);
    assert!(seen.iter().any(|(_, action)| *action == lost()));
    assert_eq!(bench.receive(reply(RS, RIP)), [resolved(RS)]);
}

#[test]
fn a_packet_is_one_conflict() {
    let mut bench = Bench::claimed(OnConflict::Standby);
    bench.receive(ArpPacket::announcement(OTHER, VIP));
    assert_eq!(bench.machine.counters().conflicts.get(), 1);
}

#[test]
fn a_packet_may_use_one_vip_and_request_another() {
    let mut bench = Bench::claimed(OnConflict::Standby);
    bench.event(NeighborEvent::AddVip(VIP2.into()));
    bench.run_to(20_000);
    let packet = ArpPacket::request(OTHER, VIP, VIP2);
    let actions = bench.receive(packet);
    assert!(actions.contains(&conflict(OTHER, None)) && actions.contains(&send(packet.reply(OURS))));
}

#[test]
fn forged_rivals_do_not_flood_the_log() {
    let mut bench = Bench::claimed(OnConflict::Standby);
    let mut reported = 0;
    for round in 0..3 {
        for n in 0..200 {
            let mac = MacAddr([2, 0, 0, 7, 0, n]);
            let actions = bench.receive(ArpPacket::announcement(mac, VIP));
            reported += actions.iter().filter(|a| matches!(a, Outcome::Report(_))).count();
            assert!(round == 0 || actions.is_empty());
        }
    }
    assert_eq!(reported, 16);
}
