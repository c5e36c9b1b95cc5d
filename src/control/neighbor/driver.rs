//! The neighbor driver: connects the neighbor state machine to its sockets, the clock and the director.

use crate::control::log::limit::LogLimiter;
use crate::io::{ArpSocket, AsyncArpSocket};
use crate::model::InterfaceIndex;
use crate::neighbor::encoding::arp;
use crate::neighbor::{NeighborAction, NeighborEvent, NeighborReport, Neighbors, Outgoing};
use crate::time::Tick;
use crate::wire::MacAddr;
use crate::wire::arp::{ArpPacket, FRAME_LEN};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedReceiver;

/// Frames read from one socket before time, events and the other socket are served.
const BURST: usize = 64;

/// The neighbor state machine with its sockets and its clock.
pub struct NeighborDriver {
    neighbors: Neighbors,
    interfaces: Vec<NeighborInterface>,
    start: Instant,
    actions: Vec<NeighborAction>,
}

struct NeighborInterface {
    mac: MacAddr,
    socket: AsyncArpSocket,
    /// True after a failed transmission: only a change is logged.
    failing: bool,
    /// Rate limit of messages, by direction.
    limiter: LogLimiter<Direction>,
}

/// Use of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Direction {
    Receiving,
    Sending,
}

impl NeighborDriver {
    /// Creates the driver of a machine with its sockets, in the order of [`crate::neighbor::NeighborSettings::own_macs`].
    /// `start` is the moment of [`Tick`] 0.
    ///
    /// # Errors
    /// Errors of epoll(7) for a socket.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time enabled.
    pub fn new(neighbors: Neighbors, sockets: Vec<ArpSocket>, start: Instant) -> io::Result<Self> {
        let macs = neighbors.own_macs().to_vec();
        let interfaces =
            macs.into_iter().zip(sockets).map(|(mac, socket)| NeighborInterface::new(mac, socket));
        let interfaces = interfaces.collect::<io::Result<_>>()?;
        Ok(Self { neighbors, interfaces, start, actions: Vec::new() })
    }

    /// Runs until `events` is closed. Reports go to `report`, which must not block.
    ///
    /// ARP is silent on an interface without carrier, and continues when it is back.
    ///
    /// # Errors
    /// Errors of epoll(7), as when the runtime shuts down.
    pub async fn run(
        mut self,
        mut events: UnboundedReceiver<NeighborEvent>,
        mut report: impl FnMut(NeighborReport),
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
                    for interface in &mut self.interfaces {
                        interface.limiter.report_suppressed(Instant::now());
                    }
                }
                event = events.recv() => match event {
                    Some(event) => self.handle(event),
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
        match self.neighbors.next_deadline() {
            Some(due) => Duration::from_millis(due.since(self.now()).millis().into()),
            None => LONG,
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
            for _ in 0..BURST {
                match self.interfaces[index].receive() {
                    Ok(Some(packet)) => {
                        let (interface, message) = (InterfaceIndex(index as u8), arp::decode(&packet));
                        self.handle(NeighborEvent::Received { interface, message })
                    }
                    Ok(None) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => {
                        self.interfaces[index].limiter.log(Direction::Receiving, Instant::now(), || {
                            tracing::warn!(interface = index, %error, "receiving ARP failed");
                        });
                        break;
                    }
                }
            }
        }
    }

    fn act(&mut self, report: &mut impl FnMut(NeighborReport)) {
        for action in self.actions.drain(..) {
            match action {
                NeighborAction::Send { interface, message } => {
                    if let Some(interface) = self.interfaces.get_mut(usize::from(interface.0)) {
                        interface.send(&message);
                    }
                }
                NeighborAction::Report(one) => report(one),
            }
        }
    }
}

impl NeighborInterface {
    fn new(mac: MacAddr, socket: ArpSocket) -> io::Result<Self> {
        let socket = AsyncArpSocket::new(socket)?;
        Ok(Self { mac, socket, failing: false, limiter: LogLimiter::default() })
    }

    /// Receives one packet; `None` for a frame other than ARP for IPv4.
    fn receive(&self) -> io::Result<Option<ArpPacket>> {
        let mut buffer = [0; FRAME_LEN];
        self.socket.receive(&mut buffer).map(|frame| ArpPacket::parse(frame).ok())
    }

    fn send(&mut self, message: &Outgoing) {
        arp::encode(message, self.mac).iter().flatten().for_each(|packet| self.send_packet(packet));
    }

    /// Sends a packet. A failed transmission counts as a lost frame, which the machine retries.
    fn send_packet(&mut self, packet: &ArpPacket) {
        let mut frame = [0; FRAME_LEN];
        packet.emit(&mut frame);
        let sent = self.socket.send(&frame);
        let now = Instant::now();
        let failed_before = std::mem::replace(&mut self.failing, sent.is_err());
        match sent {
            Err(error) if !failed_before => {
                self.limiter.log(Direction::Sending, now, || tracing::warn!(%error, "sending ARP failed"));
            }
            Ok(()) if failed_before => {
                self.limiter.log(Direction::Sending, now, || tracing::info!("sending ARP works again"))
            }
            Err(_) | Ok(()) => {}
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Receiving => "receiving ARP",
            Self::Sending => "sending ARP",
        })
    }
}

/// Waits until a socket is readable.
async fn readable(interfaces: &[NeighborInterface]) -> io::Result<()> {
    poll_fn(|context| {
        for interface in interfaces {
            if let Poll::Ready(ready) = interface.socket.poll_readable(context) {
                return Poll::Ready(ready);
            }
        }
        Poll::Pending
    })
    .await
}
