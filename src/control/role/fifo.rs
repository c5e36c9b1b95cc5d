//! keepalived's notify FIFO. keepalived makes it, removes it at its orderly end, and leaves it behind when it is killed.

use super::signal::RoleSignal;
use super::watch::{DirectoryWatch, SourceErrors, identity};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;
use tokio::net::unix::pipe::Receiver;

/// Capacity of a pipe, so that one read takes all lines.
const BYTES_MAX: usize = 65_536;

/// The reader of a FIFO, which may be absent, appear, and be replaced.
pub(in crate::control) struct FifoReader {
    path: PathBuf,
    watch: DirectoryWatch,
    open: Option<OpenFifo>,
    errors: SourceErrors,
}

struct OpenFifo {
    /// The same open file as `waiting`, to be read without a wait.
    file: File,
    waiting: Receiver,
    /// Device and inode.
    identity: (u64, u64),
    /// A writer was seen since it was opened.
    has_writer: bool,
}

/// Result of a read.
enum FifoRead {
    Bytes(Vec<u8>),
    /// A writer is there, and has written nothing.
    Nothing,
    /// There is no writer.
    End,
}

impl FifoReader {
    pub(super) fn new(path: &str) -> Self {
        let path = PathBuf::from(path);
        Self { watch: DirectoryWatch::of(&path), path, open: None, errors: SourceErrors::default() }
    }

    /// Returns the next input. Cancel-safe.
    pub(super) async fn next(&mut self) -> RoleSignal {
        loop {
            self.watch.open();
            if let Some(signal) = self.look() {
                return signal;
            }
            let read = match &self.open {
                None => {
                    self.watch.changed().await;
                    None
                }
                Some(fifo) => tokio::select! {
                    read = fifo.readable() => Some(read),
                    () = self.watch.changed() => None,
                },
            };
            if let Some(signal) = read.and_then(|read| self.take(read)) {
                return signal;
            }
        }
    }

    /// Looks at the name: opens the FIFO that has it, instead of another one.
    fn look(&mut self) -> Option<RoleSignal> {
        let named = identity(&self.path);
        if let Some(open) = &self.open {
            if named == Some(open.identity) {
                return None;
            }
            let had_writer = open.has_writer;
            // What it still has is older than the other one.
            let left = read_once(&open.file);
            self.open = None;
            if let Ok(FifoRead::Bytes(bytes)) = left {
                return Some(RoleSignal::Bytes(bytes));
            }
            if had_writer {
                return Some(RoleSignal::WriterGone);
            }
        }
        named?;
        match OpenFifo::open(&self.path) {
            Ok((fifo, first)) => {
                self.open = Some(fifo);
                self.errors.end();
                tracing::info!(path = %self.path.display(), "the FIFO of keepalived is open");
                match first {
                    Ok(FifoRead::End) => None, // keepalived is yet to come
                    read => self.take(read),
                }
            }
            Err(error) => {
                self.errors.add(&self.path, &error, Instant::now());
                None
            }
        }
    }

    fn take(&mut self, read: io::Result<FifoRead>) -> Option<RoleSignal> {
        let fifo = self.open.as_mut()?;
        match read {
            Ok(FifoRead::Bytes(bytes)) => {
                fifo.has_writer = true;
                Some(RoleSignal::Bytes(bytes))
            }
            Ok(FifoRead::Nothing) => {
                (!std::mem::replace(&mut fifo.has_writer, true)).then_some(RoleSignal::WriterLives)
            }
            Ok(FifoRead::End) => {
                let had_writer = fifo.has_writer;
                // Opened again: the hang-up of this descriptor never ends for epoll.
                self.open = OpenFifo::open(&self.path).ok().map(|(fifo, _)| fifo);
                had_writer.then_some(RoleSignal::WriterGone)
            }
            Err(error) => {
                self.errors.add(&self.path, &error, Instant::now());
                self.open = None;
                None
            }
        }
    }
}

impl OpenFifo {
    /// Opens it and reads once: whether there is a writer.
    fn open(path: &Path) -> io::Result<(Self, io::Result<FifoRead>)> {
        let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_CLOEXEC;
        let file = File::options().read(true).custom_flags(flags).open(path)?;
        let found = file.metadata()?;
        if !found.file_type().is_fifo() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "it is no FIFO"));
        }
        let identity = (found.dev(), found.ino());
        let first = read_once(&file);
        let waiting = Receiver::from_file(file.try_clone()?)?;
        Ok((Self { file, waiting, identity, has_writer: false }, first))
    }

    /// Waits for bytes or the end of the last writer. Cancel-safe.
    async fn readable(&self) -> io::Result<FifoRead> {
        let mut buffer = vec![0; BYTES_MAX];
        loop {
            self.waiting.readable().await?;
            match of_result(self.waiting.try_read(&mut buffer), &buffer) {
                Ok(FifoRead::Nothing) => {}
                read => return read,
            }
        }
    }
}

fn read_once(mut file: &File) -> io::Result<FifoRead> {
    let mut buffer = vec![0; BYTES_MAX];
    of_result(file.read(&mut buffer), &buffer)
}

fn of_result(read: io::Result<usize>, buffer: &[u8]) -> io::Result<FifoRead> {
    match read {
        Ok(0) => Ok(FifoRead::End),
        Ok(len) => Ok(FifoRead::Bytes(buffer[..len].to_vec())),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(FifoRead::Nothing),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
