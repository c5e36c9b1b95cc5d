//! Scheduling: IPVS's schedulers over load counters that all workers share.
//!
//! [`Loads`] counts connections and has the overload state of each server. A [`Pool`] holds the servers of
//! one service and picks one for a new connection. After a change of a load the caller notifies the pool:
//! `loads.add(server, …)`, then `pool.changed(server, &loads)`.
//!
//! | IPVS scheduler | file |
//! |---|---|
//! | rr | `rr.rs` |
//! | wrr | `wrr.rs` |
//! | lc, wlc, sed, nq, fo, ovf | `least.rs`, with the tournament tree of `tree.rs` |
//! | sh, dh | `hashing.rs` |
//! | mh | `hashing.rs`, with the table of `maglev.rs` |
//! | twos | `twos.rs` |
//!
//! Around them: `thresholds.rs` (overload), `slow_start.rs`, `templates.rs` (persistence).

#![forbid(unsafe_code)]

mod atomic;
mod candidate;
mod hashing;
mod least;
mod load;
mod maglev;
mod params;
mod pool;
mod rr;
mod servers;
mod slow_start;
mod templates;
mod thresholds;
mod tree;
mod tree_set;
mod twos;
mod wrr;

pub use candidate::Candidate;
pub use load::{Loads, ServerLoad};
pub use params::{ClientAddr, Params};
pub use pool::Pool;
pub use templates::{Binding, Bound, GENERATIONS, Template, TemplateKey, Templates};
pub use thresholds::Thresholds;
