//! One worker's ports: a receive ring, and transmit sockets on every interface.
#![allow(unsafe_code)]

use super::batch::PacketBatch;
use super::checksum;
use super::ring::VIRTIO_HEADER;
use super::transmit::{SendQueue, TransmitPath, TransmitSockets};
use crate::forward::{Batch, Verdict};
use crate::io::{Levels, LongFrames, Lost, Ports, SendOutcome};
use crate::model::InterfaceIndex;
use crate::sys::packet_socket::PacketSocket;
use crate::sys::poll;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

/// Longest frame of [`Ports::send_copy`], in bytes: jumbo frames fit.
const COPY_MAX: usize = 9216;

/// A fan-out member's receive ring on the client side, and transmit sockets on every interface.
#[derive(Debug)]
pub struct PacketPorts {
    receiver: Arc<PacketSocket>,
    batch: PacketBatch,
    transmitters: Vec<TransmitSockets>,
    send_queue: SendQueue,
    /// For [`Ports::send_copy`]: a virtio header of zeros, and the frame.
    copy: Box<[u8]>,
    long: LongFrames,
    has_smaller_mtu: bool,
}

impl PacketPorts {
    pub(super) fn new(
        receiver: Arc<PacketSocket>,
        batch: PacketBatch,
        transmitters: Vec<TransmitSockets>,
        has_smaller_mtu: bool,
    ) -> Self {
        let copy = vec![0; VIRTIO_HEADER + COPY_MAX].into();
        Self {
            receiver,
            batch,
            transmitters,
            send_queue: SendQueue::new(),
            copy,
            long: LongFrames::default(),
            has_smaller_mtu,
        }
    }

    /// Sends the frames with the verdict forward, in order.
    ///
    /// Order matters within a flow, and a flow may alternate between merged and ordinary frames;
    /// so each change of path ends a run.
    fn transmit(&mut self, verdicts: &[Verdict]) -> SendOutcome {
        let (mut sent, mut current) = (SendOutcome::default(), None);
        for (index, verdict) in verdicts.iter().enumerate() {
            let Verdict::Forward(interface) = verdict else { continue };
            let packet = self.batch.packet(index);
            checksum::complete(packet);
            let path = TransmitPath::of(usize::from(interface.0), packet);
            if let Some(before) = current.replace(path).filter(|before| *before != path) {
                sent = sum(sent, self.send_queue.send(self.transmitters[before.interface].socket(before)));
            }
            // SAFETY: the batch keeps its frames in place until `release`, which `finish` calls
            // after the last `send`.
            unsafe { self.send_queue.push(self.batch.packet(index)) };
        }
        match current {
            Some(path) => sum(sent, self.send_queue.send(self.transmitters[path.interface].socket(path))),
            None => sent,
        }
    }
}

impl PacketPorts {
    /// Keeps the heads of the frames that the kernel refused as too long, before their memory is given back.
    #[cold]
    fn keep_long_frames(&mut self) {
        for index in 0..self.batch.len() {
            let packet = self.batch.packet(index);
            if self.send_queue.too_long.contains(&(packet.as_ptr() as usize)) {
                self.long.keep(index, &packet[VIRTIO_HEADER..]);
            }
        }
        self.send_queue.too_long.clear();
    }
}

impl Ports for PacketPorts {
    type Batch = PacketBatch;

    fn count(&self) -> usize {
        1
    }

    fn receive(&mut self, port: usize) -> &mut PacketBatch {
        debug_assert_eq!(port, 0, "a worker has one ring");
        self.batch.fill(&self.receiver);
        &mut self.batch
    }

    fn finish(&mut self, verdicts: &[Verdict]) -> SendOutcome {
        assert_eq!(verdicts.len(), self.batch.len(), "one verdict for each frame");
        let sent = self.transmit(verdicts);
        if !self.send_queue.too_long.is_empty() {
            self.keep_long_frames();
        }
        self.batch.release();
        sent
    }

    fn send_copy(&mut self, interface: InterfaceIndex, frame: &[u8]) -> SendOutcome {
        let packet = &mut self.copy[..VIRTIO_HEADER + frame.len().min(COPY_MAX)];
        if packet.len() < VIRTIO_HEADER + frame.len() {
            return SendOutcome { too_long: 1, ..SendOutcome::default() };
        }
        packet[VIRTIO_HEADER..].copy_from_slice(frame);
        let path = TransmitPath::of(usize::from(interface.0), packet);
        // SAFETY: nothing writes to `copy` before the next line has sent it.
        unsafe { self.send_queue.push(packet) };
        let sent = self.send_queue.send(self.transmitters[path.interface].socket(path));
        self.send_queue.too_long.clear();
        sent
    }

    fn long_frames(&mut self) -> Option<&mut LongFrames> {
        Some(&mut self.long)
    }

    fn has_smaller_mtu(&self) -> bool {
        self.has_smaller_mtu
    }

    fn wait(&mut self, timeout: Duration, wake: BorrowedFd<'_>) -> io::Result<()> {
        let mut entries = [poll::for_input(&*self.receiver), poll::for_input(wake)];
        poll::wait(&mut entries, timeout)?;
        if entries[0].revents & libc::POLLERR != 0 {
            // The interface went down. It may come up again, and the socket receives again then.
            self.receiver.clear_error()?;
        }
        Ok(())
    }

    /// `transmit` is 0: the kernel reports the send queue in bytes, not in frames.
    fn levels(&mut self, _port: usize) -> Levels {
        let (waiting, free) = self.batch.levels();
        Levels { receive: waiting as u32, transmit: 0, fill: free as u32 } // a few thousand slots
    }

    fn lost(&mut self, _port: usize) -> Lost {
        Lost { ring_full: self.receiver.drops().unwrap_or_default(), ..Lost::default() }
    }
}

fn sum(a: SendOutcome, b: SendOutcome) -> SendOutcome {
    SendOutcome {
        forwarded: a.forwarded + b.forwarded,
        full: a.full + b.full,
        too_long: a.too_long + b.too_long,
    }
}
