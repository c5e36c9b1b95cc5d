//! Part of a real server in its service.

use std::fmt;

/// Part of a real server in its service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerRole {
    /// It shares the connections with the others.
    #[default]
    Regular,
    /// The sorry server: it gets all new connections while the quorum of the others is lost, as keepalived's
    /// `sorry_server`. At most one in a service, after the others, and without health checks.
    Sorry {
        /// Whether it is listed with weight 0 while it is not in use, as by keepalived's `sorry_server_inhibit`; if not,
        /// listings as of ipvsadm lack it.
        inhibit: bool,
    },
}

impl ServerRole {
    /// Returns true for the sorry server.
    #[must_use]
    pub fn is_sorry(self) -> bool {
        matches!(self, Self::Sorry { .. })
    }
}

impl fmt::Display for ServerRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Regular => "regular",
            Self::Sorry { inhibit: false } => "sorry server",
            Self::Sorry { inhibit: true } => "sorry server with inhibit",
        })
    }
}
