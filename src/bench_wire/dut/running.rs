//! A started DUT.

use crate::model::Diagnostic;
use std::collections::BTreeMap;

/// A DUT that has been started. Dropping it ends it.
pub(in crate::bench_wire) trait RunningDut: Send {
    /// Stops it without losing its state.
    fn suspend(&self) {}

    /// Continues after [`RunningDut::suspend`].
    fn resume(&self) {}

    /// Fails if its process has ended.
    fn check(&mut self) -> Result<(), Diagnostic> {
        Ok(())
    }

    /// Frames lost so far, by cause, as counted by the DUT.
    fn losses(&self) -> Result<BTreeMap<String, u64>, Diagnostic> {
        Ok(BTreeMap::new())
    }

    /// Connections in its table; `None` if it has no table.
    fn connections(&self) -> Result<Option<u64>, Diagnostic> {
        Ok(None)
    }
}
