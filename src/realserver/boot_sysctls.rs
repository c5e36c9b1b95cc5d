//! IPv6 sysctls that the host sets at boot (sysctl.d(5)).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Directories of settings. A file of a later one replaces a file of the same name.
const DIRECTORIES: [&str; 4] = ["usr/lib/sysctl.d", "usr/local/lib/sysctl.d", "run/sysctl.d", "etc/sysctl.d"];
/// File that comes after those of [`DIRECTORIES`], whatever their names.
pub(super) const LAST: &str = "etc/sysctl.conf";

/// Returns the file below `root` that switches IPv6 off on an interface at boot. The last setting counts.
pub(super) fn disabling_ipv6(root: &Path, interface: &str) -> Option<PathBuf> {
    let mut by = None;
    for file in files(root) {
        let text = fs::read_to_string(&file).unwrap_or_default();
        for disabled in text.lines().filter_map(|line| disabled(line, interface)) {
            by = disabled.then(|| file.clone());
        }
    }
    by
}

/// Files with settings, in the order in which they are applied.
fn files(root: &Path) -> Vec<PathBuf> {
    let entries = DIRECTORIES.iter().filter_map(|place| fs::read_dir(root.join(place)).ok()).flatten();
    let paths = entries.flatten().map(|entry| entry.path());
    let settings = paths.filter(|path| path.extension().is_some_and(|extension| extension == "conf"));
    let by_name: BTreeMap<_, _> =
        settings.filter_map(|path| Some((path.file_name()?.to_owned(), path))).collect();
    by_name.into_values().chain([root.join(LAST)]).collect()
}

/// Whether a line switches IPv6 off on the interface; `None` for a line about something else.
fn disabled(line: &str, interface: &str) -> Option<bool> {
    let (key, value) = line.trim().trim_start_matches('-').split_once('=')?;
    let place = path_of(key.trim());
    let place = place.strip_prefix("net/ipv6/conf/")?.strip_suffix("/disable_ipv6")?;
    (place == "all" || place == "*" || place == interface).then(|| value.trim() != "0")
}

/// Path of a key. If its first separator is a dot, slashes stand for dots.
fn path_of(key: &str) -> String {
    let swapped = |c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    let is_dotted = key.find(['.', '/']).is_some_and(|at| key[at..].starts_with('.'));
    if is_dotted { key.chars().map(swapped).collect() } else { key.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_setting_of_the_interface_counts() {
        let off = "net.ipv6.conf.all.disable_ipv6 = 1\n";
        for (settings, by) in [
            (vec![("etc/sysctl.d/10-a.conf", off)], Some("etc/sysctl.d/10-a.conf")),
            (
                vec![
                    ("etc/sysctl.d/10-a.conf", off),
                    ("run/sysctl.d/20-b.conf", "net.ipv6.conf.lo.disable_ipv6=0"),
                ],
                None,
            ),
            (vec![("usr/lib/sysctl.d/10-a.conf", off), ("etc/sysctl.d/10-a.conf", "")], None),
            (
                vec![("usr/lib/sysctl.d/10-a.conf", ""), ("usr/local/lib/sysctl.d/10-a.conf", off)],
                Some("usr/local/lib/sysctl.d/10-a.conf"),
            ),
            (vec![("usr/local/lib/sysctl.d/10-a.conf", off), ("run/sysctl.d/10-a.conf", "")], None),
            (vec![("etc/sysctl.conf", "-net/ipv6/conf/lo/disable_ipv6=1")], Some("etc/sysctl.conf")),
            (vec![("etc/sysctl.d/10-a.conf", "net.ipv6.conf.eth0.disable_ipv6 = 1\n")], None),
            (vec![("etc/sysctl.d/10-a.conf", "# net.ipv6.conf.lo.disable_ipv6 = 1\n")], None),
            (vec![("etc/sysctl.d/10-a.conf", "net.ipv6.conf.default.disable_ipv6 = 1\n")], None),
            (vec![("etc/sysctl.d/README", off)], None),
        ] {
            let root = tempfile::tempdir().unwrap();
            for (file, text) in &settings {
                let path = root.path().join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            let found = disabling_ipv6(root.path(), "lo");
            assert_eq!(found, by.map(|file| root.path().join(file)), "{settings:?}");
        }
    }

    #[test]
    fn names_with_dots_use_the_other_separator() {
        assert_eq!(disabled("net/ipv6/conf/eth0.7/disable_ipv6 = 1", "eth0.7"), Some(true));
        assert_eq!(disabled("net.ipv6.conf.eth0/7.disable_ipv6 = 0", "eth0.7"), Some(false));
        assert_eq!(disabled("net.ipv6.conf.eth0.7.disable_ipv6 = 1", "eth0.7"), None);
    }
}
