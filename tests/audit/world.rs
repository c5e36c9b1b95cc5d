//! A segment with an auditor: hosts that answer as Linux does, and virtual time.

use directrix::audit::{AuditAction, AuditFinding, AuditInput, AuditReport, AuditSettings, Auditor, Misuse};
use directrix::model::{InterfaceIndex, PeerAddress};
use directrix::neighbor::{
    Content, NeighborEvent, NeighborMessage, NeighborReport, NeighborTarget, Outgoing,
};
use directrix::time::{Span, Tick};
use directrix::wire::MacAddr;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

pub(crate) const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xd]);
pub(crate) const DIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 5);
/// The gateway, and its MAC address.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(crate) const GATEWAY_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
pub(crate) const CLIENT: InterfaceIndex = InterfaceIndex::CLIENT;
/// The tick of the first input: the count wraps soon after.
const START: Tick = Tick(u32::MAX - 30_000);

pub(crate) fn vip(n: u8) -> IpAddr {
    [192, 0, 2, 100 + n].into()
}

pub(crate) fn vip6() -> IpAddr {
    "2001:db8::100".parse().unwrap()
}

pub(crate) fn rip(n: u8) -> IpAddr {
    [192, 0, 2, 10 + n].into()
}

/// MAC address of real server `n`.
pub(crate) fn mac(n: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 1, n])
}

/// MAC address of another host.
pub(crate) fn other(n: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 2, n])
}

/// A host of the segment.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) mac: MacAddr,
    /// Addresses that it answers for.
    pub(crate) answers: BTreeSet<IpAddr>,
    /// It answers any request that has a sender (`proxy_arp`).
    pub(crate) is_proxy: bool,
    /// It answers no request that has a sender, as with a strict filter.
    pub(crate) filters_senders: bool,
    /// Broadcasts do not reach it (ARP suppression of a switch).
    pub(crate) is_hidden: bool,
}

impl Host {
    pub(crate) fn new(mac: MacAddr, answers: impl IntoIterator<Item = IpAddr>) -> Self {
        let answers = answers.into_iter().collect();
        Self { mac, answers, is_proxy: false, filters_senders: false, is_hidden: false }
    }

    fn answers(&self, address: IpAddr, sender: Option<IpAddr>) -> bool {
        let has_sender = sender.is_some();
        let owns = self.answers.contains(&address) && !(has_sender && self.filters_senders);
        owns || (self.is_proxy && has_sender && Some(address) != sender)
    }
}

/// The gateway's way with frames that leave by the interface on which they came.
#[derive(Clone, Debug)]
pub(crate) struct Hairpins {
    /// MAC address of the gateway.
    pub(crate) gateway: MacAddr,
    /// VIPs whose entry is another host's.
    pub(crate) stolen: BTreeSet<IpAddr>,
    /// It drops all of them.
    pub(crate) drops: bool,
    /// Of so many frames it loses all but the last.
    pub(crate) loses: usize,
}

pub(crate) struct World {
    pub(crate) auditor: Auditor,
    pub(crate) hosts: Vec<Host>,
    /// Milliseconds since [`START`].
    pub(crate) now: u64,
    /// The gateway, once there is one.
    pub(crate) hairpins: Option<Hairpins>,
    /// Frames of tests, with their times and VIPs.
    pub(crate) tested: Vec<(u64, Ipv4Addr)>,
    /// Questions with their times.
    pub(crate) asked: Vec<(u64, Outgoing)>,
    pub(crate) reports: Vec<(u64, AuditReport)>,
    /// Answers that were kept from the neighbor machine.
    pub(crate) kept: usize,
    actions: Vec<AuditAction>,
}

impl World {
    /// A director that has claimed `vips` and found real servers 1 to `servers`.
    pub(crate) fn new(vips: &[IpAddr], servers: u8, interval: u32, peers: Vec<PeerAddress>) -> Self {
        let interval = Span::from_secs(interval);
        let settings = AuditSettings { own_macs: vec![OWN], peers, interval, seed: 7 };
        let mut world = Self {
            auditor: Auditor::new(settings),
            hosts: (1..=servers).map(|n| Host::new(mac(n), [rip(n)])).collect(),
            now: 0,
            hairpins: None,
            tested: Vec::new(),
            asked: Vec::new(),
            reports: Vec::new(),
            kept: 0,
            actions: Vec::new(),
        };
        world.input(&AuditInput::Sender(Some(DIP)));
        let address = Some("fe80::d".parse().unwrap());
        world.input(&AuditInput::Followed(NeighborEvent::LinkLocal { interface: CLIENT, address }));
        for n in 1..=servers {
            world.add_server(n);
        }
        for vip in vips {
            world.reported(NeighborReport::Claimed { vip: *vip });
        }
        world
    }

    pub(crate) fn add_server(&mut self, n: u8) {
        let target = NeighborTarget { interface: CLIENT, rip: rip(n), own: DIP.into(), mac: None };
        self.input(&AuditInput::Followed(NeighborEvent::AddServer(target)));
        self.reported(NeighborReport::Resolved { interface: CLIENT, rip: rip(n), mac: mac(n) });
    }

