//! The control thread: configuration, ARP, the control socket; everything but frames.

#![forbid(unsafe_code)]

pub mod api;
pub mod arp;
pub mod backend;
pub mod client;
pub mod crew;
pub mod director;
pub mod handover;
pub mod host;
pub mod privileges;
pub mod rates;
pub mod registry;
pub mod server;
mod socket;
mod stall;
pub mod status;
pub mod watchdog;
