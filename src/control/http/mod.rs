//! HTTP/1.1 over the control socket and the metrics listener.

pub(in crate::control) mod acceptor;
pub(in crate::control) mod connection;
pub mod exporter;
mod health;
pub mod limits;
mod metrics;
mod recreate;
mod response;
pub mod server;
pub mod socket;
pub(in crate::control) mod startup;
mod write_timeout;
