//! Health checks: a thread with the machine of [`crate::health`] and its probes.
//!
//! It is a thread of its own, so that checks delay neither ARP nor changes. It starts with the first check, and ends with
//! the director.

mod certificate;
mod command;
mod driver;
mod error;
mod http;
pub mod listing;
pub mod log;
mod probe;
mod shared;
mod tls;
mod trust;

pub(super) use command::{HealthCommand, HealthOverview};

use crate::health::{HealthReport, HealthSettings};
use driver::HealthDriver;
use std::io;
use tokio::sync::mpsc;

/// Most probes in flight: each needs a file descriptor.
const IN_FLIGHT_MAX: usize = 256;

/// The thread of the health checks. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct HealthThread {
    commands: mpsc::UnboundedSender<HealthCommand>,
}

impl HealthThread {
    /// Starts the thread. Its reports go to `reports`.
    ///
    /// # Errors
    /// If the system gives no thread, no epoll(7) or no random number.
    pub(super) fn start(reports: mpsc::UnboundedSender<HealthReport>) -> io::Result<Self> {
        let seed = getrandom::u64().map_err(io::Error::other)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let driver = HealthDriver::new(HealthSettings { in_flight_max: IN_FLIGHT_MAX, seed }, reports);
        let (commands, received) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new().name("health".into());
        thread.spawn(move || runtime.block_on(driver.run(received)))?;
        Ok(Self { commands })
    }

    /// Sends a command. If the thread has ended, which it does by a panic only, states stay as they are.
    pub(super) fn send(&self, command: HealthCommand) {
        if self.commands.send(command).is_err() {
            tracing::error!("the thread of the health checks has ended: states stay as they are");
        }
    }
}
