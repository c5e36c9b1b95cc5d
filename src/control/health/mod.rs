//! Health checks: a thread with the machine of [`crate::health`] and its probes.
//!
//! It is a thread of its own, so that checks delay neither ARP nor changes. It starts with the first check, and ends with
//! the director.

mod certificate;
mod command;
mod dns;
mod driver;
mod error;
mod external;
mod file;
mod http;
mod judge;
pub mod listing;
pub mod log;
mod ping;
mod places;
mod probe;
mod prober;
mod script;
mod shared;
mod smtp;
mod sockets;
mod tasks;
mod tls;
mod trust;
mod way;

pub(super) use command::{HealthCommand, HealthOverview};
pub(super) use prober::{AttachedProber, VipProber};
pub(super) use way::ServerMac;

use crate::health::{HealthReport, HealthSettings};
use driver::HealthDriver;
use nix::sys::resource::{Resource, getrlimit};
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::mpsc;
use way::ProbeWays;

/// Most probes in flight: a quarter of the file descriptors that this process may have, within limits. A probe of a VIP has two
/// sockets while it asks the RIP, too.
pub(super) fn in_flight_max() -> usize {
    const LIMITS: (u64, u64) = (64, 2048);
    let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
    (files / 4).clamp(LIMITS.0, LIMITS.1) as usize
}

/// The thread of the health checks. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct HealthThread {
    commands: mpsc::UnboundedSender<HealthCommand>,
    thread: JoinHandle<()>,
}

impl HealthThread {
    /// Starts the thread. Its reports go to `reports`. Without a prober, checks of the VIP find nothing out.
    ///
    /// # Errors
    /// If the system gives no thread, no epoll(7) or no random number.
    pub(super) fn start(
        prober: Option<Arc<VipProber>>,
        reports: mpsc::UnboundedSender<HealthReport>,
    ) -> io::Result<Self> {
        let seed = getrandom::u64().map_err(io::Error::other)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let settings = HealthSettings { in_flight_max: in_flight_max(), seed };
        let driver = HealthDriver::new(settings, ProbeWays::new(prober), reports);
        let (commands, received) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new().name("health".into());
        let thread = thread.spawn(move || runtime.block_on(driver.run(received)))?;
        Ok(Self { commands, thread })
    }

    /// Sends a command. It is lost if the thread has ended.
    pub(super) fn send(&self, command: HealthCommand) {
        let _ = self.commands.send(command); // the end is noticed by `has_ended`
    }

    /// True if the thread has ended, which it does by a panic only.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}
