//! One worker's sockets, and the movement of frames between them.

use super::frame::{Frame, XdpBatch, packet_count, tags_len, tail_count};
use super::queue_assignment::WorkerQueues;
use super::socket::XdpSocket;
use crate::forward::{BATCH, Verdict};
use crate::io::bpf::RedirectCounter;
use crate::io::handed::{HandedPorts, RingShape, WorkerRings};
use crate::io::{Levels, LongFrames, Lost, Ports, SendOutcome};
use crate::model::InterfaceIndex;
use crate::sys::poll;
use crate::wire::vlan;
use std::collections::HashSet;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// Longest sleep of a worker while the kernel has unsent frames.
const UNSENT_WAIT_MAX: Duration = Duration::from_millis(1);

/// One worker's AF_XDP sockets over one UMEM.
pub struct XdpPorts {
    batch: XdpBatch,
    /// Index in `client` of the batch's receiver.
    from: usize,
    free: Vec<Frame>,
    /// Number of frames in all.
    total: usize,
    shape: RingShape,
    /// The receive queues of interface 0.
    client: Vec<Receiver>,
    /// Transmit sockets of the interfaces from 1 on.
    servers: Vec<XdpSocket>,
    /// By interface: frames of the batch to send.
    outgoing: Vec<Vec<Frame>>,
    /// Frames of the batch that are too long to send, with their indices.
    too_long: Vec<(usize, Frame)>,
    long: LongFrames,
    /// The receive queues, and last the wake-up.
    polled: Vec<libc::pollfd>,
}

/// The packet memory of a worker, with its frames.
pub(super) struct PortMemory {
    pub(super) batch: XdpBatch,
    pub(super) free: Vec<Frame>,
    /// Number of frames in all.
    pub(super) total: usize,
    pub(super) shape: RingShape,
}

/// A receive queue.
pub(super) struct Receiver {
    pub(super) socket: XdpSocket,
    /// Index of the receiver whose socket transmits on interface 0 for this one: its own, if its queue can
    /// transmit.
    pub(super) sender: usize,
}

/// Number of a worker's frames by place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameCount {
    /// Free.
    pub free: usize,
    /// In the fill ring, the driver or the receive ring.
    pub filled: usize,
    /// In the batch, or part of an incomplete packet.
    pub batch: usize,
    /// In the transmit ring, the driver or the completion ring.
    pub sending: usize,
    /// Number of frames of the UMEM.
    pub total: usize,
}

impl XdpPorts {
    /// Takes the sockets over a UMEM, receiving ones first, and primes the fill rings.
    pub(super) fn new(memory: PortMemory, mut sockets: Vec<XdpSocket>, assignment: &WorkerQueues) -> Self {
        let PortMemory { batch, free, total, shape } = memory;
        let servers = sockets.split_off(assignment.client.len());
        let client: Vec<Receiver> = sockets
            .into_iter()
            .zip(assignment.senders())
            .map(|(socket, sender)| Receiver { socket, sender })
            .collect();
        let queues = client.iter().map(|receiver| poll::for_input(receiver.socket.fd()));
        let polled = queues.chain([poll::NOTHING]).collect();
        let outgoing = (0..=servers.len()).map(|_| Vec::with_capacity(BATCH)).collect();
        let (too_long, long) = (Vec::with_capacity(BATCH), LongFrames::default());
        let mut ports =
            Self { batch, from: 0, free, total, shape, client, servers, outgoing, too_long, long, polled };
        for receiver in &mut ports.client {
            receiver.socket.refill(&mut ports.free);
        }
        ports
    }

    /// The socket of `port`, for the steering program.
    pub(super) fn socket(&self, port: usize) -> &XdpSocket {
        &self.client[port].socket
    }

    /// Sets the redirect counters to compare the received frames with, by port.
    pub(super) fn count_redirected(&mut self, redirected: Vec<RedirectCounter>) {
        for (receiver, redirected) in self.client.iter_mut().zip(redirected) {
            receiver.socket.count_redirected(redirected);
        }
    }

