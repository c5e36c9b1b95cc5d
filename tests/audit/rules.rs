//! Each rule of the auditor.

use crate::world::{CLIENT, Host, OWN, World, announcement, answer, mac, other, request, rip, vip, vip6};
use directrix::audit::{AuditInput, AuditLevel, AuditReport, AuditedHost, Misuse};
use directrix::model::PeerAddress;
use directrix::neighbor::{NeighborEvent, NeighborReport, Outgoing};
use directrix::wire::MacAddr;
use std::net::IpAddr;

const INTERVAL: u32 = 300;
const VRRP: MacAddr = MacAddr([0, 0, 0x5e, 0, 1, 51]);

/// Two real servers and one VIP.
fn world() -> World {
    World::new(&[vip(0)], 2, INTERVAL, Vec::new())
}

fn server(n: u8) -> AuditedHost {
    AuditedHost::RealServer { rip: rip(n), by_other_interface: false }
}

#[test]
fn a_quiet_segment_has_no_findings() {
    let mut world = World::new(&[vip(0), vip6()], 3, INTERVAL, Vec::new());
    world.seconds(3600);
    assert_eq!((world.reports.len(), world.findings()), (0, Vec::new()));
    assert!(world.asked.len() > 100, "{}", world.asked.len());
}

#[test]
fn a_server_that_answers_is_found_named_and_forgotten() {
    let mut world = world();
    world.host(mac(2)).answers.insert(vip(0));
    world.seconds(u64::from(INTERVAL));
    let findings = world.findings();
    assert_eq!(findings.len(), 1, "{findings:?}");
    let found = &findings[0];
    assert_eq!((found.misuse, found.level, found.mac), (Misuse::Answers, AuditLevel::Error, mac(2)));
    assert_eq!((found.host, found.address, found.asked), (server(2), vip(0), true));
    assert!(found.count > 10 && found.last_ms < 6_000, "{found:?}");
    assert_eq!(world.reports.len(), 1, "reported once");
    world.host(mac(2)).answers.remove(&vip(0));
    world.seconds(25);
    assert_eq!(world.findings(), Vec::new());
    assert!(matches!(world.reports[1].1, AuditReport::Closed(_)));
    world.seconds(3600);
    assert_eq!(world.reports.len(), 2);
}

#[test]
fn a_server_is_asked_after_each_up() {
    let mut world = world();
    world.seconds(30);
    world.host(mac(1)).answers.insert(vip(0));
    world.reported(NeighborReport::Resolved { interface: CLIENT, rip: rip(1), mac: mac(1) });
    world.seconds(3);
    assert_eq!(world.misuses(), [Misuse::Answers]);
}

#[test]
fn an_answer_that_broadcasts_do_not_reach_is_found() {
    let mut world = world();
    world.seconds(5);
    let host = world.host(mac(1));
    (host.is_hidden, host.filters_senders) = (true, true);
    host.answers.insert(vip(0));
    world.seconds(2 * u64::from(INTERVAL));
    assert_eq!(world.misuses(), [Misuse::Answers]);
}

#[test]
fn a_vip_that_was_just_claimed_is_left_alone() {
    let mut world = world();
    let of_vip = |world: &World| {
        let asked = world.asked.iter().filter(|(_, message)| {
            matches!(message, Outgoing::Probe { address, .. } | Outgoing::Solicit { address, .. } if *address == vip(0))
        });
        asked.count()
    };
    world.pass(4_900);
    assert_eq!(of_vip(&world), 0, "a director that returns would answer, until it is on standby");
    world.seconds(1);
    let before = of_vip(&world);
    assert!(before >= 2, "{before}");
    world.input(&AuditInput::Followed(NeighborEvent::InterfaceDown(CLIENT)));
    world.input(&AuditInput::Followed(NeighborEvent::InterfaceUp(CLIENT)));
    world.pass(4_900);
    assert_eq!(of_vip(&world), before);
    world.seconds(1);
    assert!(of_vip(&world) >= before + 2);
}

#[test]
fn one_answer_alone_is_no_finding() {
    let mut world = world();
    world.seconds(5);
    world.hear(&answer(other(1), vip(0)));
    world.seconds(60);
    assert_eq!((world.findings(), world.opened()), (Vec::new(), 0));
}

#[test]
fn a_leak_names_the_host_that_learns() {
    let mut world = world();
    let router: IpAddr = [192, 0, 2, 1].into();
    world.hear(&request(mac(1), Some(vip(0)), router));
    world.seconds(3);
    let findings = world.findings();
    assert_eq!((findings[0].misuse, findings[0].host), (Misuse::Leaks, server(1)));
    assert_eq!((findings[0].target, findings[0].asked), (Some(router), false));
    assert!(findings[0].remedy().command.unwrap().contains("arp_announce=2"));
    world.seconds(2 * u64::from(INTERVAL) + 1);
    assert_eq!(world.findings(), Vec::new(), "over after two rounds of silence");
}

