//! A watch of the directory of a file: any change of its entries.

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::net::unix::pipe::Receiver;

/// Interval of looks while there is no such directory, and beside the watch.
const LOOK: Duration = Duration::from_secs(1);
/// Time for which an error lasts that is logged: shorter than two looks.
const LASTS: Duration = Duration::from_millis(500);

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

/// Errors of a source. Each kind is logged once, if it lasts: keepalived makes its FIFO as root, and gives it to the user of the
/// configuration a moment later.
#[derive(Debug, Default)]
pub(super) struct SourceErrors {
    /// The present error, since when, and whether it was logged.
    present: Option<(ErrorKind, Instant, bool)>,
}

impl SourceErrors {
    /// The source can be read.
    pub(super) fn end(&mut self) {
        self.present = None;
    }

    /// Logs the error, if it lasts and is not that the file is missing.
    pub(super) fn add(&mut self, path: &Path, error: &io::Error, now: Instant) {
        if self.lasts(error.kind(), now) && error.kind() != ErrorKind::NotFound {
            tracing::error!(
                path = %path.display(), %error,
                "reading the source of the role failed: let the director's user read it; until then the role stays"
            );
        }
    }

    /// True once for an error of this kind that has lasted.
    fn lasts(&mut self, kind: ErrorKind, now: Instant) -> bool {
        match &mut self.present {
            Some((of, since, logged)) if *of == kind => {
                let lasts = now.duration_since(*since) >= LASTS;
                lasts && !std::mem::replace(logged, *logged || lasts)
            }
            _ => {
                self.present = Some((kind, now, false));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_reported_once_if_it_lasts() {
        let (mut errors, begin) = (SourceErrors::default(), Instant::now());
        let mut at = |kind, ms| errors.lasts(kind, begin + Duration::from_millis(ms));
        let (denied, other) = (ErrorKind::PermissionDenied, ErrorKind::InvalidData);
        assert!(!at(denied, 0) && !at(denied, 2) && at(denied, 1_000) && !at(denied, 2_000));
        assert!(!at(other, 2_100) && at(other, 3_100), "another one");
        assert!(!at(denied, 3_200));
        errors.end();
        let mut at = |kind, ms| errors.lasts(kind, begin + Duration::from_millis(ms));
        assert!(!at(denied, 4_000) && at(denied, 5_000), "again");
    }
}
