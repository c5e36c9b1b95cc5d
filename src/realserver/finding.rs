//! Findings of a check.

use std::fmt;

/// Severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Correct.
    Right,
    /// Wrong in some deployments; the operator decides.
    Note,
    /// Direct routing fails because of it.
    Wrong,
}

/// A finding about one property of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFinding {
    /// Severity.
    pub severity: Severity,
    /// State of the host: "192.168.195.150 is not on this host".
    pub what: String,
    /// Consequence; empty if correct.
    pub effect: String,
    /// Remedy; empty if correct.
    pub remedy: String,
}

impl HostFinding {
    pub(super) fn right(what: String) -> Self {
        Self { severity: Severity::Right, what, effect: String::new(), remedy: String::new() }
    }

    pub(super) fn wrong(what: String, effect: impl Into<String>, remedy: String) -> Self {
        Self { severity: Severity::Wrong, what, effect: effect.into(), remedy }
    }
}

impl fmt::Display for HostFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, effect, remedy, .. } = self;
        match self.severity {
            Severity::Right => write!(f, "ok: {what}"),
            Severity::Note => write!(f, "note: {what}: {effect}; {remedy}"),
            Severity::Wrong => write!(f, "wrong: {what}: {effect}; {remedy}"),
        }
    }
}
