//! Files in which the kernel and other programs describe the host: /proc, /sys, /run.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

/// The files below a root, which is "/" but for tests. Paths are relative to it: "proc/stat".
#[derive(Clone, Debug)]
pub(super) struct Files(pub(super) PathBuf);

impl Files {
    /// The files of this host.
    pub(super) fn host() -> Self {
        Self("/".into())
    }

    /// A file's text without the white space at its ends; `None` if it cannot be read.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        Some(fs::read_to_string(self.0.join(path)).ok()?.trim().to_owned())
    }

    pub(super) fn number<T: FromStr>(&self, path: &str) -> Option<T> {
        self.text(path)?.parse().ok()
    }

    /// A file with a list of cores or nodes: "0-3,8".
    pub(super) fn set(&self, path: &str) -> Option<BTreeSet<usize>> {
        set_of(&self.text(path)?)
    }

    /// Names in a directory, in order; none if it cannot be read.
    pub(super) fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.0.join(directory)).into_iter().flatten().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// The text of a symbolic link.
    pub(super) fn link(&self, path: &str) -> Option<PathBuf> {
        fs::read_link(self.0.join(path)).ok()
    }

    /// Name of the file that a symbolic link points to.
    pub(super) fn target(&self, path: &str) -> Option<String> {
        Some(self.link(path)?.file_name()?.to_string_lossy().into_owned())
    }

    /// Bytes of a file with one number in the host's byte order.
    pub(super) fn word(&self, path: &str) -> Option<i32> {
        use std::io::Read;
        let mut bytes = [0; 4];
        fs::File::open(self.0.join(path)).ok()?.read_exact(&mut bytes).ok()?;
        Some(i32::from_ne_bytes(bytes))
    }
}

/// The numbers of a list as the kernel writes it; `None` if it is malformed.
fn set_of(text: &str) -> Option<BTreeSet<usize>> {
    let mut set = BTreeSet::new();
    for range in text.split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        set.extend(first.parse::<usize>().ok()?..=last.parse().ok()?);
    }
    Some(set)
}

/// A list as the kernel takes it: "0,1,5".
pub(super) fn list<'a>(set: impl IntoIterator<Item = &'a usize>) -> String {
    set.into_iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Files with these texts in a new directory.
    pub(in crate::doctor) fn written(files: &[(&str, &str)]) -> (Files, tempfile::TempDir) {
        let place = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = place.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        (Files(place.path().to_owned()), place)
    }

    #[test]
    fn lists_of_cores_are_read_and_written() {
        for (text, wanted) in [("", ""), ("3", "3"), ("0-2,8", "0,1,2,8")] {
            assert_eq!(list(&set_of(text).unwrap()), wanted);
        }
        assert_eq!([set_of("a"), set_of("1-")], [None, None]);
    }

    #[test]
    fn an_unreadable_file_is_none() {
        let (files, _place) = written(&[("a/b", " 7\n"), ("a/c", "x")]);
        assert_eq!((files.number("a/b"), files.number::<i32>("a/c")), (Some(7), None));
        assert_eq!((files.text("a/d"), files.names("a")), (None, vec!["b".to_owned(), "c".to_owned()]));
        assert_eq!(files.names("z"), Vec::<String>::new());
    }
}
