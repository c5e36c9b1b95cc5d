//! Test bench for an ARP machine: its clock, its neighbors, packets and actions.

use directrix::model::{InterfaceIndex, OnConflict};
use directrix::neighbor::{ArpAction, ArpEvent, ArpReport, ArpSettings, ArpTarget, Neighbors, Timing};
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
        let settings = ArpSettings { own_macs: vec![OURS, OURS_INSIDE], on_conflict, timing, seed: 7 };
        Self { machine: Neighbors::new(settings), start: Tick(u32::MAX - 1500), now: 0 }
    }

    /// A bench 10 s after it has claimed the VIP and sent the first announcements.
    pub(crate) fn claimed(on_conflict: OnConflict) -> Self {
        let mut bench = Self::new(on_conflict);
        bench.event(ArpEvent::AddVip(VIP));
        let seen = bench.run_to(10_000);
        assert!(seen.iter().any(|(_, a)| *a == report(ArpReport::Claimed { vip: VIP })), "{seen:?}");
        bench
    }

    pub(crate) fn tick(&self) -> Tick {
        self.start.after(Span::from_millis(self.now))
    }

    pub(crate) fn event(&mut self, event: ArpEvent) -> Vec<ArpAction> {
        let mut actions = Vec::new();
        self.machine.handle(event, self.tick(), &mut actions);
        assert!(
            self.machine.next_deadline().is_none_or(|due| !self.tick().reached(due)),
            "a deadline is left over"
        );
        actions
    }

    pub(crate) fn receive(&mut self, packet: ArpPacket) -> Vec<ArpAction> {
        self.event(ArpEvent::Received { interface: CLIENT, packet })
    }

    /// Runs until `ms` after the start; returns each action with its time.
    pub(crate) fn run_to(&mut self, ms: u32) -> Vec<(u32, ArpAction)> {
        let mut seen = Vec::new();
        while let Some(due) = self.machine.next_deadline() {
            let at = due.since(self.start).millis();
            if at > ms {
                break;
            }
            self.now = at;
            seen.extend(self.event(ArpEvent::Timer).into_iter().map(|action| (at, action)));
        }
        self.now = ms;
        seen
    }

    /// Runs until the next action.
    pub(crate) fn step(&mut self) -> Vec<(u32, ArpAction)> {
        let due = self.machine.next_deadline().expect("something to do");
        self.run_to(due.since(self.start).millis())
    }

    pub(crate) fn add_server(&mut self, mac: Option<MacAddr>) -> Vec<ArpAction> {
        self.event(ArpEvent::AddServer(ArpTarget { interface: CLIENT, rip: RIP, own: DIP, mac }))
    }
}

pub(crate) fn send(packet: ArpPacket) -> ArpAction {
    ArpAction::Send { interface: CLIENT, packet }
}

pub(crate) fn report(report: ArpReport) -> ArpAction {
    ArpAction::Report(report)
}

pub(crate) fn probe() -> ArpAction {
    send(ArpPacket::probe(OURS, VIP))
}

pub(crate) fn announcement() -> [ArpAction; 2] {
    [send(ArpPacket::announcement(OURS, VIP)), send(ArpPacket::announcement_reply(OURS, VIP))]
}

pub(crate) fn conflict(mac: MacAddr, server: Option<Ipv4Addr>) -> ArpAction {
    report(ArpReport::Conflict { vip: VIP, mac, server })
}

pub(crate) fn over(mac: MacAddr, server: Option<Ipv4Addr>) -> ArpAction {
    report(ArpReport::ConflictOver { vip: VIP, mac, server })
}

pub(crate) fn resolved(mac: MacAddr) -> ArpAction {
    report(ArpReport::Resolved { interface: CLIENT, rip: RIP, mac })
}

pub(crate) fn lost() -> ArpAction {
    report(ArpReport::Lost { interface: CLIENT, rip: RIP })
}

pub(crate) fn question(from: MacAddr, ip: Ipv4Addr) -> ArpPacket {
    ArpPacket::request(from, ip, VIP)
}

pub(crate) fn reply(from: MacAddr, ip: Ipv4Addr) -> ArpPacket {
    ArpPacket::request(OURS, DIP, ip).reply(from)
}

pub(crate) fn request() -> ArpAction {
    send(ArpPacket::request(OURS, DIP, RIP))
}