#[test]
fn announcements_of_both_families_are_findings() {
    let mut world = World::new(&[vip(0), vip6()], 2, INTERVAL, Vec::new());
    for address in [vip(0), vip6()] {
        world.hear(&announcement(mac(2), address));
        world.hear(&announcement(mac(2), address));
    }
    world.seconds(3);
    let findings = world.findings();
    assert_eq!(world.misuses(), [Misuse::Announces; 2]);
    assert!(findings.iter().all(|found| found.count == 2 && found.host == server(2)), "{findings:?}");
}

#[test]
fn a_probe_is_a_warning_unless_a_director_sends_it() {
    let mut world = world();
    for sender in [other(1), other(2)] {
        world.hear(&request(sender, None, vip(0)));
    }
    world.seconds(1);
    // The second one is on standby from now on, and probes its holder.
    let to_us = directrix::neighbor::NeighborMessage { destination: OWN, ..request(other(2), None, vip(0)) };
    world.hear(&to_us);
    world.seconds(10);
    let findings = world.findings();
    assert_eq!(findings.len(), 1, "{findings:?}");
    let found = &findings[0];
    assert_eq!((found.misuse, found.mac, found.level), (Misuse::Probes, other(1), AuditLevel::Warning));
    // Requests of the standby are no sign that it does not hear the answers.
    for _ in 0..20 {
        world.hear(&request(other(2), Some([192, 0, 2, 9].into()), vip(0)));
        world.seconds(1);
    }
    assert_eq!(world.misuses(), [Misuse::Probes]);
}

#[test]
fn a_router_that_asks_again_and_again_is_unheard() {
    let mut world = world();
    let ask = |world: &mut World| world.hear(&request(other(1), Some([192, 0, 2, 1].into()), vip(0)));
    for _ in 0..3 {
        ask(&mut world);
        world.seconds(1);
    }
    world.seconds(30);
    for _ in 0..5 {
        ask(&mut world);
        world.seconds(1);
    }
    assert_eq!(world.opened(), 0, "three, and five later, are usual");
    for _ in 0..4 {
        ask(&mut world);
        world.seconds(2);
    }
    let findings = world.findings();
    assert_eq!((findings[0].misuse, findings[0].level), (Misuse::Unheard, AuditLevel::Warning));
    assert_eq!(findings[0].host, AuditedHost::Other([192, 0, 2, 1].into()));
    world.seconds(61);
    assert_eq!(world.findings(), Vec::new());
}

#[test]
fn proxy_arp_is_told_from_ownership() {
    let mut world = world();
    world.hosts.push(Host { is_proxy: true, ..Host::new(other(1), [[192, 0, 2, 1].into()]) });
    world.seconds(u64::from(INTERVAL));
    let findings = world.findings();
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!((findings[0].misuse, findings[0].mac), (Misuse::Proxy, other(1)));
    assert!(findings[0].remedy().command.unwrap().contains("proxy_arp=0"));
    assert!(world.kept >= 2, "answers to control questions are not for the neighbor machine");
    world.host(other(1)).is_proxy = false;
    world.seconds(25);
    assert_eq!(world.findings(), Vec::new());
}

#[test]
fn proxy_arp_for_a_server_is_no_second_interface() {
    let mut world = world();
    world.hosts.push(Host { is_proxy: true, ..Host::new(other(1), []) });
    world.reported(NeighborReport::Disputed {
        interface: CLIENT,
        rip: rip(1),
        mac: mac(1),
        claimant: other(1),
    });
    for _ in 0..20 {
        // The neighbor machine asks as well, and the answer comes late.
        world.hear(&answer(other(1), rip(2)));
        world.seconds(1);
    }
    let findings = world.findings();
    assert_eq!(world.misuses(), [Misuse::Proxy; 2], "for the VIP and the server: {findings:?}");
    assert!(findings.iter().all(|found| found.host == AuditedHost::Unknown), "{findings:?}");
}

#[test]
fn another_interface_of_a_server_is_told_by_its_answers() {
    let mut world = world();
    world.hosts.push(Host::new(other(7), [vip(0), rip(2)]));
    world.seconds(10);
    let findings = world.findings();
    let answers: Vec<_> = findings.iter().filter(|found| found.misuse == Misuse::Answers).collect();
    assert_eq!(answers.len(), 1, "{findings:?}");
    let host = AuditedHost::RealServer { rip: rip(2), by_other_interface: true };
    assert_eq!((answers[0].host, answers[0].mac), (host, other(7)));
    assert!(answers[0].to_string().contains("by another of its interfaces"), "{}", answers[0]);
    assert!(world.kept > 0, "the answer for the RIP is no dispute");
}

