//! Publication of snapshots: registry → workers → kernel. Reclamation follows once every worker has adopted (RCU-like).

use super::Director;
use super::error::DirectorError;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time within which every worker adopts a new snapshot, including sleeping ones (10 ms at a time).
const ADOPTION: Duration = Duration::from_millis(30);

impl Director {
    /// Publishes a new snapshot to the workers, then updates the steering.
    pub(super) fn publish(&mut self) -> Result<(), DirectorError> {
        self.ensure_tables();
        self.check_quorums();
        self.report_sorry_servers();
        self.record_claims();
        let now = Instant::now();
        self.replaced.push(self.snapshot.swap(Arc::new(self.registry.snapshot(&self.loads, now))));
        let (services, replaced) = (self.registry.services.len(), self.replaced.len());
        tracing::debug!(services, replaced, "snapshot published");
        self.free_snapshots();
        self.reclaim_at = Some(now + ADOPTION);
        self.availability.check(&self.registry.services, &self.loads, now);
        self.sync_steering()
    }

    /// Publishes; logs a failure of the steering, which a later tick tries again.
    pub(super) fn publish_or_log(&mut self) {
        if let Err(error) = self.publish() {
            log_steering_failure(&error);
        }
    }

    /// Gives each worker the flow table for IPv6 and for matches of several ports, before the first one is published.
    ///
    /// A worker without it drops frames that would open a connection there.
    pub(super) fn ensure_tables(&mut self) {
        if self.registry.has_wide_match()
            && let Err(error) = self.backend.workers.set_wide_table()
        {
            tracing::error!(%error, "services of IPv6 or of several ports take no connections yet");
        }
    }

    /// Frees the replaced snapshots that no worker holds.
    fn free_snapshots(&mut self) {
        self.replaced.retain(|snapshot| Arc::strong_count(snapshot) > 1);
        self.reclaim_at = None; // the next tick checks those still held
    }

    /// Frees snapshots and ids that are no longer used. Returns true if every worker has adopted the latest snapshot.
    pub(super) fn reclaim(&mut self) -> bool {
        self.free_snapshots();
        let adopted = self.replaced.is_empty();
        if adopted {
            self.registry.release_ids(&self.loads, &self.templates, Instant::now());
        }
        adopted
    }

    /// Updates the steering set to the services whose VIP is claimed.
    ///
    /// # Errors
    /// If the kernel refuses before the director is ready. Later, the error is logged and each tick tries again.
    pub(super) fn sync_steering(&mut self) -> Result<(), DirectorError> {
        match self.backend.steering.set(self.registry.served()) {
            Err(error) if !self.is_ready() => Err(error.into()),
            Err(error) => {
                log_steering_failure(&error);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}

pub(super) fn log_steering_failure(error: &dyn std::fmt::Display) {
    tracing::error!(%error, "updating the steering map failed: the previous services stay active");
}
