//! A worker: receive, decide, transmit, keep house; pinned to a core, never held up by another thread.
//!
//! Control reaches a worker by copy only: a snapshot that it adopts between batches, and requests
//! whose buffers control has allocated.

#![forbid(unsafe_code)]

use crate::flow::{Flow, FlowEntry, FlowTable, SLOTS as BUCKET, WildcardKey};
use crate::forward::{BATCH, Batch, Forwarder, Snapshot, Verdict};
use crate::io::{Lost, Ports, Sent};
use crate::model::Wait;
use crate::stats::{DropReason, WorkerCounters};
use crate::time::Tick;
use arc_swap::{ArcSwap, Cache};
use crossbeam::channel::{Receiver, Sender};
use hdrhistogram::Histogram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long a worker spins without a frame before it sleeps: longer than the gap between the
/// frames of a busy flow, shorter than anybody's scheduling tick.
const SPIN: Duration = Duration::from_micros(50);
/// Rounds without a frame between two looks at the clock, the requests and the house.
const IDLE_ROUNDS: u32 = 64;
/// How long a worker stays awake after a request: a listing of a full table is hundreds of them,
/// one after the other, and a nap before each would make seconds of it.
const ATTENTION: Duration = Duration::from_millis(1);
/// Longest sleep: how late housekeeping, requests and the end may be noticed.
const NAP: Duration = Duration::from_millis(10);
/// Most buckets that are read for a listing between two batches.
const LISTED_BUCKETS: usize = 1024;
/// A request for connections is answered at least once in so many buckets, so that whoever asked
/// can tell a huge table from a dead worker.
const LISTED_STRETCH: usize = 65_536;
/// How often ring levels and losses are read: a few system calls each time.
const NOTE: Duration = Duration::from_millis(10);
/// One batch in so many is timed.
const SAMPLE: u32 = 16;
/// Longest latency that the histogram tells apart, in ns; what takes longer counts as this.
const LATENCY_MAX_NS: u64 = 10_000_000_000;

/// What a worker shares with control.
#[derive(Clone)]
pub struct Shared {
    /// The services and servers to decide by.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// The worker's own counters.
    pub counters: Arc<WorkerCounters>,
    /// Set to end the worker.
    pub stop: Arc<AtomicBool>,
    /// What moment counts as tick 0.
    pub epoch: Instant,
}

/// An answer's way back. Whoever asks keeps a handle until the worker has let go of its own: the
/// last one frees memory, and no worker does that.
pub type ReplySender<T> = Arc<Sender<T>>;

/// Something control wants to read out of a worker. Buffers come from control and go back to it.
pub enum WorkerRequest {
    /// Connections from bucket `from` on, until the buffer is full or the table ends.
    Connections(Connections),
    /// A copy of the latency histogram, in ns.
    Latency(Box<Histogram<u64>>, ReplySender<Box<Histogram<u64>>>),
    /// A table for the connections of wildcard-port services, which stays with the worker: to be given
    /// once, before the first such service is published.
    WildcardTable(FlowTable<WildcardKey>),
}

/// A part of a connection listing.
pub struct Connections {
    /// The next bucket to be read; `None` once all have been.
    pub from: Option<usize>,
    /// Filled up to its capacity, never beyond; less than a bucket's worth of capacity gets nothing.
    pub entries: Vec<FlowEntry<Flow>>,
    /// Where this goes when it is full, the table has ended, or a good stretch of it is read.
    pub reply: ReplySender<Connections>,
}

/// A histogram of the kind that workers keep: 1 ns to 10 s, two significant digits.
///
/// # Panics
/// Never: the bounds are valid.
#[must_use]
pub fn latency_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX_NS, 2).expect("1 < max, and 2 digits are allowed")
}

/// One worker, to be run on a thread of its own.
pub struct Worker<P> {
    ports: P,
    forwarder: Forwarder,
    snapshot: Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>,
    adopted: Arc<Snapshot>,
    requests: Receiver<WorkerRequest>,
    /// A request that is being answered.
    listing: Option<Connections>,
    shared: Shared,
    wait: Wait,
    verdicts: Vec<Verdict>,
    latency: Box<Histogram<u64>>,
    batches: u32,
    noted_at: Instant,
}

impl<P: Ports> Worker<P> {
    /// A worker over `ports`. It answers `requests` between batches.
    #[must_use]
    pub fn new(
        ports: P,
        mut forwarder: Forwarder,
        shared: Shared,
        requests: Receiver<WorkerRequest>,
        wait: Wait,
    ) -> Self {
        let adopted = shared.snapshot.load_full();
        forwarder.adopt(Arc::clone(&adopted));
        Self {
            ports,
            forwarder,
            snapshot: Cache::new(Arc::clone(&shared.snapshot)),
            adopted,
            requests,
            listing: None,
            shared,
            wait,
            verdicts: Vec::with_capacity(BATCH),
            latency: Box::new(latency_histogram()),
            batches: 0,
            noted_at: Instant::now(),
        }
    }

