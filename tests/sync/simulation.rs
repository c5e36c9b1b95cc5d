//! Simulated directors that share connections over a wire that loses, delays and reorders messages, over virtual time. All randomness
//! comes from a seed, which a failure reports.
//!
//! Director 0 has the clients: it opens, moves and closes connections. The others have what sync gives them. Directors
//! are restarted with an empty table, as after a reboot. A host of the segment sends forged and broken messages.

use directrix::flow::ConnState;
use directrix::model::Timeouts;
use directrix::sync::{
    BootId, GroupSet, NameHash, SyncCounts, SyncDigest, SyncEnds, SyncFacts, SyncFlags, SyncHost,
    SyncIdFilter, SyncMachine, SyncOccasion, SyncProtocol, SyncRecord, SyncRefusal, SyncRole, SyncSettings,
    SyncTrust,
};
use directrix::time::{Span, Tick};
use directrix::wire::Protocol;
use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::net::{IpAddr, SocketAddr};

const SYNCID: u8 = 7;
/// Address that no director takes messages from.
const FORGER: u8 = 66;
const HELLO: Span = Span::from_millis(200);
const BULK_PER_SECOND: u32 = 100_000;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u32) -> u32 {
        (self.next() % u64::from(bound)) as u32
    }
}

type Key = (u8, SocketAddr, SocketAddr, bool);

fn key(record: &SyncRecord) -> Key {
    let (ends, template) = (&record.ends, record.is_template());
    (record.protocol.number(), ends.client(), ends.vip(), template)
}

/// Table and sockets of a director.
#[derive(Default)]
struct Site {
    entries: BTreeMap<Key, SyncRecord>,
    digest: SyncDigest,
    sent: Vec<Vec<u8>>,
    accepted: u64,
    templates: u32,
}

impl Site {
    fn put(&mut self, record: SyncRecord) {
        self.remove(&key(&record));
        self.digest.add(NameHash::from(&record));
        self.templates += u32::from(record.is_template());
        self.entries.insert(key(&record), record);
    }

    fn remove(&mut self, key: &Key) {
        if let Some(old) = self.entries.remove(key) {
            self.digest.remove(NameHash::from(&old));
            self.templates -= u32::from(old.is_template());
        }
    }
}

impl SyncHost for Site {
    fn send(&mut self, message: &[u8]) {
        self.sent.push(message.to_vec());
    }

    fn accept(&mut self, _: IpAddr, record: &SyncRecord) {
        self.accepted += 1;
        let old = self.entries.get(&key(record));
        let is_own = old.is_some_and(|old| !old.flags.has(SyncFlags::SYNCED));
        if is_own || old.is_some() && record.flags.has(SyncFlags::SYNCED) {
            return;
        }
        // A closed connection ends at once here, so that tables can be compared.
        match record.conn_state() {
            Some(ConnState::Close) => self.remove(&key(record)),
            _ => self.put(record.synced()),
        }
    }

    fn digest(&self) -> &SyncDigest {
        &self.digest
    }

    fn counts(&self) -> SyncCounts {
        let templates = self.templates;
        SyncCounts { connections: self.entries.len() as u32 - templates, templates }
    }

    fn walk(
        &mut self,
        groups: GroupSet,
        from: u64,
        budget: usize,
        found: &mut Vec<SyncRecord>,
    ) -> Option<u64> {
        let stretch = self.entries.values().skip(from as usize).take(budget);
        let wanted = |record: &&SyncRecord| groups.has(NameHash::from(*record).group());
        found.extend(stretch.filter(wanted).copied());
        let next = from + budget as u64;
        (next < self.entries.len() as u64).then_some(next)
    }
}

struct Node {
    site: Site,
    machine: SyncMachine,
    address: IpAddr,
}

impl Node {
    fn start(number: u8, boot: u64, now: Tick) -> Self {
        let mut boot_id = [number; 16];
        boot_id[..8].copy_from_slice(&boot.to_be_bytes());
        let role = if number == 0 { SyncRole::Master } else { SyncRole::Backup };
        let facts = SyncFacts { boot_id: BootId(boot_id), role, ..SyncFacts::default() };
        let machine = SyncMachine::new(settings(), facts, now);
        Self { site: Site::default(), machine, address: host(number) }
    }
}

fn host(number: u8) -> IpAddr {
    [192, 0, 2, number].into()
}

