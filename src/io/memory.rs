//! In-memory backend, for tests and benches.

use super::{Levels, LongFrames, Ports, SendOutcome};
use crate::forward::{BATCH, Batch, Verdict};
use crate::model::InterfaceIndex;
use crate::sys::{Sleeper, poll};
use crossbeam::channel::{Receiver, Sender, TrySendError, bounded, unbounded};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

/// Dimensions of a memory backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryShape {
    /// Receive ports.
    pub ports: usize,
    /// Interfaces that frames are forwarded to.
    pub interfaces: usize,
    /// Forwarded frames that an interface holds before its transmit ring counts as full.
    pub transmit: usize,
    /// The longest frame that an interface sends, in bytes with the Ethernet header.
    pub longest: usize,
}

impl Default for MemoryShape {
    /// One interface, one pair, 1500-byte packets and room for 1024 of them.
    fn default() -> Self {
        Self { ports: 1, interfaces: 1, transmit: 1024, longest: 1514 }
    }
}

/// The worker's end: [`Ports`] over channels.
#[derive(Debug)]
pub struct MemoryPorts {
    arriving: Vec<Receiver<Vec<u8>>>,
    leaving: Vec<Sender<Vec<u8>>>,
    longest: usize,
    batch: MemoryBatch,
    sleeper: Arc<Sleeper>,
    long: LongFrames,
}

/// The far end of a [`MemoryPorts`]: the test's side.
#[derive(Clone, Debug)]
pub struct Wire {
    arriving: Vec<Sender<Vec<u8>>>,
    leaving: Vec<Receiver<Vec<u8>>>,
    /// The worker's.
    sleeper: Arc<Sleeper>,
}

/// The frames of one [`MemoryPorts::receive`].
#[derive(Debug, Default)]
pub struct MemoryBatch(Vec<Vec<u8>>);

impl MemoryPorts {
    /// Creates both ends.
    ///
    /// # Panics
    /// If the system gives no eventfd.
    #[must_use]
    pub fn new(shape: MemoryShape) -> (Self, Wire) {
        let (to_ports, arriving) = (0..shape.ports).map(|_| unbounded()).unzip();
        let (leaving, from_interfaces) = (0..shape.interfaces).map(|_| bounded(shape.transmit)).unzip();
        let batch = MemoryBatch(Vec::with_capacity(BATCH));
        let sleeper = Arc::new(Sleeper::new().expect("an eventfd"));
        let wire = Wire { arriving: to_ports, leaving: from_interfaces, sleeper: Arc::clone(&sleeper) };
        let long = LongFrames::default();
        (Self { arriving, leaving, longest: shape.longest, batch, long, sleeper }, wire)
    }
}

impl MemoryPorts {
    fn transmit(&self, interface: InterfaceIndex, frame: Vec<u8>, sent: &mut SendOutcome) {
        if frame.len() > self.longest {
            sent.too_long += 1;
            return;
        }
        match self.leaving[usize::from(interface.0)].try_send(frame) {
            Ok(()) => sent.forwarded += 1,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => sent.full += 1,
        }
    }
}

impl Wire {
    /// Delivers a frame to `port`.
    ///
    /// # Panics
    /// If there is no such pair, or the [`MemoryPorts`] were dropped.
    pub fn push(&self, port: usize, frame: Vec<u8>) {
        self.arriving[port].send(frame).expect("the ports outlive the test's frames");
        self.sleeper.wake();
    }

    /// Wakes the worker of the ports, if it sleeps.
    pub fn wake(&self) {
        self.sleeper.wake();
    }

    /// Takes the frames sent on `interface`, in order.
    ///
    /// # Panics
    /// If there is no such interface.
    #[must_use]
    pub fn forwarded(&self, interface: InterfaceIndex) -> Vec<Vec<u8>> {
        self.leaving[usize::from(interface.0)].try_iter().collect()
    }
}

impl Batch for MemoryBatch {
    #[inline]
    fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    fn frame(&mut self, index: usize) -> &mut [u8] {
        &mut self.0[index]
    }
}

impl Ports for MemoryPorts {
    type Batch = MemoryBatch;

    fn count(&self) -> usize {
        self.arriving.len()
    }

    fn receive(&mut self, port: usize) -> &mut MemoryBatch {
        assert!(self.batch.is_empty(), "the batch before has not been finished");
        self.batch.0.extend(self.arriving[port].try_iter().take(BATCH));
        &mut self.batch
    }

