//! Reasons why shared memory is not used.

use crate::sys::shared_words::SharedWordsError;
use std::io;

/// Reason why the shadow memory of another process is not used. But for [`ShadowRefusal::Held`] and errors of the system,
/// a new one takes its place.
#[derive(Debug, thiserror::Error)]
pub enum ShadowRefusal {
    /// There is none.
    #[error("there is no such file")]
    Absent,
    /// Another process uses it; its process id, as far as it is known.
    #[error("process {0} uses it; stop that one, or give this one another name")]
    Held(u32),
    /// It is no file that only this user can write.
    #[error("it is no file of this user alone: {0}; remove it")]
    File(SharedWordsError),
    /// It is no shadow memory.
    #[error("it is no shadow memory")]
    Magic,
    /// A host of the other byte order has written it.
    #[error("it has another byte order")]
    ByteOrder,
    /// Another version of the layout; its number.
    #[error("it has layout version {0}")]
    Version(u64),
    /// It was written before the last boot, so its deadlines mean nothing.
    #[error("it is from another boot")]
    Boot,
    /// Its length or the sizes of its tables contradict each other.
    #[error("its length and the sizes of its tables contradict each other")]
    Size,
    /// A capacity is out of range.
    #[error("a table has 1 to 2147483648 entries")]
    Capacity,
    /// It has no secret for hashing.
    #[error("it has no seed")]
    Seed,
    /// An error of the system.
    #[error("{0}")]
    System(#[from] io::Error),
}

impl ShadowRefusal {
    /// Name in metrics and logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Held(_) => "held",
            Self::File(_) => "file",
            Self::Magic => "magic",
            Self::ByteOrder => "byte_order",
            Self::Version(_) => "version",
            Self::Boot => "boot",
            Self::Size => "size",
            Self::Capacity => "capacity",
            Self::Seed => "seed",
            Self::System(_) => "system",
        }
    }
}