fn settings() -> SyncSettings {
    let trust = SyncTrust {
        filter: SyncIdFilter::Exactly(SYNCID),
        peers: (0..4).map(host).collect(),
        messages_per_second: 50_000,
    };
    SyncSettings {
        syncid: SYNCID,
        len_max: 1472,
        sends: true,
        trust: Some(trust),
        hello_every: Some(HELLO),
        bulk_per_second: BULK_PER_SECOND,
    }
}

/// Message under way: time of arrival, number, receiver, source, bytes.
type UnderWay = BTreeMap<(u32, u64), (usize, IpAddr, Vec<u8>)>;

struct World {
    random: Random,
    /// Milliseconds since the beginning; ticks are near their wrap.
    ms: u32,
    nodes: Vec<Node>,
    wire: UnderWay,
    number: u64,
    /// Of 1000 messages.
    lost: u32,
    delay_ms: u32,
    boots: u64,
    bytes: usize,
}

impl World {
    fn new(seed: u64, nodes: u8) -> Self {
        let mut world = Self {
            random: Random(seed),
            ms: 0,
            nodes: Vec::new(),
            wire: BTreeMap::new(),
            number: 0,
            lost: 0,
            delay_ms: 2,
            boots: 0,
            bytes: 0,
        };
        (0..nodes).for_each(|number| {
            let node = world.started(number);
            world.nodes.push(node);
        });
        world
    }

    fn now(&self) -> Tick {
        Tick((u32::MAX - 30_000).wrapping_add(self.ms))
    }

    fn started(&mut self, number: u8) -> Node {
        self.boots += 1;
        Node::start(number, self.boots, self.now())
    }

    fn restart(&mut self, number: usize) {
        self.nodes[number] = self.started(number as u8);
    }

    /// Runs for `ms`, with `events` of clients in a thousand milliseconds.
    fn run(&mut self, ms: u32, events: u32) {
        let end = self.ms + ms;
        while self.ms < end {
            self.ms = if events > 0 { self.ms + 1 } else { self.next_event().min(end) };
            if self.random.below(1000) < events {
                self.client();
            }
            self.deliver();
            let now = self.now();
            for node in &mut self.nodes {
                node.machine.turn(now, &mut node.site);
            }
            (0..self.nodes.len()).for_each(|from| self.post(from));
        }
    }

    /// Time of the next arrival or deadline.
    fn next_event(&self) -> u32 {
        let now = self.now();
        let deadlines = self.nodes.iter().filter_map(|node| node.machine.deadline());
        let after = deadlines.map(|deadline| deadline.since(now).millis()).min();
        let deadline = self.ms + after.unwrap_or(u32::MAX / 2).max(1);
        self.wire.keys().next().map_or(deadline, |(at, _)| deadline.min(*at).max(self.ms + 1))
    }

    /// An event of director 0's clients.
    fn client(&mut self) {
        let (number, now) = (self.random.below(3000), self.now());
        let node = &mut self.nodes[0];
        let record = record(number, 1 + self.random.below(2) as u8, ConnState::Established);
        let old = node.site.entries.get(&key(&record)).copied();
        let (occasion, record) = match old {
            None => (SyncOccasion::Changed { from: ConnState::SynRecv }, record),
            Some(old) if self.random.below(3) == 0 => {
                let closed =
                    SyncRecord::connection(Protocol::Tcp, old.ends, ConnState::Close, &Timeouts::default());
                (SyncOccasion::Changed { from: ConnState::Established }, closed)
            }
            Some(_) => (SyncOccasion::Moved, record),
        };
        let state = record.conn_state().unwrap();
        assert!(occasion.is_due(state));
        node.machine.push(&record, now, &mut node.site);
        match state {
            ConnState::Close => node.site.remove(&key(&record)),
            _ => node.site.put(record),
        }
    }

    /// Puts what a director has sent on the wire.
    fn post(&mut self, from: usize) {
        let source = self.nodes[from].address;
        for message in mem::take(&mut self.nodes[from].site.sent) {
            self.bytes += message.len();
            for to in (0..self.nodes.len()).filter(|to| *to != from) {
                if self.random.below(1000) >= self.lost {
                    self.put_on_wire(to, source, message.clone());
                }
            }
        }
    }

    fn put_on_wire(&mut self, to: usize, source: IpAddr, message: Vec<u8>) {
        let at = self.ms + 1 + self.random.below(self.delay_ms);
        self.number += 1;
        self.wire.insert((at, self.number), (to, source, message));
    }