    fn finish(&mut self, verdicts: &[Verdict]) -> SendOutcome {
        assert_eq!(verdicts.len(), self.batch.len(), "one verdict for each frame");
        let mut sent = SendOutcome::default();
        let mut frames = std::mem::take(&mut self.batch.0);
        for (index, (frame, verdict)) in frames.drain(..).zip(verdicts).enumerate() {
            if let Verdict::Forward(interface) = verdict {
                if frame.len() > self.longest {
                    self.long.keep(index, &frame);
                }
                self.transmit(*interface, frame, &mut sent);
            }
        }
        self.batch.0 = frames; // its memory
        sent
    }

    fn send_copy(&mut self, interface: InterfaceIndex, frame: &[u8]) -> SendOutcome {
        let mut sent = SendOutcome::default();
        self.transmit(interface, frame.to_vec(), &mut sent);
        sent
    }

    fn long_frames(&mut self) -> Option<&mut LongFrames> {
        Some(&mut self.long)
    }

    fn wait(&mut self, timeout: Duration, wake: BorrowedFd<'_>) -> io::Result<()> {
        self.sleeper.announce();
        let mut waited = Ok(());
        if self.arriving.iter().all(Receiver::is_empty) {
            waited = poll::readable([&*self.sleeper, &wake], timeout).map(|_| ());
        }
        self.sleeper.wake_up();
        waited
    }

    fn levels(&mut self, port: usize) -> Levels {
        let transmit = self.leaving.iter().map(Sender::len).sum::<usize>() as u32;
        Levels { receive: self.arriving[port].len() as u32, transmit, fill: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::DropReason;
    use std::os::fd::AsFd;
    use std::time::Instant;

    const CLIENT: InterfaceIndex = InterfaceIndex::CLIENT;
    const SERVERS: InterfaceIndex = InterfaceIndex(1);

    #[test]
    fn every_frame_has_one_fate_and_keeps_its_order() {
        let (mut ports, wire) = MemoryPorts::new(MemoryShape { interfaces: 2, ..MemoryShape::default() });
        (0..3).for_each(|n| wire.push(0, vec![n; 60]));
        assert_eq!(ports.levels(0), Levels { receive: 3, transmit: 0, fill: 0 });
        ports.receive(0).frame(2)[0] = 9;
        let verdicts =
            [Verdict::Forward(CLIENT), Verdict::Drop(DropReason::Looped), Verdict::Forward(SERVERS)];
        assert_eq!(ports.finish(&verdicts), SendOutcome { forwarded: 2, full: 0, too_long: 0 });
        assert_eq!(wire.forwarded(CLIENT), [vec![0; 60]]);
        let mut changed = vec![2; 60];
        changed[0] = 9;
        assert_eq!(wire.forwarded(SERVERS), [changed]);
        assert!(ports.receive(0).is_empty());
    }

    #[test]
    fn full_ring_and_long_frame_are_counted_apart() {
        let (mut ports, wire) =
            MemoryPorts::new(MemoryShape { transmit: 2, longest: 60, ..MemoryShape::default() });
        for length in [60, 61, 60, 60, 60] {
            wire.push(0, vec![0; length]);
        }
        assert_eq!(ports.receive(0).len(), 5);
        let sent = ports.finish(&[Verdict::Forward(CLIENT); 5]);
        assert_eq!(sent, SendOutcome { forwarded: 2, full: 2, too_long: 1 });
        assert_eq!(wire.forwarded(CLIENT).len(), 2);
    }

    #[test]
    fn a_batch_is_bounded() {
        let (mut ports, wire) = MemoryPorts::new(MemoryShape { ports: 2, ..MemoryShape::default() });
        (0..BATCH + 1).for_each(|_| wire.push(1, vec![0; 60]));
        assert!(ports.receive(0).is_empty());
        assert_eq!(ports.receive(1).len(), BATCH);
        ports.finish(&[Verdict::Drop(DropReason::NoService); BATCH]);
        assert_eq!(ports.receive(1).len(), 1);
    }

    #[test]
    fn waiting_ends_with_a_frame_a_wake_up_or_the_time() {
        let (mut ports, wire) = MemoryPorts::new(MemoryShape::default());
        let (start, other) = (Instant::now(), Sleeper::new().unwrap());
        ports.wait(Duration::from_millis(20), other.as_fd()).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(20));
        let sender = std::thread::spawn(move || wire.push(0, vec![0; 60]));
        ports.wait(Duration::from_secs(60), other.as_fd()).unwrap();
        assert_eq!(ports.receive(0).len(), 1);
        ports.finish(&[Verdict::Drop(DropReason::NoService)]);
        sender.join().unwrap();
        other.announce();
        other.wake();
        ports.wait(Duration::from_secs(60), other.as_fd()).unwrap();
        assert!(start.elapsed() < Duration::from_secs(60), "a frame and a wake-up");
    }
}
