//! Roles: the rules of master, backup and fault, and two directors with a model of VRRP over virtual time.

use crate::bench::{
    Bench, DIP, GATEWAY, OTHER, OURS, Outcome, ROUTER, VIP, announcement, conflict, over, probe, question,
    report,
};
use directrix::model::{InterfaceIndex, OnConflict, Role};
use directrix::neighbor::{NeighborEvent, NeighborReport};
use directrix::wire::arp::ArpPacket;

mod vrrp;

fn claimed() -> Outcome {
    report(NeighborReport::Claimed { vip: VIP.into() })
}

fn released() -> Outcome {
    report(NeighborReport::Released { vip: VIP.into() })
}

/// A bench with this role and the VIP.
fn of_role(role: Role) -> Bench {
    let mut bench = Bench::new(OnConflict::Standby);
    bench.event(NeighborEvent::Role(role));
    bench.event(NeighborEvent::AddVip(VIP.into()));
    bench
}

/// Times of announcements, each of two packets.
fn announced(seen: &[(u32, Outcome)]) -> Vec<u32> {
    seen.iter().filter(|(_, one)| *one == announcement()[0]).map(|(at, _)| *at).collect()
}

#[test]
fn a_master_claims_at_once_and_announces_in_a_burst() {
    let mut bench = of_role(Role::Backup);
    bench.run_to(1_000);
    let [request, reply] = announcement();
    assert_eq!(bench.event(NeighborEvent::Role(Role::Master)), [claimed(), request, reply]);
    let seen = bench.run_to(130_000);
    let burst = [1_050, 2_000, 3_000, 6_000];
    assert_eq!(announced(&seen), [&burst[..], &[66_000, 126_000]].concat());
    let probes: Vec<_> = seen.iter().filter(|(_, one)| *one == probe()).map(|(at, _)| *at).collect();
    assert_eq!(probes, [2_000, 3_000, 6_000, 66_000, 126_000], "another master is found by a probe");
}

#[test]
fn a_vip_that_a_master_gets_is_claimed_at_once() {
    let mut bench = Bench::new(OnConflict::Standby);
    bench.event(NeighborEvent::Role(Role::Master));
    let [request, reply] = announcement();
    assert_eq!(bench.event(NeighborEvent::AddVip(VIP.into())), [claimed(), request, reply]);
}

#[test]
fn backup_and_fault_are_silent() {
    for role in [Role::Backup, Role::Fault] {
        let mut bench = Bench::new(OnConflict::Standby);
        bench.event(NeighborEvent::Role(role));
        assert_eq!(bench.event(NeighborEvent::AddVip(VIP.into())), [released()]);
        for packet in [
            question(ROUTER, GATEWAY),
            ArpPacket::probe(OTHER, VIP),
            ArpPacket::announcement(OTHER, VIP),
            ArpPacket::request(OURS, DIP, VIP).reply(OTHER),
        ] {
            assert_eq!(bench.receive(packet), []);
        }
        bench.event(NeighborEvent::InterfaceDown(InterfaceIndex::CLIENT));
        assert_eq!(bench.event(NeighborEvent::InterfaceUp(InterfaceIndex::CLIENT)), []);
        assert_eq!(bench.run_to(1_000_000), []);
        assert_eq!(
            bench.machine.counters().conflicts.get(),
            0,
            "another director has the VIP: that is no conflict"
        );
    }
}

#[test]
fn a_master_that_becomes_backup_is_silent_at_once() {
    let mut bench = of_role(Role::Master);
    assert_eq!(bench.receive(question(ROUTER, GATEWAY)).len(), 1);
    assert_eq!(bench.event(NeighborEvent::Role(Role::Backup)), [released()]);
    assert_eq!(bench.receive(question(ROUTER, GATEWAY)), []);
    assert_eq!(bench.run_to(200_000), []);
}

#[test]
fn the_same_role_again_changes_nothing() {
    let mut bench = of_role(Role::Master);
    assert_eq!(bench.event(NeighborEvent::Role(Role::Master)), []);
    bench.event(NeighborEvent::Role(Role::Backup));
    assert_eq!(bench.event(NeighborEvent::Role(Role::Backup)), []);
    assert_eq!(bench.event(NeighborEvent::Role(Role::Fault)), [], "as silent as before");
}

