//! Test bench for an ARP machine: its clock, its neighbors, packets and actions.

use directrix::model::{InterfaceIndex, OnConflict};
use directrix::neighbor::encoding::arp;
use directrix::neighbor::{
    NeighborAction, NeighborEvent, NeighborReport, NeighborSettings, NeighborTarget, Neighbors, Timing,
};
use directrix::time::{Span, Tick};
use directrix::wire::MacAddr;
use directrix::wire::arp::ArpPacket;
use std::net::Ipv4Addr;

pub(crate) const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xd]);
pub(crate) const OURS_INSIDE: MacAddr = MacAddr([2, 0, 0, 0, 1, 0xd]);
pub(crate) const ROUTER: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
pub(crate) const RS: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x70]);
pub(crate) const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x99]);

pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 150);
pub(crate) const VIP2: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 151);
pub(crate) const DIP: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 10);
pub(crate) const RIP: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 170);
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 2);

pub(crate) const CLIENT: InterfaceIndex = InterfaceIndex::CLIENT;
pub(crate) const INSIDE: InterfaceIndex = InterfaceIndex(1);

/// Timing without randomness: a VIP is probed at 0, 200 and 400 ms, and claimed at 900 ms.
pub(crate) const TIMING: Timing = Timing {
    probe_wait: Span::from_millis(0),
    probes: 3,
    probe_gap: (Span::from_millis(200), Span::from_millis(200)),
    announce_wait: Span::from_millis(500),
    announcements: 3,
    announce_gap: Span::from_secs(2),
    announce_interval: Span::from_secs(60),
    defend_interval: Span::from_secs(10),
    standby_interval: Span::from_secs(1),
    verify_interval: Span::from_millis(500),
    watch_interval: Span::from_secs(5),
    attempts: 3,
    retry: Span::from_millis(500),
    unreachable_retry: Span::from_secs(5),
    refresh: Span::from_secs(1),
};

/// An action of the machine, with its message as a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Send { interface: InterfaceIndex, packet: ArpPacket },
    Report(NeighborReport),
}

/// The event of a received packet.
pub(crate) fn received(interface: InterfaceIndex, packet: ArpPacket) -> NeighborEvent {
    NeighborEvent::Received { interface, message: arp::decode(&packet) }
}

/// Handles an event; returns the actions with their messages as packets.
pub(crate) fn handle(machine: &mut Neighbors, event: NeighborEvent, now: Tick) -> Vec<Outcome> {
    let mut actions = Vec::new();
    machine.handle(event, now, &mut actions);
    let outcomes = actions.into_iter().flat_map(|action| match action {
        NeighborAction::Report(report) => vec![Outcome::Report(report)],
        NeighborAction::Send { interface, message } => {
            let packets = arp::encode(&message, machine.own_macs()[usize::from(interface.0)]);
            assert!(packets[0].is_some(), "no packet of {message:?}");
            packets.into_iter().flatten().map(|packet| Outcome::Send { interface, packet }).collect()
        }
    });
    outcomes.collect()
}

/// A machine and its clock, which starts shortly before the tick's wrap.
pub(crate) struct Bench {
    pub(crate) machine: Neighbors,
    pub(crate) start: Tick,
    pub(crate) now: u32,
}

impl Bench {
    pub(crate) fn new(on_conflict: OnConflict) -> Self {
        Self::with(on_conflict, TIMING)
    }

    pub(crate) fn with(on_conflict: OnConflict, timing: Timing) -> Self {
        let settings = NeighborSettings { own_macs: vec![OURS, OURS_INSIDE], on_conflict, timing, seed: 7 };
        Self { machine: Neighbors::new(settings), start: Tick(u32::MAX - 1500), now: 0 }
    }

    /// A bench 10 s after it has claimed the VIP and sent the first announcements.
    pub(crate) fn claimed(on_conflict: OnConflict) -> Self {
        let mut bench = Self::new(on_conflict);
        bench.event(NeighborEvent::AddVip(VIP.into()));
        let seen = bench.run_to(10_000);
        assert!(
            seen.iter().any(|(_, a)| *a == report(NeighborReport::Claimed { vip: VIP.into() })),
            "{seen:?}"
        );
        bench
    }

    pub(crate) fn tick(&self) -> Tick {
        self.start.after(Span::from_millis(self.now))
    }

    pub(crate) fn event(&mut self, event: NeighborEvent) -> Vec<Outcome> {
        let now = self.tick();
        let actions = handle(&mut self.machine, event, now);
        assert!(
            self.machine.next_deadline().is_none_or(|due| !self.tick().reached(due)),
            "a deadline is left over"
        );
        actions
    }

    pub(crate) fn receive(&mut self, packet: ArpPacket) -> Vec<Outcome> {
        self.event(received(CLIENT, packet))
    }

    /// Runs until `ms` after the start; returns each action with its time.
    pub(crate) fn run_to(&mut self, ms: u32) -> Vec<(u32, Outcome)> {
        let mut seen = Vec::new();
        while let Some(due) = self.machine.next_deadline() {
            let at = due.since(self.start).millis();
            if at > ms {
                break;
            }
            self.now = at;
            seen.extend(self.event(NeighborEvent::Timer).into_iter().map(|action| (at, action)));
        }
        self.now = ms;
        seen
    }

    /// Runs until the next action.
    pub(crate) fn step(&mut self) -> Vec<(u32, Outcome)> {
        let due = self.machine.next_deadline().expect("something to do");
        self.run_to(due.since(self.start).millis())
    }

    pub(crate) fn add_server(&mut self, mac: Option<MacAddr>) -> Vec<Outcome> {
        self.event(NeighborEvent::AddServer(NeighborTarget {
            interface: CLIENT,
            rip: RIP.into(),
            own: DIP.into(),
            mac,
        }))
    }
}

pub(crate) fn send(packet: ArpPacket) -> Outcome {
    Outcome::Send { interface: CLIENT, packet }
}

pub(crate) fn report(report: NeighborReport) -> Outcome {
    Outcome::Report(report)
}

pub(crate) fn probe() -> Outcome {
    send(ArpPacket::probe(OURS, VIP))
}

pub(crate) fn announcement() -> [Outcome; 2] {
    [send(ArpPacket::announcement(OURS, VIP)), send(ArpPacket::announcement_reply(OURS, VIP))]
}

pub(crate) fn conflict(mac: MacAddr, server: Option<Ipv4Addr>) -> Outcome {
    report(NeighborReport::Conflict { vip: VIP.into(), mac, server: server.map(Into::into) })
}

pub(crate) fn over(mac: MacAddr, server: Option<Ipv4Addr>) -> Outcome {
    report(NeighborReport::ConflictOver { vip: VIP.into(), mac, server: server.map(Into::into) })
}

pub(crate) fn resolved(mac: MacAddr) -> Outcome {
    report(NeighborReport::Resolved { interface: CLIENT, rip: RIP.into(), mac })
}

pub(crate) fn lost() -> Outcome {
    report(NeighborReport::Lost { interface: CLIENT, rip: RIP.into() })
}

pub(crate) fn question(from: MacAddr, ip: Ipv4Addr) -> ArpPacket {
    ArpPacket::request(from, ip, VIP)
}

pub(crate) fn reply(from: MacAddr, ip: Ipv4Addr) -> ArpPacket {
    ArpPacket::request(OURS, DIP, ip).reply(from)
}

pub(crate) fn request() -> Outcome {
    send(ArpPacket::request(OURS, DIP, RIP))
}
