//! Shadow table: the connections of all workers in shared memory, for a worker that misses one and for the next process.
//!
//! A worker's own table has the connections that came by its queue, and ends with the process. The shadow table has those of
//! all workers, of another director, and of the process before. One thread writes it ([`ShadowWriter`]) at the events of a connection; workers
//! look up in it ([`ShadowReader`]) on a miss, without a lock. There is a table for each kind of key.
//!
//! # Trust
//!
//! After a kill every word may be the last that was written. Each entry is complete by itself: its value is stored before
//! its tag, its tag is cleared before its value changes hands, and a displaced entry is copied before it is cleared. A process that opens the
//! memory of another begins with entries that no table shows. [`ShadowWriter::check`] judges each on its own, and
//! shows the ones that pass.
//!
//! # Layout
//!
//! All is 64-bit words in the byte order of the host (`layout.rs`). Numbers of matches, services and real servers mean nothing to the
//! next process, so the memory also has a digest of each name ([`ShadowNames`]): the next process gives the same names
//! the same numbers, and entries stay in place.

#![forbid(unsafe_code)]

mod atomic;
mod check;
mod clock;
mod digest;
mod key;
mod layout;
mod memory;
mod names;
mod reader;
mod refusal;
mod stripes;
mod table;
mod value;
mod words;
mod writer;

pub use check::Checked;
pub use clock::ShadowClock;
pub use digest::Digest;
pub use key::{RestWords, ShadowKey};
pub use layout::ShadowShape;
pub use memory::{ShadowMemory, ShadowParts, ShadowPlace, ShadowSession};
pub use names::ShadowNames;
pub use reader::ShadowReader;
pub use refusal::ShadowRefusal;
pub use value::{ShadowEntry, ShadowValue};
pub use words::{Region, Words};
pub use writer::{ShadowWriter, Stored};

#[cfg(all(test, not(loom_model)))]
mod tests;

#[cfg(all(test, loom_model))]
mod loom_tests;