    /// Counts the frames by place. For tests.
    ///
    /// # Panics
    /// If a frame has two owners, or one is lost.
    #[must_use]
    pub fn count_frames(&self) -> FrameCount {
        let partial = self.client.iter().flat_map(|receiver| receiver.socket.partial());
        let received = || self.batch.frames.iter().chain(&self.batch.tails).chain(partial.clone());
        let batch = received().count();
        let held = self.free.iter().chain(received()).map(|frame| self.batch.chunk(frame));
        let distinct: HashSet<usize> = held.collect();
        assert_eq!(distinct.len(), self.free.len() + batch, "a frame is held twice");
        let sockets = || self.client.iter().map(|receiver| &receiver.socket).chain(&self.servers);
        let count = FrameCount {
            free: self.free.len(),
            filled: sockets().map(|socket| socket.filled as usize).sum(),
            batch,
            sending: sockets().map(|socket| socket.sending as usize).sum(),
            total: self.total,
        };
        let FrameCount { free, filled, batch, sending, total } = count;
        assert_eq!(free + filled + batch + sending, total, "frames are lost: {count:?}");
        count
    }

    /// Sorts the batch by verdict. Returns the number of frames too long for their interface.
    fn sort_by_verdict(&mut self, verdicts: &[Verdict]) -> u32 {
        let sender = self.client[self.from].sender;
        let umem = &self.batch.umem;
        let mut tails = self.batch.tails.drain(..);
        for (index, (head, verdict)) in self.batch.frames.drain(..).zip(verdicts).enumerate() {
            let further = tail_count(&head, tails.as_slice());
            let rest: usize = tails.as_slice()[..further].iter().map(Frame::len).sum();
            let socket = |interface| match interface {
                0 => &self.client[sender].socket,
                _ => &self.servers[usize::from(interface) - 1],
            };
            let to = match *verdict {
                Verdict::Forward(InterfaceIndex(interface))
                    if socket(interface).takes(head.len() + rest)
                        || socket(interface).takes(head.len() + rest - tags_len(umem, &head)) =>
                {
                    &mut self.outgoing[usize::from(interface)]
                }
                Verdict::Forward(_) => {
                    self.too_long.push((index, head));
                    self.free.extend(tails.by_ref().take(further));
                    continue;
                }
                Verdict::Drop(_) | Verdict::HandOver | Verdict::Hold => &mut self.free,
            };
            to.push(head);
            to.extend(tails.by_ref().take(further));
        }
        drop(tails);
        if self.too_long.is_empty() { 0 } else { self.keep_long_frames() }
    }

    /// Frees the frames that are too long, and keeps their heads. Returns their number.
    #[cold]
    fn keep_long_frames(&mut self) -> u32 {
        let count = self.too_long.len() as u32; // at most BATCH
        for (index, frame) in self.too_long.drain(..) {
            self.long.keep(index, self.batch.bytes(&frame));
            self.free.push(frame);
        }
        count
    }

    /// Sends the outgoing frames of `interface`, and frees those for which its ring has no room.
    fn send(&mut self, interface: usize) -> SendOutcome {
        let sender = self.client[self.from].sender;
        let frames = &mut self.outgoing[interface];
        if frames.is_empty() {
            return SendOutcome::default();
        }
        let socket = match interface {
            0 => &mut self.client[sender].socket,
            _ => &mut self.servers[interface - 1],
        };
        let forwarded = socket.send(frames);
        let full = packet_count(frames);
        self.free.append(frames);
        SendOutcome { forwarded, full, too_long: 0 }
    }

    /// Reclaims sent frames, kicks pending transmission and refills the fill rings.
    fn service_rings(&mut self) {
        for server in &mut self.servers {
            server.service_rings(&mut self.free);
        }
        for Receiver { socket, .. } in &mut self.client {
            socket.service_rings(&mut self.free);
            socket.refill(&mut self.free);
        }
    }

