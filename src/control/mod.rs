//! The control thread: everything but frames.
//!
//! Modules, in the order of their imports:
//!
//! - `api`: the plain data of the control socket.
//! - `host`: this host's interfaces, next hops, users, privileges, signals.
//! - `log`: the rate limit and the audit of changes.
//! - `state`: the registry of services and real servers.
//! - `workers`: the worker threads, the backend, the listings.
//! - `keeper`: the thread that writes the shadow table.
//! - `neighbor`: the driver of the neighbor machine.
//! - `program`: the security of hooks and scripts.
//! - `health`: the thread of the health checks.
//! - `readiness`: whether this director can take traffic, told to keepalived and routing daemons.
//! - `sync`: the sockets of connection sync.
//! - `ping`: the answers to pings of VIPs.
//! - `config_file`: the configuration file and reloads.
//! - `metrics`: the page for Prometheus.
//! - `takeover`: the messages of a warm restart.
//! - `query`, `http`, `client`: the control socket and its client.
//! - `director`: the event loop and all changes of the state.

#![forbid(unsafe_code)]

pub mod answers;
pub mod api;
pub mod client;
pub mod config_file;
pub mod director;
pub mod health;
mod hooks;
pub mod host;
pub mod http;
pub mod keeper;
pub mod log;
pub mod metrics;
pub mod neighbor;
pub mod ping;
mod program;
pub mod query;
pub mod readiness;
pub(in crate::control) mod role;
pub mod state;
pub mod sync;
mod takeover;
pub mod token_bucket;
pub mod workers;
