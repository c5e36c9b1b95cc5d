//! AF_XDP over veth pairs between network namespaces. Needs root.
//!
//! ```text
//!   peer                 director                 server
//!   10.0.0.2             10.0.0.1
//!   eth0 ------------- eth0     eth1 ------------- eth0
//! ```

mod choice;
mod forwarding;
mod handing_over;
mod harness;
mod losses;
mod ownership;
mod refusals;
mod selection;

#[path = "../support/mod.rs"]
mod support;
