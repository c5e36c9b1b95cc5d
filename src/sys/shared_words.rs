//! Memory shared between processes, as atomic 64-bit words: a memory file (memfd_create(2)) or a named file.
//!
//! One open file description at a time has the lock (flock(2)), so one process maps the words; a descriptor that is passed
//! to another process carries the lock along.
//!
//! A mapped file never shrinks, as an access beyond its end would be answered by SIGBUS. A memory file is sealed against
//! it. A named file gets its length before it gets its name, and no function here changes the length of a file that has
//! one. Other users cannot: it has mode 0600. Processes of the same user could, as they could kill this one.
//!
//! The file has holes where nothing was written, and a hole takes no memory. An access to a hole makes a page, and
//! SIGBUS if there is no memory for it: [`SharedWords::back`] makes the page beforehand, and returns the error.
#![allow(unsafe_code)] // the mapping, and flock(2)

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap};
use nix::sys::statvfs::fstatvfs;
use nix::unistd::{Whence, geteuid, lseek};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::num::NonZeroUsize;
use std::ops::{Deref, Range};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

/// Bytes of a word.
const WORD: usize = size_of::<AtomicU64>();
/// Opens of a named file that another process replaces meanwhile.
const OPENS_MAX: usize = 8;
/// Seals of a memory file: its length stays.
pub(super) const SEALS: SealFlag =
    SealFlag::F_SEAL_SHRINK.union(SealFlag::F_SEAL_GROW).union(SealFlag::F_SEAL_SEAL);

