//! The test of the gateway's entry: the finding of a stolen VIP, and every silence that is none.

use crate::world::{DIP, GATEWAY, GATEWAY_MAC, Host, World, other, vip, vip6};
use directrix::audit::{AuditInput, AuditLevel, AuditReport, AuditedHost, Misuse};
use directrix::neighbor::{NeighborEvent, NeighborReport};
use std::net::{IpAddr, Ipv4Addr};

const INTERVAL: u64 = 60;

/// Two VIPs, and a gateway that has sent a frame for each back.
fn calibrated() -> World {
    let mut world = World::new(&[vip(0), vip(1), vip6()], 2, INTERVAL as u32, Vec::new());
    world.add_gateway();
    world.seconds(INTERVAL);
    assert_eq!(world.findings(), []);
    world
}

fn v4(address: IpAddr) -> Ipv4Addr {
    match address {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => panic!("{address}"),
    }
}

#[test]
fn a_stolen_vip_is_found_in_a_round_and_ends_with_it() {
    let mut world = calibrated();
    world.gateway().stolen.insert(vip(1));
    world.seconds(INTERVAL + 5);
    let findings = world.findings();
    assert_eq!(findings.len(), 1, "{findings:?}");
    let found = &findings[0];
    assert_eq!((found.misuse, found.level, found.address), (Misuse::Diverted, AuditLevel::Error, vip(1)));
    assert_eq!((found.host, found.mac), (AuditedHost::Gateway(GATEWAY), GATEWAY_MAC));
    let sentence = "gateway 192.0.2.1 (02:00:00:00:00:01) sends frames for the VIP 192.0.2.101 to another host: \
                    they came to this director before";
    assert_eq!(found.to_string(), sentence);
    world.seconds(60);
    assert_eq!(world.opened(), 1, "reported once");
    assert!(world.findings()[0].count > 5 && world.findings()[0].last_ms < 8_000, "{:?}", world.findings());
    world.gateway().stolen.clear();
    world.seconds(7);
    assert_eq!(world.findings(), []);
    assert!(matches!(world.reports.last(), Some((_, AuditReport::Closed(over))) if over.address == vip(1)));
}

#[test]
fn silence_without_calibration_is_no_finding() {
    for drops in [true, false] {
        let mut world = World::new(&[vip(0)], 2, INTERVAL as u32, Vec::new());
        world.add_gateway();
        world.gateway().drops = drops;
        if !drops {
            world.gateway().stolen.insert(vip(0));
        }
        world.seconds(20 * INTERVAL);
        assert_eq!((world.findings(), world.reports.len()), (Vec::new(), 0));
        assert!((15..25).contains(&world.tested.len()), "one try each: {}", world.tested.len());
    }
}

#[test]
fn another_vip_calibrates_nothing() {
    let mut world = World::new(&[vip(0), vip(1)], 2, INTERVAL as u32, Vec::new());
    world.add_gateway();
    world.gateway().stolen.insert(vip(0));
    world.seconds(10 * INTERVAL);
    assert_eq!(world.findings(), [], "a filter there may be about this VIP");
}

#[test]
fn two_lost_frames_of_three_are_no_finding() {
    let mut world = calibrated();
    world.gateway().loses = 3;
    world.seconds(60 * INTERVAL);
    assert_eq!((world.findings(), world.reports.len()), (Vec::new(), 0));
}

#[test]
fn a_gateway_that_does_not_answer_is_no_finding() {
    let mut world = calibrated();
    world.gateway().drops = true;
    world.host(GATEWAY_MAC).answers.clear();
    world.seconds(10 * INTERVAL);
    assert_eq!((world.findings(), world.reports.len()), (Vec::new(), 0));
    world.host(GATEWAY_MAC).answers.insert(GATEWAY.into());
    world.seconds(INTERVAL + 5);
    assert_eq!(world.misuses(), [Misuse::Diverted; 2], "it is back, and the calibration holds");
}

