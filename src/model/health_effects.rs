//! Effects of health on a virtual service, as configured.

/// Effects of health on a virtual service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthEffects {
    /// Existing connections of a server that is down.
    pub on_down: OnDown,
    /// Whether a server that is down is listed with weight 0, as by keepalived's key of that name; if not, listings as
    /// of ipvsadm lack it.
    pub inhibit_on_failure: bool,
    /// Whether a server counts as down until each of its checks has had a success, as by keepalived's key of that name.
    pub alpha: bool,
}

/// Fate of the existing connections of a server that is down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDown {
    /// They go on.
    #[default]
    Keep,
    /// Their frames are dropped, and clients get a reset or an ICMP error as for a refused connection.
    Cut,
}

impl Default for HealthEffects {
    fn default() -> Self {
        Self { on_down: OnDown::Keep, inhibit_on_failure: true, alpha: false }
    }
}

impl OnDown {
    /// Words of the configuration file.
    pub const ALL: [(&'static str, Self); 2] = [("keep", Self::Keep), ("cut", Self::Cut)];

    /// Word of the configuration file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Cut => "cut",
        }
    }
}

impl HealthEffects {
    /// Keys of the configuration file with their values.
    #[must_use]
    pub fn rows(&self) -> [(&'static str, String); 3] {
        [
            ("on_down", self.on_down.name().to_owned()),
            ("inhibit_on_failure", self.inhibit_on_failure.to_string()),
            ("alpha", self.alpha.to_string()),
        ]
    }
}
