//! Checks: pure functions from facts to findings, a file for each subject.

pub(super) mod addresses;
pub(super) mod bonding;
pub(super) mod bpf;
pub(super) mod filters;
pub(super) mod kernel;
pub(super) mod mtu;
pub(super) mod offloads;
pub(super) mod process;
pub(super) mod queues;
pub(super) mod servers;
pub(super) mod stacking;
pub(super) mod start;
pub(super) mod xdp;
