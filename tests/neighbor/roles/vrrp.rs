//! Two directors behind a switch, each with a model of keepalived: adverts every 10 ms, priorities 150 and 100, no
//! preemption. keepalived is killed, stopped, started and in fault at random, and the segment is cut and joined.

use crate::bench::{GATEWAY, ROUTER, TIMING, VIP};
use directrix::model::{InterfaceIndex, OnConflict, OnWriterDeath, Role, RoleFifo, RoleSource};
use directrix::neighbor::encoding::{arp, decode, encode};
use directrix::neighbor::{
    Content, NeighborAction, NeighborEvent, NeighborMessage, NeighborReport, NeighborSettings, Neighbors,
    Outgoing,
};
use directrix::role::{RoleAction, RoleInput, RoleMachine};
use directrix::time::{Span, Tick};
use directrix::wire::MacAddr;
use directrix::wire::arp::ArpPacket;

/// Time without adverts after which a backup becomes master: three adverts and the longest skew.
const MASTER_DOWN_MS: u64 = 37;
/// From a kill -9 to the end of file at the reader.
const DEATH_MS: u64 = 22;
/// Longest time without a director that answers: kill -9, the adverts that are missed, and the step of the model.
const SILENCE_MS: u64 = 60;
/// Longest time with two directors that answer although they hear each other's adverts.
const BOTH_MS: u64 = 30;

/// State of a modelled keepalived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vrrp {
    Down,
    Fault,
    Backup,
    Master,
}

struct Node {
    neighbors: Neighbors,
    roles: RoleMachine,
    mac: MacAddr,
    vrrp: Vrrp,
    priority: u8,
    heard: u64,
    /// Time of the end of file that a kill -9 leads to.
    dies_at: Option<u64>,
    claims: bool,
}

struct World {
    nodes: [Node; 2],
    /// The first node and the client are on one side.
    cut: bool,
    /// The client's ARP entry.
    entry: Option<MacAddr>,
    now: u64,
    chance: u64,
    /// Times since which no director answers though one could, and since which both do though they hear each other.
    silent: u64,
    both: u64,
    longest: [u64; 2],
}

fn node(n: u8, seed: u64) -> Node {
    let mac = MacAddr([2, 0, 0, 0, 0, 10 + n]);
    let (own_macs, on_conflict) = (vec![mac], OnConflict::Standby);
    let mut neighbors = Neighbors::new(NeighborSettings {
        own_macs,
        on_conflict,
        timing: TIMING,
        seed: seed * 2 + u64::from(n),
    });
    let fifo = RoleFifo { path: "/f".into(), instance: None, on_writer_death: OnWriterDeath::Stop };
    let roles = RoleMachine::new(RoleSource::Fifo(fifo), None, Tick(0));
    neighbors.handle(NeighborEvent::Role(roles.role()), Tick(0), &mut Vec::new());
    neighbors.handle(NeighborEvent::AddVip(VIP.into()), Tick(0), &mut Vec::new());
    let priority = if n == 0 { 150 } else { 100 };
    Node { neighbors, roles, mac, vrrp: Vrrp::Down, priority, heard: 0, dies_at: None, claims: false }
}

impl World {
    fn new(seed: u64) -> Self {
        let chance = seed.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1;
        let nodes = [node(0, seed), node(1, seed)];
        Self { nodes, cut: false, entry: None, now: 0, chance, silent: 0, both: 0, longest: [0; 2] }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        (self.chance >> 16) % below
    }

    fn tick(&self) -> Tick {
        Tick(0).after(Span::from_millis(self.now as u32))
    }

    /// Writes a line to the FIFO, cut somewhere.
    fn tell(&mut self, n: usize, word: &str) {
        let line = format!("INSTANCE \"VI_1\" {word} {}\n", self.nodes[n].priority);
        let cut = self.random(line.len() as u64) as usize;
        self.input(n, RoleInput::Bytes(&line.as_bytes()[..cut]));
        self.input(n, RoleInput::Bytes(&line.as_bytes()[cut..]));
    }

    fn input(&mut self, n: usize, input: RoleInput<'_>) {
        let (now, mut actions) = (self.tick(), Vec::new());
        self.nodes[n].roles.handle(input, now, &mut actions);
        for action in actions {
            match action {
                RoleAction::Change { to, .. } => self.handle(n, NeighborEvent::Role(to)),
                RoleAction::Announce => self.handle(n, NeighborEvent::Announce),
                RoleAction::Report(_) => {}
            }
        }
    }

    fn handle(&mut self, n: usize, event: NeighborEvent) {
        let (now, mut actions) = (self.tick(), Vec::new());
        self.nodes[n].neighbors.handle(event, now, &mut actions);
        for action in actions {
            match action {
                NeighborAction::Send { message, .. } => {
                    let mut frames = Vec::new();
                    encode(&message, self.nodes[n].mac, |frame| frames.push(decode(frame).unwrap()));
                    frames.into_iter().for_each(|frame| self.transmit(n, frame));
                }
                NeighborAction::Report(NeighborReport::Claimed { .. }) => self.nodes[n].claims = true,
                NeighborAction::Report(NeighborReport::Released { .. }) => self.nodes[n].claims = false,
                NeighborAction::Report(_) => {}
            }
        }
    }

    fn transmit(&mut self, from: usize, message: NeighborMessage) {
        if from == 0 || !self.cut {
            let is_news = matches!(message.content, Content::Announcement | Content::Solicitation { .. });
            if is_news && message.claimed() == Some(VIP.into()) {
                self.entry = Some(message.mac);
            }
        }
        let to = 1 - from;
        if !self.cut && (!message.destination.is_unicast() || message.destination == self.nodes[to].mac) {
            self.handle(to, NeighborEvent::Received { interface: InterfaceIndex::CLIENT, message });
        }
    }

