//! The throughput bench: contenders side by side on veth pairs, one generator, one counting sink.

pub mod conditions;
pub mod experiment;
#[cfg(test)]
mod fake;
pub mod plan;
pub mod plots;
pub mod report;
pub mod results;
pub mod search;
pub mod session;
pub mod statistics;
mod summary;
pub mod tables;
pub mod trial;
