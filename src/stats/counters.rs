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
    /// Connections in this worker's table now.
    pub entries: Counter,
    /// Connections that expired.
    pub expired: Counter,
    /// Half-open connections that gave way to a new one.
    pub evicted: Counter,
    drops: [Counter; DropReason::ALL.len()],
    servers: CachePadded<Box<[ServerCounters]>>,
}

impl WorkerCounters {
    /// Counters for server ids below `servers`, all zero.
    #[must_use]
    pub fn new(servers: usize) -> Self {
        Self {
            received: CachePadded::default(),
            forwarded: Counter::default(),
            batches: Counter::default(),
            sleeps: Counter::default(),
            entries: Counter::default(),
            expired: Counter::default(),
            evicted: Counter::default(),
            drops: std::array::from_fn(|_| Counter::default()),
            servers: CachePadded::new((0..servers).map(|_| ServerCounters::default()).collect()),
        }
    }

    /// The counter of one drop reason.
    #[inline]
    #[must_use]
    pub fn drops(&self, reason: DropReason) -> &Counter {
        &self.drops[reason as usize]
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
}
