//! The control thread: configuration, ARP, the control socket; everything but frames.

#![forbid(unsafe_code)]

pub mod api;
pub mod arp;
pub mod client;
mod config_file;
pub mod director;
pub mod host;
pub mod http;
pub mod log;
pub mod metrics;
pub mod state;
pub mod workers;
