//! The decision about a batch: the first pass reads headers and prefetches, the second one decides.

use super::accounting::Accounting;
use super::conns::SWEEP;
use super::context::Context;
use super::first_pass::FirstPass;
use super::fragments::TaggedFragment;
use super::refresh::RefreshPass;
use super::second_pass::SecondPass;
use super::shadowed::ShadowAccess;
use super::snapshot::{INTERFACES_MAX, Snapshot};
use super::staged::{Staged, WideFrames};
use super::tables::Tables;
use super::{BATCH, Batch, Verdict};
use crate::flow::{ConnState, Flow, FlowEntry, FlowTable, V4Key, WideKey};
use crate::hash::Seed;
use crate::model::Reject;
use crate::schedule::{Loads, Templates};
use crate::stats::{DropReason, WorkerCounters};
use crate::time::{Span, Tick};
use std::sync::Arc;

/// Placeholder for the MAC address of an absent interface: [`crate::wire::MacAddr::bits`] never gives it.
const NO_MAC: u64 = u64::MAX;

/// The decisions of one worker: its own connection tables, the shared loads, the current snapshot.
pub struct Forwarder {
    pub(super) context: Context,
    /// MAC addresses of the interfaces, as [`crate::wire::MacAddr::bits`].
    own_macs: [u64; INTERFACES_MAX],
    pub(super) tables: Tables,
    staged: Box<[Staged<V4Key>; BATCH]>,
    wide: WideFrames,
    /// Verdict on a frame from another worker.
    handed: Vec<Verdict>,
}

impl Forwarder {
    /// Creates a forwarder with an empty table for `connections` connections. `loads` and `templates` are
    /// shared by all workers; `counters` are the worker's own.
    #[must_use]
    pub fn new(
        connections: usize,
        seed: Seed,
        loads: Arc<Loads>,
        templates: Arc<Templates>,
        counters: Arc<WorkerCounters>,
    ) -> Self {
        Self::with_table(FlowTable::new(connections, seed), seed, loads, templates, counters)
    }

    /// Likewise, with a flow table that is there already.
    #[must_use]
    pub fn with_table(
        table: FlowTable<V4Key>,
        seed: Seed,
        loads: Arc<Loads>,
        templates: Arc<Templates>,
        counters: Arc<WorkerCounters>,
    ) -> Self {
        let context = Context {
            snapshot: Arc::default(),
            lifetimes: [Span::default(); ConnState::COUNT],
            accounting: Accounting::new(loads, templates, counters),
            shadow: None,
            refresh_sweeps: 1,
            may_hand_over: false,
            is_handed: false,
        };
        let staged = Box::new([Staged::UNSET; BATCH]);
        let tables = Tables::new(table, seed);
        Self {
            context,
            own_macs: [NO_MAC; INTERFACES_MAX],
            tables,
            staged,
            wide: WideFrames::new(),
            handed: Vec::with_capacity(1),
        }
    }

    /// Sets the table for connections of IPv6 and wildcard-port services. Without it, frames that would open one
    /// are dropped as [`TableFull`](crate::stats::DropReason::TableFull). A second table is ignored.
    pub fn set_wide_table(&mut self, table: FlowTable<WideKey>) {
        self.tables.set_wide(table);
        self.tables.set_shared(&self.context.snapshot);
    }

    /// Sets the shadow table: from now on confirmed connections are recorded for it, and any that this worker misses
    /// are taken over from it.
    pub fn set_shadow(&mut self, shadow: ShadowAccess) {
        self.context.shadow = Some(shadow);
    }

    /// Digest of the packet of a fragment; `None` for other frames. Packets with the same one are alike.
    pub fn packet_digest(&self, frame: &[u8]) -> Option<u64> {
        Some(self.tables.fragments.digest(&TaggedFragment::of(frame, 0)?))
    }

    /// [Digests](Forwarder::packet_digest) of the packets whose first fragment was in the last batch.
    pub fn first_fragments(&self) -> &[u64] {
        self.tables.fragments.firsts()
    }

    /// Returns true once after a batch that needs more than [`crate::io::Ports::finish`]: with
    /// [`Verdict::HandOver`], [`Verdict::Hold`], a first fragment, or a drop that
    /// [is answered](crate::stats::DropReason::is_answered).
    #[inline]
    pub fn takes_follow_up(&self) -> bool {
        self.context.accounting.takes_follow_up()
    }

    /// True if the control thread answers frames that are dropped for this reason.
    #[must_use]
    pub fn is_answered(&self, reason: DropReason) -> bool {
        let refuses = self.context.snapshot.policy.reject != Reject::Drop;
        reason.is_answered() && (refuses || reason == DropReason::TtlExceeded)
    }

