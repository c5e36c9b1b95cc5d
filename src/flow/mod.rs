//! Connection table and connection states.
//!
//! A table belongs to one worker. It is allocated once and never resized. Every operation touches a bounded
//! number of entries, so that no frame waits for a sweep.

mod any_key;
mod bucket;
mod key;
mod share;
mod state;
mod table;
mod wide;

pub use any_key::AnyKey;
pub use bucket::{EntryMut, FlowEntry, SLOTS};
pub use key::{Flow, FlowKey, TableKey, V4Key};
pub use state::{ConnState, HandshakeStep};
pub use table::{FlowTable, Hint, Inserted};
pub(crate) use table::{MOVES_MAX, buckets_for};
pub use wide::WideKey;
