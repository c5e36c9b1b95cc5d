//! The translation of one socket's packets.

use super::evidence::ProbeEvidence;
use super::maps::ProbeEntries;
use super::refusal::ProbeRefusal;
use super::table::{ProbeEnd, ProbeTable};
use super::target::ProbeTarget;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Translation of one socket's packets. Dropping it abandons the probe.
#[derive(Debug)]
pub struct ArmedProbe {
    entries: ProbeEntries,
    serial: u64,
    table: Arc<Mutex<ProbeTable>>,
    is_ended: bool,
}

impl ArmedProbe {
    /// Writes the entries of a socket with this port or identifier.
    ///
    /// # Errors
    /// [`ProbeRefusal`] if the maps are full or the families differ.
    pub(super) fn new(
        table: &Arc<Mutex<ProbeTable>>,
        target: &ProbeTarget,
        port: u16,
    ) -> Result<Self, ProbeRefusal> {
        let entries = ProbeEntries::of(target, port)?;
        let serial = lock(table).arm(&entries)?;
        Ok(Self { entries, serial, table: Arc::clone(table), is_ended: false })
    }

    /// The counts of the programs so far. To be read before the end.
    ///
    /// # Errors
    /// Errors of bpf(2). ENOENT if the port has gone to another probe, after the socket was closed.
    pub fn evidence(&self) -> io::Result<ProbeEvidence> {
        lock(&self.table).evidence(&self.entries, self.serial)
    }

    /// Ends the translation. The socket must be closed: its packets would go to the RIP.
    pub fn end(mut self, how: ProbeEnd) {
        self.end_once(how);
    }

    fn end_once(&mut self, how: ProbeEnd) {
        if !std::mem::replace(&mut self.is_ended, true) {
            lock(&self.table).end(&self.entries, self.serial, how);
        }
    }
}

impl Drop for ArmedProbe {
    fn drop(&mut self) {
        self.end_once(ProbeEnd::Abandoned);
    }
}

/// A panic of another thread leaves the table whole: each change of it is one call.
pub(super) fn lock(table: &Mutex<ProbeTable>) -> MutexGuard<'_, ProbeTable> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}
