//! Which real server gets a new connection: wlc over load counters that all workers share.
//!
//! [`Loads`] counts; a [`Pool`] has the servers of one service that take new connections, and knows
//! at any time which is next. Whoever counts tells the pool: `loads.add(server, …)`, then
//! `pool.changed(server, &loads)`.

#![forbid(unsafe_code)]

mod atomic;
mod lineage;
mod load;
mod pool;
mod tree;

pub use load::{Load, Loads};
pub use pool::{Candidate, Pool};