    fn sockets(&mut self) -> impl Iterator<Item = &mut XdpSocket> {
        self.client.iter_mut().map(|receiver| &mut receiver.socket).chain(&mut self.servers)
    }
}

impl Ports for XdpPorts {
    type Batch = XdpBatch;

    fn count(&self) -> usize {
        self.client.len()
    }

    fn receive(&mut self, port: usize) -> &mut XdpBatch {
        assert!(self.batch.frames.is_empty(), "the batch before has not been finished");
        self.from = port;
        self.client[port].socket.receive_into(&mut self.batch);
        if self.batch.frames.is_empty() {
            self.service_rings();
        }
        self.batch.prefetch();
        &mut self.batch
    }

    fn finish(&mut self, verdicts: &[Verdict]) -> SendOutcome {
        assert_eq!(verdicts.len(), self.batch.frames.len(), "one verdict for each frame");
        let mut sent = SendOutcome { too_long: self.sort_by_verdict(verdicts), ..SendOutcome::default() };
        for interface in 0..self.outgoing.len() {
            let SendOutcome { forwarded, full, .. } = self.send(interface);
            sent.forwarded += forwarded;
            sent.full += full;
        }
        self.service_rings();
        sent
    }

    fn send_copy(&mut self, InterfaceIndex(interface): InterfaceIndex, bytes: &[u8]) -> SendOutcome {
        let sender = match interface {
            0 => &self.client[self.client[self.from].sender].socket,
            _ => &self.servers[usize::from(interface) - 1],
        };
        if !sender.takes(bytes.len() - vlan::tags_len(bytes)) {
            return SendOutcome { too_long: 1, ..SendOutcome::default() };
        }
        let Some(mut frame) = self.free.pop() else {
            return SendOutcome { full: 1, ..SendOutcome::default() };
        };
        if !self.batch.write(&mut frame, bytes) {
            self.free.push(frame);
            return SendOutcome { too_long: 1, ..SendOutcome::default() };
        }
        self.outgoing[usize::from(interface)].push(frame);
        self.send(interface.into())
    }

    fn long_frames(&mut self) -> Option<&mut LongFrames> {
        Some(&mut self.long)
    }

    fn has_smaller_mtu(&self) -> bool {
        let sockets = || self.client.iter().map(|receiver| &receiver.socket).chain(&self.servers);
        sockets().any(|socket| sockets().any(|other| !other.takes(socket.frame_max())))
    }

    fn wait(&mut self, timeout: Duration, wake: BorrowedFd<'_>) -> io::Result<()> {
        self.service_rings();
        let unsent = self.sockets().any(|socket| socket.unsent() > 0);
        let timeout = if unsent { timeout.min(UNSENT_WAIT_MAX) } else { timeout };
        self.polled[self.client.len()] = poll::for_input(wake);
        poll::wait(&mut self.polled, timeout)
    }

    fn levels(&mut self, port: usize) -> Levels {
        let mut levels = self.client[port].socket.levels();
        if port == 0 {
            // These sockets have no receive port of their own.
            levels.transmit += self.servers.iter().map(|socket| socket.sending).sum::<u32>();
        }
        levels
    }

    fn lost(&mut self, port: usize) -> Lost {
        self.client[port].socket.lost()
    }

    fn into_handed(self) -> Result<HandedPorts, Self> {
        let Self { batch, free, total, shape, client, servers, .. } = self;
        let sockets = client.into_iter().map(|receiver| receiver.socket).chain(servers);
        let (descriptors, sockets): (Vec<_>, _) = sockets.map(XdpSocket::into_handed).unzip();
        let descriptors = [batch.umem.into_file()].into_iter().chain(descriptors).collect();
        let free = free.into_iter().map(|frame| frame.into_desc().addr).collect();
        Ok(HandedPorts { shape, worker: WorkerRings { chunks: total as u32, free, sockets }, descriptors })
    }
}
