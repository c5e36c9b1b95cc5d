//! A probe that this host refuses.

use crate::model::Diagnostic;
use std::fmt;

/// Refusal of this host to make a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeRefusal {
    /// Number of the error; `None` if no system call failed.
    pub errno: Option<i32>,
    /// Step, cause and remedy.
    pub diagnostic: Diagnostic,
}

impl fmt::Display for ProbeRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.diagnostic.fmt(f)
    }
}

impl std::error::Error for ProbeRefusal {}
