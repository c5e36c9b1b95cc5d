//! The file that keepalived's `track_file` follows: "0" while the director is ready, "1" while it is not.
//!
//! For keepalived a missing file is 0, and a text or an empty file changes nothing. So the file is never removed, and is
//! replaced as a whole (rename(2)).

use crate::model::Diagnostic;
use std::fs::{self, OpenOptions, Permissions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};

/// Mode of the file: any daemon may read it.
const MODE: u32 = 0o644;

/// The file. It says 1 when this is dropped.
#[derive(Debug)]
pub struct ReadyFile {
    path: PathBuf,
    /// Exclusive right to write, as long as this process lives: an abstract Unix socket named after the path.
    claim: Option<UnixDatagram>,
    ready: bool,
}

impl ReadyFile {
    /// Writes 1, unless another process writes the file: one that runs, or one that hands over.
    ///
    /// # Errors
    /// [`Diagnostic`] if the file cannot be written.
    pub fn open(path: &Path) -> Result<Self, Diagnostic> {
        let mut file = Self { path: path.to_owned(), claim: None, ready: false };
        file.check_directory()?;
        file.renew().map_err(|error| file.refusal(&error))?;
        Ok(file)
    }

    /// Path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the value, if it is another one.
    ///
    /// # Errors
    /// Errors of the file system. The next [`ReadyFile::renew`] tries again.
    pub fn set(&mut self, ready: bool) -> io::Result<()> {
        if std::mem::replace(&mut self.ready, ready) == ready {
            return Ok(());
        }
        self.renew()
    }

    /// Writes the value, unless the file has it. To be called now and then: the file may have been changed or removed.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn renew(&mut self) -> io::Result<()> {
        if self.claim.is_none() {
            self.claim = claim(&self.path);
        }
        let is_owner = self.claim.is_some();
        if !is_owner || fs::read_to_string(&self.path).is_ok_and(|text| text == text_of(self.ready)) {
            return Ok(());
        }
        replace(&self.path, text_of(self.ready))
    }

    /// Checks that the file can be replaced by this user, by doing so.
    ///
    /// # Errors
    /// [`Diagnostic`] with cause and remedy.
    pub fn check(&mut self) -> Result<(), Diagnostic> {
        if self.claim.is_none() {
            self.claim = claim(&self.path);
        }
        if self.claim.is_none() {
            return Ok(());
        }
        replace(&self.path, text_of(self.ready)).map_err(|error| self.refusal(&error))
    }

    /// Ends without a change of the file, for another process that takes it over.
    pub fn leave(mut self) {
        self.claim = None;
    }

    fn check_directory(&self) -> Result<(), Diagnostic> {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        if directory.is_dir() {
            return Ok(());
        }
        let remedy = format!("create it: mkdir {0}; or name a file in another one", directory.display());
        Err(Diagnostic::system(format!("ready_file: there is no directory {}", directory.display()))
            .remedy(remedy))
    }

    fn refusal(&self, error: &io::Error) -> Diagnostic {
        let what = format!("writing the ready_file {}", self.path.display());
        Diagnostic::io(what, error)
            .remedy("its directory must let the user that the director runs as create files")
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        self.ready = false;
        if self.claim.is_some()
            && let Err(error) = self.renew()
        {
            let file = self.path.display();
            tracing::error!(%file, %error, "writing the ready_file failed");
        }
    }
}

fn text_of(ready: bool) -> &'static str {
    if ready { "0\n" } else { "1\n" }
}

/// Replaces the file. A file of another user in its place is no obstacle, if the directory is none.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let fresh = path.with_file_name(format!(".{name}.new"));
    let _ = fs::remove_file(&fresh); // of a process that was killed
    let mut file = OpenOptions::new().write(true).create_new(true).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.set_permissions(Permissions::from_mode(MODE))?;
    fs::rename(&fresh, path)
}

/// Claims the right to write `path`; `None` if another process of this network namespace has it.
fn claim(path: &Path) -> Option<UnixDatagram> {
    let mut hasher = DefaultHasher::new(); // without a seed: the same in every process
    fs::canonicalize(path.parent()?).ok()?.join(path.file_name()?).hash(&mut hasher);
    let name = format!("directrix-ready/{:016x}", hasher.finish());
    UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::freed::when_free;
    use std::os::unix::fs::MetadataExt;

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn the_file_says_1_but_while_the_director_is_ready() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ready");
        fs::write(&path, "0\n").unwrap(); // of a process that was killed
        let mut file = ReadyFile::open(&path).unwrap();
        assert_eq!(read(&path), "1\n");
        for (ready, text) in [(true, "0\n"), (true, "0\n"), (false, "1\n"), (true, "0\n")] {
            file.set(ready).unwrap();
            assert_eq!(read(&path), text);
        }
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, MODE);
        drop(file);
        assert_eq!(read(&path), "1\n");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no other file is left");
    }

    #[test]
    fn a_value_that_stands_is_not_written_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ready");
        let mut file = ReadyFile::open(&path).unwrap();
        let inode = || fs::metadata(&path).unwrap().ino();
        let before = inode();
        file.renew().unwrap();
        file.set(false).unwrap();
        assert_eq!(inode(), before);
    }

    #[test]
    fn a_removed_or_changed_file_is_restored() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ready");
        let mut file = ReadyFile::open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        file.renew().unwrap();
        assert_eq!(read(&path), "1\n");
        fs::write(&path, "0\n").unwrap();
        file.renew().unwrap();
        assert_eq!(read(&path), "1\n");
    }

    #[test]
    fn a_second_process_leaves_the_file_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ready");
        let mut first = ReadyFile::open(&path).unwrap();
        first.set(true).unwrap();
        let mut second = ReadyFile::open(&path).unwrap();
        second.check().unwrap();
        assert_eq!(read(&path), "0\n");
        drop(second);
        assert_eq!(read(&path), "0\n", "its end changes nothing");
        let mut second = ReadyFile::open(&path).unwrap();
        second.set(true).unwrap();
        first.leave();
        assert_eq!(read(&path), "0\n");
        when_free(|| {
            second.renew().unwrap();
            second.claim.is_some().then_some(())
        });
        second.set(false).unwrap();
        assert_eq!(read(&path), "1\n", "the second one has it now");
    }

    #[test]
    fn a_missing_directory_is_named_with_the_remedy() {
        let path = Path::new("/nowhere/ready");
        let refused = ReadyFile::open(path).unwrap_err().to_string();
        let wanted = "ready_file: there is no directory /nowhere; create it: mkdir /nowhere; or name a file \
                      in another one";
        assert_eq!(refused, wanted);
    }

    #[test]
    fn a_directory_that_forbids_files_is_an_error() {
        let refused = ReadyFile::open(Path::new("/proc/ready")).unwrap_err().to_string();
        assert!(refused.starts_with("writing the ready_file /proc/ready: "), "{refused}");
        assert!(refused.ends_with("must let the user that the director runs as create files"), "{refused}");
    }
}
