//! Words of a table in the shared memory.

use crate::sys::memory::prefetch;
use crate::sys::shared_words::SharedWords;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};

/// Memory of a table: a number of words. Production uses [`Region`]; tests record, replay and model stores.
pub trait Words {
    /// Loads a word. Reads and writes meet in the stripes of `stripes.rs`, which order them.
    fn load(&self, at: usize) -> u64;

    /// Stores a word. A kill leaves stores in this order: each is Release, so that no earlier one comes after it. This order is also
    /// that of the stripes of `stripes.rs`.
    fn store(&self, at: usize, word: u64);

    /// Makes sure that there is memory for the words, so that no access fails. False if there is none.
    fn back(&self, words: Range<usize>) -> bool;

    /// Prefetches a word.
    fn prefetch(&self, at: usize);
}

/// Words of the shared memory.
#[derive(Clone, Debug)]
pub struct Region {
    memory: Arc<SharedWords>,
    words: Range<usize>,
}

impl Region {
    /// A stretch of `memory`, which must lie within it.
    pub(super) fn new(memory: &Arc<SharedWords>, words: Range<usize>) -> Self {
        assert!(words.start <= words.end && words.end <= memory.len(), "{words:?} of {}", memory.len());
        Self { memory: Arc::clone(memory), words }
    }

    /// The stretches that may hold other words than 0.
    pub(super) fn data(&self) -> Vec<Range<usize>> {
        let mut from = self.words.start;
        let next = || {
            let found = self.memory.data(from).filter(|found| found.start < self.words.end)?;
            from = found.end.min(self.words.end);
            Some(found.start - self.words.start..from - self.words.start)
        };
        std::iter::from_fn(next).collect()
    }
}

impl Words for Region {
    #[inline]
    fn load(&self, at: usize) -> u64 {
        self.memory[self.words.start + at].load(Relaxed)
    }

    #[inline]
    fn store(&self, at: usize, word: u64) {
        self.memory[self.words.start + at].store(word, Release);
    }

    fn back(&self, words: Range<usize>) -> bool {
        let end = self.words.end.min(self.words.start + words.end);
        self.memory.back(self.words.start + words.start..end).is_ok()
    }

    #[inline]
    fn prefetch(&self, at: usize) {
        prefetch(self.memory.as_ptr().wrapping_add(self.words.start + at));
    }
}
