//! A table in shared memory, as its writer and its readers see it.

use super::key::{RestWords, ShadowKey, VACANT, bucket_words, hashing};
use super::stripes::{Stripes, Torn, WriteSection};
use super::value::{ShadowEntry, ShadowValue};
use super::words::Words;
use crate::flow::SLOTS;
use crate::hash::{BucketPair, Seed};
use std::collections::HashSet;
use std::marker::PhantomData;

/// Buckets of words, and their stripes.
#[derive(Debug)]
pub(super) struct ShadowTable<K, W> {
    pub(super) words: W,
    pub(super) stripes: Stripes,
    buckets: usize,
    seed: Seed,
    key: PhantomData<fn() -> K>,
}

/// A slot of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ShadowSlot {
    pub(super) bucket: usize,
    pub(super) slot: usize,
}

/// State of the check of a former process's entries.
#[derive(Debug, Default)]
pub(super) struct Unchecked {
    /// Entries of this process in buckets that have not been checked: they need no check.
    pub(super) own: HashSet<ShadowSlot>,
}

impl ShadowSlot {
    /// The slots of a bucket.
    pub(super) fn all(bucket: usize) -> impl Iterator<Item = Self> {
        (0..SLOTS).map(move |slot| Self { bucket, slot })
    }
}

impl<K: ShadowKey, W: Words> ShadowTable<K, W> {
    /// A table over words, of which the first `checked` buckets have been checked.
    pub(super) fn new(words: W, buckets: usize, seed: Seed, checked: usize) -> Self {
        let (seed, stripes) = (hashing(seed), Stripes::new::<K>(buckets, checked));
        Self { words, stripes, buckets, seed, key: PhantomData }
    }

    pub(super) fn buckets(&self) -> usize {
        self.buckets
    }

    #[inline]
    pub(super) fn pair(&self, key: K) -> BucketPair {
        BucketPair::new(key.hash(&self.seed), self.buckets)
    }

    /// The candidate buckets of a key, the first choice first.
    #[inline]
    pub(super) fn both(&self, key: K) -> [usize; 2] {
        self.pair(key).both(self.buckets)
    }

    /// The slot of `bucket` that holds the key.
    #[inline]
    pub(super) fn slot_of(&self, bucket: usize, (tag, rest): (u64, K::Rest)) -> Option<ShadowSlot> {
        let holds = |at: &ShadowSlot| self.words.load(tag_at::<K>(*at)) == tag && self.rest(*at) == rest;
        ShadowSlot::all(bucket).find(holds)
    }

    #[inline]
    pub(super) fn is_vacant(&self, at: ShadowSlot) -> bool {
        self.words.load(tag_at::<K>(at)) == VACANT
    }

    /// The key in a slot; `None` if it is vacant.
    pub(super) fn key(&self, at: ShadowSlot) -> Option<K> {
        K::from_words(self.words.load(tag_at::<K>(at)), self.rest(at))
    }

    /// The value in a slot, which has no meaning if that is vacant; `None` if it is no value.
    #[inline]
    pub(super) fn value(&self, at: ShadowSlot) -> Option<ShadowValue> {
        ShadowValue::from_word(self.words.load(value_at::<K>(at)))
    }

    /// The entry in a slot; `None` if it is vacant or its value is none.
    pub(super) fn entry(&self, at: ShadowSlot) -> Option<ShadowEntry<K>> {
        Some(ShadowEntry { key: self.key(at)?, value: self.value(at)? })
    }

    #[inline]
    fn rest(&self, at: ShadowSlot) -> K::Rest {
        K::Rest::read(|word| self.words.load(rest_at::<K>(at, word)))
    }

    /// The entries of a bucket, as a reader sees them.
    pub(super) fn entries(&self, bucket: usize) -> Result<[Option<ShadowEntry<K>>; SLOTS], Torn> {
        let start = self.stripes.read(bucket)?;
        if !start.is_readable {
            return Ok([const { None }; SLOTS]);
        }
        let mut slots = ShadowSlot::all(bucket);
        let entries = std::array::from_fn(|_| slots.next().and_then(|at| self.entry(at)));
        self.stripes.end([start]).map(|()| entries)
    }

    /// Stores an entry in a vacant slot: the tag last, so that the entry is complete as soon as it is there.
    pub(super) fn store(&self, at: ShadowSlot, entry: ShadowEntry<K>) {
        let _section = self.write(at.bucket);
        let (tag, rest) = entry.key.words();
        self.words.store(value_at::<K>(at), entry.value.to_word());
        for (word, content) in rest.words().iter().enumerate() {
            self.words.store(rest_at::<K>(at, word), *content);
        }
        self.words.store(tag_at::<K>(at), tag);
    }

    /// Replaces the value of an entry.
    pub(super) fn set_value(&self, at: ShadowSlot, value: ShadowValue) {
        let _section = self.write(at.bucket);
        self.words.store(value_at::<K>(at), value.to_word());
    }

    /// Vacates a slot.
    pub(super) fn vacate(&self, at: ShadowSlot) {
        let _section = self.write(at.bucket);
        self.words.store(tag_at::<K>(at), VACANT);
    }

    fn write(&self, bucket: usize) -> WriteSection<'_> {
        self.stripes.write(bucket)
    }

    /// Makes sure that the memory of a bucket is there, before the first access. False if there is none.
    pub(super) fn back(&self, bucket: usize) -> bool {
        let buckets = self.stripes.neighbors(bucket);
        let words = bucket_words::<K>();
        self.words.back(buckets.start * words..buckets.end.min(self.buckets) * words)
    }

    /// Prefetches the words of the first candidate bucket.
    #[inline]
    pub(super) fn prefetch(&self, key: K) {
        self.prefetch_bucket(self.pair(key).first());
    }

    /// Prefetches the words of a bucket.
    #[inline]
    pub(super) fn prefetch_bucket(&self, bucket: usize) {
        self.words.prefetch(bucket * bucket_words::<K>());
    }

    /// Looks up the value of a key once, beside the writer. No value has its deadline checked.
    #[inline]
    pub(super) fn look_up(&self, key: K) -> Result<Option<ShadowValue>, Torn> {
        let (pair, words) = (self.pair(key), key.words());
        let first = self.stripes.read(pair.first())?;
        if first.is_readable
            && let Some(at) = self.slot_of(pair.first(), words)
        {
            let value = self.value(at);
            return self.stripes.end([first]).map(|()| value);
        }
        let bucket = pair.second(self.buckets);
        let second = self.stripes.read(bucket)?;
        let at = if second.is_readable { self.slot_of(bucket, words) } else { None };
        let value = at.and_then(|at| self.value(at));
        // Both: an entry may have moved from the second bucket to the first after that was read.
        self.stripes.end([first, second]).map(|()| value)
    }
}

#[inline]
fn tag_at<K: ShadowKey>(at: ShadowSlot) -> usize {
    at.bucket * bucket_words::<K>() + at.slot
}

#[inline]
fn value_at<K: ShadowKey>(at: ShadowSlot) -> usize {
    tag_at::<K>(at) + SLOTS
}

#[inline]
fn rest_at<K: ShadowKey>(at: ShadowSlot, word: usize) -> usize {
    at.bucket * bucket_words::<K>() + 2 * SLOTS + at.slot * K::Rest::WORDS + word
}
