//! The control thread: configuration, ARP, the control socket; everything but frames.

#![forbid(unsafe_code)]

pub mod access;
mod alarms;
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
pub mod request;
pub mod server;
mod serving;
mod signals;
mod socket;
mod stall;
pub mod status;
pub mod throttle;
mod waiting;
pub mod watchdog;
mod ways;
