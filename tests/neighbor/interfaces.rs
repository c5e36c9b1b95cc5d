//! Loss and return of an interface's carrier.

use crate::bench::{
    Bench, CLIENT, DIP, GATEWAY, INSIDE, OTHER, OURS, OURS_INSIDE, Outcome, RIP, ROUTER, RS, VIP,
    announcement, conflict, lost, probe, question, reply, report, request, resolved, send,
};
use directrix::model::OnConflict;
use directrix::neighbor::{NeighborEvent, NeighborReport, NeighborTarget};
use directrix::wire::MacAddr;
use directrix::wire::arp::ArpPacket;

const POLICIES: [OnConflict; 2] = [OnConflict::Standby, OnConflict::Claim];

fn is_report(action: &Outcome) -> bool {
    matches!(action, Outcome::Report(_))
}

/// Times of the actions, from `start`.
fn since(start: u32, seen: Vec<(u32, Outcome)>) -> Vec<(u32, Outcome)> {
    seen.into_iter().map(|(at, action)| (at - start, action)).collect()
}

#[test]
fn nothing_is_probed_or_claimed_without_carrier() {
    for policy in POLICIES {
        let mut bench = Bench::new(policy);
        bench.event(NeighborEvent::InterfaceDown(CLIENT));
        assert_eq!(bench.event(NeighborEvent::AddVip(VIP.into())), []);
        assert_eq!(bench.run_to(3_600_000), []);
        assert_eq!(bench.event(NeighborEvent::InterfaceUp(CLIENT)), [probe()]);
        let seen = since(3_600_000, bench.run_to(3_601_000));
        let [first, second] = announcement();
        let claimed = report(NeighborReport::Claimed { vip: VIP.into() });
        assert_eq!(seen, [(200, probe()), (400, probe()), (900, claimed), (900, first), (900, second)]);
    }
}

#[test]
fn probes_before_an_outage_do_not_count() {
    for reset_at in [0, 199, 401, 899] {
        let mut bench = Bench::new(OnConflict::Standby);
        bench.event(NeighborEvent::AddVip(VIP.into()));
        bench.run_to(reset_at);
        assert_eq!(bench.event(NeighborEvent::InterfaceDown(CLIENT)), []);
        assert_eq!(bench.run_to(5_000), [], "{reset_at}");
        assert_eq!(bench.event(NeighborEvent::InterfaceUp(CLIENT)), [probe()]);
        let rival = ArpPacket::probe(OURS, VIP).reply(OTHER);
        bench.run_to(5_700);
        let standby = report(NeighborReport::Standby { vip: VIP.into(), mac: OTHER });
        assert_eq!(bench.receive(rival), [conflict(OTHER, None), standby], "{reset_at}");
        assert_eq!(bench.run_to(6_699), [], "{reset_at}");
    }
}

#[test]
fn a_claimed_vip_is_probed_for_after_an_outage() {
    let mut bench = Bench::claimed(OnConflict::Standby);
    assert_eq!(bench.event(NeighborEvent::InterfaceDown(CLIENT)), []);
    assert_eq!(bench.run_to(500_000), [], "no announcement without a carrier, and the VIP stays");
    assert_eq!(bench.event(NeighborEvent::InterfaceUp(CLIENT)), [probe()]);
    assert_eq!(bench.receive(question(ROUTER, GATEWAY)), [], "another station may have it by now");
    let seen = since(500_000, bench.run_to(500_900));
    let [first, second] = announcement();
    assert_eq!(
        seen,
        [(200, probe()), (400, probe()), (900, first), (900, second)],
        "no new claim is reported"
    );
    assert_eq!(bench.receive(question(ROUTER, GATEWAY)).len(), 1);
    let times: Vec<_> = since(500_900, bench.run_to(570_000)).into_iter().map(|(at, _)| at).collect();
    assert_eq!(times, [2_000, 2_000, 4_000, 4_000, 64_000, 64_000, 64_000], "as after a claim");
}

#[test]
fn on_conflict_claim_announces_at_once() {
    let mut bench = Bench::claimed(OnConflict::Claim);
    bench.event(NeighborEvent::InterfaceDown(CLIENT));
    bench.run_to(30_000);
    let [first, second] = announcement();
    assert_eq!(bench.event(NeighborEvent::InterfaceUp(CLIENT)), [probe(), first, second]);
    assert_eq!(bench.receive(question(ROUTER, GATEWAY)).len(), 1, "answered for from the first moment");
}

/// A bench with a claimed VIP, right after an outage of 20 s.
fn back() -> Bench {
    let mut bench = Bench::claimed(OnConflict::Standby);
    bench.event(NeighborEvent::InterfaceDown(CLIENT));
    bench.run_to(30_000);
    bench.event(NeighborEvent::InterfaceUp(CLIENT));
    bench
}

#[test]
fn a_vip_taken_during_an_outage_is_left() {
    let asserted = [
        ArpPacket::probe(OURS, VIP).reply(OTHER),
        ArpPacket::announcement(OTHER, VIP),
        ArpPacket::announcement_reply(OTHER, VIP),
    ];
    for packet in asserted {
        let mut bench = back();
        let standby = report(NeighborReport::Standby { vip: VIP.into(), mac: OTHER });
        assert_eq!(bench.receive(packet), [standby, conflict(OTHER, None)], "{packet:?}");
        let announced =
            bench.run_to(32_000).into_iter().filter(|(_, action)| announcement().contains(action));
        assert_eq!(announced.count(), 0, "{packet:?}");
    }
}

#[test]
fn a_request_from_the_vip_takes_nothing() {
    let mut bench = back();
    let wrong = ArpPacket::request(RS, VIP, GATEWAY);
    assert_eq!(bench.receive(wrong), [conflict(RS, None)]);
    assert!(bench.run_to(31_000).contains(&(30_900, announcement()[0])));
}

