//! Diagnosis of a host as a director: traps that keep direct routing from working, each with its remedy.
//!
//! `gather` reads and tries, and changes nothing. Each file of `checks` has the pure functions from the gathered facts
//! to findings about one subject. `list` names every check with its stable id; docs/doctor.md has a section for each.

#![forbid(unsafe_code)]

mod checks;
mod conf;
mod core_facts;
mod facts;
mod fault;
mod files;
mod finding;
mod gather;
mod gathered;
mod ha_facts;
mod host_facts;
mod interface_facts;
mod list;
mod nic_facts;
mod process_facts;
mod real_server;
mod replies;
mod report;
mod running_facts;
#[cfg(test)]
mod sample;
mod wanted;

pub use finding::{Finding, FindingLevel, Remedy};
pub use list::{REAL_SERVER, director, documented, errors_before_start};
pub use real_server::real_server;
pub use report::DoctorReport;
