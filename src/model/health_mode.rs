//! The operator's hold on the health of a real server.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The operator's hold on the health of a real server. It wins over the health checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HealthMode {
    /// The health checks decide.
    #[default]
    Auto,
    /// The verdict stands still, and no probes are sent.
    Paused,
    /// Counts as up, whatever the health checks find.
    ForcedUp,
    /// Counts as down, also in panic: no new connections, as in maintenance.
    ForcedDown,
}

impl HealthMode {
    /// Name as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Paused => "paused",
            Self::ForcedUp => "forced-up",
            Self::ForcedDown => "forced-down",
        }
    }

    /// Returns true if the checks do not decide.
    #[must_use]
    pub fn is_forced(self) -> bool {
        matches!(self, Self::ForcedUp | Self::ForcedDown)
    }
}

impl fmt::Display for HealthMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
