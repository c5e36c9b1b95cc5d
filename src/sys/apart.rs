//! A descriptor that a thread has in a descriptor table of its own, so that it is closed within milliseconds of SIGKILL.
//!
//! The descriptors of a process are closed by the last of its threads to end, after its memory has been unmapped, and each
//! of its AF_XDP sockets waits for others. A thread that shares neither closes its own at once (`do_exit` in
//! kernel/exit.c, CLONE_FILES of unshare(2)).
#![allow(unsafe_code)]

use super::passing;
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

/// Command that makes the thread return its descriptor, and end.
const RELEASE: u8 = u8::MAX;

/// Carries out a command, a number below 255, on the descriptor. It must open nothing and write to no standard stream.
pub(crate) type Serve = fn(BorrowedFd<'_>, u8) -> io::Result<()>;

/// A descriptor in the table of a thread. It is closed when this is dropped.
#[derive(Debug)]
pub(crate) struct ApartDescriptor {
    /// `None` once the thread has been told to end.
    requests: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl ApartDescriptor {
    /// Starts the thread, with a copy of the descriptor.
    ///
    /// # Errors
    /// Errors of socketpair(2), clone(2) and unshare(2).
    pub(crate) fn start(name: &str, descriptor: BorrowedFd<'_>, serve: Serve) -> io::Result<Self> {
        let (requests, served) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        let (tell, told) = mpsc::channel();
        let raw = [served.as_raw_fd(), descriptor.as_raw_fd()];
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            let own = own_table(raw);
            let (told, own) = own.map_or_else(|error| (Err(error), None), |own| (Ok(()), Some(own)));
            let _ = tell.send(told); // the starter waits for it
            own.into_iter().for_each(|[served, descriptor]| serve_all(&served, &descriptor, serve));
        })?;
        // Both descriptors stay open until the thread has copies.
        told.recv().map_err(io::Error::other)??;
        Ok(Self { requests: Some(requests), thread: Some(thread) })
    }

    /// Makes the thread carry out a command.
    ///
    /// # Errors
    /// Errors of the command, and of the socket to the thread.
    pub(crate) fn call(&self, command: u8) -> io::Result<()> {
        self.exchange(command).map(drop)
    }

    /// Takes the descriptor back.
    ///
    /// # Errors
    /// If the thread has ended, or no descriptor is free.
    pub(crate) fn release(self) -> io::Result<OwnedFd> {
        self.exchange(RELEASE)?.pop().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn exchange(&self, command: u8) -> io::Result<Vec<OwnedFd>> {
        let requests = self.requests.as_ref().ok_or(io::ErrorKind::NotConnected)?.as_fd();
        passing::send(requests, &[command], &[])?;
        let (reply, descriptors) = passing::receive(requests)?;
        let reply = <[u8; 4]>::try_from(&reply[..]).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        match i32::from_ne_bytes(reply) {
            0 => Ok(descriptors),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

impl Drop for ApartDescriptor {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it has no result
        }
    }
}

/// Gives the calling thread a descriptor table of its own with these alone.
fn own_table<const N: usize>(keep: [RawFd; N]) -> io::Result<[OwnedFd; N]> {
    unshare(CloneFlags::CLONE_FILES)?;
    for other in open_descriptors()? {
        if !keep.contains(&other) {
            // SAFETY: the table is this thread's alone since unshare(2), and nothing in this thread owns a descriptor of
            // it: the thread has just begun. The owners of these numbers are in other threads, whose table is another one.
            unsafe { libc::close(other) };
        }
    }
    // SAFETY: as above, these are copies which nothing owns. The starter of the thread holds its own ones open until now.
    Ok(keep.map(|raw| unsafe { OwnedFd::from_raw_fd(raw) }))
}

fn open_descriptors() -> io::Result<Vec<RawFd>> {
    let entries = fs::read_dir("/proc/thread-self/fd")?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().parse().unwrap_or(-1))).collect()
}

/// Carries out commands until the other end is closed, or the descriptor is asked for.
fn serve_all(requests: &OwnedFd, descriptor: &OwnedFd, serve: Serve) {
    while let Ok((request, _)) = passing::receive(requests.as_fd())
        && let [command] = request[..]
    {
        let passed = [descriptor.as_fd()];
        let (reply, passed) = match command {
            RELEASE => (0, &passed[..]),
            _ => (
                serve(descriptor.as_fd(), command).map_or_else(|error| error_number(&error), |()| 0),
                &[][..],
            ),
        };
        if passing::send(requests.as_fd(), &i32::to_ne_bytes(reply), passed).is_err() || command == RELEASE {
            return;
        }
    }
}

fn error_number(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    /// Writes the command to the descriptor; 7 is refused.
    fn write(descriptor: BorrowedFd<'_>, command: u8) -> io::Result<()> {
        if command == 7 {
            return Err(io::Error::from_raw_os_error(libc::EBADFD));
        }
        nix::unistd::write(descriptor, &[command])?;
        Ok(())
    }

    fn started(name: &str) -> (ApartDescriptor, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (ApartDescriptor::start(name, theirs.as_fd(), write).unwrap(), ours)
    }

    #[test]
    fn commands_reach_the_descriptor_and_errors_come_back() {
        let (apart, mut stream) = started("apart");
        apart.call(1).unwrap();
        assert_eq!(apart.call(7).unwrap_err().raw_os_error(), Some(libc::EBADFD));
        apart.call(2).unwrap();
        drop(apart);
        let mut written = Vec::new();
        stream.read_to_end(&mut written).unwrap(); // ends, as no copy is left
        assert_eq!(written, [1, 2]);
    }

    #[test]
    fn a_released_descriptor_goes_on() {
        let (apart, mut stream) = started("apart");
        let mut released = UnixStream::from(apart.release().unwrap());
        released.write_all(b"more").unwrap();
        drop(released);
        let mut written = Vec::new();
        stream.read_to_end(&mut written).unwrap();
        assert_eq!(written, b"more");
    }

    #[test]
    fn the_thread_has_no_other_descriptor() {
        let (apart, _stream) = started("apart-alone");
        let of_thread = |task: io::Result<fs::DirEntry>| {
            let path = task.unwrap().path();
            let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
            (name == "apart-alone\n").then(|| fs::read_dir(path.join("fd")).unwrap().count())
        };
        let counts: Vec<usize> = fs::read_dir("/proc/self/task").unwrap().filter_map(of_thread).collect();
        assert!(!counts.is_empty() && counts.iter().all(|count| *count == 2), "{counts:?}");
        drop(apart);
    }
}
