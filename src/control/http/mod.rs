//! HTTP/1.1 over the control socket and the metrics listener.

pub(in crate::control) mod acceptor;
pub(in crate::control) mod connection;
pub mod exporter;
pub(in crate::control) mod health;
pub(in crate::control) mod metrics;
mod recreate;
pub mod server;
pub(in crate::control) mod socket;
pub(in crate::control) mod startup;
mod write_timeout;