    fn deliver(&mut self) {
        let now = self.now();
        while let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= self.ms) {
            let (to, source, message) = entry.remove();
            let node = &mut self.nodes[to];
            node.machine.receive(&message, source, now, &mut node.site);
        }
    }

    fn names(&self, node: usize) -> BTreeSet<(Key, SocketAddr)> {
        let entries = &self.nodes[node].site.entries;
        entries.iter().map(|(key, record)| (*key, record.ends.server())).collect()
    }

    /// Connections of director 0 that another one has not, or at another server.
    fn lacking(&self, node: usize) -> usize {
        self.names(0).difference(&self.names(node)).count()
    }
}

fn record(number: u32, server: u8, state: ConnState) -> SyncRecord {
    let end = |address: [u8; 4], port| SocketAddr::new(address.into(), port);
    let client = end([198, 51, (number >> 8) as u8, number as u8], 40_000);
    let ends = SyncEnds::new(client, end([192, 0, 2, 150], 80), end([192, 0, 2, 170 + server], 80)).unwrap();
    SyncRecord::connection(Protocol::Tcp, ends, state, &Timeouts::default())
}

#[test]
fn tables_agree_while_messages_are_lost() {
    for seed in 0..8 {
        let mut world = World::new(seed, 2);
        world.lost = 50 + 50 * world.random.below(6);
        world.delay_ms = 1 + world.random.below(30);
        world.run(30_000, 300);
        // Repairs are messages, too: each has a chance of its own.
        world.run(400_000, 0);
        assert_eq!(world.lacking(1), 0, "seed {seed}: {} lost of 1000", world.lost);
        assert!(world.nodes[0].site.entries.len() > 1000, "seed {seed}");
        let peer = world.nodes[1].machine.peers().next().unwrap();
        assert!(peer.lost > 0, "seed {seed}: losses are seen");
    }
}

#[test]
fn without_losses_a_backup_has_every_connection_in_time() {
    let mut world = World::new(1, 3);
    world.run(6000, 0);
    world.run(20_000, 900);
    world.run(15, 0);
    assert_eq!((world.lacking(1), world.lacking(2)), (0, 0));
    assert_eq!(world.names(0), world.names(1));
    for node in &world.nodes[1..] {
        let of_0 = node.machine.peers().find(|peer| peer.source == host(0)).unwrap();
        assert_eq!((of_0.lost, of_0.refused), (0, 0));
    }
    world.run(1000, 0);
    let of_0 = world.nodes[1].machine.peers().find(|peer| peer.source == host(0)).unwrap();
    assert_eq!(of_0.difference(), Some(0));
    assert!(of_0.lag().unwrap() < Span::from_millis(3));
}

#[test]
fn a_fresh_director_fetches_all_connections() {
    for seed in 0..8 {
        let mut world = World::new(seed, 3);
        world.run(6000, 0);
        (0..5000).for_each(|number| world.nodes[0].site.put(record(number, 1, ConnState::Established)));
        world.lost = if seed % 2 == 0 { 0 } else { 100 };
        let fresh = 1 + (seed % 2) as usize;
        world.restart(fresh);
        assert!(!world.nodes[fresh].machine.is_complete());
        world.run(1500, 0);
        if world.lost == 0 {
            assert!(world.nodes[fresh].machine.is_complete(), "seed {seed}");
            assert_eq!(world.lacking(fresh), 0, "seed {seed}");
        }
        world.run(100_000, 0);
        assert_eq!(world.lacking(fresh), 0, "seed {seed}");
    }
}

#[test]
fn a_fresh_director_with_a_busy_peer_misses_none() {
    let mut world = World::new(3, 2);
    (0..3000).for_each(|number| world.nodes[0].site.put(record(number, 1, ConnState::Established)));
    world.restart(1);
    world.run(5000, 900);
    world.run(20, 0);
    assert!(world.nodes[1].machine.is_complete());
    assert_eq!(world.lacking(1), 0);
}

#[test]
fn an_answer_is_paced() {
    let mut world = World::new(4, 2);
    world.run(6000, 0);
    (0..20_000).for_each(|number| world.nodes[0].site.put(record(number, 1, ConnState::Established)));
    world.restart(1);
    world.run(100, 0);
    // At 100,000 entries a second, not all of them within a tenth.
    assert!(world.nodes[1].site.entries.len() < 11_000, "{}", world.nodes[1].site.entries.len());
    assert!(!world.nodes[1].machine.is_complete());
    world.run(900, 0);
    assert!(world.nodes[1].machine.is_complete());
    assert_eq!(world.lacking(1), 0);
}