/// Reason why a file cannot be mapped.
#[derive(Debug, thiserror::Error)]
pub enum SharedWordsError {
    /// There is no file of that name.
    #[error("there is no such file")]
    Absent,
    /// Another process has the lock. The first words of the file may tell which.
    #[error("another process holds it")]
    Locked(OwnedFd),
    /// It is no regular file.
    #[error("it is not a regular file")]
    NotRegular,
    /// It belongs to another user, or others have access.
    #[error("it belongs to another user, or other users have access")]
    NotOwn,
    /// It is a memory file whose length may change.
    #[error("it is a memory file without seals against a change of its length")]
    NotSealed,
    /// It is empty, or no multiple of eight bytes long.
    #[error("its length, {0} bytes, is not a number of words")]
    Length(u64),
    /// The file system has no room for all of it.
    #[error("its file system has room for {free} of {needed} bytes")]
    NoRoom {
        /// Free bytes.
        free: u64,
        /// Bytes of the file.
        needed: u64,
    },
    /// An error of a system call.
    #[error(transparent)]
    System(#[from] io::Error),
}

impl From<nix::Error> for SharedWordsError {
    fn from(error: nix::Error) -> Self {
        Self::System(error.into())
    }
}

/// A locked file and its mapping.
#[derive(Debug)]
pub struct SharedWords {
    start: NonNull<AtomicU64>,
    length: usize,
    file: File,
}

// SAFETY: the mapping belongs to this value until it is dropped, and is accessed as shared atomics alone; both allow any
// thread. The file is a descriptor, whose calls are safe on any thread.
unsafe impl Send for SharedWords {}
// SAFETY: as above: through a shared reference there are atomics and calls on a descriptor.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    /// Creates a memory file of `words` zero words. Nothing else can open it; its descriptor can be passed on.
    ///
    /// # Errors
    /// Errors of memfd_create(2), ftruncate(2), fcntl(2) and mmap(2).
    pub fn anonymous(words: usize) -> Result<Self, SharedWordsError> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let file = File::from(memfd_create(c"directrix", flags)?);
        file.set_len((words * WORD) as u64)?;
        fcntl(&file, FcntlArg::F_ADD_SEALS(SEALS))?;
        Self::map(lock(file)?)
    }

    /// Creates a named file of `words` zero words, in place of any other of that name that no process holds. It gets its name once
    /// `prepare` has written to it, so that nothing finds it half made.
    ///
    /// # Errors
    /// As for [`SharedWords::open`], [`SharedWordsError::NoRoom`], and errors of `prepare`.
    pub fn create(
        path: &Path,
        words: usize,
        prepare: impl FnOnce(&Self) -> io::Result<()>,
    ) -> Result<Self, SharedWordsError> {
        let former = match Self::open_locked(path) {
            Ok(file) => Some(file),
            Err(SharedWordsError::Absent) => None,
            Err(error) => return Err(error),
        };
        let draft = Draft::new(path)?;
        let file = draft.open((words * WORD) as u64)?;
        let memory = Self::map(lock(file)?)?;
        prepare(&memory)?;
        draft.publish(path, former.is_some())?;
        Ok(memory)
    }

    /// Opens a named file. It has to be a regular file of this user alone, and no symbolic link.
    ///
    /// # Errors
    /// [`SharedWordsError`].
    pub fn open(path: &Path) -> Result<Self, SharedWordsError> {
        Self::map(Self::open_locked(path)?)
    }

    /// Takes over a file whose descriptor another process has passed, together with its lock.
    ///
    /// # Errors
    /// [`SharedWordsError`].
    pub fn from_descriptor(descriptor: OwnedFd) -> Result<Self, SharedWordsError> {
        let file = File::from(descriptor);
        check(&file)?;
        // A file with a name cannot be sealed.
        let seals = fcntl(&file, FcntlArg::F_GET_SEALS).map(SealFlag::from_bits_truncate);
        if seals.is_ok_and(|seals| !seals.contains(SEALS) && is_nameless(&file)) {
            return Err(SharedWordsError::NotSealed);
        }
        Self::map(lock(file)?)
    }

    /// True while the file has a name.
    #[must_use]
    pub fn has_name(&self) -> bool {
        !is_nameless(&self.file)
    }

    /// Opens and locks the file that has the name once it is locked: another process may have replaced it meanwhile.
    fn open_locked(path: &Path) -> Result<File, SharedWordsError> {
        for _ in 0..OPENS_MAX {
            let file = open_file(path)?;
            check(&file)?;
            let file = lock(file)?;
            if names(path, &file) {
                return Ok(file);
            }
        }
        Err(io::Error::from(io::ErrorKind::Interrupted).into())
    }

    fn map(file: File) -> Result<Self, SharedWordsError> {
        let bytes = file.metadata()?.len();
        let words = usize::try_from(bytes).ok().filter(|bytes| bytes.is_multiple_of(WORD));
        let length = words.and_then(NonZeroUsize::new).ok_or(SharedWordsError::Length(bytes))?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let start = unsafe { mmap(None, length, access, MapFlags::MAP_SHARED, &file, 0) }?;
        Ok(Self { start: start.cast(), length: length.get() / WORD, file })
    }

    /// Makes the memory of a stretch of words, so that no access to them fails. Kernels before Linux 5.14 cannot
    /// (MADV_POPULATE_WRITE, madvise(2)): there an access without memory ends the process.
    ///
    /// # Errors
    /// There is no memory, or a limit is reached.
    pub fn back(&self, words: Range<usize>) -> io::Result<()> {
        let words = &self[words];
        let Some(first) = words.first() else {
            return Ok(());
        };
        let page = page_size();
        let address = std::ptr::from_ref(first).addr();
        let before = address % page;
        let start = NonNull::from(first).cast::<u8>().as_ptr().wrapping_sub(before);
        let Some(start) = NonNull::new(start) else {
            return Ok(());
        };
        let length = (before + size_of_val(words)).next_multiple_of(page);
        // SAFETY: the pages belong to this mapping, which begins at a page; the advice keeps their contents.
        match unsafe { madvise(start.cast(), length, MmapAdvise::MADV_POPULATE_WRITE) } {
            Ok(()) | Err(nix::Error::EINVAL) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The first stretch of words from `from` on that is no hole; `None` if all the rest is one.
    #[must_use]
    pub fn data(&self, from: usize) -> Option<Range<usize>> {
        let seek = |from: usize, whence| lseek(&self.file, (from * WORD) as i64, whence).ok();
        let start = usize::try_from(seek(from, Whence::SeekData)?).ok()? / WORD;
        let end = usize::try_from(seek(start, Whence::SeekHole)?).ok()?.div_ceil(WORD);
        Some(start.max(from)..end.min(self.length))
    }
}

impl Deref for SharedWords {
    type Target = [AtomicU64];

    #[inline]
    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: `start` is the address of a mapping of `length` words, aligned to a page, readable and writable, which
        // lives as long as `self`. Any bits are an `AtomicU64`. The file keeps its length: see the head of this file.
        // Other threads and processes change the words atomically alone; so these references may be shared.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl AsFd for SharedWords {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        // SAFETY: the mapping of `map`, of that length; references into it cannot outlive `self`.
        let _ = unsafe { munmap(self.start.cast(), self.length * WORD) };
    }
}

