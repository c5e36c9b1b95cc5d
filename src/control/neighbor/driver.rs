//! The neighbor driver: connects the neighbor state machine and the auditor to the sockets, the clock and the director.

use super::sockets::{NeighborInterface, NeighborSockets};
use super::vlans::{self, HostVlans, NeighborCommand};
use crate::audit::{AuditAction, AuditInput, AuditReport, Auditor};
use crate::model::InterfaceIndex;
use crate::neighbor::{NeighborAction, NeighborEvent, NeighborReport, Neighbors, Outgoing};
use crate::time::Tick;
use crate::wire::MacAddr;
use crate::wire::vlan::Vlans;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedReceiver;

/// Frames read from one socket before time, events and the other sockets are served.
const BURST: usize = 64;

/// Report of the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriverReport {
    /// Of the neighbor machine.
    Neighbor(NeighborReport),
    /// Of the auditor.
    Audit(AuditReport),
}

/// The neighbor state machine and the auditor with their sockets and their clock.
pub struct NeighborDriver {
    neighbors: Neighbors,
    auditor: Auditor,
    interfaces: Vec<NeighborInterface>,
    start: Instant,
    actions: Vec<NeighborAction>,
    audit_actions: Vec<AuditAction>,
    /// Of every VIP and real server.
    vlans: HostVlans,
}

impl NeighborDriver {
    /// Creates the driver of a machine and an auditor with the sockets, in the order of [`crate::neighbor::NeighborSettings::own_macs`].
    /// `start` is the moment of [`Tick`] 0.
    ///
    /// # Errors
    /// Errors of epoll(7) and setsockopt(2) for a socket.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time enabled.
    pub fn new(
        (neighbors, auditor): (Neighbors, Auditor),
        sockets: Vec<NeighborSockets>,
        start: Instant,
    ) -> io::Result<Self> {
        let mut interfaces =
            sockets.into_iter().map(NeighborInterface::new).collect::<io::Result<Vec<_>>>()?;
        if let Some(client) = interfaces.get_mut(usize::from(InterfaceIndex::CLIENT.0)) {
            client.select_hairpins(auditor.mark())?;
        }
        let (actions, audit_actions) = (Vec::new(), Vec::new());
        Ok(Self { neighbors, auditor, interfaces, start, actions, audit_actions, vlans: HostVlans::new() })
    }

    /// Runs until `commands` is closed. Reports go to `report`, which must not block.
    ///
    /// It is silent on an interface without carrier, and continues when it is back.
    ///
    /// # Errors
    /// Errors of epoll(7), as when the runtime shuts down.
    pub async fn run(
        mut self,
        mut commands: UnboundedReceiver<NeighborCommand>,
        mut report: impl FnMut(DriverReport),
    ) -> io::Result<()> {
        loop {
            let pause = self.pause();
            tokio::select! {
                ready = readable(&self.interfaces) => {
                    ready?;
                    self.receive();
                }
                () = tokio::time::sleep(pause) => {
                    self.handle(NeighborEvent::Timer);
                    self.audit(&AuditInput::Timer);
                    for interface in &mut self.interfaces {
                        interface.report_suppressed(Instant::now());
                    }
                }
                command = commands.recv() => match command {
                    Some(NeighborCommand::Event(event)) => self.follow(event),
                    Some(NeighborCommand::Vlans(vlans)) => self.set_vlans(vlans),
                    Some(NeighborCommand::Sender(own)) => self.audit(&AuditInput::Sender(own)),
                    Some(NeighborCommand::Gateway(next)) => self.audit(&AuditInput::Gateway(next)),
                    Some(NeighborCommand::Observe(vip)) => self.observe(vip),
                    Some(NeighborCommand::Findings(reply)) => drop(reply.send(self.auditor.findings())),
                    None => return Ok(()),
                },
            }
            self.act(&mut report);
        }
    }

    fn now(&self) -> Tick {
        Tick::from_instant(Instant::now(), self.start)
    }

    /// Returns the time until the next deadline.
    fn pause(&self) -> Duration {
        const LONG: Duration = Duration::from_secs(3600);
        let deadlines = [self.neighbors.next_deadline(), self.auditor.next_deadline()];
        match deadlines.into_iter().flatten().reduce(Tick::earlier) {
            Some(due) => Duration::from_millis(due.since(self.now()).millis().into()),
            None => LONG,
        }
    }

