//! The connection table and the states of its connections.
//!
//! One table belongs to one worker. It is allocated once and never resized; every operation
//! touches a bounded number of entries, so that no frame ever waits for housekeeping.

#![forbid(unsafe_code)]

mod hash;
mod state;
mod table;

pub use hash::{Key, Seed, V4Key};
pub use state::State;
pub use table::{Entry, FlowTable, Homes, Inserted, SLOTS};
