//! A role file: one word, written in place or by a rename.

use super::signal::RoleSignal;
use super::watch::{DirectoryWatch, SourceErrors};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Bytes that are read at most.
const BYTES_MAX: u64 = 256;

/// The reader of a role file.
pub(in crate::control) struct RoleFile {
    path: PathBuf,
    watch: DirectoryWatch,
    /// The last content; the outer one is `None` before the first look.
    last: Option<Option<String>>,
    errors: SourceErrors,
}

impl RoleFile {
    pub(super) fn new(path: &str) -> Self {
        let path = PathBuf::from(path);
        Self { watch: DirectoryWatch::of(&path), path, last: None, errors: SourceErrors::default() }
    }

    /// Returns the content once it differs. An empty file is being written: its content before counts. Cancel-safe.
    pub(super) async fn next(&mut self) -> RoleSignal {
        loop {
            self.watch.open();
            match content(&self.path) {
                Ok(Some(text)) if text.trim().is_empty() => {}
                Ok(content) if self.last.as_ref() != Some(&content) => {
                    self.last = Some(content.clone());
                    self.errors.end();
                    return RoleSignal::File(content);
                }
                Ok(_) => {}
                Err(error) => self.errors.add(&self.path, &error, Instant::now()),
            }
            self.watch.changed().await;
        }
    }
}

/// The content of the file; `None` if there is none. Never blocks.
fn content(path: &Path) -> io::Result<Option<String>> {
    let flags = libc::O_NONBLOCK | libc::O_CLOEXEC;
    let file = match File::options().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}
