//! Places of everything in the shared memory.
//!
//! ```text
//! header          512 words, of which 21 are used
//! names           65,536 digests of two words for each of: matches, services, real servers, claimed VIPs
//! compact         buckets of 8 words: 4 tags, 4 values
//! wide            buckets of 16 words: 4 tags, 4 values, 4 rests of two words
//! templates       likewise
//! ```
//! Everything begins at a multiple of 4 KiB, so a bucket fills whole cache lines. The words of keys and values are those of
//! `flow/key.rs`, `flow/wide.rs` and `value.rs`: a change of either needs another [`VERSION`].

use super::key::{ShadowKey, bucket_words};
use super::refusal::ShadowRefusal;
use crate::flow::{V4Key, WideKey, buckets_for};
use crate::hash::Seed;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Version of the layout, of keys, values and the hash.
pub(super) const VERSION: u64 = 2;
/// The bytes "dxshadow" as a word of this host: on one of the other byte order they are another word.
pub(super) const MAGIC: u64 = u64::from_be_bytes(*b"dxshadow");
/// Words of a page of 4 KiB, the unit of the layout.
pub(super) const PAGE: usize = 512;
/// Capacity of a table at most: buckets are numbered with 32 bits.
const CAPACITY_MAX: usize = 1 << 31;

const HEADER: usize = PAGE;
/// Numbers in each table of names.
pub(super) const NUMBERS: usize = 1 << 16;
const NAMES: usize = 2 * NUMBERS;

/// Words of the header.
pub(super) mod at {
    pub(in crate::shadow) const MAGIC: usize = 0;
    pub(in crate::shadow) const VERSION: usize = 1;
    pub(in crate::shadow) const HEADER_WORDS: usize = 2;
    pub(in crate::shadow) const TOTAL_WORDS: usize = 3;
    /// Two words, the upper half first.
    pub(in crate::shadow) const BOOT: usize = 4;
    /// Capacity and buckets of each table.
    pub(in crate::shadow) const SIZES: usize = 6;
    /// Four words.
    pub(in crate::shadow) const SEED: usize = 12;
    /// 1 after an orderly end of its writer.
    pub(in crate::shadow) const CLEAN: usize = 16;
    /// Number of writers so far.
    pub(in crate::shadow) const EPOCH: usize = 17;
    pub(in crate::shadow) const OWNER_PID: usize = 18;
    pub(in crate::shadow) const OWNER_START: usize = 19;
    /// Milliseconds of the monotonic clock at which the writer lived.
    pub(in crate::shadow) const ALIVE: usize = 20;
}

/// Capacities of the tables, each at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShadowShape {
    /// Connections with compact keys.
    pub compact: usize,
    /// Connections with wide keys.
    pub wide: usize,
    /// Persistence templates.
    pub templates: usize,
}

/// Words of a table in the memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TablePlace {
    pub(super) capacity: usize,
    pub(super) buckets: usize,
    pub(super) words: Range<usize>,
}

/// Places of names and tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ShadowLayout {
    /// Matches, services, real servers, claimed VIPs.
    pub(super) names: [Range<usize>; 4],
    pub(super) compact: TablePlace,
    pub(super) wide: TablePlace,
    pub(super) templates: TablePlace,
    /// Words of all.
    pub(super) total: usize,
}

impl ShadowShape {
    /// The places of the tables; `None` if a capacity is out of range.
    pub(super) fn layout(self) -> Option<ShadowLayout> {
        let mut end = HEADER;
        let names = [(); 4].map(|()| take(&mut end, NAMES));
        let compact = table::<V4Key>(self.compact, &mut end)?;
        let wide = table::<WideKey>(self.wide, &mut end)?;
        let templates = table::<WideKey>(self.templates, &mut end)?;
        Some(ShadowLayout { names, compact, wide, templates, total: end })
    }
}

/// The next `words` words, followed by a gap up to the next page.
fn take(end: &mut usize, words: usize) -> Range<usize> {
    let start = *end;
    *end = (start + words).next_multiple_of(PAGE);
    start..start + words
}

fn table<K: ShadowKey>(capacity: usize, end: &mut usize) -> Option<TablePlace> {
    if !(1..=CAPACITY_MAX).contains(&capacity) {
        return None;
    }
    let buckets = buckets_for(capacity);
    Some(TablePlace { capacity, buckets, words: take(end, buckets * bucket_words::<K>()) })
}

impl ShadowLayout {
    /// Words of header and names, which precede the tables.
    pub(super) fn head(&self) -> Range<usize> {
        0..self.compact.words.start
    }

    fn tables(&self) -> [&TablePlace; 3] {
        [&self.compact, &self.wide, &self.templates]
    }

    /// Writes the header of a new memory. No process has written to it.
    pub(super) fn write_header(&self, words: &[AtomicU64], boot: u128, seed: Seed) {
        let store = |at: usize, word: u64| words[at].store(word, Relaxed); // no other process has it yet
        let sizes = self.tables().into_iter().flat_map(|table| [table.capacity, table.buckets]);
        (at::SIZES..).zip(sizes).for_each(|(at, size)| store(at, size as u64));
        (at::SEED..).zip(seed.0).for_each(|(at, word)| store(at, word));
        (at::BOOT..).zip(halves(boot)).for_each(|(at, word)| store(at, word));
        store(at::HEADER_WORDS, HEADER as u64);
        store(at::TOTAL_WORDS, self.total as u64);
        store(at::VERSION, VERSION);
        store(at::MAGIC, MAGIC);
    }

    /// Checks the header of a memory, whose words may be anything.
    pub(super) fn read_header(words: &[AtomicU64], boot: u128) -> Result<(Self, Seed), ShadowRefusal> {
        let header = words.first_chunk::<HEADER>().ok_or(ShadowRefusal::Size)?;
        let load = |at: usize| header[at].load(Relaxed); // the process that wrote it has released its lock
        match load(at::MAGIC) {
            MAGIC => (),
            magic if magic == MAGIC.swap_bytes() => return Err(ShadowRefusal::ByteOrder),
            _ => return Err(ShadowRefusal::Magic),
        }
        match load(at::VERSION) {
            VERSION => (),
            other => return Err(ShadowRefusal::Version(other)),
        }
        if halves(boot) != [load(at::BOOT), load(at::BOOT + 1)] {
            return Err(ShadowRefusal::Boot);
        }
        let seed = std::array::from_fn(|word| load(at::SEED + word));
        if seed == [0; 4] {
            return Err(ShadowRefusal::Seed);
        }
        let sizes = std::array::from_fn(|word| usize::try_from(load(at::SIZES + word)).unwrap_or(usize::MAX));
        let layout = Self::of_sizes(sizes).ok_or(ShadowRefusal::Size)?;
        let is_whole =
            [load(at::HEADER_WORDS), load(at::TOTAL_WORDS)] == [HEADER as u64, layout.total as u64];
        if !is_whole || words.len() != layout.total {
            return Err(ShadowRefusal::Size);
        }
        Ok((layout, Seed(seed)))
    }

    /// The layout of three capacities, if those are the buckets that they need.
    fn of_sizes(
        [compact, compact_buckets, wide, wide_buckets, templates, template_buckets]: [usize; 6],
    ) -> Option<Self> {
        let layout = ShadowShape { compact, wide, templates }.layout()?;
        let buckets = layout.tables().map(|table| table.buckets);
        (buckets == [compact_buckets, wide_buckets, template_buckets]).then_some(layout)
    }
}

fn halves(number: u128) -> [u64; 2] {
    [(number >> 64) as u64, number as u64]
}
