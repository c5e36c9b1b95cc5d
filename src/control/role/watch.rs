//! A watch of the directory of a file: any change of its entries.

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::unix::pipe::Receiver;

/// Interval of looks while there is no such directory, and beside the watch.
const LOOK: Duration = Duration::from_secs(1);

/// A watch of the directory of a file.
#[derive(Debug)]
pub(super) struct DirectoryWatch {
    directory: PathBuf,
    /// The watch, with device and inode of the directory.
    open: Option<(Receiver, (u64, u64))>,
}

impl DirectoryWatch {
    /// Creates the watch of the directory of `file`, which need not exist.
    pub(super) fn of(file: &Path) -> Self {
        Self { directory: file.parent().unwrap_or(Path::new("/")).to_owned(), open: None }
    }

    /// Opens the watch unless it is open. What changes from then on ends [`DirectoryWatch::changed`].
    pub(super) fn open(&mut self) {
        let identity = identity(&self.directory);
        if self.open.as_ref().is_some_and(|(_, of)| Some(*of) == identity) {
            return;
        }
        self.open = identity.and_then(|identity| Some((watch(&self.directory).ok()?, identity)));
    }

    /// Waits for a change, or for a second. Cancel-safe.
    pub(super) async fn changed(&self) {
        let Some((events, _)) = &self.open else { return tokio::time::sleep(LOOK).await };
        tokio::select! {
            () = drained(events) => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Waits for events, and reads them all: what has changed is looked up.
async fn drained(events: &Receiver) {
    let mut buffer = [0; 4096];
    let is_ready = events.readable().await.is_ok();
    while is_ready && matches!(events.try_read(&mut buffer), Ok(1..)) {}
}

fn watch(directory: &Path) -> io::Result<Receiver> {
    let events = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
    let changes = AddWatchFlags::IN_CLOSE_WRITE
        | AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_MOVED_FROM
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_ATTRIB
        | AddWatchFlags::IN_DELETE_SELF
        | AddWatchFlags::IN_MOVE_SELF
        | AddWatchFlags::IN_ONLYDIR;
    events.add_watch(directory, changes)?;
    Receiver::from_file_unchecked(File::from(OwnedFd::from(events))) // it is read and waited for as a pipe
}

/// Device and inode of a file; `None` if it cannot be looked at.
pub(super) fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// Logs an error of a source unless it is the last one, or that the file is missing.
pub(super) fn log_error(last: &mut Option<ErrorKind>, path: &Path, error: &io::Error) {
    if last.replace(error.kind()) != Some(error.kind()) && error.kind() != ErrorKind::NotFound {
        tracing::error!(
            path = %path.display(), %error,
            "reading the source of the role failed: let the director's user read it; until then the role stays"
        );
    }
}
