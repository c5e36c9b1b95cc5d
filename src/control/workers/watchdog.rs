//! The watchdog: detects stalled workers, and notifies the service manager while none is stalled.
//!
//! `WatchdogSec=` of systemd.service(5), WATCHDOG=1 of sd_notify(3).

use crate::control::state::rates;
use crate::control::workers::Workers;
use sd_notify::NotifyState;
use std::time::Duration;

/// Time that a waiting start requests until its next notification.
const START_EXTENSION: Duration = Duration::from_secs(60);

/// Compares the workers' beats at each tick of the control loop.
#[derive(Debug, Default)]
pub struct Watchdog {
    /// True if the service manager has set a watchdog interval.
    is_enabled: bool,
    /// Beats of each worker at the last check.
    beats: Vec<u64>,
    stalled: Option<usize>,
}

impl Watchdog {
    /// Creates the watchdog from the environment of the service manager.
    #[must_use]
    pub fn new() -> Self {
        let interval = sd_notify::watchdog_enabled();
        if let Some(interval) = interval.filter(|interval| *interval < 2 * rates::INTERVAL) {
            let least = 3 * rates::INTERVAL.as_secs();
            tracing::warn!(?interval, least, "the watchdog interval is too short: raise WatchdogSec");
        }
        Self { is_enabled: interval > Some(Duration::ZERO), ..Self::default() }
    }

    /// Returns the worker that made no rounds between the last two checks.
    #[must_use]
    pub fn stalled(&self) -> Option<usize> {
        self.stalled
    }

    /// Notifies the service manager if every worker has made rounds since the last check.
    pub fn check(&mut self, workers: &Workers) {
        let beats = workers.handles().iter().map(|handle| handle.counters.beats.get()).collect();
        let (stalled, before) = (self.find_stalled(beats), self.stalled);
        self.stalled = stalled;
        match self.stalled {
            Some(worker) if before.is_none() => tracing::error!(
                worker,
                "worker stalled: it forwards nothing; the watchdog notification is withheld"
            ),
            None if before.is_some() => tracing::info!("no worker is stalled any more"),
            _ => {}
        }
        if self.is_enabled && self.stalled.is_none() {
            notify();
        }
    }

    /// Returns the first worker with the beats of the last check.
    fn find_stalled(&mut self, beats: Vec<u64>) -> Option<usize> {
        let before = std::mem::replace(&mut self.beats, beats);
        before.iter().zip(&self.beats).position(|(before, now)| before == now)
    }
}

/// Notifies the service manager of the reason for the wait, and extends `TimeoutStartSec=`.
pub(in crate::control) fn notify_waiting(reason: &str) {
    let reason = reason.replace('\n', "; "); // a line each, as sd_notify(3) has it
    let status = format!("waiting: {reason}");
    let states =
        [NotifyState::Status(&status), NotifyState::ExtendTimeoutUsec(START_EXTENSION.as_micros() as u32)];
    if let Err(error) = sd_notify::notify(&states) {
        tracing::debug!(%error, "notifying NOTIFY_SOCKET of the wait failed");
    }
}

/// Sends WATCHDOG=1. If that keeps failing, the service manager acts.
fn notify() {
    if let Err(error) = sd_notify::notify(&[NotifyState::Watchdog]) {
        tracing::debug!(%error, "notifying NOTIFY_SOCKET failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stalled_worker_is_found_and_may_recover() {
        let mut watchdog = Watchdog::default();
        for (beats, standing) in
            [([0, 0], None), ([1, 7], None), ([2, 7], Some(1)), ([2, 7], Some(0)), ([3, 9], None)]
        {
            assert_eq!(watchdog.find_stalled(beats.to_vec()), standing, "{beats:?}");
        }
    }
}
