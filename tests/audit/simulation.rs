//! Random hosts that begin and end to misuse addresses, over virtual time. A failure names its seed.

use crate::world::{Host, OWN, World, announcement, mac, other, request, vip, vip6};
use directrix::audit::{AuditLevel, AuditReport, AuditedHost, Misuse};
use directrix::model::PeerAddress;
use directrix::wire::MacAddr;
use std::collections::BTreeSet;
use std::net::IpAddr;

const SERVERS: u8 = 6;
const INTERVAL: u32 = 60;

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

fn vips() -> Vec<IpAddr> {
    vec![vip(0), vip(1), vip6()]
}

fn peer() -> MacAddr {
    other(90)
}

fn virtual_router() -> MacAddr {
    MacAddr([0, 0, 0x5e, 0, 2, 9])
}

/// Real servers, other hosts, a peer and a virtual router.
fn stations() -> Vec<MacAddr> {
    (1..=SERVERS).map(mac).chain([other(1), other(2), peer(), virtual_router()]).collect()
}

fn segment() -> World {
    let mut world = World::new(&vips(), SERVERS, INTERVAL, vec![PeerAddress::Mac(peer())]);
    for station in [other(1), other(2), peer(), virtual_router()] {
        world.hosts.push(Host::new(station, []));
    }
    world
}

/// A random host begins or ends to answer, or sends something.
fn trouble(world: &mut World, draws: &mut Draws) {
    let station = stations()[draws.below(stations().len() as u64) as usize];
    let vip = vips()[draws.below(3) as usize];
    match draws.below(6) {
        0 | 1 => drop(world.host(station).answers.insert(vip)),
        2 => drop(world.host(station).answers.remove(&vip)),
        3 => drop(world.hear(&announcement(station, vip))),
        4 => drop(world.hear(&request(station, Some(vip), [192, 0, 2, 1].into()))),
        _ => drop(world.hear(&request(OWN, Some(vip), [192, 0, 2, 1].into()))),
    }
}

fn answering(world: &World) -> BTreeSet<(IpAddr, MacAddr)> {
    let pairs = world.hosts.iter().flat_map(|host| host.answers.iter().map(|address| (*address, host.mac)));
    pairs.filter(|(address, mac)| vips().contains(address) && *mac != peer()).collect()
}

fn check(world: &World, seed: u64) {
    let context = format!("seed {seed} at {} ms", world.now);
    for found in world.findings() {
        assert!(found.mac != OWN && found.mac != peer(), "{found}, {context}");
        assert_eq!(found.level == AuditLevel::Info, found.mac == virtual_router(), "{found}, {context}");
        let is_server = matches!(found.host, AuditedHost::RealServer { .. });
        assert_eq!(is_server, (1..=SERVERS).any(|n| mac(n) == found.mac), "{found}, {context}");
    }
    assert!(world.asked.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 50), "rate, {context}");
}

/// Findings open and close in turn.
fn check_reports(world: &World, seed: u64) {
    let mut open = BTreeSet::new();
    for (at, report) in &world.reports {
        let key = |found: &directrix::audit::AuditFinding| (found.address, found.mac, found.misuse);
        let sound = match report {
            AuditReport::Opened(found) => open.insert(key(found)),
            AuditReport::Closed(found) => open.remove(&key(found)),
        };
        assert!(sound, "seed {seed} at {at} ms: {report:?}");
    }
}

#[test]
fn findings_follow_random_hosts() {
    for seed in 0..40 {
        let (mut world, mut draws) = (segment(), Draws(seed));
        for _ in 0..30 {
            for _ in 0..draws.below(4) {
                trouble(&mut world, &mut draws);
                world.pass(draws.below(20_000));
                check(&world, seed);
            }
            // Two rounds show every answer, and end what is over.
            world.seconds(2 * u64::from(INTERVAL) + 30);
            check(&world, seed);
            let found: BTreeSet<_> = world
                .findings()
                .iter()
                .filter(|found| found.misuse == Misuse::Answers)
                .map(|found| (found.address, found.mac))
                .collect();
            assert_eq!(found, answering(&world), "seed {seed} at {} ms", world.now);
        }
        check_reports(&world, seed);
    }
}
