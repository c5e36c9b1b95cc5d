//! Check of the entries of a former process.

use super::key::ShadowKey;
use super::table::{ShadowSlot, Unchecked};
use super::value::{ShadowEntry, ShadowValue};
use super::words::Words;
use super::writer::ShadowWriter;
use crate::time::SecondTick;
use std::ops::AddAssign;

/// Entries that a check has met, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Kept.
    pub kept: u64,
    /// Removed: the deadline is reached.
    pub expired: u64,
    /// Removed: the judge refused it.
    pub refused: u64,
    /// Removed: another slot has the same key.
    pub twins: u64,
    /// Removed: there is no such state, or the key belongs to other buckets.
    pub damaged: u64,
}

/// Buckets between the one that is checked and the one whose twins are prefetched.
const AHEAD: usize = 8;

/// Reason to remove an entry.
enum Removal {
    Expired,
    Refused,
    Twin,
    Damaged,
}

impl<K: ShadowKey, W: Words> ShadowWriter<K, W> {
    /// Checks the entries of the next `buckets` buckets: each on its own, as a kill may have left anything. `judge` returns
    /// the value that an entry shall have, or `None` to remove it. It is called once for each entry that is kept, at most. Readers find an
    /// entry once its bucket is checked. Does nothing once all are checked.
    ///
    /// Two slots have the same key if a kill interrupted a displacement; then their values are the same, too. Of others the one that
    /// is checked first stays, with the later deadline if the other one is met first.
    pub fn check(
        &mut self,
        now: SecondTick,
        buckets: usize,
        mut judge: impl FnMut(&ShadowEntry<K>) -> Option<ShadowValue>,
    ) -> Checked {
        let mut met = Checked::default();
        let from = self.table.stripes.checked();
        for bucket in from..self.buckets().min(from.saturating_add(buckets)) {
            self.prefetch_twins(bucket + AHEAD);
            if !self.table.stripes.is_blank(bucket) {
                ShadowSlot::all(bucket).for_each(|at| self.check_slot(at, now, &mut judge, &mut met));
            }
            self.table.stripes.set_checked(bucket + 1);
        }
        if self.is_all_checked() {
            self.unchecked = Unchecked::default();
        }
        met
    }

    /// Prefetches the first candidate buckets of entries that are in their second one, where a twin may be.
    fn prefetch_twins(&self, bucket: usize) {
        if bucket >= self.buckets() || self.table.stripes.is_blank(bucket) {
            return;
        }
        for key in ShadowSlot::all(bucket).filter_map(|at| self.table.key(at)) {
            if self.table.both(key)[0] != bucket {
                self.table.prefetch(key);
            }
        }
    }

    fn check_slot(
        &mut self,
        at: ShadowSlot,
        now: SecondTick,
        judge: &mut impl FnMut(&ShadowEntry<K>) -> Option<ShadowValue>,
        met: &mut Checked,
    ) {
        if self.table.is_vacant(at) || self.unchecked.own.contains(&at) {
            return;
        }
        match self.judged(at, now, judge) {
            Ok(value) => {
                if self.table.value(at) != Some(value) {
                    self.table.set_value(at, value);
                }
                self.len += 1;
                met.kept += 1;
            }
            Err(removal) => {
                self.vacate(at);
                met.count(&removal);
            }
        }
    }

    /// The value that an entry shall have.
    fn judged(
        &mut self,
        at: ShadowSlot,
        now: SecondTick,
        judge: &mut impl FnMut(&ShadowEntry<K>) -> Option<ShadowValue>,
    ) -> Result<ShadowValue, Removal> {
        let entry = self.table.entry(at).ok_or(Removal::Damaged)?;
        let both = self.table.both(entry.key);
        if !both.contains(&at.bucket) {
            return Err(Removal::Damaged);
        }
        if now.reached(entry.value.deadline) {
            return Err(Removal::Expired);
        }
        if let Some(twin) = self.twin(at, entry.key, both) {
            self.prolong(twin, entry.value);
            return Err(Removal::Twin);
        }
        judge(&entry).ok_or(Removal::Refused)
    }

    /// Another slot that holds the key: an earlier one of the bucket, or one of the first candidate bucket if this is the
    /// second. So of two slots one finds the other, and nearly every entry costs no look at another bucket.
    fn twin(&self, at: ShadowSlot, key: K, [first, second]: [usize; 2]) -> Option<ShadowSlot> {
        let words = key.words();
        let beside = self.table.slot_of(at.bucket, words).filter(|found| found.slot < at.slot);
        let is_second = at.bucket == second && !self.table.stripes.is_blank(first);
        beside.or_else(|| is_second.then(|| self.table.slot_of(first, words)).flatten())
    }

    /// Gives an entry that is still to be checked a value with a later deadline.
    fn prolong(&mut self, at: ShadowSlot, value: ShadowValue) {
        let is_later =
            |held: ShadowValue| value.deadline != held.deadline && value.deadline.reached(held.deadline);
        if at.bucket > self.table.stripes.checked()
            && self.table.value(at).is_none_or(is_later)
            && !self.is_shown(at)
        {
            self.table.set_value(at, value);
        }
    }
}

impl Checked {
    fn count(&mut self, removal: &Removal) {
        let count = match removal {
            Removal::Expired => &mut self.expired,
            Removal::Refused => &mut self.refused,
            Removal::Twin => &mut self.twins,
            Removal::Damaged => &mut self.damaged,
        };
        *count += 1;
    }
}

impl AddAssign for Checked {
    fn add_assign(&mut self, other: Self) {
        let Self { kept, expired, refused, twins, damaged } = other;
        self.kept += kept;
        self.expired += expired;
        self.refused += refused;
        self.twins += twins;
        self.damaged += damaged;
    }
}
