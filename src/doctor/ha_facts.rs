//! Facts about keepalived beside the director: its FIFO, and its instances.

use super::files::Files;
use crate::model::{Config, RoleSource};
use nix::unistd::{User, geteuid};
use std::fs;
use std::os::unix::fs::MetadataExt;

/// keepalived's usual configuration file.
const CONFIGURATION: &str = "etc/keepalived/keepalived.conf";

/// keepalived, as a director whose role it tells depends on it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct HaFacts {
    /// The FIFO; `None` if the role has another source.
    pub(super) fifo: Option<FifoFacts>,
    /// The VRRP instances of its configuration file; none if that cannot be read.
    pub(super) instances: Vec<VrrpInstance>,
}

/// A FIFO, and the user that is to read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FifoFacts {
    pub(super) path: String,
    /// User and group of the director, by number; `None` if there is no such user.
    pub(super) reader: Option<(u32, Vec<u32>)>,
    /// Owner, group and mode; `None` before keepalived has made it.
    pub(super) node: Option<(u32, u32, u32)>,
}

/// A VRRP instance of keepalived.conf(5).
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct VrrpInstance {
    pub(super) name: String,
    pub(super) version: u8,
    /// Value of `advert_int`, in seconds.
    pub(super) interval: Option<f64>,
}

impl HaFacts {
    pub(super) fn read(config: &Config, groups: &[u32], files: &Files) -> Self {
        let RoleSource::Fifo(fifo) = &config.director.ha.role else { return Self::default() };
        let user = match config.director.user.as_deref() {
            Some(name) => User::from_name(name).ok().flatten().map(|user| user.uid),
            None => Some(geteuid()),
        };
        let node = fs::metadata(&fifo.path).ok().map(|node| (node.uid(), node.gid(), node.mode()));
        let reader = user.map(|user| (user.as_raw(), groups.to_vec()));
        let text = files.text(CONFIGURATION).unwrap_or_default();
        Self { fifo: Some(FifoFacts { path: fifo.path.clone(), reader, node }), instances: instances(&text) }
    }
}

impl FifoFacts {
    /// True if the director may read it, as far as the modes tell. A capability is not counted: the director drops it.
    pub(super) fn is_readable(&self) -> bool {
        let (Some((user, groups)), Some((owner, group, mode))) = (&self.reader, self.node) else {
            return true;
        };
        let bit = if *user == owner {
            0o400
        } else if groups.contains(&group) {
            0o040
        } else {
            0o004
        };
        *user == 0 || mode & bit != 0
    }
}

/// The instances of a configuration. Files that it includes are not read.
fn instances(text: &str) -> Vec<VrrpInstance> {
    let lines = text.lines().map(|line| line.split(['#', '!']).next().unwrap_or_default());
    let spaced = lines.collect::<Vec<_>>().join("\n").replace('{', " { ").replace('}', " } ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let (mut default, mut depth, mut found) = (2, 0_usize, Vec::<VrrpInstance>::new());
    let mut is_inside = false;
    for (at, word) in words.iter().enumerate() {
        let value = words.get(at + 1).copied().unwrap_or_default();
        match *word {
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                is_inside &= depth > 0;
            }
            "vrrp_version" => default = value.parse().unwrap_or(default),
            "vrrp_instance" if depth == 0 => {
                is_inside = true;
                found.push(VrrpInstance { name: value.to_owned(), version: 0, interval: None });
            }
            "version" if is_inside && depth == 1 => {
                let last = found.last_mut().expect("an instance is open");
                last.version = value.parse().unwrap_or_default();
            }
            "advert_int" if is_inside && depth == 1 => {
                found.last_mut().expect("an instance is open").interval = value.parse().ok();
            }
            _ => {}
        }
    }
    // The global version may come after an instance.
    found.iter_mut().filter(|one| one.version == 0).for_each(|one| one.version = default);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_have_version_and_interval() {
        let text = "! comment\nvrrp_instance VI_1 {\n version 3 # three\n advert_int 0.01\n track_file { ready }\n}\n\
                    vrrp_instance VI_2{\n advert_int 0.5\n}\nglobal_defs {\n vrrp_version 2\n}\nvrrp_instance VI_3 {\n}";
        let of = |name: &str, version, interval| VrrpInstance { name: name.into(), version, interval };
        let wanted = [of("VI_1", 3, Some(0.01)), of("VI_2", 2, Some(0.5)), of("VI_3", 2, None)];
        assert_eq!(instances(text), wanted);
        assert_eq!(instances("} { vrrp_instance"), [], "not at the top");
    }

    #[test]
    fn modes_tell_whether_the_director_reads() {
        let fifo = |user, groups: &[u32], node| FifoFacts {
            path: "/run/vrrp.fifo".into(),
            reader: Some((user, groups.to_vec())),
            node,
        };
        let readable = |user, groups: &[u32], mode| fifo(user, groups, Some((7, 8, mode))).is_readable();
        assert!(readable(7, &[], 0o600) && readable(0, &[], 0o600) && readable(9, &[8], 0o640));
        assert!(!readable(9, &[8], 0o600) && !readable(9, &[1], 0o640) && readable(9, &[1], 0o644));
        assert!(!readable(7, &[8], 0o040), "the owner's bits count for the owner");
        assert!(fifo(9, &[], None).is_readable(), "keepalived will make it");
    }
}
