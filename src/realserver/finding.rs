//! Findings of a check.

use crate::model::Diagnostic;
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
    /// State of the host, and its consequence and remedy unless it is correct.
    pub diagnostic: Diagnostic,
}

impl HostFinding {
    pub(super) fn right(what: impl Into<String>) -> Self {
        Self { severity: Severity::Right, diagnostic: Diagnostic::system(what) }
    }

    pub(super) fn note(
        what: impl Into<String>,
        effect: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Note, ..Self::wrong(what, effect, remedy) }
    }

    pub(super) fn wrong(
        what: impl Into<String>,
        effect: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let diagnostic = Diagnostic::system(what).cause(effect).remedy(remedy);
        Self { severity: Severity::Wrong, diagnostic }
    }
}

impl fmt::Display for HostFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = match self.severity {
            Severity::Right => "ok",
            Severity::Note => "note",
            Severity::Wrong => "wrong",
        };
        write!(f, "{label}: {}", self.diagnostic)
    }
}