#[test]
fn a_foreign_probe_is_answered_after_an_outage() {
    for other in [MacAddr([2, 0, 0, 0, 0, 1]), OTHER] {
        let mut bench = back();
        let theirs = ArpPacket::probe(other, VIP);
        assert_eq!(bench.receive(theirs), [send(theirs.reply(OURS))], "the VIP was this director's");
        assert!(bench.run_to(31_000).contains(&(30_900, announcement()[0])));
    }
}

#[test]
fn a_known_holder_takes_nothing_by_an_outage() {
    let mut bench = Bench::claimed(OnConflict::Standby);
    let answers = |bench: &mut Bench, until| {
        let mut actions = Vec::new();
        while bench.now < until {
            for (_, action) in bench.step() {
                if action == probe() {
                    actions.extend(bench.receive(ArpPacket::probe(OURS, VIP).reply(RS)));
                }
                actions.push(action);
            }
        }
        actions
    };
    bench.receive(ArpPacket::probe(OURS, VIP).reply(RS));
    let held = report(NeighborReport::Held { vip: VIP.into(), mac: RS, server: None });
    assert!(answers(&mut bench, 20_000).contains(&held));
    bench.event(NeighborEvent::InterfaceDown(CLIENT));
    bench.run_to(900_000);
    bench.event(NeighborEvent::InterfaceUp(CLIENT));
    bench.receive(ArpPacket::probe(OURS, VIP).reply(RS));
    let actions = answers(&mut bench, 960_000);
    assert!(actions.contains(&announcement()[0]), "{actions:?}");
    let is_news = |action: &Outcome| is_report(action);
    assert!(!actions.iter().any(is_news), "neither standby nor the end of a conflict: {actions:?}");
}

#[test]
fn a_due_defense_waits_for_the_carrier() {
    let mut bench = Bench::claimed(OnConflict::Standby);
    for _ in 0..2 {
        bench.receive(ArpPacket::announcement(OTHER, VIP));
    }
    bench.event(NeighborEvent::InterfaceDown(CLIENT));
    let seen = bench.run_to(60_000);
    assert!(seen.is_empty(), "{seen:?}");
}

#[test]
fn a_standby_probes_when_the_carrier_is_back() {
    let mut bench = Bench::new(OnConflict::Standby);
    bench.event(NeighborEvent::AddVip(VIP.into()));
    bench.receive(ArpPacket::probe(OURS, VIP).reply(OTHER));
    bench.event(NeighborEvent::InterfaceDown(CLIENT));
    let actions: Vec<_> = bench.run_to(20_000).into_iter().map(|(_, action)| action).collect();
    assert!(actions.iter().all(is_report), "{actions:?}");
    assert_eq!(bench.event(NeighborEvent::InterfaceUp(CLIENT)), [probe()]);
    let claimed = (20_900, report(NeighborReport::Claimed { vip: VIP.into() }));
    assert!(bench.run_to(21_000).contains(&claimed));
}

#[test]
fn servers_survive_an_outage_and_are_requested() {
    let mut bench = Bench::new(OnConflict::Standby);
    bench.add_server(None);
    assert_eq!(bench.receive(reply(RS, RIP)), [resolved(RS)]);
    bench.event(NeighborEvent::InterfaceDown(CLIENT));
    assert_eq!(bench.run_to(200_000), [], "not lost: the director receives nothing");
    let to_it = send(ArpPacket::request(OURS, DIP, RIP).unicast_to(RS));
    assert_eq!(bench.event(NeighborEvent::InterfaceUp(CLIENT)), [to_it], "at once, where it was");
    let seen = since(200_000, bench.run_to(204_000));
    assert_eq!(
        seen[..3],
        [(500, request()), (1_000, request()), (1_500, lost())],
        "one that was removed meanwhile"
    );
}

#[test]
fn an_unreachable_server_is_requested_at_once() {
    let mut bench = Bench::new(OnConflict::Standby);
    bench.add_server(None);
    bench.run_to(10_100);
    bench.event(NeighborEvent::InterfaceDown(CLIENT));
    bench.run_to(12_000);
    assert_eq!(bench.event(NeighborEvent::InterfaceUp(CLIENT)), [request()]);
    assert_eq!(bench.receive(reply(RS, RIP)), [resolved(RS)]);
}

#[test]
fn each_interface_has_its_own_carrier() {
    let mut bench = Bench::claimed(OnConflict::Standby);
    let inside = NeighborTarget { interface: INSIDE, rip: RIP.into(), own: DIP.into(), mac: None };
    bench.event(NeighborEvent::InterfaceDown(INSIDE));
    assert_eq!(bench.event(NeighborEvent::AddServer(inside)), []);
    assert_eq!(bench.run_to(64_900).len(), 3, "the VIP is announced as ever");
    let packet = ArpPacket::request(OURS_INSIDE, DIP, RIP);
    assert_eq!(
        bench.event(NeighborEvent::InterfaceUp(INSIDE)),
        [Outcome::Send { interface: INSIDE, packet }]
    );
}

#[test]
fn an_interface_that_was_up_causes_no_action() {
    let mut bench = Bench::claimed(OnConflict::Standby);
    assert_eq!(bench.event(NeighborEvent::InterfaceUp(CLIENT)), []);
    bench.event(NeighborEvent::InterfaceDown(CLIENT));
    bench.event(NeighborEvent::InterfaceDown(CLIENT));
    assert_eq!(bench.event(NeighborEvent::InterfaceUp(CLIENT)), [probe()]);
    assert_eq!(bench.event(NeighborEvent::InterfaceUp(CLIENT)), []);
}