    /// Handles an event of the director. The group of an IPv6 VIP is joined before its first probe: other stations'
    /// probes for it arrive from then on.
    fn follow(&mut self, event: NeighborEvent) {
        let client = &mut self.interfaces[usize::from(InterfaceIndex::CLIENT.0)];
        match event {
            NeighborEvent::LinkLocal { interface: InterfaceIndex::CLIENT, address } => {
                client.set_link_local(address);
            }
            NeighborEvent::AddVip(IpAddr::V6(vip)) | NeighborEvent::ReclaimVip(IpAddr::V6(vip)) => {
                client.join_group(vip)
            }
            NeighborEvent::RemoveVip(IpAddr::V6(vip)) => client.leave_group(vip),
            _ => {}
        }
        if let NeighborEvent::RemoveVip(address) | NeighborEvent::RemoveServer { rip: address, .. } = event {
            self.vlans.remove(&address);
        }
        self.handle(event);
        self.audit(&AuditInput::Followed(event));
    }

    /// Audits a VIP that is not claimed. Its group is joined, so that probes for it arrive.
    fn observe(&mut self, vip: IpAddr) {
        if let IpAddr::V6(vip) = vip {
            self.interfaces[usize::from(InterfaceIndex::CLIENT.0)].join_group(vip);
        }
        self.audit(&AuditInput::Observe(vip));
    }

    fn audit(&mut self, input: &AuditInput) {
        let now = self.now();
        self.auditor.handle(input, now, &mut self.audit_actions);
    }

    /// Records VLANs of addresses, and receives the messages of these VLANs.
    fn set_vlans(&mut self, vlans: HostVlans) {
        let before = vlans::outer(&self.vlans);
        self.vlans.extend(vlans);
        let outer = vlans::outer(&self.vlans);
        if outer != before {
            self.interfaces.iter().for_each(|interface| interface.select_vlans(&outer));
        }
    }

    fn handle(&mut self, event: NeighborEvent) {
        let (now, before) = (self.now(), self.actions.len());
        self.neighbors.handle(event, now, &mut self.actions);
        if self.actions.len() > before {
            tracing::debug!(?event, actions = self.actions.len() - before, "neighbor event");
        }
    }

    fn receive(&mut self) {
        for index in 0..self.interfaces.len() {
            let interface = InterfaceIndex(index as u8);
            let received = self.interfaces[index].receive(BURST);
            for frame in received.hairpins {
                self.audit(&AuditInput::Returned { vip: frame.destination, number: frame.number });
            }
            for (vlans, message) in received.messages {
                let Some(message) = vlans::admit(&self.vlans, message, vlans) else { continue };
                let now = self.now();
                if self.auditor.receive(interface, &message, now, &mut self.audit_actions) {
                    self.handle(NeighborEvent::Received { interface, message });
                }
            }
        }
    }

    fn act(&mut self, report: &mut impl FnMut(DriverReport)) {
        for action in std::mem::take(&mut self.actions) {
            match action {
                NeighborAction::Send { interface, message } => {
                    let vlans = vlans::of(&self.vlans, &message);
                    self.send(interface, &message, vlans);
                }
                NeighborAction::Report(one) => {
                    self.audit(&AuditInput::Reported(one));
                    report(DriverReport::Neighbor(one));
                }
            }
        }
        for action in std::mem::take(&mut self.audit_actions) {
            match action {
                AuditAction::Ask { interface, within, message } => {
                    let vlans = self.vlans.get(&within).copied().unwrap_or_default();
                    self.send(interface, &without_foreign_sender(message, vlans), vlans);
                }
                AuditAction::Test { gateway, source, vip, number } => {
                    self.test(gateway, [source, vip], number)
                }
                AuditAction::Report(one) => report(DriverReport::Audit(one)),
            }
        }
    }

    /// Sends the frame of a test. A VIP within a VLAN is on another network than the gateway.
    fn test(&mut self, gateway: MacAddr, [source, vip]: [Ipv4Addr; 2], number: u32) {
        if self.vlans.get(&IpAddr::V4(vip)).is_none_or(|vlans| vlans.is_none()) {
            self.interfaces[usize::from(InterfaceIndex::CLIENT.0)].test(gateway, [source, vip], number);
        }
    }

    fn send(&mut self, interface: InterfaceIndex, message: &Outgoing, vlans: Vlans) {
        if let Some(interface) = self.interfaces.get_mut(usize::from(interface.0)) {
            interface.send(message, vlans);
        }
    }
}

/// The question without a sender if it leaves in a VLAN: the director's IPv4 address is one of the interface's own network.
fn without_foreign_sender(message: Outgoing, vlans: Vlans) -> Outgoing {
    match message {
        Outgoing::Solicit { address: address @ IpAddr::V4(_), station, .. } if !vlans.is_none() => {
            Outgoing::Probe { address, station, nonce: None }
        }
        other => other,
    }
}

/// Waits until a socket is readable.
async fn readable(interfaces: &[NeighborInterface]) -> io::Result<()> {
    poll_fn(|context| {
        for interface in interfaces {
            if let Poll::Ready(ready) = interface.poll_readable(context) {
                return Poll::Ready(ready);
            }
        }
        Poll::Pending
    })
    .await
}
