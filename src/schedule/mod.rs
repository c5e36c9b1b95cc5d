//! Which real server gets a new connection: IPVS's schedulers over load counters that all workers
//! share.
//!
//! [`Loads`] counts, and knows who is overloaded; a [`Pool`] has the servers of one service, and
//! knows at any time which is next. Whoever counts tells the pool: `loads.add(server, …)`, then
//! `pool.changed(server, &loads)`.

#![forbid(unsafe_code)]

mod atomic;
mod hashed;
mod limit;
mod lineage;
mod load;
mod lot;
mod maglev;
mod measure;
mod newcomers;
mod players;
mod pool;
mod rule;
mod templates;
mod tree;
mod turns;

pub use limit::Thresholds;
pub use load::{Load, Loads};
pub use pool::{Candidate, Pool};
pub use rule::{Client, Rule};
pub use templates::{Binding, Template, TemplateKey, Templates};
