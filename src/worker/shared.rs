//! State that a worker shares with the control thread and the other workers, and the frames that it leaves to them.

use super::hand_over::{HandOver, HandedFrame};
use super::held::HeldFragments;
use super::refused::RefusedFrames;
use crate::forward::{Batch, Forwarder, Snapshot, Verdict};
use crate::io::SendOutcome;
use crate::stats::{DropReason, WorkerCounters};
use crate::time::Tick;
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// State shared with the control thread and the other workers.
#[derive(Clone)]
pub struct Shared {
    /// Latest snapshot.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Counters of this worker.
    pub counters: Arc<WorkerCounters>,
    /// Set to stop the worker.
    pub stop: Arc<AtomicBool>,
    /// Tick 0.
    pub epoch: Instant,
    /// Frames for other workers.
    pub hand_over: HandOver,
    /// Frames that the control thread answers.
    pub refused: Arc<RefusedFrames>,
}

/// A worker's held fragments, and what it needs to hold another one.
pub(super) struct HoldContext<'a> {
    pub(super) held: &'a mut HeldFragments,
    pub(super) forwarder: &'a Forwarder,
    pub(super) now: Tick,
}

impl Shared {
    /// Hands over, holds and answers frames of a batch.
    #[cold]
    pub(super) fn follow_up<B: Batch + ?Sized>(
        &self,
        batch: &mut B,
        verdicts: &[Verdict],
        mut fragments: HoldContext<'_>,
    ) {
        for (index, verdict) in verdicts.iter().enumerate() {
            match *verdict {
                // A copy has one buffer.
                Verdict::HandOver | Verdict::Hold if batch.rest(index) > 0 => self.drop_uncopied(),
                Verdict::HandOver => self.begin_hand_over(batch.frame(index)),
                Verdict::Hold => self.begin_hold(batch.frame(index), &mut fragments),
                Verdict::Drop(reason) if fragments.forwarder.is_answered(reason) => {
                    self.refuse(batch.frame(index), reason)
                }
                Verdict::Forward(_) | Verdict::Drop(_) => {}
            }
        }
    }

    fn begin_hand_over(&self, frame: &[u8]) {
        if self.hand_over.begin(frame) {
            self.counters.handed_over.add(1);
        } else {
            self.drop_uncopied();
        }
    }

    fn drop_uncopied(&self) {
        self.counters.drops(DropReason::HandOverFull).add(1);
    }

    fn begin_hold(&self, frame: &[u8], fragments: &mut HoldContext<'_>) {
        match self.hand_over.copy(frame) {
            Some(copy) => self.hold(copy, fragments),
            None => self.drop_uncopied(),
        }
    }

    pub(super) fn hold(&self, mut frame: HandedFrame, fragments: &mut HoldContext<'_>) {
        let HoldContext { held, forwarder, now } = fragments;
        let digest = forwarder.packet_digest(frame.bytes()).unwrap_or_default(); // it is a fragment
        if let Some(frame) = held.hold(digest, frame, *now) {
            self.drop_early(frame);
        }
    }

    pub(super) fn drop_early(&self, frame: HandedFrame) {
        self.counters.drops(DropReason::FragmentEarly).add(1);
        self.hand_over.release(frame);
    }

    pub(super) fn refuse(&self, frame: &[u8], reason: DropReason) {
        let _ = self.refused.push(reason, frame); // beyond any limit of answers
        self.refused.notify();
    }

    pub(super) fn count_sent(&self, sent: SendOutcome) {
        self.counters.forwarded.add(u64::from(sent.forwarded));
        self.counters.drops(DropReason::TransmitFull).add(u64::from(sent.full));
        self.counters.drops(DropReason::TooLong).add(u64::from(sent.too_long));
    }
}
