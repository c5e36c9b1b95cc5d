//! Readiness: whether this director can take traffic, told to other daemons.
//!
//! One value, [`TrafficReadiness`], goes to the file that keepalived tracks and to the carrier of the TUN device that BIRD and
//! FRR follow. It is made of [`ReadyConditions`].

mod file;
mod first_results;
mod signals;
mod state;
mod verdict;

pub use file::ReadyFile;
pub use first_results::FirstResults;
pub use signals::ReadySignals;
pub(in crate::control) use state::ReadyState;
pub use verdict::{ReadyConditions, TrafficReadiness, Unready};
