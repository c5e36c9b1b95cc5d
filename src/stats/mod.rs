//! Counters, each written by one worker and read by control at any time.

#![forbid(unsafe_code)]

mod counters;
mod drops;

pub use counters::{Counter, HandshakeCounters, Handshakes, Levels, ServerCounters, WorkerCounters};
pub use drops::DropReason;
