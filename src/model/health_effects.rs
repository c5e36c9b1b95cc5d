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
    /// Weight that must be there. See [`Self::quorum_beside`].
    pub quorum: Option<Quorum>,
    /// Programs that are called.
    pub hooks: Hooks,
}

/// Weight of a service that must be there, as keepalived's `quorum` and `hysteresis`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quorum {
    /// Least weight of servers that get new connections; at least 1.
    pub weight: u32,
    /// Distance of the change in either direction; below `weight`.
    pub hysteresis: u32,
}

/// Programs that the director calls, by absolute paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// At each change of a server, of panic and of the quorum.
    pub notify: Option<String>,
    /// When the quorum is reached.
    pub quorum_up: Option<String>,
    /// When it is lost.
    pub quorum_down: Option<String>,
}

impl Quorum {
    /// Returns whether the quorum stands with `live` weight, if it did before or not (`up`), or at the start (`None`).
    /// As keepalived: with hysteresis, it is lost later and reached later.
    #[must_use]
    pub fn stands(self, up: Option<bool>, live: u32) -> bool {
        let Self { weight, hysteresis } = self;
        match up {
            Some(true) => live > 0 && live >= weight.saturating_sub(hysteresis),
            Some(false) | None => live >= weight.saturating_add(hysteresis),
        }
    }
}

impl Hooks {
    /// The keys of the configuration file with their values.
    #[must_use]
    pub fn rows(&self) -> [(&'static str, Option<&String>); 3] {
        let Self { notify, quorum_up, quorum_down } = self;
        [
            ("notify", notify.as_ref()),
            ("quorum_up", quorum_up.as_ref()),
            ("quorum_down", quorum_down.as_ref()),
        ]
    }

    /// Returns true without any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
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
        Self {
            on_down: OnDown::Keep,
            inhibit_on_failure: true,
            alpha: false,
            quorum: None,
            hooks: Hooks::default(),
        }
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
    /// Returns the quorum that counts: beside a sorry server, any weight is one unless another is configured, as for
    /// keepalived.
    #[must_use]
    pub fn quorum_beside(&self, sorry_server: bool) -> Option<Quorum> {
        self.quorum.or(sorry_server.then_some(Quorum { weight: 1, hysteresis: 0 }))
    }

    /// Keys of the configuration file with their values.
    #[must_use]
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let none = || "none".to_owned();
        let of = |number: fn(Quorum) -> u32| self.quorum.map_or(none(), |quorum| number(quorum).to_string());
        let hooks = self.hooks.rows();
        let hooks = hooks.into_iter().map(|(key, program)| (key, program.cloned().unwrap_or_else(none)));
        let rows = [
            ("on_down", self.on_down.name().to_owned()),
            ("inhibit_on_failure", self.inhibit_on_failure.to_string()),
            ("alpha", self.alpha.to_string()),
            ("quorum", of(|quorum| quorum.weight)),
            ("hysteresis", of(|quorum| quorum.hysteresis)),
        ];
        rows.into_iter().chain(hooks).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quorum_with_hysteresis_is_lost_late_and_reached_late() {
        let run = |weight, hysteresis, lives: &[u32]| {
            let quorum = Quorum { weight, hysteresis };
            let mut up = None;
            let each = lives.iter().map(|live| {
                up = Some(quorum.stands(up, *live));
                if up == Some(true) { 'u' } else { 'd' }
            });
            each.collect::<String>()
        };
        assert_eq!(run(1, 0, &[0, 1, 5, 1, 0, 1]), "duuudu");
        assert_eq!(run(3, 1, &[3, 4, 3, 2, 1, 3, 4]), "duuuddu");
        assert_eq!(run(2, 1, &[3, 1, 0, 2, 3]), "uuddu", "without any live weight it is lost");
    }
}
