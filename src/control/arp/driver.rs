//! The ARP driver: connects the neighbor state machine to its sockets, the clock and the director.

use crate::control::log::limit::LogLimiter;
use crate::io::{ArpSocket, AsyncArpSocket};
use crate::model::InterfaceIndex;
use crate::neighbor::{ArpAction, ArpEvent, ArpReport, Neighbors};
use crate::time::Tick;
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
pub struct ArpDriver {
    neighbors: Neighbors,
    interfaces: Vec<ArpInterface>,
    start: Instant,
    actions: Vec<ArpAction>,
}

struct ArpInterface {
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

impl ArpDriver {
    /// Creates the driver of a machine with its sockets, in the order of [`crate::neighbor::ArpSettings::own_macs`].
    /// `start` is the moment of [`Tick`] 0.
    ///
    /// # Errors
    /// Errors of epoll(7) for a socket.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time enabled.
    pub fn new(neighbors: Neighbors, sockets: Vec<ArpSocket>, start: Instant) -> io::Result<Self> {
        let sockets = sockets.into_iter().map(AsyncArpSocket::new).collect::<io::Result<Vec<_>>>()?;
        let interfaces = sockets.into_iter().map(ArpInterface::new).collect();
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
        mut events: UnboundedReceiver<ArpEvent>,
        mut report: impl FnMut(ArpReport),
    ) -> io::Result<()> {
        loop {
            let pause = self.pause();
            tokio::select! {
                ready = readable(&self.interfaces) => {
                    ready?;
                    self.receive();
                }
                () = tokio::time::sleep(pause) => {
                    self.handle(ArpEvent::Timer);
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

    fn handle(&mut self, event: ArpEvent) {
        let (now, before) = (self.now(), self.actions.len());
        self.neighbors.handle(event, now, &mut self.actions);
        if self.actions.len() > before {
            tracing::debug!(?event, actions = self.actions.len() - before, "ARP event");
        }
    }

    fn receive(&mut self) {
        for index in 0..self.interfaces.len() {
            for _ in 0..BURST {
                match self.interfaces[index].receive() {
                    Ok(Some(packet)) => {
                        self.handle(ArpEvent::Received { interface: InterfaceIndex(index as u8), packet })
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

    fn act(&mut self, report: &mut impl FnMut(ArpReport)) {
        for action in self.actions.drain(..) {
            match action {
                ArpAction::Send { interface, packet } => {
                    if let Some(interface) = self.interfaces.get_mut(usize::from(interface.0)) {
                        interface.send(&packet);
                    }
                }
                ArpAction::Report(one) => report(one),
            }
        }
    }
}

impl ArpInterface {
    fn new(socket: AsyncArpSocket) -> Self {
        Self { socket, failing: false, limiter: LogLimiter::default() }
    }

    /// Receives one packet; `None` for a frame other than ARP for IPv4.
    fn receive(&self) -> io::Result<Option<ArpPacket>> {
        let mut buffer = [0; FRAME_LEN];
        self.socket.receive(&mut buffer).map(|frame| ArpPacket::parse(frame).ok())
    }

    /// Sends a packet. A failed transmission counts as a lost frame, which the machine retries.
    fn send(&mut self, packet: &ArpPacket) {
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
async fn readable(interfaces: &[ArpInterface]) -> io::Result<()> {
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
