//! The `[ha]` table: this director is one of several.

use crate::time::Span;

/// The `[ha]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HaConfig {
    /// The engine that decides which director has the VIPs.
    pub role: RoleSource,
    /// Time for which frames are expected to arrive once the role is no longer master. They are forwarded then and later,
    /// and later they are a warning.
    pub linger: Span,
    /// Way of clients' frames to this director.
    pub vips: VipReach,
    /// Absolute path of the file that says 0 while the director is ready to take traffic, and 1 while it is not.
    pub ready_file: Option<String>,
    /// Name of the TUN device that has a carrier while the director is ready to take traffic.
    pub tun: Option<String>,
    /// Whether a director is not ready while no service has an available real server.
    pub ready_needs_servers: bool,
    /// Whether connections outlive the process.
    pub keep: KeepConnections,
}

/// Memory of connections for the next process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeepConnections {
    /// A file beside the control socket: it outlives the process, also after a kill.
    #[default]
    Shm,
    /// Memory without a name: it goes to a process that takes over, and to no other.
    None,
}

impl KeepConnections {
    /// The names in configuration files.
    pub(super) const NAMES: &[(&str, Self)] = &[("shm", Self::Shm), ("none", Self::None)];

    /// The name in configuration files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Shm => "shm",
            Self::None => "none",
        }
    }
}

/// Way of clients' frames to a director.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VipReach {
    /// The director claims the VIPs, and answers for them by ARP and neighbor discovery.
    #[default]
    Claimed,
    /// Routers have routes for the VIPs by an address of the director. It neither probes nor answers for them.
    Routed,
}

impl VipReach {
    /// The names in configuration files.
    pub(super) const NAMES: &[(&str, Self)] = &[("claimed", Self::Claimed), ("routed", Self::Routed)];

    /// The name in configuration files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Routed => "routed",
        }
    }
}

/// Source of a director's role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RoleSource {
    /// None: the director stands alone, and probes for the VIPs itself.
    #[default]
    Standalone,
    /// keepalived's notify FIFO.
    Fifo(RoleFifo),
    /// A file with one word.
    File {
        /// Its absolute path.
        path: String,
    },
    /// `directrix role`, over the control socket.
    Command,
}

/// keepalived's notify FIFO (`vrrp_notify_fifo` or `notify_fifo` of keepalived.conf(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleFifo {
    /// Its absolute path. keepalived makes it.
    pub path: String,
    /// Name of the VRRP instance or group whose lines count; `None`: any, provided that only one is heard.
    pub instance: Option<String>,
    /// Effect of keepalived's end.
    pub on_writer_death: OnWriterDeath,
}

/// Effect of the end of the process that writes the FIFO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnWriterDeath {
    /// The role becomes fault: without keepalived's adverts the peer becomes master.
    #[default]
    Stop,
    /// The role stays as it is.
    Keep,
}

impl OnWriterDeath {
    /// The names in configuration files.
    pub(super) const NAMES: &[(&str, Self)] = &[("stop", Self::Stop), ("keep", Self::Keep)];

    /// The name in configuration files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Keep => "keep",
        }
    }
}

impl RoleSource {
    /// The value of `role` in configuration files.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::Fifo(_) => "fifo",
            Self::File { .. } => "file",
            Self::Command => "command",
        }
    }

    fn fifo(&self) -> Option<&RoleFifo> {
        match self {
            Self::Fifo(fifo) => Some(fifo),
            _ => None,
        }
    }

    fn file(&self) -> Option<&str> {
        match self {
            Self::File { path } => Some(path),
            _ => None,
        }
    }
}

impl HaConfig {
    /// Default of `linger`: well over the time after which clients have taken a new announcement.
    pub const LINGER: Span = Span::from_secs(30);

    /// True without a source of the role.
    #[must_use]
    pub fn is_standalone(&self) -> bool {
        self.role == RoleSource::Standalone
    }

    /// The keys of the table, each with true if `new` has the same value. All need a restart.
    pub(super) fn compare(&self, new: &Self) -> Vec<(&'static str, bool)> {
        let (old_fifo, new_fifo) = (self.role.fifo(), new.role.fifo());
        let is_same = |same: fn(&RoleFifo, &RoleFifo) -> bool| match (old_fifo, new_fifo) {
            (Some(old), Some(new)) => same(old, new),
            _ => true, // another role: that is named
        };
        vec![
            ("ha.role", self.role.name() == new.role.name()),
            ("ha.fifo", is_same(|old, new| old.path == new.path)),
            ("ha.instance", is_same(|old, new| old.instance == new.instance)),
            ("ha.on_writer_death", is_same(|old, new| old.on_writer_death == new.on_writer_death)),
            ("ha.file", self.role.name() != new.role.name() || self.role.file() == new.role.file()),
            ("ha.linger", self.linger == new.linger),
            ("ha.vips", self.vips == new.vips),
            ("ha.ready_file", self.ready_file == new.ready_file),
            ("ha.tun", self.tun == new.tun),
            ("ha.ready_needs_servers", self.ready_needs_servers == new.ready_needs_servers),
            ("ha.keep", self.keep == new.keep),
        ]
    }
}

impl Default for HaConfig {
    fn default() -> Self {
        Self {
            role: RoleSource::default(),
            linger: Self::LINGER,
            vips: VipReach::default(),
            ready_file: None,
            tun: None,
            ready_needs_servers: false,
            keep: KeepConnections::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differing(old: &HaConfig, new: &HaConfig) -> Vec<&'static str> {
        old.compare(new).into_iter().filter(|(_, same)| !same).map(|(key, _)| key).collect()
    }

    #[test]
    fn each_key_that_differs_is_named() {
        let fifo = |path: &str, instance: Option<&str>, on_writer_death| HaConfig {
            role: RoleSource::Fifo(RoleFifo {
                path: path.into(),
                instance: instance.map(Into::into),
                on_writer_death,
            }),
            ..HaConfig::default()
        };
        let file =
            |path: &str| HaConfig { role: RoleSource::File { path: path.into() }, ..HaConfig::default() };
        let alone = HaConfig::default();
        let one = fifo("/run/a", None, OnWriterDeath::Stop);
        assert_eq!(differing(&one, &one), [""; 0]);
        assert_eq!(differing(&alone, &one), ["ha.role"]);
        assert_eq!(differing(&one, &file("/run/a")), ["ha.role"]);
        assert_eq!(differing(&one, &fifo("/run/b", None, OnWriterDeath::Stop)), ["ha.fifo"]);
        let other = fifo("/run/a", Some("VI_1"), OnWriterDeath::Keep);
        assert_eq!(differing(&one, &other), ["ha.instance", "ha.on_writer_death"]);
        assert_eq!(differing(&file("/run/a"), &file("/run/b")), ["ha.file"]);
        let brief = HaConfig { linger: Span::from_secs(1), ..HaConfig::default() };
        assert_eq!(differing(&alone, &brief), ["ha.linger"]);
        let routed = HaConfig {
            vips: VipReach::Routed,
            ready_file: Some("/run/ready".into()),
            tun: Some("dx0".into()),
            ready_needs_servers: true,
            keep: KeepConnections::None,
            ..HaConfig::default()
        };
        let keys = ["ha.vips", "ha.ready_file", "ha.tun", "ha.ready_needs_servers", "ha.keep"];
        assert_eq!(differing(&alone, &routed), keys);
    }
}
