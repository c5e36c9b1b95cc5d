//! The host's side of a configuration: interfaces, next hops, users, privileges, signals.

pub mod access;
pub(in crate::control) mod carriers;
pub(in crate::control) mod hints;
pub(in crate::control) mod next_hop;
pub mod privileges;
pub mod resolve;
pub(in crate::control) mod signals;
