//! The rings of an AF_XDP socket, each with this process on one side and the kernel on the other.
//!
//! Indices are read and written as the kernel does on its side (net/xdp/xsk_queue.h): an index is stored with release
//! ordering after the entries, and loaded with acquire ordering before them. The last index of the other side is kept, and
//! loaded anew only when it is too small.

#![allow(unsafe_code)]

use crate::sys::xsk::{self, MappedRing, MappedRings};
use libc::xdp_desc;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// A ring that this process fills: for frames to receive into, or to send.
pub(in crate::io) struct ProducerRing<T> {
    ring: MappedRing<T>,
    /// Index behind the last entry of this side.
    produced: u32,
    /// Index behind the last entry that the kernel has read, as it was loaded last.
    consumed: u32,
}

impl<T: Copy> ProducerRing<T> {
    fn new(ring: MappedRing<T>) -> Self {
        let (produced, consumed) = (ring.producer().load(Relaxed), ring.consumer().load(Acquire));
        Self { ring, produced, consumed }
    }

    /// Number of entries for which there is room: `wanted` at most.
    pub(in crate::io) fn room(&mut self, wanted: u32) -> u32 {
        if self.free() < wanted {
            self.consumed = self.ring.consumer().load(Acquire);
        }
        self.free().min(wanted)
    }

    /// Number of entries that the kernel has not yet read.
    pub(in crate::io) fn pending(&mut self) -> u32 {
        self.consumed = self.ring.consumer().load(Acquire);
        self.ring.len() - self.free()
    }

    /// Adds entries, no more than [`ProducerRing::room`] has returned since the last call. Returns their number.
    ///
    /// # Panics
    /// If there are more.
    ///
    /// # Safety
    /// Each entry is of a chunk of the packet memory of this socket, and from now on the kernel is the only user of that chunk.
    pub(in crate::io) unsafe fn push(&mut self, entries: impl Iterator<Item = T>) -> u32 {
        let before = self.produced;
        for entry in entries {
            assert!(self.free() > 0, "a ring has less room than it reported");
            // SAFETY: fewer than `len` entries are between `consumed`, loaded with acquire ordering, and `produced`; the
            // producer's index is stored below.
            unsafe { self.ring.write(self.produced, entry) };
            self.produced = self.produced.wrapping_add(1);
        }
        self.ring.producer().store(self.produced, Release);
        self.produced.wrapping_sub(before)
    }

    /// True if the kernel goes on with this ring only after a system call.
    pub(in crate::io) fn needs_wakeup(&self) -> bool {
        self.ring.flags().load(Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }

    fn free(&self) -> u32 {
        self.ring.len() - self.produced.wrapping_sub(self.consumed)
    }
}

/// A ring that the kernel fills: with received frames, or with sent ones.
pub(in crate::io) struct ConsumerRing<T> {
    ring: MappedRing<T>,
    /// Index behind the last entry that this side has read.
    consumed: u32,
    /// Index behind the last entry of the kernel, as it was loaded last.
    produced: u32,
}

impl<T: Copy> ConsumerRing<T> {
    fn new(ring: MappedRing<T>) -> Self {
        let (consumed, produced) = (ring.consumer().load(Relaxed), ring.producer().load(Acquire));
        Self { ring, consumed, produced }
    }

    /// Number of entries that wait.
    pub(in crate::io) fn available(&mut self) -> u32 {
        self.produced = self.ring.producer().load(Acquire);
        self.waiting()
    }

    /// Takes up to `most` entries. Returns their number.
    pub(in crate::io) fn take(&mut self, most: u32, mut each: impl FnMut(T)) -> u32 {
        if self.waiting() < most {
            self.produced = self.ring.producer().load(Acquire);
        }
        let count = self.waiting().min(most);
        for index in 0..count {
            // SAFETY: the index is between `consumed` and `produced`, which was loaded with acquire ordering, and the
            // consumer's index is stored below.
            each(unsafe { self.ring.read(self.consumed.wrapping_add(index)) });
        }
        self.consumed = self.consumed.wrapping_add(count);
        if count > 0 {
            self.ring.consumer().store(self.consumed, Release);
        }
        count
    }

