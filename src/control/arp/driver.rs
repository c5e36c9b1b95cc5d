//! Drives the neighbor machine: frames, time and commands in, frames and reports out.

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

/// Frames that are taken from one socket before time, commands and the other socket get their turn.
const BURST: usize = 64;

/// The neighbor machine with its sockets and its clock.
pub struct ArpDriver {
    neighbors: Neighbors,
    links: Vec<ArpInterface>,
    start: Instant,
    actions: Vec<ArpAction>,
}

struct ArpInterface {
    socket: AsyncArpSocket,
    /// The last frame could not be sent: logged when that changes, not for each frame.
    failing: bool,
    /// What may be logged about each [`Direction`] of it.
    limiter: LogLimiter<Direction>,
}

/// What a socket is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Direction {
    Receiving,
    Sending,
}

impl ArpDriver {
    /// Takes a machine and its sockets, in the order of [`crate::neighbor::ArpSettings::own_macs`].
    /// `start` is the moment of [`Tick`] 0.
    ///
    /// # Errors
    /// What epoll(7) reports about a socket.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time enabled.
    pub fn new(neighbors: Neighbors, sockets: Vec<ArpSocket>, start: Instant) -> io::Result<Self> {
        let link = |socket| AsyncArpSocket::new(socket).map(ArpInterface::new);
        let links = sockets.into_iter().map(link).collect::<io::Result<_>>()?;
        Ok(Self { neighbors, links, start, actions: Vec::new() })
    }

    /// Runs until `commands` is closed. Every change goes to `report`, which must not block.
    ///
    /// An interface that goes down does not end it: ARP is silent meanwhile, and goes on when the
    /// interface is back.
    ///
    /// # Errors
    /// What epoll(7) reports: the runtime is shutting down.
    pub async fn run(
        mut self,
        mut commands: UnboundedReceiver<ArpEvent>,
        mut report: impl FnMut(ArpReport),
    ) -> io::Result<()> {
        loop {
            let pause = self.pause();
            tokio::select! {
                ready = readable(&self.links) => {
                    ready?;
                    self.receive();
                }
                () = tokio::time::sleep(pause) => {
                    self.handle(ArpEvent::Timer);
                    self.links.iter_mut().for_each(|link| link.limiter.report_suppressed(Instant::now()));
                }
                command = commands.recv() => match command {
                    Some(command) => self.handle(command),
                    None => return Ok(()),
                },
            }
            self.act(&mut report);
        }
    }

    fn now(&self) -> Tick {
        Tick::from_instant(Instant::now(), self.start)
    }

    /// How long nothing is to be done unless something happens.
    fn pause(&self) -> Duration {
        const LONG: Duration = Duration::from_secs(3600);
        let span = |due: Tick| Duration::from_millis(due.since(self.now()).millis().into());
        self.neighbors.next_deadline().map_or(LONG, span)
    }

    fn handle(&mut self, event: ArpEvent) {
        let (now, before) = (self.now(), self.actions.len());
        self.neighbors.handle(event, now, &mut self.actions);
        if self.actions.len() > before {
            tracing::debug!(?event, actions = self.actions.len() - before, "ARP event");
        }
    }

    fn receive(&mut self) {
        for link in 0..self.links.len() {
            for _ in 0..BURST {
                match self.links[link].receive() {
                    Ok(Some(packet)) => {
                        self.handle(ArpEvent::Received { interface: InterfaceIndex(link as u8), packet })
                    }
                    Ok(None) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => {
                        self.links[link].limiter.log(Direction::Receiving, Instant::now(), || {
                            tracing::warn!(link, %error, "receiving ARP failed");
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
                    if let Some(link) = self.links.get_mut(usize::from(interface.0)) {
                        link.send(&packet);
                    }
                }
                ArpAction::Report(news) => report(news),
            }
        }
    }
}

impl ArpInterface {
    fn new(socket: AsyncArpSocket) -> Self {
        Self { socket, failing: false, limiter: LogLimiter::default() }
    }

    /// One packet; `None` for a frame that is no ARP for IPv4.
    fn receive(&self) -> io::Result<Option<ArpPacket>> {
        let mut buffer = [0; FRAME_LEN];
        self.socket.receive(&mut buffer).map(|frame| ArpPacket::parse(frame).ok())
    }

    /// A frame that cannot be sent is lost like one that the wire loses: the machine copes.
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

/// Waits until any of the sockets has something to read.
async fn readable(links: &[ArpInterface]) -> io::Result<()> {
    poll_fn(|context| {
        for link in links {
            if let Poll::Ready(ready) = link.socket.poll_readable(context) {
                return Poll::Ready(ready);
            }
        }
        Poll::Pending
    })
    .await
}