    /// Runs until told to stop.
    ///
    /// # Errors
    /// Whatever [`Ports::wait`] reports.
    pub fn run(&mut self) -> std::io::Result<()> {
        let mut now = Instant::now();
        let (mut awake_until, mut idle, mut owing) = (now, 0, false);
        while !self.shared.stop.load(Relaxed) {
            // The clock was read at most a few rounds ago: a tick is much longer.
            idle = if self.serve_ports(now) { 0 } else { idle % IDLE_ROUNDS + 1 };
            if idle % IDLE_ROUNDS > 0 && !owing {
                continue; // back to the rings: a frame that comes now waits for nothing else
            }
            now = Instant::now();
            if idle == 0 {
                awake_until = awake_until.max(now + SPIN);
            }
            if self.answer() {
                awake_until = now + ATTENTION;
            }
            owing = self.keep_house(now);
            if !owing && self.wait == Wait::Adaptive && now > awake_until {
                self.nap()?;
                now = Instant::now();
            }
        }
        Ok(())
    }

    /// One batch from each port, decided by the latest snapshot: frames that come after somebody was
    /// told of a change meet it. True if there was a frame.
    pub fn serve_ports(&mut self, now: Instant) -> bool {
        (0..self.ports.count()).fold(false, |busy, port| self.serve(port, now) | busy)
    }

    fn serve(&mut self, port: usize, now: Instant) -> bool {
        let batch = self.ports.receive(port);
        let received = batch.len() as u64;
        // After the frames were received: what the kernel hands over, the latest snapshot knows.
        let latest = self.snapshot.load();
        if !Arc::ptr_eq(latest, &self.adopted) {
            self.adopted = Arc::clone(latest);
            self.forwarder.adopt(Arc::clone(latest));
        }
        if received == 0 {
            return false;
        }
        self.batches = self.batches.wrapping_add(1);
        let received_at = self.batches.is_multiple_of(SAMPLE).then(Instant::now);
        self.forwarder.decide(batch, Tick::from_instant(now, self.shared.epoch), &mut self.verdicts);
        let sent = self.ports.finish(&self.verdicts);
        self.count(received, sent);
        if let Some(received_at) = received_at {
            self.sample(received_at, sent);
        }
        true
    }

    /// Takes note of the rings, and sweeps a part of the table. True if more of that is due.
    fn keep_house(&mut self, now: Instant) -> bool {
        if now.duration_since(self.noted_at) >= NOTE {
            self.noted_at = now;
            self.note_rings();
        }
        self.forwarder.sweep(Tick::from_instant(now, self.shared.epoch))
    }

    /// Works on one request of control. True if there was one: the next often follows at once.
    fn answer(&mut self) -> bool {
        if let Some(listing) = self.listing.take() {
            self.list(listing);
            return true;
        }
        match self.requests.try_recv() {
            Ok(WorkerRequest::Connections(listing)) => self.list(listing),
            Ok(WorkerRequest::Latency(mut copy, reply)) => {
                copy.reset();
                // Same bounds on both sides: nothing can be out of range.
                let _ = copy.add(&*self.latency);
                let _ = reply.send(copy); // whoever asked may be gone
            }
            Ok(WorkerRequest::WildcardTable(table)) => self.forwarder.set_wildcard_table(table),
            Err(_) => return false,
        }
        true
    }

    /// Copies whole buckets, not so many that frames would notice. The rest is for the next round.
    fn list(&mut self, mut listing: Connections) {
        for _ in 0..LISTED_BUCKETS {
            if self.copy_bucket(&mut listing) {
                let reply = Arc::clone(&listing.reply);
                let _ = reply.send(listing); // whoever asked may be gone
                return;
            }
        }
        self.listing = Some(listing);
    }

    /// True if that is enough for one answer.
    fn copy_bucket(&self, listing: &mut Connections) -> bool {
        let entries = listing.from.and_then(|bucket| self.forwarder.connections(bucket));
        let (Some(bucket), Some(entries)) = (listing.from, entries) else {
            listing.from = None;
            return true;
        };
        if listing.entries.capacity() - listing.entries.len() < BUCKET {
            return true;
        }
        listing.entries.extend(entries);
        listing.from = Some(bucket + 1);
        (bucket + 1).is_multiple_of(LISTED_STRETCH)
    }

    fn nap(&mut self) -> std::io::Result<()> {
        self.shared.counters.sleeps.add(1);
        self.ports.wait(NAP)
    }

    fn count(&mut self, received: u64, sent: Sent) {
        let counters = &self.shared.counters;
        counters.received.add(received);
        counters.batches.add(1);
        counters.forwarded.add(u64::from(sent.forwarded));
        counters.drops(DropReason::TransmitFull).add(u64::from(sent.full));
        counters.drops(DropReason::TooLong).add(u64::from(sent.too_long));
    }

    fn sample(&mut self, received_at: Instant, sent: Sent) {
        let ns = received_at.elapsed().as_nanos().min(u128::from(LATENCY_MAX_NS)) as u64;
        self.latency.saturating_record_n(ns.max(1), u64::from(sent.forwarded));
    }

    fn note_rings(&mut self) {
        let counters = &self.shared.counters;
        counters.beats.add(1);
        for port in 0..self.ports.count() {
            counters.note_levels(port, self.ports.levels(port));
            let Lost { ring_full, no_buffer, too_long, not_delivered } = self.ports.lost(port);
            counters.drops(DropReason::RingFull).add(ring_full);
            counters.drops(DropReason::NoBuffer).add(no_buffer);
            counters.drops(DropReason::TooLongToReceive).add(too_long);
            counters.drops(DropReason::NotDelivered).add(not_delivered);
        }
    }
}

#[cfg(test)]
mod tests;
