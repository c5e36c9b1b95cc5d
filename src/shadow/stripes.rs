//! Sequence locks of a table's buckets: readers without a lock, beside one writer (seqlock; Boehm, "Can seqlocks get along
//! with programming language memory models?", 2012).
//!
//! A stripe is the buckets of one page of the file. Its number is odd while the writer changes one of them, and 0 while
//! none was ever written: a stripe of 0 is a hole in the file, which is not to be touched, as that would make a page.
//! The numbers are in the memory of the process: a kill leaves no lock behind.
//!
//! # Memory order
//!
//! The writer makes the number odd, changes words by Release stores, and makes the number even by a Release store. A reader loads the number
//! with Acquire, then words, then the number again behind an Acquire fence. If the first load sees a number, then all stores before it are seen. If
//! a load of a word sees a store of a later section, then the fence makes the odd number before that
//! store visible to the second load of the number, which differs from the first. So the words of a valid read are of one section's
//! end.

use super::atomic::{AtomicU32, AtomicUsize, Ordering, fence};
use super::key::{ShadowKey, bucket_words};
use super::layout::PAGE;
use std::ops::Range;

/// Words of a stripe's buckets; loom has few.
const STRIPE: usize = if cfg!(loom_model) { 16 } else { PAGE };

/// The stripes of a table, and how many of its buckets readers may use.
#[derive(Debug)]
pub(super) struct Stripes {
    numbers: Box<[AtomicU32]>,
    /// Buckets of a stripe.
    buckets: usize,
    /// Buckets below this number have been checked.
    checked: AtomicUsize,
}

/// Begin of a read of a bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadStart {
    stripe: usize,
    number: u32,
    /// False if the bucket has nothing to read, and is not to be touched.
    pub(super) is_readable: bool,
}

/// A change of the buckets of a stripe. It ends when it is dropped.
#[must_use]
#[derive(Debug)]
pub(super) struct WriteSection<'a> {
    number: &'a AtomicU32,
    end: u32,
}

/// The writer changes the bucket, or changed it during the read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Torn;

impl Stripes {
    /// The stripes of a table of `buckets` buckets with keys of type `K`, of which readers may use `checked`.
    pub(super) fn new<K: ShadowKey>(buckets: usize, checked: usize) -> Self {
        let of_stripe = STRIPE / bucket_words::<K>();
        let numbers = (0..buckets.div_ceil(of_stripe)).map(|_| AtomicU32::new(0)).collect();
        Self { numbers, buckets: of_stripe, checked: AtomicUsize::new(checked) }
    }

    /// Marks all buckets of `buckets` as written. Readers have to be absent.
    pub(super) fn set_written(&self, buckets: Range<usize>) {
        let stripes =
            buckets.start / self.buckets..buckets.end.div_ceil(self.buckets).min(self.numbers.len());
        self.numbers[stripes].iter().for_each(|number| number.store(2, Ordering::Relaxed));
    }

    /// True if nothing was ever written to the stripe of `bucket`.
    #[inline]
    pub(super) fn is_blank(&self, bucket: usize) -> bool {
        self.numbers[bucket / self.buckets].load(Ordering::Relaxed) == 0 // asked by the writer
    }

    /// The buckets of the stripe of `bucket`.
    pub(super) fn neighbors(&self, bucket: usize) -> Range<usize> {
        let first = bucket / self.buckets * self.buckets;
        first..first + self.buckets
    }

    /// Number of buckets that have been checked.
    pub(super) fn checked(&self) -> usize {
        self.checked.load(Ordering::Relaxed) // asked by the writer
    }

    /// Shows the buckets below `checked` to readers, with everything that the writer has done to them.
    pub(super) fn set_checked(&self, checked: usize) {
        self.checked.store(checked, Ordering::Release);
    }

    /// Begins a change of `bucket`.
    pub(super) fn write(&self, bucket: usize) -> WriteSection<'_> {
        let number = &self.numbers[bucket / self.buckets];
        let before = number.load(Ordering::Relaxed);
        number.store(before.wrapping_add(1), Ordering::Relaxed); // before each store of a word, which is Release
        WriteSection { number, end: before.wrapping_add(2).max(2) } // 0 means that nothing was written
    }

    /// Begins a read of `bucket`.
    #[inline]
    pub(super) fn read(&self, bucket: usize) -> Result<ReadStart, Torn> {
        let stripe = bucket / self.buckets;
        let number = self.numbers[stripe].load(Ordering::Acquire);
        if number % 2 == 1 {
            return Err(Torn);
        }
        let is_readable = number != 0 && bucket < self.checked.load(Ordering::Acquire);
        Ok(ReadStart { stripe, number, is_readable })
    }

    /// Ends reads: fails if one of them may have met a change.
    #[inline]
    pub(super) fn end<const N: usize>(&self, starts: [ReadStart; N]) -> Result<(), Torn> {
        fence(Ordering::Acquire);
        let is_whole = |start: ReadStart| self.numbers[start.stripe].load(Ordering::Relaxed) == start.number;
        if starts.into_iter().all(is_whole) { Ok(()) } else { Err(Torn) }
    }
}

impl Drop for WriteSection<'_> {
    fn drop(&mut self) {
        self.number.store(self.end, Ordering::Release);
    }
}