/// A file without its name yet. Removed unless published.
struct Draft(PathBuf);

impl Draft {
    /// A name beside `path` that no other process uses.
    fn new(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let random = getrandom::u64().map_err(io::Error::other)?;
        let draft = format!(".{}.{random:016x}", name.to_string_lossy());
        Ok(Self(path.with_file_name(draft)))
    }

    /// Makes the file, with a length.
    fn open(&self, bytes: u64) -> Result<File, SharedWordsError> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(&self.0)?;
        let room = fstatvfs(&file)?;
        let free = room.blocks_available().saturating_mul(room.fragment_size());
        let is_limited = room.blocks() > 0; // a tmpfs without a limit has 0 blocks
        if is_limited && free < bytes {
            return Err(SharedWordsError::NoRoom { free, needed: bytes });
        }
        file.set_len(bytes)?;
        Ok(file)
    }

    /// Gives the file its name. If there was no file of that name, there must be none still.
    fn publish(self, path: &Path, replaces: bool) -> io::Result<()> {
        if replaces { fs::rename(&self.0, path) } else { fs::hard_link(&self.0, path) }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0); // it has its name by now, or has none
    }
}

fn open_file(path: &Path) -> Result<File, SharedWordsError> {
    let flags = libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK; // does not wait at a FIFO
    let opened = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path);
    opened.map_err(|error| match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::NotFound, _) => SharedWordsError::Absent,
        (io::ErrorKind::IsADirectory, _) | (_, Some(libc::ELOOP | libc::ENXIO)) => {
            SharedWordsError::NotRegular
        }
        _ => error.into(),
    })
}

/// Checks that it is a regular file of this user alone.
fn check(file: &File) -> Result<(), SharedWordsError> {
    let facts = file.metadata()?;
    if !facts.is_file() {
        return Err(SharedWordsError::NotRegular);
    }
    let is_private = facts.mode() & 0o077 == 0 || facts.nlink() == 0; // a memory file has mode 0777, and no name
    if facts.uid() != geteuid().as_raw() || !is_private {
        return Err(SharedWordsError::NotOwn);
    }
    Ok(())
}

/// Locks the file. The lock ends with the last descriptor of this opening, in whatever process.
fn lock(file: File) -> Result<File, SharedWordsError> {
    // SAFETY: a call on a descriptor that is open, without pointers.
    match nix::Error::result(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) }) {
        Ok(_) => Ok(file),
        Err(nix::Error::EWOULDBLOCK) => Err(SharedWordsError::Locked(file.into())),
        Err(error) => Err(error.into()),
    }
}

/// True if `path` is the name of the file.
fn names(path: &Path, file: &File) -> bool {
    let (Ok(named), Ok(held)) = (fs::symlink_metadata(path), file.metadata()) else {
        return false;
    };
    (named.dev(), named.ino()) == (held.dev(), held.ino())
}

fn is_nameless(file: &File) -> bool {
    file.metadata().is_ok_and(|facts| facts.nlink() == 0)
}

/// Reads one word of a file that is not mapped.
#[must_use]
pub fn word_of(file: BorrowedFd<'_>, at: usize) -> Option<u64> {
    let mut bytes = [0; WORD];
    let file = File::from(file.try_clone_to_owned().ok()?);
    file.read_exact_at(&mut bytes, (at * WORD) as u64).ok()?;
    Some(u64::from_ne_bytes(bytes))
}

fn page_size() -> usize {
    const USUAL: usize = 4096;
    nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .map_or(USUAL, |size| size as usize)
}
