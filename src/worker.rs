//! Worker loop: receive, decide, transmit, sweep. Pinned to a core, never blocked by another thread.
//!
//! Control reaches a worker by copy only: by a snapshot that the worker adopts between batches, and by
//! requests whose buffers control has allocated.

#![forbid(unsafe_code)]

pub mod hand_over;
mod held;
mod link_addresses;
pub mod refused;
mod shared;

pub use shared::Shared;

use crate::flow::{Flow, FlowEntry, FlowTable, SLOTS as BUCKET, WideKey};
use crate::forward::{BATCH, Batch, Forwarder, Snapshot, Verdict};
use crate::io::{Lost, Ports, SendOutcome};
use crate::model::Wait;
use crate::stats::DropReason;
use crate::time::Tick;
use arc_swap::{ArcSwap, Cache};
use crossbeam::channel::{Receiver, Sender};
use hand_over::HandedFrame;
use hdrhistogram::Histogram;
use held::HeldFragments;
use link_addresses::LinkAddresses;
use shared::HoldContext;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Spin time without a frame before the worker sleeps: longer than the gap between the frames of a busy
/// flow, shorter than a scheduling tick.
const SPIN: Duration = Duration::from_micros(50);
/// Rounds without a frame between two reads of the clock, looks for requests, and sweeps.
const IDLE_ROUNDS: u32 = 64;
/// Time that the worker stays awake after a request. A listing of a full table is hundreds of requests in
/// sequence, which a sleep before each would turn into seconds.
const ATTENTION: Duration = Duration::from_millis(1);
/// Longest sleep: the latency of sweeps, requests and stop.
const SLEEP_MAX: Duration = Duration::from_millis(10);
/// Most buckets copied for a listing between two batches.
const LISTED_BUCKETS: usize = 1024;
/// Most buckets copied per answer to a listing request: a huge table stays distinguishable from a dead
/// worker.
const LISTED_STRETCH: usize = 65_536;
/// Interval between reads of ring levels and losses, each a few system calls.
const RING_INTERVAL: Duration = Duration::from_millis(10);
/// Latency is measured for one batch in this many.
const SAMPLE: u32 = 16;
/// Longest latency in the histogram, in ns; longer ones are recorded as this.
const LATENCY_MAX_NS: u64 = 10_000_000_000;

/// Channel for an answer. The requester keeps a handle until the worker has dropped its own: the last
/// handle frees memory, which a worker never does.
pub type ReplySender<T> = Arc<Sender<T>>;

/// Request of the control thread. It allocates the buffers and gets them back.
pub enum WorkerRequest {
    /// Connections, from bucket `from` until the buffer is full or the table ends.
    Connections(ConnectionListing),
    /// A copy of the latency histogram, in ns.
    Latency(Box<Histogram<u64>>, ReplySender<Box<Histogram<u64>>>),
    /// Table for the connections of IPv6 and wildcard-port services, which the worker keeps. To be sent once,
    /// before the first such service is published.
    WideTable(FlowTable<WideKey>),
}

/// Part of a connection listing.
pub struct ConnectionListing {
    /// Next bucket to be copied; `None` after the last one.
    pub from: Option<usize>,
    /// Filled up to its capacity, never beyond. Needs room for one bucket at least.
    pub entries: Vec<FlowEntry<Flow>>,
    /// Answers when `entries` is full, the table has ended, or many buckets have been copied.
    pub reply: ReplySender<ConnectionListing>,
}

/// Empty latency histogram: 1 ns to 10 s, two significant digits.
#[must_use]
pub fn latency_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX_NS, 2).expect("1 < max, and 2 digits are allowed")
}

/// Worker, to be run on a thread of its own.
pub struct Worker<P> {
    ports: P,
    forwarder: Forwarder,
    snapshot: Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>,
    adopted: Arc<Snapshot>,
    requests: Receiver<WorkerRequest>,
    held: HeldFragments,
    /// Fragments to be processed again.
    due: Vec<HandedFrame>,
    link_addresses: LinkAddresses,
    /// Listing request in progress.
    listing: Option<ConnectionListing>,
    shared: Shared,
    wait: Wait,
    verdicts: Vec<Verdict>,
    latency: Box<Histogram<u64>>,
    batches: u32,
    rings_read_at: Instant,
}

