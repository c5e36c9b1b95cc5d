//! Checks: pure functions from facts to findings, a file for each subject.

pub(super) mod addresses;
pub(super) mod bonding;
pub(super) mod bpf;
pub(super) mod cores;
pub(super) mod driver;
pub(super) mod filters;
pub(super) mod kernel;
pub(super) mod memory;
pub(super) mod mtu;
pub(super) mod nic;
pub(super) mod offloads;
pub(super) mod platform;
pub(super) mod process;
pub(super) mod programs;
pub(super) mod queues;
pub(super) mod roles;
pub(super) mod segment;
pub(super) mod servers;
pub(super) mod stacking;
pub(super) mod start;
pub(super) mod steering;
pub(super) mod time;
pub(super) mod traffic;
pub(super) mod xdp;
