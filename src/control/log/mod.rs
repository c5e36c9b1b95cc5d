//! The log: its rate limit, and the audit of changes.

pub mod audit;
#[cfg(test)]
pub(crate) mod capture;
pub mod limit;
