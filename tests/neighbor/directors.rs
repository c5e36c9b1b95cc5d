//! Several directors on a segment that is partitioned and joined, over virtual time. Each VIP ends with one
//! owner, independent of the order of events, and stays with it while nothing happens.

use crate::bench::{VIP, VIP2};
use directrix::model::{InterfaceIndex, OnConflict};
use directrix::neighbor::encoding::{decode, encode};
use directrix::neighbor::{
    NeighborAction, NeighborEvent, NeighborMessage, NeighborReport, NeighborSettings, Neighbors, Timing,
};
use directrix::time::{Span, Tick};
use directrix::wire::MacAddr;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

const VIPS: [IpAddr; 2] = [IpAddr::V4(VIP), IpAddr::V4(VIP2)];
const VIPS_V6: [IpAddr; 2] = [IpAddr::V6(v6(0x150)), IpAddr::V6(v6(0x151))];

const fn v6(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last)
}

/// VIPs of a segment, and whether its directors have link-local addresses.
#[derive(Clone, Copy, Debug)]
struct Family {
    vips: [IpAddr; 2],
    link_local: bool,
}

const FAMILIES: [Family; 3] = [
    Family { vips: VIPS, link_local: false },
    Family { vips: VIPS_V6, link_local: true },
    Family { vips: VIPS_V6, link_local: false },
];

/// A director, and the VIPs that it has claimed.
struct Director {
    machine: Neighbors,
    mac: MacAddr,
    up: bool,
    /// True if its interface has a carrier.
    carrier: bool,
    /// Stations of one partition receive each other's packets.
    part: u8,
    claimed: BTreeMap<IpAddr, u64>,
    /// Numbers of VIPs claimed and left.
    changes: usize,
}

struct Segment {
    directors: Vec<Director>,
    family: Family,
    mail: BTreeMap<(u64, u64), (usize, NeighborMessage)>,
    serial: u64,
    now: u64,
    chance: u64,
    /// Frame loss in percent.
    loss: u64,
}

impl Segment {
    fn new(family: Family, directors: u8, seed: u64) -> Self {
        let director = |n: u8| {
            let mac = MacAddr([2, 0, 0, 0, 0, 10 + n]);
            let (own_macs, seed, timing) = (vec![mac], seed * 16 + u64::from(n), Timing::default());
            let settings = NeighborSettings { own_macs, on_conflict: OnConflict::Standby, timing, seed };
            let machine = Neighbors::new(settings);
            Director { machine, mac, up: false, carrier: true, part: 0, claimed: BTreeMap::new(), changes: 0 }
        };
        let chance = seed.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1;
        let directors = (0..directors).map(director).collect();
        Self { directors, family, mail: BTreeMap::new(), serial: 0, now: 0, chance, loss: 0 }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        (self.chance >> 16) % below
    }

    fn tick(&self) -> Tick {
        Tick(self.now as u32).after(Span::from_millis(u32::MAX / 2))
    }