    fn waiting(&self) -> u32 {
        self.produced.wrapping_sub(self.consumed)
    }
}

/// A socket with its rings.
pub(in crate::io) struct RingSocket {
    pub(in crate::io) receive: ConsumerRing<xdp_desc>,
    pub(in crate::io) transmit: ProducerRing<xdp_desc>,
    pub(in crate::io) fill: ProducerRing<u64>,
    pub(in crate::io) completion: ConsumerRing<u64>,
    // Behind the rings: they are unmapped first.
    socket: OwnedFd,
}

impl RingSocket {
    /// Gives a socket rings of `len` entries, a power of two.
    ///
    /// # Errors
    /// Errors of setsockopt(2) and mmap(2).
    pub(in crate::io) fn create(socket: OwnedFd, len: u32) -> io::Result<Self> {
        let rings = MappedRings::create(socket.as_fd(), len)?;
        Ok(Self::new(socket, rings))
    }

    /// Maps the rings of a bound socket of another process, which have `len` entries. Since Linux 6.4.
    ///
    /// # Errors
    /// Errors of getsockopt(2) and mmap(2).
    pub(super) fn adopt(socket: OwnedFd, len: u32) -> io::Result<Self> {
        let rings = MappedRings::of_socket(socket.as_fd(), len)?;
        Ok(Self::new(socket, rings))
    }

    /// Unmaps the rings.
    pub(super) fn into_fd(self) -> OwnedFd {
        self.socket
    }

    fn new(socket: OwnedFd, rings: MappedRings) -> Self {
        let MappedRings { receive, transmit, fill, completion } = rings;
        Self {
            receive: ConsumerRing::new(receive),
            transmit: ProducerRing::new(transmit),
            fill: ProducerRing::new(fill),
            completion: ConsumerRing::new(completion),
            socket,
        }
    }

    /// Makes the kernel send what is in the transmit ring, without waiting.
    ///
    /// # Errors
    /// Errors of sendto(2).
    pub(in crate::io) fn wake_sender(&self) -> io::Result<()> {
        xsk::wake_sender(self.as_fd())
    }
}

impl AsFd for RingSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    const LEN: u32 = 8;

    proptest! {
        #[test]
        fn both_sides_together_are_a_queue(
            first in prop_oneof![Just(0), Just(u32::MAX - 5), any::<u32>()],
            steps in prop::collection::vec((any::<bool>(), 0..=2 * LEN), 1..100),
        ) {
            let [ours, kernels] = MappedRing::<u64>::sides(LEN, first);
            let (mut from, mut to) = (ProducerRing::new(ours), ConsumerRing::new(kernels));
            let (mut queue, mut next) = (VecDeque::new(), 0_u64);
            for (adds, count) in steps {
                if adds {
                    let room = from.room(count);
                    assert!(room <= count && room <= LEN - queue.len() as u32);
                    let entries: Vec<u64> = (next..next + u64::from(room)).collect();
                    // SAFETY: numbers, which no kernel reads.
                    assert_eq!(unsafe { from.push(entries.iter().copied()) }, room);
                    next += u64::from(room);
                    queue.extend(entries);
                } else {
                    let most = count.min(queue.len() as u32);
                    assert_eq!(to.take(count, |entry| assert_eq!(queue.pop_front(), Some(entry))), most);
                }
                assert_eq!([from.pending(), to.available()], [queue.len() as u32; 2]);
                assert_eq!(from.room(LEN), LEN - queue.len() as u32);
            }
        }
    }

    #[test]
    #[should_panic(expected = "less room than it reported")]
    fn a_full_ring_takes_no_entry() {
        let [ours, _kernels] = MappedRing::<u64>::sides(LEN, 0);
        // SAFETY: numbers, which no kernel reads.
        unsafe { ProducerRing::new(ours).push(0..=u64::from(LEN)) };
    }

    #[test]
    fn a_ring_goes_on_where_another_process_has_left_it() {
        let [ours, kernels] = MappedRing::<u64>::sides(LEN, u32::MAX);
        let mut to = ConsumerRing::new(kernels);
        // SAFETY: numbers, which no kernel reads.
        unsafe { ProducerRing::new(ours).push(0..5) };
        assert_eq!(to.take(2, |_| {}), 2);
        let ConsumerRing { ring, .. } = to;
        let mut entries = Vec::new();
        assert_eq!(ConsumerRing::new(ring).take(LEN, |entry| entries.push(entry)), 3);
        assert_eq!(entries, [2, 3, 4]);
    }
}
