//! Effect of handshakes that clients cannot complete, as configured.

/// Effect of a suspicion against a real server: clients cannot complete their handshakes with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PassiveMode {
    /// Handshakes are not watched.
    Off,
    /// A suspect is named, and its health checks are probed at once.
    #[default]
    Watch,
    /// Likewise, and it gets no new connections for a time.
    Eject,
}

impl PassiveMode {
    /// Every mode, with its name in the configuration file.
    pub const ALL: &[(&str, Self)] = &[("off", Self::Off), ("watch", Self::Watch), ("eject", Self::Eject)];

    /// Name in the configuration file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Watch => "watch",
            Self::Eject => "eject",
        }
    }
}
