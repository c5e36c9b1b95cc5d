//! The host as an import reads it: names, ports and included files.

use crate::model::read_file;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

/// Look-ups of an import on its host; tests substitute their own.
pub trait Environment {
    /// Resolves a name to an IPv4 address.
    fn address(&self, name: &str) -> Option<IpAddr>;

    /// Resolves a port name for a protocol ("tcp", "udp", "sctp").
    fn port(&self, name: &str, protocol: &str) -> Option<u16>;

    /// Returns the host name up to the first dot.
    fn name(&self) -> Option<String>;

    /// Returns the regular files that match a glob(7) pattern, sorted.
    fn files(&self, pattern: &str) -> Vec<PathBuf>;

    /// Reads a file.
    ///
    /// # Errors
    /// The file cannot be read.
    fn read(&self, file: &Path) -> io::Result<Vec<u8>>;
}

/// The host that this process runs on.
#[derive(Clone, Copy, Debug)]
pub struct ThisHost;

impl Environment for ThisHost {
    fn address(&self, name: &str) -> Option<IpAddr> {
        let mut addresses = (name, 0).to_socket_addrs().ok()?;
        addresses.find(SocketAddr::is_ipv4).map(|address| address.ip())
    }

    fn port(&self, name: &str, protocol: &str) -> Option<u16> {
        find_port(&fs::read_to_string("/etc/services").ok()?, name, protocol)
    }

    fn name(&self) -> Option<String> {
        let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
        name.trim().split('.').next().map(str::to_owned)
    }

    fn files(&self, pattern: &str) -> Vec<PathBuf> {
        let patterns = alternatives(pattern);
        let found = patterns.iter().filter_map(|pattern| glob::glob(pattern).ok()).flatten();
        found.filter_map(Result::ok).filter(|path| path.is_file()).collect()
    }

    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        read_file(file).map_err(|error| io::Error::other(error.what))
    }
}

/// Looks up a port in services(5): name, port/protocol, aliases.
fn find_port(services: &str, wanted: &str, protocol: &str) -> Option<u16> {
    services.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let (name, port) = (words.next()?, words.next()?);
        let port = port.strip_suffix(protocol)?.strip_suffix('/')?;
        (name == wanted || words.any(|alias| alias == wanted)).then(|| port.parse().ok())?
    })
}

/// Bound of the alternatives of one pattern.
const ALTERNATIVES_MAX: usize = 1000;

/// Expands braces as csh does: "{a,b}c" to "ac" and "bc".
fn alternatives(pattern: &str) -> Vec<String> {
    let (mut done, mut open) = (Vec::new(), vec![pattern.to_owned()]);
    while let Some(pattern) = open.pop() {
        match innermost(&pattern) {
            Some(Braces { before, list, after }) if done.len() + open.len() < ALTERNATIVES_MAX => {
                open.extend(list.split(',').rev().map(|choice| format!("{before}{choice}{after}")));
            }
            _ => done.push(pattern),
        }
    }
    done
}

/// A pair of braces, and the pattern around it.
struct Braces<'p> {
    before: &'p str,
    list: &'p str,
    after: &'p str,
}

/// Finds the first pair of braces without another pair inside.
fn innermost(pattern: &str) -> Option<Braces<'_>> {
    let (before, after) = pattern.split_once('}')?;
    let (before, list) = before.rsplit_once('{')?;
    Some(Braces { before, list, after })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_expand_to_alternatives() {
        for (pattern, expected) in [
            ("a", &["a"][..]),
            ("{a,b}c", &["ac", "bc"]),
            ("foo/{,cat,dog}", &["foo/", "foo/cat", "foo/dog"]),
            ("{f/{,c},b}", &["f/", "b", "f/c", "b"]),
            ("a}b{", &["a}b{"]),
        ] {
            assert_eq!(alternatives(pattern), expected, "{pattern}");
        }
        assert!(alternatives(&"{a,b}".repeat(100)).len() <= 2 * ALTERNATIVES_MAX);
    }

    #[test]
    fn ports_are_found_by_name_alias_and_protocol() {
        let services =
            "# comment 1/tcp\nhttp\t80/tcp  www # web\ndomain 53/udp\nipfix 4739/sctp\nbroken\nodd x/tcp\n";
        assert_eq!(find_port(services, "www", "tcp"), Some(80));
        assert_eq!(find_port(services, "http", "udp"), None);
        assert_eq!(find_port(services, "domain", "udp"), Some(53));
        assert_eq!(find_port(services, "http", "tcp"), Some(80));
        assert_eq!(find_port(services, "ipfix", "sctp"), Some(4739));
        for none in ["odd", "comment", "web"] {
            assert_eq!(find_port(services, none, "tcp"), None, "{none}");
        }
    }

    #[test]
    fn this_host_has_files_and_a_name() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.conf", "a.conf", "c.txt"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        let pattern = format!("{}/{{*.conf,c.txt}}", dir.path().display());
        let found: Vec<_> =
            ThisHost.files(&pattern).iter().map(|file| ThisHost.read(file).unwrap()).collect();
        assert_eq!(found, [b"a.conf".to_vec(), b"b.conf".to_vec(), b"c.txt".to_vec()]);
        assert!(ThisHost.name().is_some_and(|name| !name.is_empty() && !name.contains('.')));
    }
}
