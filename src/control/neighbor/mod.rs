//! Neighbors: the task that drives the machine of [`crate::neighbor`], and the log of its reports.

pub mod driver;
pub(in crate::control) mod findings;
pub(in crate::control) mod log;
pub mod own_audit;
pub mod sockets;
pub mod vlans;