    fn start(&mut self, n: usize) {
        self.directors[n].up = true;
        if self.family.link_local {
            let address = Some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, n as u16 + 1));
            self.handle(n, NeighborEvent::LinkLocal { interface: InterfaceIndex::CLIENT, address });
        }
        self.family.vips.into_iter().for_each(|vip| self.handle(n, NeighborEvent::AddVip(vip)));
    }

    /// Switches the director off.
    fn stop(&mut self, n: usize) {
        self.directors[n].up = false;
        self.directors[n].claimed.clear();
    }

    fn set_carrier(&mut self, n: usize, carrier: bool) {
        self.directors[n].carrier = carrier;
        let event = if carrier { NeighborEvent::InterfaceUp } else { NeighborEvent::InterfaceDown };
        self.handle(n, event(InterfaceIndex::CLIENT));
    }

    fn handle(&mut self, n: usize, event: NeighborEvent) {
        let now = self.tick();
        let mut actions = Vec::new();
        self.directors[n].machine.handle(event, now, &mut actions);
        for action in actions {
            match action {
                NeighborAction::Send { message, .. } => {
                    let mut frames = Vec::new();
                    encode(&message, self.directors[n].mac, |frame| frames.push(decode(frame).unwrap()));
                    assert!(!frames.is_empty(), "no frame of {message:?}");
                    frames.into_iter().for_each(|frame| self.transmit(n, frame));
                }
                NeighborAction::Report(report) => self.take(n, report),
            }
        }
    }

    fn take(&mut self, n: usize, report: NeighborReport) {
        let (director, now) = (&mut self.directors[n], self.now);
        match report {
            NeighborReport::Claimed { vip } => {
                assert_eq!(director.claimed.insert(vip, now), None, "claimed twice")
            }
            NeighborReport::Standby { vip, .. } if director.claimed.remove(&vip).is_some() => {}
            _ => return,
        }
        director.changes += 1;
    }

    fn transmit(&mut self, from: usize, packet: NeighborMessage) {
        for n in 0..self.directors.len() {
            let (sender, receiver) = (&self.directors[from], &self.directors[n]);
            let to_it = !packet.destination.is_unicast() || packet.destination == receiver.mac;
            let joined = sender.part == receiver.part && sender.carrier && receiver.carrier;
            if n != from && to_it && joined && self.random(100) >= self.loss {
                self.serial += 1;
                let at = self.now + 1 + self.random(3);
                self.mail.insert((at, self.serial), (n, packet));
            }
        }
    }

    /// Runs for `ms`.
    fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        loop {
            let due = |director: &Director| {
                let due = director.machine.next_deadline().filter(|_| director.up)?;
                Some(self.now + u64::from(due.since(self.tick()).millis()))
            };
            let timers = self.directors.iter().enumerate().filter_map(|(n, one)| Some((due(one)?, n)));
            let (timer, letter) = (timers.min(), self.mail.first_key_value().map(|((at, _), _)| *at));
            let next = timer.map(|(at, _)| at).into_iter().chain(letter).min();
            let Some(at) = next.filter(|at| *at <= end) else { break };
            self.now = at;
            if letter == Some(at) {
                let (_, (n, packet)) = self.mail.pop_first().expect("just seen");
                if self.directors[n].up && self.directors[n].carrier {
                    let interface = InterfaceIndex::CLIENT;
                    self.handle(n, NeighborEvent::Received { interface, message: packet });
                }
            } else if let Some((_, n)) = timer {
                self.handle(n, NeighborEvent::Timer);
            }
        }
        self.now = end;
    }

    /// The directors that have claimed `vip`.
    fn owners(&self, vip: IpAddr) -> Vec<usize> {
        let of = |(n, one): (usize, &Director)| one.claimed.contains_key(&vip).then_some(n);
        self.directors.iter().enumerate().filter_map(of).collect()
    }

    #[track_caller]
    fn assert_owner(&self, wanted: Option<usize>, when: &str) {
        for vip in self.family.vips {
            let owners = self.owners(vip);
            assert_eq!(owners.len(), 1, "{when}: {owners:?}");
            assert!(wanted.is_none_or(|wanted| owners == [wanted]), "{when}: {owners:?}");
        }
    }

    fn changes(&self) -> Vec<usize> {
        self.directors.iter().map(|director| director.changes).collect()
    }
}

/// Every family with every seed.
fn runs(seeds: u64) -> impl Iterator<Item = (Family, u64)> {
    FAMILIES.into_iter().flat_map(move |family| (0..seeds).map(move |seed| (family, seed)))
}

#[test]
fn of_simultaneous_directors_the_highest_mac_owns() {
    for (family, seed) in runs(40) {
        let mut segment = Segment::new(family, 3, seed);
        (0..3).for_each(|n| segment.start(n));
        segment.run(4_000);
        segment.assert_owner(Some(2), &format!("{family:?} seed {seed}"));
    }
}

#[test]
fn a_later_director_stands_by() {
    for (family, seed) in runs(30) {
        for (first, second) in [(0, 1), (1, 0)] {
            let mut segment = Segment::new(family, 2, seed);
            segment.start(first);
            segment.run(5_000 + seed * 31);
            segment.start(second);
            segment.run(600_000);
            segment.assert_owner(Some(first), &format!("{family:?} seed {seed}"));
            assert_eq!(segment.directors[first].changes, 2, "claimed, and nothing else");
        }
    }
}

#[test]
fn a_standby_takes_over_within_three_seconds() {
    for (family, seed) in runs(30) {
        let mut segment = Segment::new(family, 2, seed);
        segment.start(1);
        segment.run(5_000);
        segment.start(0);
        segment.run(20_000 + seed * 37);
        segment.stop(1);
        segment.run(3_000);
        segment.assert_owner(Some(0), &format!("{family:?} seed {seed}"));
    }
}

