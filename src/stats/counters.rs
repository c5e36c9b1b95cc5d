//! Per-worker counters. One thread writes, any thread reads: no read-modify-write is needed.

use super::DropReason;
use crate::model::ServerId;
use crossbeam::utils::CachePadded;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counter with one writer, the owning worker, and any number of readers.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. For the owning worker only: two writers would lose counts.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Sets a gauge.
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// Current value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Counters of one worker for one real server of one service.
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

/// Counters of one worker for the TCP handshakes of one real server: as far as the client's half shows them.
#[derive(Debug, Default)]
pub struct HandshakeCounters {
    /// Opened by a SYN.
    pub opened: Counter,
    /// Of these, those whose client has sent ACK, FIN or RST: it got the SYN-ACK.
    pub completed: Counter,
    /// Of these, those whose client has sent the SYN again before that.
    pub repeated: Counter,
}

impl HandshakeCounters {
    /// Current values.
    #[must_use]
    pub fn get(&self) -> Handshakes {
        let Self { opened, completed, repeated } = self;
        Handshakes { opened: opened.get(), completed: completed.get(), repeated: repeated.get() }
    }
}

/// Values of [`HandshakeCounters`], or the differences of two readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handshakes {
    /// Opened by a SYN.
    pub opened: u64,
    /// Completed by the client.
    pub completed: u64,
    /// Repeated: the client has sent its SYN again.
    pub repeated: u64,
}

impl Handshakes {
    /// The handshakes since an earlier reading. The counters may have wrapped.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            opened: self.opened.wrapping_sub(earlier.opened),
            completed: self.completed.wrapping_sub(earlier.completed),
            repeated: self.repeated.wrapping_sub(earlier.repeated),
        }
    }
}

impl std::iter::Sum for Handshakes {
    fn sum<I: Iterator<Item = Self>>(each: I) -> Self {
        each.fold(Self::default(), |sum, one| Self {
            opened: sum.opened.wrapping_add(one.opened),
            completed: sum.completed.wrapping_add(one.completed),
            repeated: sum.repeated.wrapping_add(one.repeated),
        })
    }
}

/// Fill levels of the rings of one interface queue, in frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// Received, not yet read.
    pub receive: u32,
    /// Queued for transmission, not yet completed.
    pub transmit: u32,
    /// Free receive buffers in the kernel; 0 where the kernel does not report it.
    pub fill: u32,
}

/// Counters of one worker.
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
    /// Heartbeat: one about every 10 ms, with or without frames.
    pub beats: Counter,
    /// Connections in this worker's table now.
    pub entries: Counter,
    /// Connections that expired.
    pub expired: Counter,
    /// Unconfirmed connections that were evicted for a new one.
    pub evicted: Counter,
    /// Connections that were taken over from the shadow table.
    pub adopted: Counter,
    /// Source MAC address of the last frame dropped as [`DropReason::Looped`], as
    /// [`crate::wire::MacAddr::bits`]; 0 before the first.
    pub looped_from: Counter,
    /// Connections opened by a frame with an unfinished TCP, UDP or SCTP checksum that is not completed on
    /// transmission: the real server drops it.
    pub unfinished: Counter,
    /// Frames passed to other workers.
    pub handed_over: Counter,
    drops: [Counter; DropReason::ALL.len()],
    ports: Box<[[Counter; 3]]>,
    servers: CachePadded<Box<[ServerCounters]>>,
    /// Apart from `servers`, whose cache lines every frame writes.
    handshakes: Box<[HandshakeCounters]>,
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
            adopted: Counter::default(),
            looped_from: Counter::default(),
            unfinished: Counter::default(),
            handed_over: Counter::default(),
            drops: std::array::from_fn(|_| Counter::default()),
            ports: (0..ports).map(|_| Default::default()).collect(),
            servers: CachePadded::new((0..servers).map(|_| ServerCounters::default()).collect()),
            handshakes: (0..servers).map(|_| HandshakeCounters::default()).collect(),
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

    /// The handshakes of one real server.
    ///
    /// # Panics
    /// If `server` is not below the number given to [`WorkerCounters::new`].
    #[inline]
    #[must_use]
    pub fn handshakes(&self, server: ServerId) -> &HandshakeCounters {
        &self.handshakes[usize::from(server.0)]
    }

    /// Sets the ring levels of `port`. Ignored for a port beyond the number given at creation.
    pub fn set_levels(&self, port: usize, levels: Levels) {
        if let Some([receive, transmit, fill]) = self.ports.get(port) {
            receive.set(levels.receive.into());
            transmit.set(levels.transmit.into());
            fill.set(levels.fill.into());
        }
    }

    /// Ring levels of one port, as last set.
    #[must_use]
    pub fn levels(&self, port: usize) -> Levels {
        let [receive, transmit, fill] =
            self.ports.get(port).map_or([0; 3], |port| port.each_ref().map(|level| level.get() as u32));
        Levels { receive, transmit, fill }
    }
}
