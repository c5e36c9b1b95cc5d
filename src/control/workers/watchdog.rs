//! Tells the service manager that the director does its work, for as long as it does
//! (`WatchdogSec=` of systemd.service(5), WATCHDOG=1 of sd_notify(3)).

use crate::control::state::rates;
use crate::control::workers::Workers;
use sd_notify::NotifyState;
use std::time::Duration;

/// How long the service manager is to wait for the next word from a start that waits.
const PATIENCE: Duration = Duration::from_secs(60);

/// Looks at the workers once a turn of the control loop.
#[derive(Debug, Default)]
pub struct Watchdog {
    /// Whether anybody wants to be told.
    is_wanted: bool,
    /// By worker, at the last look.
    beats: Vec<u64>,
    stalled: Option<usize>,
}

impl Watchdog {
    /// As the service manager wants it, by the environment.
    #[must_use]
    pub fn new() -> Self {
        let interval = sd_notify::watchdog_enabled();
        if let Some(interval) = interval.filter(|interval| *interval < 2 * rates::INTERVAL) {
            let least = 3 * rates::INTERVAL.as_secs();
            tracing::warn!(?interval, "the watchdog is too impatient: set WatchdogSec={least} at least");
        }
        Self { is_wanted: interval > Some(Duration::ZERO), ..Self::default() }
    }

    /// The worker that made no rounds between the last two looks.
    #[must_use]
    pub fn stalled(&self) -> Option<usize> {
        self.stalled
    }

    /// Tells that all is well, if every worker has made rounds since the last look.
    pub fn look(&mut self, workers: &Workers) {
        let beats = workers.handles().iter().map(|handle| handle.counters.beats.get()).collect();
        let (stalled, before) = (self.standing(beats), self.stalled);
        self.stalled = stalled;
        match self.stalled {
            Some(worker) if before.is_none() => tracing::error!(
                worker,
                "worker stalled: it forwards nothing; the watchdog notification is withheld"
            ),
            None if before.is_some() => tracing::info!("no worker is stalled any more"),
            _ => {}
        }
        if self.is_wanted && self.stalled.is_none() {
            tell();
        }
    }

    /// The first worker whose beats are those of the last look.
    fn standing(&mut self, beats: Vec<u64>) -> Option<usize> {
        let before = std::mem::replace(&mut self.beats, beats);
        before.iter().zip(&self.beats).position(|(before, now)| before == now)
    }
}

/// Tells what the start waits for, and that it may take longer (`TimeoutStartSec=`).
pub(in crate::control) fn tell_waiting(reason: &str) {
    let reason = reason.replace('\n', "; "); // a line each, as sd_notify(3) has it
    let status = format!("waiting: {reason}");
    let states = [NotifyState::Status(&status), NotifyState::ExtendTimeoutUsec(PATIENCE.as_micros() as u32)];
    if let Err(error) = sd_notify::notify(&states) {
        tracing::debug!(%error, "NOTIFY_SOCKET could not be told that the director waits");
    }
}

/// Not worth a line in the log: if it goes on failing, the service manager will act.
fn tell() {
    if let Err(error) = sd_notify::notify(&[NotifyState::Watchdog]) {
        tracing::debug!(%error, "NOTIFY_SOCKET could not be told that the director works");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_stands_still_is_found_and_one_that_goes_on_is_forgiven() {
        let mut watchdog = Watchdog::default();
        for (beats, standing) in
            [([0, 0], None), ([1, 7], None), ([2, 7], Some(1)), ([2, 7], Some(0)), ([3, 9], None)]
        {
            assert_eq!(watchdog.standing(beats.to_vec()), standing, "{beats:?}");
        }
    }
}