#[test]
fn a_joined_partition_ends_with_one_owner() {
    for (family, seed) in runs(40) {
        let mut segment = Segment::new(family, 2, seed);
        segment.directors[1].part = 1;
        (0..2).for_each(|n| segment.start(n));
        let parted = 5_000 + segment.random(200_000);
        segment.run(parted);
        assert_eq!(family.vips.map(|vip| segment.owners(vip)), [[0, 1], [0, 1]], "each has its part");
        segment.directors[1].part = 0;
        // The next periodic announcement reveals the conflict.
        segment.run(60_000 + 15_000);
        segment.assert_owner(Some(1), &format!("{family:?} seed {seed}"));
        let changes = segment.changes();
        assert_eq!(changes, [4, 2], "the lower one has given way once for each VIP");
        segment.run(600_000);
        segment.assert_owner(Some(1), &format!("{family:?} seed {seed}"));
        assert_eq!(segment.changes(), changes, "and nothing has moved since");
    }
}

#[test]
fn repeated_partitions_with_loss_end_with_one_owner() {
    for (family, seed) in runs(20) {
        let mut segment = Segment::new(family, 3, seed);
        segment.loss = 10;
        (0..3).for_each(|n| segment.start(n));
        for _ in 0..10 {
            for n in 0..3 {
                segment.directors[n].part = segment.random(2) as u8;
            }
            let while_parted = 1_000 + segment.random(100_000);
            segment.run(while_parted);
        }
        segment.directors.iter_mut().for_each(|director| director.part = 0);
        segment.loss = 0;
        segment.run(90_000);
        segment.assert_owner(None, &format!("{family:?} seed {seed}"));
        let changes = segment.changes();
        segment.run(600_000);
        assert_eq!(segment.changes(), changes, "{family:?} seed {seed}: nothing moves in the calm");
    }
}

#[test]
fn after_an_outage_the_new_owner_keeps_the_vip() {
    for (family, seed) in runs(40) {
        for (first, second) in [(0, 1), (1, 0)] {
            let mut segment = Segment::new(family, 2, seed);
            segment.start(first);
            segment.run(5_000);
            segment.start(second);
            segment.run(5_000);
            segment.set_carrier(first, false);
            let outage = 4_000 + segment.random(200_000);
            segment.run(outage);
            assert_eq!(segment.owners(family.vips[0]), [0, 1], "the first one has no carrier");
            let conflicts = |segment: &Segment| segment.directors[second].machine.counters().conflicts.get();
            let before = conflicts(&segment);
            segment.set_carrier(first, true);
            segment.run(500);
            segment.assert_owner(Some(second), &format!("{family:?} seed {seed}: at once"));
            segment.run(600_000);
            segment.assert_owner(Some(second), &format!("{family:?} seed {seed}: it stays"));
            assert_eq!(
                conflicts(&segment),
                before,
                "{family:?} seed {seed}: the new owner was not disturbed"
            );
        }
    }
}

#[test]
fn an_outage_of_all_directors_does_not_move_a_vip() {
    for (family, seed) in runs(40) {
        for (first, second) in [(0, 1), (1, 0)] {
            let mut segment = Segment::new(family, 2, seed);
            segment.start(first);
            segment.run(5_000);
            segment.start(second);
            segment.run(5_000);
            (0..2).for_each(|n| segment.set_carrier(n, false));
            let outage = 1 + segment.random(100_000);
            segment.run(outage);
            // A switch that starts brings its ports up one by one.
            segment.set_carrier([second, first][seed as usize % 2], true);
            let apart = segment.random(200);
            segment.run(apart);
            segment.set_carrier([first, second][seed as usize % 2], true);
            segment.run(600_000);
            segment.assert_owner(Some(first), &format!("{family:?} seed {seed}"));
            assert_eq!(
                segment.directors[first].changes, 2,
                "{family:?} seed {seed}: claimed, and nothing else"
            );
        }
    }
}

#[test]
fn repeated_outages_with_loss_end_with_one_owner() {
    for (family, seed) in runs(20) {
        let mut segment = Segment::new(family, 3, seed);
        segment.loss = 10;
        (0..3).for_each(|n| segment.start(n));
        for _ in 0..20 {
            let n = segment.random(3) as usize;
            let carrier = !segment.directors[n].carrier;
            segment.set_carrier(n, carrier);
            let pause = segment.random(30_000);
            segment.run(pause);
        }
        segment.loss = 0;
        (0..3).for_each(|n| segment.set_carrier(n, true));
        segment.run(90_000);
        segment.assert_owner(None, &format!("{family:?} seed {seed}"));
        let changes = segment.changes();
        segment.run(600_000);
        assert_eq!(segment.changes(), changes, "{family:?} seed {seed}: nothing moves in the calm");
    }
}
