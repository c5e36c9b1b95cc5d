//! Unix sockets that pass messages with descriptors (unix(7), SCM_RIGHTS), and memory files for long texts.

#![allow(unsafe_code)]

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr,
    accept4, bind, connect, listen, recvmsg, sendmsg, setsockopt, socket, sockopt,
};
use nix::sys::stat::{Mode, fchmod};
use nix::sys::time::TimeVal;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Bytes of a message at most.
pub const MESSAGE_MAX: usize = 4096;
/// Descriptors of a message at most.
pub const DESCRIPTORS_MAX: usize = 253; // SCM_MAX_FD of net/scm.h
/// Bytes of a text at most.
const TEXT_MAX: u64 = 256 << 20;

/// Listens at `path` for messages with borders (SOCK_SEQPACKET). Only this user and root can connect. Accepting never waits.
///
/// # Errors
/// Errors of socket(2), bind(2) and listen(2).
pub fn listener(path: &Path) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
    // Linux gives the file the mode of the socket less the umask (`unix_bind_bsd` in net/unix/af_unix.c).
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
    bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    listen(&socket, Backlog::new(1)?)?;
    Ok(socket)
}

/// A listener or a connection whose calls never wait, within a tokio runtime.
#[derive(Debug)]
pub struct AsyncPassing {
    // Never borrowed mutably outside: see the proof in `new`.
    watched: AsyncFd<OwnedFd>,
}

impl AsyncPassing {
    fn new(socket: OwnedFd) -> io::Result<Self> {
        // SAFETY: an `OwnedFd` always returns the same descriptor, and closes it only when it is dropped. `AsyncFd` owns it, and no
        // code can replace it: the field is private and no method returns it mutably.
        let watched = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
        Ok(Self { watched: watched.map_err(io::Error::from)? })
    }

    /// Listens at `path`, as [`listener`].
    ///
    /// # Errors
    /// Errors of [`listener`] and epoll(7).
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub fn listen(path: &Path) -> io::Result<Self> {
        Self::new(listener(path)?)
    }

    /// Accepts the next connection. Cancel-safe.
    ///
    /// # Errors
    /// Errors of accept4(2) and epoll(7).
    pub async fn accepted(&self) -> io::Result<Self> {
        let accept = |socket: &OwnedFd| accepted(socket.as_fd());
        Self::new(self.watched.async_io(Interest::READABLE, accept).await?)
    }

    /// Receives the next message, as [`receive`]. Cancel-safe.
    ///
    /// # Errors
    /// Errors of [`receive`].
    pub async fn received(&self) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
        self.watched.async_io(Interest::READABLE, |socket| receive(socket.as_fd())).await
    }
}

impl AsFd for AsyncPassing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watched.get_ref().as_fd()
    }
}

/// Connects to a listener. Calls on the socket wait for `patience` at most.
///
/// # Errors
/// Errors of connect(2).
pub fn connected(path: &Path, patience: Duration) -> io::Result<OwnedFd> {
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
    let patience = TimeVal::new(patience.as_secs() as i64, patience.subsec_micros().into());
    setsockopt(&socket, sockopt::ReceiveTimeout, &patience)?;
    setsockopt(&socket, sockopt::SendTimeout, &patience)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(socket)
}

/// Accepts a connection, whose calls never wait.
///
/// # Errors
/// Errors of accept4(2).
pub fn accepted(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let accepted = accept4(listener.as_raw_fd(), flags)?;
    // SAFETY: accept4(2) has just made this descriptor, and nothing else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(accepted) })
}

/// Sends a message of up to [`MESSAGE_MAX`] bytes with copies of descriptors.
///
/// # Errors
/// Errors of sendmsg(2).
pub fn send(socket: BorrowedFd<'_>, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let descriptors: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let rights = if descriptors.is_empty() { &[][..] } else { &rights[..] };
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(message)], rights, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Receives a message with its descriptors. An empty one is the end of the connection.
///
/// # Errors
/// Errors of recvmsg(2); [`io::ErrorKind::InvalidData`] for more than a message may have.
pub fn receive(socket: BorrowedFd<'_>) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut bytes = vec![0; MESSAGE_MAX];
    let mut space = nix::cmsg_space!([RawFd; DESCRIPTORS_MAX]);
    let mut slices = [IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let received = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut space), flags)?;
    let mut descriptors = Vec::new();
    for control in received.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = control {
            // SAFETY: the kernel has made these descriptors for this message, and nothing else has them.
            descriptors.extend(raw.into_iter().map(|raw| unsafe { OwnedFd::from_raw_fd(raw) }));
        }
    }
    let is_whole = !received.flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC);
    let length = received.bytes;
    bytes.truncate(length);
    if is_whole { Ok((bytes, descriptors)) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Creates a memory file with this text, for texts that are too long for a message.
///
/// # Errors
/// Errors of memfd_create(2) and write(2).
pub fn text_file(text: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(c"directrix-text", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(text)?;
    Ok(file.into())
}

/// Reads the whole text of a memory file.
///
/// # Errors
/// Errors of pread(2); [`io::ErrorKind::InvalidData`] for more than 256 MiB.
pub fn text_of(file: OwnedFd) -> io::Result<Vec<u8>> {
    let file = File::from(file);
    let length = file.metadata()?.len();
    if length > TEXT_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut text = vec![0; length as usize];
    file.read_exact_at(&mut text, 0)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    #[test]
    fn messages_keep_their_borders_and_descriptors() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = listener(&path).unwrap();
        assert_eq!(accepted(listener.as_fd()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let client = connected(&path, PATIENCE).unwrap();
        let server = accepted(listener.as_fd()).unwrap();
        let text = "a long text ".repeat(100_000);
        let file = text_file(text.as_bytes()).unwrap();
        send(server.as_fd(), b"one", &[file.as_fd(), listener.as_fd()]).unwrap();
        send(server.as_fd(), b"two", &[]).unwrap();
        let (message, mut descriptors) = receive(client.as_fd()).unwrap();
        assert_eq!((&message[..], descriptors.len()), (&b"one"[..], 2));
        assert_eq!(text_of(descriptors.remove(0)).unwrap(), text.as_bytes());
        assert_eq!(receive(client.as_fd()).unwrap().0, b"two");
        drop(server);
        assert_eq!(receive(client.as_fd()).unwrap().0, b"", "the end");
    }

    #[test]
    fn a_message_that_is_too_long_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = listener(&path).unwrap();
        let client = connected(&path, PATIENCE).unwrap();
        let server = accepted(listener.as_fd()).unwrap();
        send(client.as_fd(), &[7; MESSAGE_MAX + 1], &[]).unwrap();
        assert_eq!(receive(server.as_fd()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
