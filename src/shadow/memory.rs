//! The shared memory as a whole: creates, opens, and splits it.

use super::key::{ShadowKey, bucket_words};
use super::layout::{PAGE, ShadowLayout, ShadowShape, TablePlace, at};
use super::names::ShadowNames;
use super::refusal::ShadowRefusal;
use super::table::ShadowTable;
use super::words::Region;
use super::writer::ShadowWriter;
use crate::flow::{V4Key, WideKey};
use crate::hash::Seed;
use crate::sys::boot::{boot_id, process_start};
use crate::sys::shared_words::{SharedWords, SharedWordsError, word_of};
use std::fs::DirBuilder;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::time::Duration;

/// Place of the shared memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShadowPlace {
    /// A memory file without a name. It ends with the last process that has its descriptor.
    Anonymous,
    /// A named file, which survives the process, in a tmpfs.
    File(PathBuf),
}

/// The shared memory of this process, locked against others.
#[derive(Debug)]
pub struct ShadowMemory {
    memory: Arc<SharedWords>,
    layout: ShadowLayout,
    seed: Seed,
    origin: MemoryOrigin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MemoryOrigin {
    /// All zero: there is nothing to be checked.
    New,
    /// Of a former process.
    Former,
}

/// The parts of the shared memory, each for the thread that uses it.
#[derive(Debug)]
pub struct ShadowParts {
    /// Connections with compact keys.
    pub compact: ShadowWriter<V4Key>,
    /// Connections with wide keys.
    pub wide: ShadowWriter<WideKey>,
    /// Persistence templates, with the keys of [`ShadowParts::wide`]: the client is the network, the match the service, both ports are 0.
    pub templates: ShadowWriter<WideKey>,
    /// Names behind the numbers.
    pub names: ShadowNames,
    /// This process as the writer.
    pub session: ShadowSession,
}

/// This process as the writer of the shared memory.
#[derive(Debug)]
pub struct ShadowSession {
    memory: Arc<SharedWords>,
    /// Number of writers so far, this one included.
    pub epoch: u64,
    /// True if the former writer ended in an orderly way; false after a kill, and for new memory.
    pub was_clean: bool,
    /// Time of the monotonic clock at which the former writer still lived, a quarter of a second before its end at most; zero for
    /// new memory.
    pub lived_at: Duration,
}

impl ShadowMemory {
    /// Creates empty memory. A file takes the place of one of the same name that no process uses; its directory is made with mode
    /// 0700 if it is missing. Memory is taken only for pages with entries, but the file system has to have room for all.
    ///
    /// # Errors
    /// [`ShadowRefusal`]: an error of the system, a file in use, a capacity out of range.
    pub fn create(shape: ShadowShape, place: &ShadowPlace) -> Result<Self, ShadowRefusal> {
        let layout = shape.layout().ok_or(ShadowRefusal::Capacity)?;
        let (seed, boot) = (random_seed()?, boot_id()?);
        let prepare = |memory: &SharedWords| {
            memory.back(layout.head())?;
            layout.write_header(memory, boot, seed);
            Ok(())
        };
        let memory = match place {
            ShadowPlace::Anonymous => {
                let memory = SharedWords::anonymous(layout.total).map_err(refusal)?;
                prepare(&memory)?;
                memory
            }
            ShadowPlace::File(path) => {
                make_directory_of(path)?;
                SharedWords::create(path, layout.total, prepare).map_err(refusal)?
            }
        };
        Ok(Self { memory: Arc::new(memory), layout, seed, origin: MemoryOrigin::New })
    }

    /// Opens the file of a former process.
    ///
    /// # Errors
    /// [`ShadowRefusal`]: the file is not used, whatever its entries.
    pub fn open(path: &Path) -> Result<Self, ShadowRefusal> {
        Self::of_former(SharedWords::open(path).map_err(refusal)?)
    }

    /// Takes over the memory of a process that has passed its descriptor, with its lock. That process must have stopped its writers and readers.
    ///
    /// # Errors
    /// As for [`ShadowMemory::open`].
    pub fn from_descriptor(descriptor: OwnedFd) -> Result<Self, ShadowRefusal> {
        Self::of_former(SharedWords::from_descriptor(descriptor).map_err(refusal)?)
    }

