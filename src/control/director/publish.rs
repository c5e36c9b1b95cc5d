//! From the registry to the workers and the kernel: one snapshot after another.

use crate::control::director::Director;
use crate::control::director::error::DirectorError;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// After so long every worker has adopted a new snapshot, also one that sleeps (10 ms at a time).
const ADOPTION: Duration = Duration::from_millis(30);

impl<F: FnMut()> Director<F> {
    /// Hands a new snapshot to the workers, then lets the kernel hand over what it knows.
    pub(in crate::control) fn publish(&mut self) -> Result<(), DirectorError> {
        self.provide();
        let now = Instant::now();
        self.retired.push(self.snapshot.swap(Arc::new(self.registry.snapshot(&self.loads, now))));
        let (services, retired) = (self.registry.services.len(), self.retired.len());
        tracing::debug!(services, retired, "snapshot published");
        self.release();
        self.release = Some(now + ADOPTION);
        self.availability.look(&self.registry.services, &self.loads, now);
        self.hand_over()
    }

    /// Sees to it that workers have tables for what the snapshot asks of them. Without one they drop
    /// what would open a connection there.
    pub(in crate::control) fn provide(&mut self) {
        if self.registry.has_wildcard_service()
            && let Err(error) = self.backend.workers.set_wildcard_table()
        {
            tracing::error!(%error, "wildcard-port services take no connections yet");
        }
    }

    /// Frees the snapshots that no worker holds any more. Their pools no longer cost anything then.
    fn release(&mut self) {
        self.retired.retain(|old| Arc::strong_count(old) > 1);
        self.release = None; // what is held still is looked at with the next tick
    }

    /// Lets go of what is gone if every worker has adopted the latest snapshot. Returns whether it has.
    pub(in crate::control) fn settle(&mut self) -> bool {
        self.release();
        let settled = self.retired.is_empty();
        if settled {
            self.registry.forget(&self.loads, &self.templates);
        }
        settled
    }

    /// A director that is not ready yet fails if the kernel refuses; later it tries again.
    pub(in crate::control) fn hand_over(&mut self) -> Result<(), DirectorError> {
        match self.backend.steering.set(self.registry.served()) {
            Err(error) if self.ready.is_some() => return Err(error.into()),
            Err(error) => {
                tracing::error!(%error, "updating the steering map failed: the previous services stay active")
            }
            Ok(()) => {}
        }
        Ok(())
    }
}