#[test]
fn an_unknown_host_is_named_by_what_it_uses() {
    let mut world = world();
    world.hosts.push(Host::new(other(1), [vip(0)]));
    let address: IpAddr = [192, 0, 2, 77].into();
    world.hear(&request(other(1), Some(address), [192, 0, 2, 1].into()));
    world.seconds(10);
    assert_eq!(world.findings()[0].host, AuditedHost::Other(address));
}

#[test]
fn peers_are_no_findings() {
    let peer: IpAddr = [192, 0, 2, 6].into();
    let peers = vec![PeerAddress::Mac(other(1)), PeerAddress::Ip(peer)];
    let mut world = World::new(&[vip(0)], 2, INTERVAL, peers);
    for station in [other(1), other(2)] {
        world.hear(&request(station, Some(peer), [192, 0, 2, 1].into()));
        world.hosts.push(Host::new(station, [vip(0)]));
        world.hear(&announcement(station, vip(0)));
        world.hear(&request(station, Some(vip(0)), [192, 0, 2, 1].into()));
        world.hear(&request(station, None, vip(0)));
    }
    world.seconds(2 * u64::from(INTERVAL));
    assert_eq!(world.reports, Vec::new());
}

#[test]
fn a_virtual_router_is_information() {
    let mut world = world();
    world.hosts.push(Host::new(VRRP, [vip(0)]));
    world.hear(&announcement(VRRP, vip(0)));
    world.seconds(20);
    let findings = world.findings();
    assert_eq!(world.misuses(), [Misuse::Answers, Misuse::Announces]);
    assert!(findings.iter().all(|found| found.level == AuditLevel::Info), "{findings:?}");
    assert!(findings[0].to_string().contains("VRRP or CARP group 51"), "{}", findings[0]);
}

#[test]
fn the_holder_of_a_left_vip_is_no_finding() {
    let mut world = world();
    world.hosts.push(Host::new(other(1), [vip(0)]));
    world.seconds(10);
    assert_eq!(world.opened(), 1, "while the VIP is claimed");
    world.reported(NeighborReport::Standby { vip: vip(0), mac: other(1) });
    assert_eq!(world.findings(), Vec::new());
    for _ in 0..100 {
        world.hear(&answer(other(1), vip(0)));
        world.seconds(1);
    }
    assert_eq!((world.findings(), world.opened()), (Vec::new(), 1));
    // A real server is no director.
    world.host(mac(1)).answers.insert(vip(0));
    world.hear(&answer(mac(1), vip(0)));
    world.seconds(3);
    assert_eq!(world.findings()[0].host, server(1));
}

#[test]
fn two_hosts_with_one_address_are_found() {
    let mut world = world();
    world.hosts.push(Host::new(other(1), [rip(1)]));
    let disputed =
        NeighborReport::Disputed { interface: CLIENT, rip: rip(1), mac: mac(1), claimant: other(1) };
    world.reported(disputed);
    world.seconds(60);
    let findings = world.findings();
    assert_eq!((findings[0].misuse, findings[0].address), (Misuse::Duplicate, rip(1)));
    assert_eq!((findings[0].mac, findings[0].known), (other(1), Some(mac(1))));
    assert_eq!(world.reports.len(), 1);
    world.hosts.pop();
    world.seconds(30);
    assert_eq!(world.findings(), Vec::new());
}

#[test]
fn ports_of_a_bond_are_information() {
    let mut world = world();
    let ports = [1, 2].map(|last| MacAddr([0, 0x1b, 0x21, 0, 0, last]));
    let dispute =
        NeighborReport::Disputed { interface: CLIENT, rip: rip(1), mac: ports[0], claimant: ports[1] };
    world.reported(dispute);
    world.seconds(2);
    assert_eq!(world.findings()[0].level, AuditLevel::Info);
}

#[test]
fn a_server_that_moves_once_is_no_duplicate() {
    let mut world = world();
    let moved = |world: &mut World, old, new| {
        world.reported(NeighborReport::Moved { interface: CLIENT, rip: rip(1), old, new });
        world.seconds(5);
    };
    moved(&mut world, mac(1), other(1));
    assert_eq!(world.opened(), 0);
    moved(&mut world, other(1), mac(1));
    assert_eq!(world.opened(), 0);
    moved(&mut world, mac(1), other(1));
    assert_eq!(world.misuses(), [Misuse::Duplicate], "back and forth within a minute");
}

