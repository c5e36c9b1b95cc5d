//! Role of a director among several.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Role of a director among several that serve the same VIPs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It stands alone: it probes for each VIP, and defends it.
    #[default]
    Standalone,
    /// It has the VIPs: it claims each at once, without a probe.
    Master,
    /// Another director has the VIPs: it answers for none.
    Backup,
    /// As backup, for a reason of its own host.
    Fault,
}

impl Role {
    /// All roles, in the order of listings.
    pub const ALL: [Self; 4] = [Self::Standalone, Self::Master, Self::Backup, Self::Fault];

    /// The name in listings, files and commands.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::Master => "master",
            Self::Backup => "backup",
            Self::Fault => "fault",
        }
    }

    /// The role that a source may set, by its name; `None` for another word.
    #[must_use]
    pub fn settable(name: &str) -> Option<Self> {
        [Self::Master, Self::Backup, Self::Fault].into_iter().find(|role| role.name() == name)
    }

    /// True if the director answers for the VIPs.
    #[must_use]
    pub fn claims(self) -> bool {
        matches!(self, Self::Standalone | Self::Master)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