#[test]
fn a_gateway_with_another_mac_address_is_calibrated_anew() {
    let mut world = calibrated();
    let next = other(1);
    world.hosts.push(Host::new(next, [GATEWAY.into()]));
    world.host(GATEWAY_MAC).answers.clear();
    (world.gateway().gateway, world.gateway().drops) = (next, true);
    world.seconds(10 * INTERVAL);
    assert_eq!((world.findings(), world.reports.len()), (Vec::new(), 0));
    world.gateway().drops = false;
    world.seconds(2 * INTERVAL);
    world.gateway().drops = true;
    world.seconds(INTERVAL + 10);
    assert_eq!(world.misuses(), [Misuse::Diverted; 2]);
    assert_eq!(world.findings()[0].mac, next);
}

#[test]
fn another_gateway_or_address_forgets_what_was_found() {
    type Step = fn(&mut World);
    let route: [(&str, Step); 4] = [
        ("no gateway", |world| world.input(&AuditInput::Gateway(None))),
        ("another address", |world| world.input(&AuditInput::Sender(Some([192, 0, 2, 6].into())))),
        ("removed", |world| world.input(&AuditInput::Followed(NeighborEvent::RemoveVip(vip(0))))),
        ("left", |world| world.reported(NeighborReport::Standby { vip: vip(0), mac: other(1) })),
    ];
    for (name, change) in route {
        let mut world = calibrated();
        world.gateway().stolen.insert(vip(0));
        world.seconds(INTERVAL + 5);
        assert_eq!(world.misuses(), [Misuse::Diverted], "{name}");
        change(&mut world);
        assert_eq!(world.findings(), [], "{name}");
        assert!(matches!(world.reports.last(), Some((_, AuditReport::Closed(_)))), "{name}");
        if name == "another address" {
            world.input(&AuditInput::Sender(Some(DIP)));
        }
        world.seconds(5 * INTERVAL);
        assert_eq!(world.findings(), [], "{name}");
    }
}

#[test]
fn without_carrier_nothing_is_tested_and_nothing_ends() {
    let mut world = calibrated();
    world.gateway().stolen.insert(vip(0));
    world.seconds(INTERVAL + 5);
    let tests = world.tested.len();
    let client = directrix::model::InterfaceIndex::CLIENT;
    world.input(&AuditInput::Followed(NeighborEvent::InterfaceDown(client)));
    world.gateway().drops = true;
    world.seconds(10 * INTERVAL);
    assert_eq!((world.tested.len(), world.misuses().len()), (tests, 1));
    world.gateway().drops = false;
    world.gateway().stolen.clear();
    world.input(&AuditInput::Followed(NeighborEvent::InterfaceUp(client)));
    world.seconds(2 * INTERVAL);
    assert_eq!((world.findings(), world.opened()), (Vec::new(), 1));
}

#[test]
fn tests_of_many_vips_share_the_rate_with_questions() {
    let vips: Vec<_> = (0..100).map(vip).collect();
    let mut world = World::new(&vips, 3, 10, Vec::new());
    world.add_gateway();
    world.seconds(60);
    let first = world.tested.len();
    assert!(vips.iter().all(|vip| world.tested.iter().any(|(_, tested)| *tested == v4(*vip))));
    world.gateway().stolen.extend(&vips);
    let asked = world.asked.len();
    world.seconds(60);
    assert!(world.tested.len() - first < 70, "one at a time: {}", world.tested.len() - first);
    assert!(world.asked.len() - asked > 500, "questions go on: {}", world.asked.len() - asked);
    let mut times: Vec<_> = world.tested.iter().map(|(at, _)| *at).collect();
    times.extend(world.asked.iter().map(|(at, _)| *at));
    times.sort_unstable();
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 50), "20 a second in all");
}

#[test]
fn no_interval_no_test() {
    let mut world = World::new(&[vip(0)], 2, 0, Vec::new());
    world.add_gateway();
    world.seconds(600);
    assert_eq!(world.tested, []);
}
