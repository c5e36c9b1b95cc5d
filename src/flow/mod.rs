//! The connection table and the states of its connections.
//!
//! A table belongs to one worker. It is allocated once and never resized; every operation
//! touches a bounded number of entries, so that no frame ever waits for housekeeping.

mod bucket;
mod key;
mod share;
mod state;
mod table;

pub use bucket::{Entry, Found, SLOTS};
pub use key::{Flow, FlowKey, Key, V4Key, WildcardKey};
pub use state::State;
pub use table::{FlowTable, Hint, Homes, Inserted};