    fn of_former(memory: SharedWords) -> Result<Self, ShadowRefusal> {
        memory.back(0..memory.len().min(PAGE))?;
        let (layout, seed) = ShadowLayout::read_header(&memory, boot_id()?)?;
        memory.back(layout.head())?;
        Ok(Self { memory: Arc::new(memory), layout, seed, origin: MemoryOrigin::Former })
    }

    /// The capacities.
    #[must_use]
    pub fn shape(&self) -> ShadowShape {
        let ShadowLayout { compact, wide, templates, .. } = &self.layout;
        ShadowShape { compact: compact.capacity, wide: wide.capacity, templates: templates.capacity }
    }

    /// True if the memory is a file with a name.
    #[must_use]
    pub fn has_name(&self) -> bool {
        self.memory.has_name()
    }

    /// Splits the memory, and enters this process as its writer.
    ///
    /// # Errors
    /// /proc is not mounted.
    pub fn split(self) -> io::Result<ShadowParts> {
        Ok(ShadowParts {
            session: ShadowSession::begin(&self.memory)?,
            names: ShadowNames::new(&self.memory, &self.layout),
            compact: self.writer(&self.layout.compact),
            wide: self.writer(&self.layout.wide),
            templates: self.writer(&self.layout.templates),
        })
    }

    fn writer<K: ShadowKey>(&self, place: &TablePlace) -> ShadowWriter<K> {
        let region = Region::new(&self.memory, place.words.clone());
        let (written, words) = (region.data(), bucket_words::<K>());
        let checked = if self.origin == MemoryOrigin::New { place.buckets } else { 0 };
        let table = ShadowTable::new(region, place.buckets, self.seed, checked);
        for stretch in written {
            table.stripes.set_written(stretch.start / words..stretch.end.div_ceil(words));
        }
        ShadowWriter::new(table, place.capacity)
    }
}

impl ShadowSession {
    fn begin(memory: &Arc<SharedWords>) -> io::Result<Self> {
        let start = process_start()?;
        let store = |at: usize, word: u64| memory[at].store(word, Release); // in this order, also after a kill
        let was_clean = memory[at::CLEAN].load(Relaxed) == 1; // written before the former lock was released
        let lived_at = Duration::from_millis(memory[at::ALIVE].load(Relaxed));
        let epoch = memory[at::EPOCH].load(Relaxed).wrapping_add(1);
        store(at::CLEAN, 0);
        store(at::EPOCH, epoch);
        store(at::OWNER_PID, std::process::id().into());
        store(at::OWNER_START, start);
        Ok(Self { memory: Arc::clone(memory), epoch, was_clean, lived_at })
    }

    /// Records that this process lives. To be called every quarter of a second.
    pub fn renew(&self, now: Duration) {
        self.memory[at::ALIVE].store(now.as_millis() as u64, Relaxed);
    }

    /// Marks an orderly end at `now` of the monotonic clock. To be called once no writer stores anything more.
    pub fn end(self, now: Duration) {
        self.renew(now);
        self.memory[at::CLEAN].store(1, Release); // after all entries
    }
}

impl AsFd for ShadowSession {
    /// The descriptor of the memory, which carries its lock.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

fn make_directory_of(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    directory.map_or(Ok(()), |directory| DirBuilder::new().recursive(true).mode(0o700).create(directory))
}

fn random_seed() -> io::Result<Seed> {
    let mut seed = [0; 4];
    for word in &mut seed {
        *word = getrandom::u64().map_err(io::Error::other)? | 1; // never all zero
    }
    Ok(Seed(seed))
}

fn refusal(error: SharedWordsError) -> ShadowRefusal {
    match error {
        SharedWordsError::Absent => ShadowRefusal::Absent,
        SharedWordsError::Locked(file) => {
            ShadowRefusal::Held(word_of(file.as_fd(), at::OWNER_PID).unwrap_or_default() as u32)
        }
        SharedWordsError::Length(_) => ShadowRefusal::Size,
        SharedWordsError::System(error) => ShadowRefusal::System(error),
        error => ShadowRefusal::File(error),
    }
}
