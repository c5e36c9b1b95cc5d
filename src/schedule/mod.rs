//! Which real server gets a new connection: wlc over load counters that all workers share.

#![forbid(unsafe_code)]

mod load;
mod pool;

pub use load::{Load, Loads};
pub use pool::{Candidate, Pool};
