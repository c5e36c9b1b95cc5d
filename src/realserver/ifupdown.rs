//! ifupdown's configuration (interfaces(5)): its files, the stanza of a line, and the prefix length of a class.

use glob::{MatchOptions, Pattern};
use std::collections::HashSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// File that ifupdown reads first.
const MAIN: &str = "etc/network/interfaces";
/// Maximum number of files, as `source` lines may name each other.
const FILES_MAX: usize = 1000;

/// Returns the files that ifupdown reads below `root`: the first one, and the files of `source` and `source-directory`
/// lines. `text` reads a file.
pub(super) fn files(root: &Path, text: impl Fn(&Path) -> String) -> Vec<PathBuf> {
    let (mut files, mut read, mut seen) = (vec![root.join(MAIN)], 0, HashSet::new());
    while let Some(file) = files.get(read) {
        let is_new = file.canonicalize().is_ok_and(|file| seen.insert(file));
        if is_new && read < FILES_MAX {
            let more = sourced(root, file, &text(file));
            files.extend(more);
            read += 1;
        } else {
            files.remove(read);
        }
    }
    files
}

/// Files that the lines of `file` name.
fn sourced(root: &Path, file: &Path, text: &str) -> Vec<PathBuf> {
    let of_line = |line: &str| {
        let mut words = line.split_whitespace();
        let keyword = words.next();
        let paths = words.flat_map(|pattern| matching(root, file, pattern));
        match keyword {
            Some("source") => paths.collect(),
            Some("source-directory") => paths.flat_map(|directory| stanza_files(&directory)).collect(),
            _ => Vec::new(),
        }
    };
    text.lines().flat_map(of_line).collect()
}

/// Paths of a pattern of the shell. A relative one begins at the directory of `file`.
fn matching(root: &Path, file: &Path, pattern: &str) -> Vec<PathBuf> {
    let base = if pattern.starts_with('/') { Some(root) } else { file.parent() };
    let base = Pattern::escape(&base.unwrap_or(root).to_string_lossy());
    let options = MatchOptions {
        require_literal_separator: true,
        require_literal_leading_dot: true,
        ..MatchOptions::default()
    };
    let whole = format!("{}/{}", base.trim_end_matches('/'), pattern.trim_start_matches('/'));
    glob::glob_with(&whole, options).into_iter().flatten().flatten().collect()
}

/// Files of a directory with the names that `source-directory` takes, sorted.
fn stanza_files(directory: &Path) -> Vec<PathBuf> {
    let is_plain = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let plain = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_plain));
    let mut files: Vec<_> = plain.map(|entry| entry.path()).collect();
    files.sort();
    files
}

/// Returns the interface of the `iface` line above.
pub(super) fn interface<'t>(lines: &[&'t str], at: usize) -> Option<&'t str> {
    let mut above = lines[..at].iter().rev();
    above.find_map(|line| line.trim_start().strip_prefix("iface ")?.split_whitespace().next())
}

/// Returns the `netmask` of the stanza of a line.
pub(super) fn netmask<'t>(lines: &[&'t str], at: usize) -> Option<&'t str> {
    let is_head = |line: &&str| first_word(line) == "iface";
    let begin = lines[..at].iter().rposition(is_head).map_or(0, |head| head + 1);
    let mut stanza = lines[begin..].iter().take_while(|line| !is_head(line));
    stanza.find_map(|line| Some(line.trim_start().strip_prefix("netmask ")?.trim()))
}

/// Returns the prefix length of an address's class, which it has without a netmask: in ifupdown (`compute_v4_mask`), and with
/// ifconfig(8) by the kernel (`inet_abc_len` in net/ipv4/devinet.c).
pub(super) fn class_prefix(address: Ipv4Addr) -> u8 {
    match address.octets()[0] {
        0..=127 => 8,
        128..=191 => 16,
        192..=223 => 24,
        224..=255 => 32,
    }
}

/// Returns the first word of a line; empty without one.
pub(super) fn first_word(line: &str) -> &str {
    line.split_whitespace().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names of the files read below a root with these files.
    fn read(written: &[(&str, &str)]) -> Vec<String> {
        let root = tempfile::Builder::new().prefix("a[b]*").tempdir().unwrap();
        for (name, text) in written {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let text = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        let names = files(root.path(), text).into_iter().map(|path| {
            let below = path.strip_prefix(root.path()).unwrap().to_str().unwrap();
            below.strip_prefix("etc/network/").unwrap_or(below).to_owned()
        });
        names.collect()
    }

    #[test]
    fn source_takes_every_file_of_a_pattern() {
        for pattern in ["/etc/network/interfaces.d/*", "interfaces.d/*", "  interfaces.d/v* interfaces.d/*"] {
            let main = format!("auto lo\nsource {pattern}\n");
            let files = [
                (MAIN, main.as_str()),
                ("etc/network/interfaces.d/vip", ""),
                ("etc/network/interfaces.d/vip.bak", ""),
                ("etc/network/interfaces.d/.hidden", ""),
            ];
            assert_eq!(read(&files), ["interfaces", "interfaces.d/vip", "interfaces.d/vip.bak"], "{pattern}");
        }
    }

    #[test]
    fn source_directory_takes_plain_names() {
        let files = [
            (MAIN, "source-directory interfaces.d /etc/network/more\n"),
            ("etc/network/interfaces.d/b", "source ../other\n"),
            ("etc/network/interfaces.d/a_1", ""),
            ("etc/network/interfaces.d/a.cfg", ""),
            ("etc/network/more/c", ""),
            ("etc/network/other", "source interfaces\n"),
        ];
        let expected =
            ["interfaces", "interfaces.d/a_1", "interfaces.d/b", "more/c", "interfaces.d/../other"];
        assert_eq!(read(&files), expected, "the circle ends");
    }

    #[test]
    fn files_that_no_line_names_are_not_read() {
        for main in ["", "# source interfaces.d/*\n", "source nosuch/*\n", "iface source inet dhcp\n"] {
            assert_eq!(read(&[(MAIN, main), ("etc/network/interfaces.d/vip", "")]), ["interfaces"], "{main}");
        }
    }
}
