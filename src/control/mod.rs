//! The control thread: configuration, ARP, the control socket; everything but frames.

#![forbid(unsafe_code)]

pub mod access;
mod answers;
pub mod api;
pub mod arp;
pub mod audit;
pub mod availability;
pub mod backend;
pub mod client;
mod config_file;
pub mod crew;
mod departed;
pub mod director;
mod early;
mod entry;
pub mod exporter;
pub mod failure;
mod gate;
pub mod handover;
mod health;
mod hints;
pub mod host;
mod ids;
pub mod inspect;
mod links;
pub mod live;
pub mod metrics;
mod news;
mod overview;
pub mod privileges;
mod publish;
mod ramp;
pub mod rates;
pub mod registry;
pub mod reload;
mod remake;
pub mod request;
pub mod server;
mod serving;
mod signals;
mod socket;
mod stall;
pub mod status;
mod symptoms;
#[cfg(test)]
pub(crate) mod test_log;
pub mod throttle;
mod vips;
mod waiting;
pub mod watchdog;
mod ways;