#[test]
fn questions_keep_their_rate_and_reach_every_pair() {
    let vips: Vec<_> = (0..40).map(vip).collect();
    let mut world = World::new(&vips, 60, INTERVAL, Vec::new());
    world.seconds(2 * u64::from(INTERVAL));
    let times: Vec<_> = world.asked.iter().map(|(at, _)| *at).collect();
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 50), "20 a second at most");
    for vip in vips {
        for n in 1..=60 {
            let reached = |message: &Outgoing| {
                matches!(message, Outgoing::Probe { address, station, .. } | Outgoing::Solicit { address, station, .. }
                    if *address == vip && *station == Some(mac(n)))
            };
            assert!(world.asked.iter().any(|(_, message)| reached(message)), "{vip} at {n}");
        }
    }
}

#[test]
fn without_carrier_nothing_is_asked_and_nothing_ends() {
    let mut world = world();
    world.host(mac(1)).answers.insert(vip(0));
    world.seconds(10);
    assert_eq!(world.misuses(), [Misuse::Answers]);
    world.input(&AuditInput::Followed(NeighborEvent::InterfaceDown(CLIENT)));
    let asked = world.asked.len();
    world.seconds(3600);
    assert_eq!((world.asked.len(), world.misuses()), (asked, vec![Misuse::Answers]));
    world.input(&AuditInput::Followed(NeighborEvent::InterfaceUp(CLIENT)));
    world.seconds(60);
    assert_eq!((world.misuses(), world.reports.len()), (vec![Misuse::Answers], 1));
}

#[test]
fn removed_vips_and_servers_take_their_findings_along() {
    let mut world = world();
    world.host(mac(1)).answers.insert(vip(0));
    world.reported(NeighborReport::Disputed {
        interface: CLIENT,
        rip: rip(2),
        mac: mac(2),
        claimant: other(1),
    });
    world.seconds(10);
    assert_eq!(world.opened(), 2);
    world.input(&AuditInput::Followed(NeighborEvent::RemoveVip(vip(0))));
    assert_eq!(world.misuses(), [Misuse::Duplicate]);
    world.input(&AuditInput::Followed(NeighborEvent::RemoveServer { interface: CLIENT, rip: rip(2) }));
    assert_eq!(world.findings(), Vec::new());
    let asked = world.asked.len();
    world.seconds(3600);
    assert_eq!(world.asked.len(), asked, "no VIP, no questions");
}

#[test]
fn with_interval_0_only_suspects_are_asked() {
    let mut world = World::new(&[vip(0)], 2, 0, Vec::new());
    world.seconds(3600);
    assert_eq!(world.asked.len(), 0);
    world.host(mac(1)).answers.insert(vip(0));
    world.hear(&answer(mac(1), vip(0)));
    world.seconds(5);
    assert_eq!(world.misuses(), [Misuse::Answers]);
    world.host(mac(1)).answers.clear();
    world.seconds(60);
    assert_eq!(world.findings(), Vec::new());
}

#[test]
fn ipv6_is_asked_for_from_the_link_local_address_only() {
    let mut world = World::new(&[vip6()], 2, INTERVAL, Vec::new());
    world.seconds(u64::from(INTERVAL));
    let of_vip = |message: &&Outgoing| match message {
        Outgoing::Probe { address, .. } | Outgoing::Solicit { address, .. } => *address == vip6(),
        _ => false,
    };
    let asked: Vec<_> = world.asked.iter().map(|(_, message)| message).filter(of_vip).collect();
    assert!(asked.len() >= 4, "{asked:?}");
    let link_local = Some("fe80::d".parse().unwrap());
    let sound =
        |message: &&Outgoing| matches!(message, Outgoing::Solicit { sender, .. } if *sender == link_local);
    assert!(asked.iter().all(sound), "{asked:?}");
    world.host(mac(2)).answers.insert(vip6());
    world.seconds(2 * u64::from(INTERVAL));
    assert_eq!(world.misuses(), [Misuse::Answers]);
    assert!(world.findings()[0].remedy().command.unwrap().contains("/128 dev lo"));
}

#[test]
fn forged_hosts_fill_no_memory_and_raise_no_rate() {
    let mut world = world();
    for n in 0..5_000u32 {
        let [_, a, b, c] = n.to_be_bytes();
        world.hear(&announcement(MacAddr([2, 9, 9, a, b, c]), vip(0)));
        if n % 50 == 0 {
            world.pass(100);
        }
    }
    world.seconds(30);
    assert!(world.findings().len() <= 256, "{}", world.findings().len());
    assert!(world.asked.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 50));
}
