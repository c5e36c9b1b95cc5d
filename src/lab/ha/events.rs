//! Events of the drill.

use std::fmt;

/// An event that strikes the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrillEvent {
    /// keepalived is stopped; the director goes on.
    PlannedSwitch,
    /// Director and keepalived are killed by SIGKILL, as if the host had lost its power.
    Kill,
    /// The switch port of the host goes down.
    LinkPulled,
    /// The director alone ends by SIGTERM, and starts again.
    Restart,
    /// A new process takes over from the director.
    Upgrade,
}

impl DrillEvent {
    /// All, in the order of a drill.
    pub const ALL: [Self; 5] =
        [Self::PlannedSwitch, Self::Kill, Self::LinkPulled, Self::Restart, Self::Upgrade];

    /// True if no connection may be lost.
    #[must_use]
    pub fn loses_nothing(self) -> bool {
        !matches!(self, Self::Kill | Self::LinkPulled)
    }

    /// True if the other director becomes master.
    #[must_use]
    pub fn moves_the_role(self) -> bool {
        matches!(self, Self::PlannedSwitch | Self::Kill | Self::LinkPulled)
    }

    /// Name in the report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PlannedSwitch => "planned switch",
            Self::Kill => "kill -9",
            Self::LinkPulled => "link pulled",
            Self::Restart => "restart",
            Self::Upgrade => "upgrade",
        }
    }
}

impl fmt::Display for DrillEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
