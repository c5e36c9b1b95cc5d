//! Take-over of the bound sockets of another process: no frame is lost between the two.
//!
//! The kernel goes on to fill and to empty the rings while neither process looks at them. The fill and the completion ring of
//! a bound socket can be mapped since Linux 6.4; before, the next process binds sockets of its own.

#![allow(unsafe_code)]

use super::bind::SocketOptions;
use super::frame::{Frame, XdpBatch};
use super::ports::{PortMemory, XdpPorts};
use super::queue_assignment::WorkerQueues;
use super::rings::RingSocket;
use super::socket::XdpSocket;
use super::umem::{Umem, empty};
use crate::io::bpf::BpfLink;
use crate::io::handed::{HandedRings, WorkerRings};
use crate::io::{Interface, PortPlan};
use std::collections::HashSet;
use std::io;
use std::os::fd::OwnedFd;
use std::vec::IntoIter;

/// The sockets that this process would open.
pub(super) struct WantedSockets<'a> {
    pub(super) plan: &'a PortPlan,
    pub(super) assignments: &'a [WorkerQueues],
    pub(super) options: SocketOptions,
}

impl WantedSockets<'_> {
    /// Takes over the sockets of the process before with the attachment of its program, if they are as this process would
    /// open its own.
    ///
    /// # Errors
    /// The reason for which they are not taken over. They are closed.
    pub(super) fn adopt(&self, handed: HandedRings) -> io::Result<(Vec<XdpPorts>, BpfLink)> {
        let HandedRings { facts, descriptors } = handed;
        if facts.shape != self.options.shape(self.plan) || facts.workers.len() != self.assignments.len() {
            return Err(io::Error::other("their parameters are others"));
        }
        let mut descriptors = descriptors.into_iter();
        let link = BpfLink::from(next(&mut descriptors)?);
        let workers = self.assignments.iter().zip(&facts.workers);
        let ports = workers.map(|(assignment, worker)| self.worker(assignment, worker, &mut descriptors));
        Ok((ports.collect::<io::Result<_>>()?, link))
    }

    fn worker(
        &self,
        assignment: &WorkerQueues,
        worker: &WorkerRings,
        descriptors: &mut IntoIter<OwnedFd>,
    ) -> io::Result<XdpPorts> {
        let queues: Vec<(&Interface, u32)> = assignment.all(&self.plan.interfaces).collect();
        let places = queues.iter().map(|(interface, queue)| (interface.index, *queue));
        if !worker.sockets.iter().map(|of| (of.interface, of.queue)).eq(places) {
            return Err(io::Error::other("their queues are others"));
        }
        let shape = self.options.shape(self.plan);
        let umem = Umem::of_file(next(descriptors)?, worker.chunks, shape.chunk_len)?;
        if !is_whole(worker, &umem) {
            return Err(io::Error::other("their chunks do not add up"));
        }
        let mut sockets = Vec::new();
        for (handed, (interface, queue)) in worker.sockets.iter().zip(queues) {
            let rings = RingSocket::adopt(next(descriptors)?, shape.ring_len)?;
            let mut socket = XdpSocket::new(rings, interface, queue, shape);
            // SAFETY: the process before has given all of its frames away. `is_whole` has found that the chunks are different
            // ones, and that the others are as many as it has left with the kernel.
            unsafe { socket.carry_on(handed) };
            sockets.push(socket);
        }
        // SAFETY: as above.
        let free = worker.free.iter().map(|addr| unsafe { Frame::new(empty(*addr)) }).collect();
        let (batch, total) = (XdpBatch::new(umem, self.options.copy_mode), worker.chunks as usize);
        Ok(XdpPorts::new(PortMemory { batch, free, total, shape }, sockets, assignment))
    }
}

fn next(descriptors: &mut IntoIter<OwnedFd>) -> io::Result<OwnedFd> {
    descriptors.next().ok_or_else(|| io::Error::other("a descriptor is missing"))
}

/// True if each chunk is at one place: the addresses are of different chunks, and the counts add up to all.
fn is_whole(worker: &WorkerRings, umem: &Umem) -> bool {
    let partial = worker.sockets.iter().flat_map(|socket| &socket.partial).map(|(addr, _, _)| addr);
    let held: Vec<u64> = worker.free.iter().chain(partial).copied().collect();
    let chunks: HashSet<usize> = held.iter().map(|addr| umem.chunk(&empty(*addr))).collect();
    let with_kernel =
        worker.sockets.iter().map(|socket| u64::from(socket.filled) + u64::from(socket.sending));
    chunks.len() == held.len()
        && held.iter().all(|addr| umem.has(*addr))
        && held.len() as u64 + with_kernel.sum::<u64>() == u64::from(worker.chunks)
}