    /// Sets whether ICMP errors and fragments of unknown connections are left to other workers.
    pub fn set_hand_over(&mut self, hand_over: bool) {
        self.context.may_hand_over = hand_over;
    }

    /// Adopts `snapshot` for all later batches.
    pub fn adopt(&mut self, snapshot: Arc<Snapshot>) {
        self.context.lifetimes = ConnState::timeouts(&snapshot.timeouts);
        self.context.refresh_sweeps = RefreshPass::sweeps(&self.context.lifetimes, SWEEP);
        self.own_macs =
            std::array::from_fn(|index| snapshot.own_macs.get(index).map_or(NO_MAC, |mac| mac.bits()));
        self.tables.set_shared(&snapshot);
        self.context.snapshot = snapshot;
    }

    /// Decides about every frame of `batch`. `verdicts` then holds one verdict per frame, in order.
    ///
    /// Rewrites the MAC addresses, the time to live and the header checksum of forwarded frames
    /// ([`crate::wire::hop::forward`]), and nothing else. Counts dropped frames, and connections, packets
    /// and bytes of each server.
    ///
    /// # Panics
    /// If the batch holds more than [`BATCH`] frames.
    pub fn decide<B: Batch + ?Sized>(&mut self, batch: &mut B, now: Tick, verdicts: &mut Vec<Verdict>) {
        self.tables.renew_eviction_budget();
        self.decide_each(batch, now, verdicts);
    }

    #[inline]
    fn decide_each<B: Batch + ?Sized>(&mut self, batch: &mut B, now: Tick, verdicts: &mut Vec<Verdict>) {
        verdicts.clear();
        self.tables.begin_batch();
        let (staged, wide) = (&mut self.staged[..batch.len()], &mut self.wide);
        let first_pass = FirstPass::new(&self.context, &self.tables, self.own_macs);
        let others = first_pass.stage_plain(batch, staged);
        first_pass.stage_others(batch, others, staged, wide);
        self.tables.locate_all(staged, wide);
        let lifetimes = self.context.lifetimes;
        let mut second_pass = SecondPass::new(&self.context, &mut self.tables, &lifetimes, now);
        if others.is_empty() {
            let frames = staged.iter().enumerate();
            verdicts.extend(frames.map(|(index, staged)| second_pass.forward_plain(staged, batch, index)));
        } else {
            second_pass.forward_mixed(staged, wide, batch, verdicts);
        }
        self.count_entries();
    }

    /// Begins a batch of frames from other workers, which are decided one by one. They share one eviction budget, so
    /// that a flood of them takes no more time than a batch of received frames.
    pub fn begin_handed_batch(&mut self) {
        self.tables.renew_eviction_budget();
    }

    /// Decides about a frame that another worker has passed on. `last` if no worker knows its connection.
    pub fn decide_handed(&mut self, frame: &mut [u8], last: bool, now: Tick) -> Verdict {
        let mut verdicts = std::mem::take(&mut self.handed);
        let before = std::mem::replace(&mut self.context.may_hand_over, !last);
        self.context.is_handed = true;
        self.decide_each(&mut Single(frame), now, &mut verdicts);
        (self.context.may_hand_over, self.context.is_handed) = (before, false);
        let verdict = verdicts[0];
        self.handed = verdicts;
        verdict
    }

    /// Removes expired connections, a bounded number of buckets per call.
    ///
    /// Returns true if more buckets are due. Called at least every few seconds, it removes every connection
    /// within two seconds of its deadline.
    pub fn sweep(&mut self, now: Tick) -> bool {
        self.tables.give_up(&self.context);
        let more_due = self.tables.sweep(&self.context, now);
        self.count_entries();
        more_due
    }

    /// The connections of bucket `bucket`, for listings; `None` past the last bucket. Those of IPv6 and
    /// wildcard-port services come last.
    pub fn connections(&self, bucket: usize) -> Option<impl Iterator<Item = FlowEntry<Flow>>> {
        self.tables.connections(bucket)
    }

    #[inline]
    pub(super) fn count_entries(&self) {
        self.context.accounting.entries(self.tables.len());
    }
}

/// A batch of one frame.
struct Single<'a>(&'a mut [u8]);

impl Batch for Single<'_> {
    fn len(&self) -> usize {
        1
    }

    fn frame(&mut self, index: usize) -> &mut [u8] {
        debug_assert_eq!(index, 0, "there is one frame");
        self.0
    }
}