impl<P: Ports> Worker<P> {
    /// Creates a worker over `ports`. It answers `requests` between batches.
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
        forwarder.set_hand_over(!shared.hand_over.is_alone());
        let link_addresses = LinkAddresses::new(ports.has_smaller_mtu());
        Self {
            ports,
            forwarder,
            snapshot: Cache::new(Arc::clone(&shared.snapshot)),
            adopted,
            requests,
            held: HeldFragments::new(),
            due: Vec::with_capacity(BATCH),
            link_addresses,
            listing: None,
            shared,
            wait,
            verdicts: Vec::with_capacity(BATCH),
            latency: Box::new(latency_histogram()),
            batches: 0,
            rings_read_at: Instant::now(),
        }
    }

    /// Gives ports and tables back, once the worker has ended its run. Both are large: to drop them takes milliseconds.
    #[must_use]
    pub fn into_parts(self) -> (P, Forwarder) {
        (self.ports, self.forwarder)
    }

    /// Runs until [`Shared::stop`] is set.
    ///
    /// # Errors
    /// Errors of [`Ports::wait`].
    pub fn run(&mut self) -> std::io::Result<()> {
        let mut now = Instant::now();
        let (mut awake_until, mut idle, mut sweep_due) = (now, 0, false);
        while !self.shared.stop.load(Relaxed) {
            // The clock was read at most a few rounds ago: a tick is much longer.
            idle = if self.serve_ports(now) { 0 } else { idle % IDLE_ROUNDS + 1 };
            if idle % IDLE_ROUNDS > 0 && !sweep_due {
                continue; // poll the rings first: a new frame waits for nothing else
            }
            now = Instant::now();
            if idle == 0 {
                awake_until = awake_until.max(now + SPIN);
            }
            if self.answer() | self.serve_inbox(now) {
                awake_until = now + ATTENTION;
            }
            sweep_due = self.maintain(now);
            if !sweep_due && self.wait == Wait::Adaptive && now > awake_until {
                self.sleep()?;
                now = Instant::now();
            }
        }
        Ok(())
    }

    /// Processes one batch from each port by the latest snapshot: every frame that arrives after a change
    /// was confirmed is decided by it. Returns true if there was a frame.
    pub fn serve_ports(&mut self, now: Instant) -> bool {
        (0..self.ports.count()).fold(false, |busy, port| self.serve(port, now) | busy)
    }

    fn serve(&mut self, port: usize, now: Instant) -> bool {
        let batch = self.ports.receive(port);
        let received = batch.len() as u64;
        // Read after the frames: the latest snapshot has every service that steering hands over.
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
        let tick = Tick::from_instant(now, self.shared.epoch);
        if self.link_addresses.is_needed() {
            self.link_addresses.record(batch);
        }
        self.forwarder.decide(batch, tick, &mut self.verdicts);
        let follows_up = self.forwarder.takes_follow_up();
        if follows_up {
            let fragments = HoldContext { held: &mut self.held, forwarder: &self.forwarder, now: tick };
            self.shared.follow_up(batch, &self.verdicts, fragments);
        }
        let sent = self.ports.finish(&self.verdicts);
        self.count(received, sent);
        if sent.too_long > 0 {
            self.refuse_long_frames();
        }
        if follows_up {
            self.release_held(tick);
        }
        if let Some(received_at) = received_at {
            self.sample(received_at, sent);
        }
        true
    }

    /// Leaves the frames of the batch that were too long to the control thread, which answers them. Without their
    /// MAC addresses they are not; those of the next batches are recorded.
    #[cold]
    fn refuse_long_frames(&mut self) {
        let Some(long) = self.ports.long_frames() else { return };
        let is_recorded = self.link_addresses.is_needed();
        for (index, mut head) in long.take().filter(|_| is_recorded) {
            self.link_addresses.restore(index, &mut head);
            self.shared.refuse(head.bytes(), DropReason::TooLong);
        }
        self.link_addresses.need();
    }

    /// Processes the frames that other workers have passed on. Returns true if there was one.
    fn serve_inbox(&mut self, now: Instant) -> bool {
        let now = Tick::from_instant(now, self.shared.epoch);
        let mut any = false;
        self.forwarder.begin_handed_batch();
        for _ in 0..BATCH {
            let Some(frame) = self.shared.hand_over.take() else { break };
            let last = self.shared.hand_over.has_returned(&frame);
            self.serve_copy(frame, last, now);
            self.release_held(now);
            any = true;
        }
        any
    }

    /// Processes a copied frame. `last` if no other worker knows its connection.
    fn serve_copy(&mut self, mut frame: HandedFrame, last: bool, now: Tick) {
        let addresses = link_addresses::addresses(frame.bytes());
        match self.forwarder.decide_handed(frame.bytes(), last, now) {
            Verdict::Forward(interface) => {
                let sent = self.ports.send_copy(interface, frame.bytes());
                self.shared.count_sent(sent);
                if sent.too_long > 0 {
                    link_addresses::write(&addresses, frame.bytes());
                    self.shared.refuse(frame.bytes(), DropReason::TooLong);
                }
            }
            Verdict::HandOver => return self.shared.hand_over.pass(frame),
            Verdict::Hold => {
                let mut fragments = HoldContext { held: &mut self.held, forwarder: &self.forwarder, now };
                return self.shared.hold(frame, &mut fragments);
            }
            Verdict::Drop(reason) if self.forwarder.is_answered(reason) => {
                self.shared.refuse(frame.bytes(), reason);
            }
            Verdict::Drop(_) => {}
        }
        self.shared.hand_over.release(frame);
    }

    /// Processes the held fragments of packets whose first fragment has just passed: it was forwarded, or handed over,
    /// and they follow it.
    fn release_held(&mut self, now: Tick) {
        while !self.held.is_empty()
            && let Some(frame) = self.held.take_of(self.forwarder.first_fragments())
        {
            self.due.push(frame);
        }
        self.due.reverse();
        while let Some(frame) = self.due.pop() {
            self.serve_copy(frame, self.shared.hand_over.is_alone(), now);
        }
    }

    /// Drops the held fragments whose time is over.
    fn expire_held(&mut self, now: Tick) {
        while let Some(frame) = self.held.take_expired(now) {
            self.shared.drop_early(frame);
        }
    }

    /// Reads ring levels when due, and sweeps a part of the table. Returns true if more of the sweep is
    /// due.
    fn maintain(&mut self, now: Instant) -> bool {
        if now.duration_since(self.rings_read_at) >= RING_INTERVAL {
            self.rings_read_at = now;
            self.update_rings();
        }
        let tick = Tick::from_instant(now, self.shared.epoch);
        if !self.held.is_empty() {
            self.expire_held(tick);
        }
        self.forwarder.sweep(tick)
    }

    /// Processes a part of a request. Returns true if there was one: the next often follows at once.
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
                let _ = reply.send(copy); // the requester may have ended
            }
            Ok(WorkerRequest::WideTable(table)) => self.forwarder.set_wide_table(table),
            Err(_) => return false,
        }
        true
    }

    /// Copies a bounded number of buckets. The next round continues.
    fn list(&mut self, mut listing: ConnectionListing) {
        for _ in 0..LISTED_BUCKETS {
            if self.copy_bucket(&mut listing) {
                let reply = Arc::clone(&listing.reply);
                let _ = reply.send(listing); // the requester may have ended
                return;
            }
        }
        self.listing = Some(listing);
    }

    /// Copies one bucket. Returns true if the answer is complete.
    fn copy_bucket(&self, listing: &mut ConnectionListing) -> bool {
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

    /// Sleeps until a frame arrives, from the ports or from another worker.
    fn sleep(&mut self) -> std::io::Result<()> {
        let Self { shared, ports, .. } = self;
        shared.hand_over.sleep(|sleeper| {
            shared.counters.sleeps.add(1);
            ports.wait(SLEEP_MAX, sleeper.as_fd())
        })
    }

    fn count(&mut self, received: u64, sent: SendOutcome) {
        let counters = &self.shared.counters;
        counters.received.add(received);
        counters.batches.add(1);
        self.shared.count_sent(sent);
    }

    fn sample(&mut self, received_at: Instant, sent: SendOutcome) {
        let ns = received_at.elapsed().as_nanos().min(u128::from(LATENCY_MAX_NS)) as u64;
        self.latency.saturating_record_n(ns.max(1), u64::from(sent.forwarded));
    }

    fn update_rings(&mut self) {
        let counters = &self.shared.counters;
        counters.beats.add(1);
        for port in 0..self.ports.count() {
            counters.set_levels(port, self.ports.levels(port));
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