    pub(crate) fn reported(&mut self, report: NeighborReport) {
        self.input(&AuditInput::Reported(report));
    }

    pub(crate) fn input(&mut self, input: &AuditInput) {
        let tick = self.tick();
        self.auditor.handle(input, tick, &mut self.actions);
        self.act();
    }

    fn tick(&self) -> Tick {
        Tick(START.0.wrapping_add(self.now as u32))
    }

    /// Handles a message of a host. Returns true if it is for the neighbor machine.
    pub(crate) fn hear(&mut self, message: &NeighborMessage) -> bool {
        let tick = self.tick();
        let passes = self.auditor.receive(CLIENT, message, tick, &mut self.actions);
        self.act();
        passes
    }

    fn act(&mut self) {
        while !self.actions.is_empty() {
            for action in std::mem::take(&mut self.actions) {
                match action {
                    AuditAction::Ask { message, .. } => self.ask(message),
                    AuditAction::Test { gateway, source, vip, number } => {
                        assert_eq!(source, DIP);
                        self.test(gateway, vip, number);
                    }
                    AuditAction::Report(report) => self.reports.push((self.now, report)),
                }
            }
        }
    }

    /// Adds a gateway that answers ARP.
    pub(crate) fn add_gateway(&mut self) {
        self.hosts.push(Host::new(GATEWAY_MAC, [GATEWAY.into()]));
        let gateway = GATEWAY_MAC;
        self.hairpins = Some(Hairpins { gateway, stolen: BTreeSet::new(), drops: false, loses: 1 });
        self.input(&AuditInput::Gateway(Some(GATEWAY)));
    }

    pub(crate) fn gateway(&mut self) -> &mut Hairpins {
        self.hairpins.as_mut().unwrap()
    }

    /// The gateway sends a frame back at once, or to another host.
    fn test(&mut self, gateway: MacAddr, vip: Ipv4Addr, number: u32) {
        self.tested.push((self.now, vip));
        let hairpins = self.gateway();
        let comes_back = !hairpins.drops && !hairpins.stolen.contains(&vip.into());
        let reaches = gateway == hairpins.gateway && self.tested.len().is_multiple_of(self.gateway().loses);
        if reaches && comes_back {
            let tick = self.tick();
            self.auditor.handle(&AuditInput::Returned { vip, number }, tick, &mut self.actions);
        }
    }

    /// The hosts answer a question at once.
    fn ask(&mut self, message: Outgoing) {
        self.asked.push((self.now, message));
        let (address, sender, station) = match message {
            Outgoing::Probe { address, station, .. } => (address, None, station),
            Outgoing::Solicit { address, sender, station } => (address, sender, station),
            other => panic!("the auditor only asks: {other:?}"),
        };
        let reached = |host: &&Host| station.map_or(!host.is_hidden, |station| station == host.mac);
        let answering = self.hosts.iter().filter(reached).filter(|host| host.answers(address, sender));
        let answers: Vec<_> = answering.map(|host| answer(host.mac, address)).collect();
        for answer in answers {
            let tick = self.tick();
            let passes = self.auditor.receive(CLIENT, &answer, tick, &mut self.actions);
            self.kept += usize::from(!passes);
        }
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some(deadline) = self.auditor.next_deadline() {
            let wait = u64::from(deadline.since(self.tick()).millis());
            assert!(wait > 0, "a deadline is later than the last input");
            if self.now + wait > end {
                break;
            }
            self.now += wait;
            self.input(&AuditInput::Timer);
        }
        self.now = end;
        self.input(&AuditInput::Timer);
    }

    pub(crate) fn seconds(&mut self, seconds: u64) {
        self.pass(seconds * 1000);
    }

    pub(crate) fn findings(&self) -> Vec<AuditFinding> {
        self.auditor.findings()
    }

    /// Misuses of the open findings.
    pub(crate) fn misuses(&self) -> Vec<Misuse> {
        self.findings().iter().map(|finding| finding.misuse).collect()
    }

    pub(crate) fn opened(&self) -> usize {
        self.reports.iter().filter(|(_, report)| matches!(report, AuditReport::Opened(_))).count()
    }

    pub(crate) fn host(&mut self, mac: MacAddr) -> &mut Host {
        self.hosts.iter_mut().find(|host| host.mac == mac).unwrap()
    }
}

/// An answer to the director.
pub(crate) fn answer(mac: MacAddr, address: IpAddr) -> NeighborMessage {
    NeighborMessage {
        destination: OWN,
        source: mac,
        mac,
        sender: Some(address),
        content: Content::Answer,
        is_foreign: false,
        overrides: true,
    }
}

/// An announcement to all.
pub(crate) fn announcement(mac: MacAddr, address: IpAddr) -> NeighborMessage {
    let content = Content::Announcement;
    NeighborMessage { destination: MacAddr::BROADCAST, content, ..answer(mac, address) }
}

/// A request to all.
pub(crate) fn request(mac: MacAddr, sender: Option<IpAddr>, target: IpAddr) -> NeighborMessage {
    let content = Content::Solicitation { target, nonce: None };
    NeighborMessage { sender, content, ..announcement(mac, target) }
}
