//! Per-worker counters. One thread writes, any thread reads: no read-modify-write is needed.

use super::DropReason;
use crate::model::ServerId;
use crossbeam::utils::CachePadded;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A count that one worker raises and anybody reads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Raises the count. Only the owning worker may call this: two writers would lose counts.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Replaces the count by a current reading (a level rather than a total).
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// The count now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What one worker sent to one real server of one service.
#[derive(Debug, Default)]
pub struct ServerCounters {
    /// Connections opened.
    pub connections: Counter,
    /// Frames forwarded.
    pub packets: Counter,
    /// Their IP total lengths, in bytes.
    pub bytes: Counter,
}

impl ServerCounters {
    /// Counts a forwarded frame of this IP total length.
    #[inline]
    pub fn forwarded(&self, bytes: u16) {
        self.packets.add(1);
        self.bytes.add(u64::from(bytes));
    }
}

/// How full the rings of one (interface, queue) pair are, in frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// Received and not yet read.
    pub receive: u32,
    /// Given to the kernel to send and not yet completed.
    pub transmit: u32,
    /// With the kernel, ready to be received into; 0 where the kernel does not tell.
    pub fill: u32,
}

/// Everything that one worker counts.
#[derive(Debug)]
pub struct WorkerCounters {
    /// Frames received.
    pub received: CachePadded<Counter>,
    /// Frames handed to the kernel for transmission.
    pub forwarded: Counter,
    /// Batches that held at least one frame.
    pub batches: Counter,
    /// Times the worker went to sleep in poll(2).
    pub sleeps: Counter,
    /// Signs of life: one every 10 ms or so, with frames or without.
    pub beats: Counter,
    /// Connections in this worker's table now.
    pub entries: Counter,
    /// Connections that expired.
    pub expired: Counter,
    /// Unconfirmed connections that were evicted for a new one.
    pub evicted: Counter,
    /// The MAC address that a frame dropped as [`DropReason::Looped`] last came from, as
    /// [`crate::wire::MacAddr::bits`] gives it; 0 before the first.
    pub looped_from: Counter,
    /// Connections opened by a frame whose TCP or UDP checksum its sender had not finished, and nothing
    /// on the way will: the real server drops such frames.
    pub unfinished: Counter,
    drops: [Counter; DropReason::ALL.len()],
    ports: Box<[[Counter; 3]]>,
    servers: CachePadded<Box<[ServerCounters]>>,
}

impl WorkerCounters {
    /// Counters for server ids below `servers` and for `ports` ports, all zero.
    #[must_use]
    pub fn new(servers: usize, ports: usize) -> Self {
        Self {
            received: CachePadded::default(),
            forwarded: Counter::default(),
            batches: Counter::default(),
            sleeps: Counter::default(),
            beats: Counter::default(),
            entries: Counter::default(),
            expired: Counter::default(),
            evicted: Counter::default(),
            looped_from: Counter::default(),
            unfinished: Counter::default(),
            drops: std::array::from_fn(|_| Counter::default()),
            ports: (0..ports).map(|_| Default::default()).collect(),
            servers: CachePadded::new((0..servers).map(|_| ServerCounters::default()).collect()),
        }
    }

    /// The counter of one drop reason.
    #[inline]
    #[must_use]
    pub fn drops(&self, reason: DropReason) -> &Counter {
        &self.drops[reason as usize]
    }

    /// The counters of all real servers, by number.
    #[inline]
    #[must_use]
    pub fn servers(&self) -> &[ServerCounters] {
        &self.servers
    }

    /// The counters of one real server.
    ///
    /// # Panics
    /// If `server` is not below the number given to [`WorkerCounters::new`].
    #[inline]
    #[must_use]
    pub fn server(&self, server: ServerId) -> &ServerCounters {
        &self.servers[usize::from(server.0)]
    }

    /// Notes how full the rings of one port are. A port beyond the number given at creation is
    /// not noted.
    pub fn note_levels(&self, port: usize, levels: Levels) {
        if let Some([receive, transmit, fill]) = self.ports.get(port) {
            receive.set(levels.receive.into());
            transmit.set(levels.transmit.into());
            fill.set(levels.fill.into());
        }
    }

    /// How full the rings of one port were when last noted.
    #[must_use]
    pub fn levels(&self, port: usize) -> Levels {
        let [receive, transmit, fill] =
            self.ports.get(port).map_or([0; 3], |port| port.each_ref().map(|level| level.get() as u32));
        Levels { receive, transmit, fill }
    }
}