#[test]
fn a_master_never_fights_and_names_the_rival() {
    let mut bench = of_role(Role::Master);
    bench.run_to(20_000);
    let seen = bench.receive(ArpPacket::announcement(OTHER, VIP));
    assert_eq!(seen, [conflict(OTHER, None), probe()], "no defense");
    let answer = ArpPacket::request(OURS, std::net::Ipv4Addr::UNSPECIFIED, VIP).reply(OTHER);
    let mut seen = Vec::new();
    for round in 0..10 {
        seen.extend(bench.receive(answer).into_iter().map(|one| (bench.now, one)));
        seen.extend(
            bench.receive(ArpPacket::announcement(OTHER, VIP)).into_iter().map(|one| (bench.now, one)),
        );
        seen.extend(bench.run_to(20_500 + round * 500));
    }
    let held = report(NeighborReport::Held { vip: VIP.into(), mac: OTHER, server: None });
    assert!(seen.iter().any(|(_, one)| *one == held), "{seen:?}");
    assert_eq!(announced(&seen), [0; 0], "a master with a rival keeps to its interval");
    assert!(bench.receive(question(ROUTER, GATEWAY)).len() == 1, "it has the VIP all the same");
}

#[test]
fn a_master_announces_again_when_the_rival_is_quiet() {
    let mut bench = of_role(Role::Master);
    bench.run_to(10_000);
    bench.receive(ArpPacket::announcement(OTHER, VIP));
    let answer = ArpPacket::request(OURS, std::net::Ipv4Addr::UNSPECIFIED, VIP).reply(OTHER);
    for round in 1..5 {
        bench.receive(answer);
        bench.run_to(10_000 + round * 500);
    }
    let seen = bench.run_to(40_000);
    let over_at = seen.iter().find(|(_, one)| *one == over(OTHER, None)).expect("the rival ends").0;
    let burst = [0, 50, 1_000, 2_000, 5_000].map(|after| over_at + after);
    assert_eq!(announced(&seen), burst);
}

#[test]
fn a_master_announces_again_on_command() {
    let mut bench = of_role(Role::Master);
    bench.run_to(10_000);
    assert_eq!(bench.event(NeighborEvent::Announce), announcement());
    bench.event(NeighborEvent::Role(Role::Backup));
    assert_eq!(bench.event(NeighborEvent::Announce), []);
}

#[test]
fn a_master_without_carrier_claims_when_it_is_back() {
    let mut bench = of_role(Role::Backup);
    bench.event(NeighborEvent::InterfaceDown(InterfaceIndex::CLIENT));
    assert_eq!(bench.event(NeighborEvent::Role(Role::Master)), []);
    let [request, reply] = announcement();
    let seen = bench.event(NeighborEvent::InterfaceUp(InterfaceIndex::CLIENT));
    assert_eq!(seen, [claimed(), request, reply]);
    bench.event(NeighborEvent::InterfaceDown(InterfaceIndex::CLIENT));
    let again = bench.event(NeighborEvent::InterfaceUp(InterfaceIndex::CLIENT));
    assert_eq!(again, announcement(), "control has it as claimed still");
}

#[test]
fn a_reclaimed_vip_is_claimed_at_once_and_defended() {
    let mut bench = Bench::new(OnConflict::Standby);
    let [request, reply] = announcement();
    let seen = bench.event(NeighborEvent::ReclaimVip(VIP.into()));
    assert_eq!(seen, [probe(), claimed(), request, reply]);
    let seen = bench.receive(ArpPacket::announcement(OTHER, VIP));
    assert!(seen.contains(&request), "it is defended: {seen:?}");
    let mut backup = Bench::new(OnConflict::Standby);
    backup.event(NeighborEvent::Role(Role::Backup));
    assert_eq!(backup.event(NeighborEvent::ReclaimVip(VIP.into())), [released()], "the role comes first");
}