    fn set(&mut self, n: usize, vrrp: Vrrp, word: &str) {
        self.nodes[n].vrrp = vrrp;
        self.nodes[n].heard = self.now;
        self.tell(n, word);
    }

    /// A millisecond of VRRP.
    fn vrrp(&mut self) {
        for n in 0..2 {
            if self.nodes[n].dies_at == Some(self.now) {
                self.nodes[n].dies_at = None;
                self.input(n, RoleInput::WriterGone);
            }
            let overdue = self.now - self.nodes[n].heard > MASTER_DOWN_MS;
            match self.nodes[n].vrrp {
                Vrrp::Backup if overdue => self.set(n, Vrrp::Master, "MASTER"),
                Vrrp::Master if (self.now + n as u64 * 3).is_multiple_of(10) && !self.cut => {
                    self.advertise(n)
                }
                _ => {}
            }
        }
    }

    fn advertise(&mut self, from: usize) {
        let to = 1 - from;
        let higher = self.nodes[from].priority > self.nodes[to].priority;
        match self.nodes[to].vrrp {
            Vrrp::Backup => self.nodes[to].heard = self.now,
            Vrrp::Master if higher => self.set(to, Vrrp::Backup, "BACKUP"),
            Vrrp::Master => self.tell(to, "MASTER_RX_LOWER_PRI"),
            Vrrp::Down | Vrrp::Fault => {}
        }
    }

    /// An advert with priority 0 makes the other one master at once.
    fn leave(&mut self, n: usize, vrrp: Vrrp, word: &str) {
        let was_master = self.nodes[n].vrrp == Vrrp::Master;
        self.set(n, vrrp, word);
        if was_master && !self.cut && self.nodes[1 - n].vrrp == Vrrp::Backup {
            self.set(1 - n, Vrrp::Master, "MASTER");
        }
    }

    fn trouble(&mut self) {
        let n = self.random(2) as usize;
        match (self.random(5), self.nodes[n].vrrp) {
            (_, Vrrp::Down) if self.nodes[n].dies_at.is_none() => self.set(n, Vrrp::Backup, "BACKUP"),
            (_, Vrrp::Fault) => self.set(n, Vrrp::Backup, "BACKUP"),
            (0, Vrrp::Backup | Vrrp::Master) => {
                self.nodes[n].vrrp = Vrrp::Down;
                self.nodes[n].dies_at = Some(self.now + DEATH_MS);
            }
            (1, _) => {
                self.leave(n, Vrrp::Down, "STOP");
                self.input(n, RoleInput::WriterGone);
            }
            (2, _) => self.leave(n, Vrrp::Fault, "FAULT"),
            _ => self.cut = !self.cut,
        }
    }

    /// True if the director answers the client's question, which reaches it.
    fn answers(&mut self, n: usize) -> bool {
        let message = arp::decode(&ArpPacket::request(ROUTER, GATEWAY, VIP));
        let (now, mut actions) = (self.tick(), Vec::new());
        let event = NeighborEvent::Received { interface: InterfaceIndex::CLIENT, message };
        self.nodes[n].neighbors.handle(event, now, &mut actions);
        let is_answer = |action: &NeighborAction| {
            matches!(action, NeighborAction::Send { message: Outgoing::Answer { .. }, .. })
        };
        actions.iter().any(is_answer)
    }

    fn observe(&mut self) {
        let answering = [self.answers(0), self.answers(1)];
        for (n, answers) in answering.into_iter().enumerate() {
            assert_eq!(answers, self.nodes[n].claims, "at {} ms: control has another view", self.now);
        }
        let could = self.nodes.iter().any(|one| matches!(one.vrrp, Vrrp::Backup | Vrrp::Master));
        if answering != [false; 2] || !could {
            self.silent = self.now;
        }
        let alive = self.nodes.iter().all(|one| one.vrrp != Vrrp::Down);
        if answering != [true; 2] || self.cut || !alive {
            self.both = self.now;
        }
        let since = [self.now - self.silent, self.now - self.both];
        self.longest = [0, 1].map(|of: usize| self.longest[of].max(since[of]));
    }

    fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now += 1;
            self.vrrp();
            for n in 0..2 {
                if self.nodes[n].neighbors.next_deadline().is_some_and(|due| self.tick().reached(due)) {
                    self.handle(n, NeighborEvent::Timer);
                }
            }
            self.observe();
        }
    }

    /// Joins the segment, and starts what is down.
    fn calm(&mut self) {
        self.cut = false;
        for n in 0..2 {
            if matches!(self.nodes[n].vrrp, Vrrp::Down | Vrrp::Fault) {
                self.nodes[n].dies_at = None;
                self.set(n, Vrrp::Backup, "BACKUP");
            }
        }
    }
}

#[test]
fn one_of_two_directors_answers_whatever_happens() {
    for seed in 0..60 {
        let mut world = World::new(seed);
        world.calm();
        for _ in 0..25 {
            let calm = 1 + world.random(if seed % 2 == 0 { 3_000 } else { 100 });
            world.run(calm);
            world.trouble();
        }
        world.calm();
        world.run(7_000);
        let [silent, both] = world.longest;
        assert!(silent <= SILENCE_MS, "seed {seed}: no director answered for {silent} ms");
        assert!(both <= BOTH_MS, "seed {seed}: two directors answered for {both} ms");
        let masters: Vec<_> = (0..2).filter(|n| world.nodes[*n].roles.role() == Role::Master).collect();
        assert_eq!(masters.len(), 1, "seed {seed}");
        assert_eq!(
            world.entry,
            Some(world.nodes[masters[0]].mac),
            "seed {seed}: the client's ARP entry follows"
        );
    }
}