#[test]
fn a_director_without_peers_is_complete_in_five_seconds() {
    let mut world = World::new(5, 1);
    world.run(4998, 0);
    assert!(!world.nodes[0].machine.is_complete());
    world.run(3, 0);
    assert!(world.nodes[0].machine.is_complete());
}

#[test]
fn the_death_of_an_answerer_is_survived() {
    let mut world = World::new(6, 3);
    world.run(6000, 0);
    (0..20_000).for_each(|number| {
        world.nodes[0].site.put(record(number, 1, ConnState::Established));
        world.nodes[2].site.put(record(number, 1, ConnState::Established));
    });
    world.restart(1);
    world.run(50, 0);
    // One of the two has been asked, and dies: the other one has the connections.
    let asked = if world.nodes[1].site.accepted > 0 { 0 } else { 2 };
    let expected = world.names(0);
    world.restart(asked);
    world.run(30_000, 0);
    assert_eq!(world.names(1).len(), expected.len());
    let starts: Vec<_> = world.nodes[1].machine.peers().map(|peer| peer.starts).collect();
    assert!(starts.contains(&2), "{starts:?}");
}

#[test]
fn forged_and_broken_messages_change_nothing() {
    let mut world = World::new(7, 2);
    world.run(6000, 300);
    world.run(20, 0);
    let before = world.names(1);
    let mut writer = directrix::sync::SyncWriter::new(SYNCID, 1472);
    writer.push(&record(9999, 2, ConnState::Established));
    for number in 0..2000_u32 {
        let mut bytes = writer.bytes().to_vec();
        // From a foreign address as it is, from the peer's with a broken header.
        let source = if number % 2 == 0 { host(FORGER) } else { host(0) };
        if number % 2 == 1 {
            bytes[world.random.below(8) as usize % 4] ^= 1 + world.random.below(255) as u8;
            bytes[7] = 1;
        }
        world.put_on_wire(1, source, bytes);
    }
    world.run(100, 0);
    assert_eq!(world.names(1), before);
    let refusals = world.nodes[1].machine.refusals();
    assert_eq!(refusals.of(SyncRefusal::Peer).get(), 1000);
    let all: u64 = SyncRefusal::ALL.iter().map(|of| refusals.of(*of).get()).sum();
    // A message of version 0 may have many.
    assert!(all >= 2000, "{all}");
}

#[test]
fn an_idle_pair_sends_hellos_alone() {
    let mut world = World::new(8, 2);
    world.run(10_000, 100);
    world.run(1000, 0);
    world.bytes = 0;
    world.run(60_000, 0);
    // Five hellos a second of each, of 856 bytes.
    assert_eq!(world.bytes, 2 * 300 * 856);
}

#[test]
fn deadlines_are_when_a_turn_does_something() {
    let now = Tick(0);
    let mut node = Node::start(0, 1, now);
    node.machine.turn(now, &mut node.site);
    assert_eq!(node.site.sent.len(), 1, "a hello");
    assert_eq!(node.machine.deadline(), Some(now.after(HELLO)));
    node.machine.push(&record(1, 1, ConnState::Established), Tick(3), &mut node.site);
    assert_eq!(node.machine.deadline(), Some(Tick(13)));
    node.machine.turn(Tick(13), &mut node.site);
    assert_eq!(node.site.sent.len(), 2, "the record");
}

#[test]
fn one_direction_alone_can_be_switched_on() {
    let now = Tick(0);
    let facts = SyncFacts::default();
    let mut receiver = Site::default();
    let mut machine = SyncMachine::new(SyncSettings { sends: false, ..settings() }, facts, now);
    machine.push(&record(1, 1, ConnState::Established), now, &mut receiver);
    machine.turn(Tick(1000), &mut receiver);
    assert!(receiver.sent.is_empty());
    let template = SyncRecord::template(
        SyncProtocol::Mark,
        SyncEnds::new(
            "198.51.100.0:0".parse().unwrap(),
            SyncEnds::of_mark(7, directrix::model::IpFamily::Ipv4),
            "192.0.2.170:0".parse().unwrap(),
        )
        .unwrap(),
        Span::from_secs(360),
    );
    let mut sender = Site::default();
    let mut other = SyncMachine::new(SyncSettings { trust: None, ..settings() }, facts, now);
    other.push(&template.with_mark(7), now, &mut sender);
    other.flush(&mut sender);
    let message = sender.sent.remove(0);
    machine.receive(&message, host(0), now, &mut receiver);
    other.receive(&message, host(1), now, &mut sender);
    assert_eq!((receiver.counts().templates, sender.counts().templates), (1, 0));
}
