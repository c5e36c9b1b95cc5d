//! The running director: its socket for the next process.

use super::message::{FormerMessage, HandedState, NextMessage, Offer, PROTOCOL};
use super::path;
use crate::control::host::privileges::Privileges;
use crate::model::Diagnostic;
use crate::sys::PeerCredentials;
use crate::sys::passing::{self, AsyncPassing};
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};

/// Listens for the next process. The socket's file is removed when this is dropped, unless the next process has made its own.
#[derive(Debug)]
pub(in crate::control) struct TakeoverListener {
    path: PathBuf,
    listener: AsyncPassing,
    next: Option<NextProcess>,
    handed_over: bool,
}

/// A connected process.
#[derive(Debug)]
struct NextProcess {
    socket: AsyncPassing,
    process: i32,
}

/// Request of the next process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::control) enum TakeoverRequest {
    /// The configuration, for a program of this version.
    Begin { program: String },
    /// Everything, if this is still the number of changes of the configuration.
    Commit { generation: u64 },
}

impl TakeoverListener {
    /// Listens beside the control socket. The file of a process that was killed is replaced; there is no other, as the claim on the
    /// interfaces has been taken.
    ///
    /// # Errors
    /// [`Diagnostic`] with the path.
    pub(in crate::control) fn bind(control: &Path, privileges: &Privileges) -> Result<Self, Diagnostic> {
        let path = path(control);
        let listener = bind(&path, privileges)
            .map_err(|error| Diagnostic::io(format!("listening on {}", path.display()), &error))?;
        Ok(Self { path, listener, next: None, handed_over: false })
    }

    /// Returns the next request. Requests that are invalid, and the end of a process that has asked for nothing final, are
    /// handled here. Cancel-safe.
    pub(in crate::control) async fn request(&mut self) -> TakeoverRequest {
        loop {
            let Some(next) = &self.next else {
                self.next = self.accepted().await;
                continue;
            };
            match next.message().await {
                Ok(Some(NextMessage::Begin { protocol: PROTOCOL, program })) => {
                    return TakeoverRequest::Begin { program };
                }
                Ok(Some(NextMessage::Commit { generation })) => {
                    return TakeoverRequest::Commit { generation };
                }
                Ok(Some(NextMessage::Begin { .. } | NextMessage::Done)) => {
                    self.refuse("the messages of the two programs differ; restart the director instead");
                }
                Ok(None) => {
                    tracing::warn!(process = next.process, "the process that was to take over has ended");
                    self.next = None;
                }
                Err(error) => {
                    tracing::warn!(process = next.process, %error, "the takeover failed");
                    self.next = None;
                }
            }
        }
    }

    /// Process id of the next process; 0 without one.
    pub(in crate::control) fn process(&self) -> i32 {
        self.next.as_ref().map_or(0, |next| next.process)
    }

    /// Sends the configuration.
    pub(in crate::control) fn offer(&mut self, offer: &Offer) {
        let sent = serde_json::to_vec(offer)
            .map_err(io::Error::other)
            .and_then(|text| self.send(&FormerMessage::Offer, &text, &[]));
        if let Err(error) = sent {
            tracing::warn!(process = self.process(), %error, "the takeover failed");
            self.next = None;
        }
    }

    /// Refuses to hand over, and forgets the process.
    pub(in crate::control) fn refuse(&mut self, reason: &str) {
        tracing::warn!(process = self.process(), reason, "takeover refused");
        let _ = self.send(&FormerMessage::Refused(reason.to_owned()), b"", &[]); // it may have ended
        self.next = None;
    }

    /// Sends everything. From now on the socket's file belongs to the next process.
    ///
    /// # Errors
    /// The process has ended, or this one has no descriptor left.
    pub(in crate::control) fn hand_over(
        &mut self,
        state: &HandedState,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        self.handed_over = true; // the next process replaces the file
        self.send(&FormerMessage::State, &serde_json::to_vec(state)?, descriptors)
    }

    /// Waits until the next process has taken over. False if it has ended before.
    pub(in crate::control) async fn finished(&mut self) -> bool {
        let Some(next) = &self.next else { return false };
        matches!(next.message().await, Ok(Some(NextMessage::Done)))
    }

    fn send(&self, message: &FormerMessage, text: &[u8], others: &[BorrowedFd<'_>]) -> io::Result<()> {
        let next = self.next.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let text = passing::text_file(text)?;
        let descriptors: Vec<_> = [text.as_fd()].into_iter().chain(others.iter().copied()).collect();
        passing::send(next.socket.as_fd(), &serde_json::to_vec(message)?, &descriptors)
    }

    /// Accepts a process of this user or of root.
    async fn accepted(&self) -> Option<NextProcess> {
        let socket = self.listener.accepted().await.ok()?;
        let PeerCredentials { process, user, .. } = PeerCredentials::of(&socket).ok()?;
        let is_allowed = user == 0 || user == nix::unistd::geteuid().as_raw();
        is_allowed.then_some(NextProcess { socket, process })
    }
}

impl Drop for TakeoverListener {
    fn drop(&mut self) {
        if !self.handed_over {
            let _ = fs::remove_file(&self.path); // the next start replaces it
        }
    }
}

impl NextProcess {
    /// The next message; `None` at the end of the connection. Cancel-safe.
    async fn message(&self) -> io::Result<Option<NextMessage>> {
        let (message, _) = self.socket.received().await?;
        if message.is_empty() {
            return Ok(None);
        }
        Ok(Some(serde_json::from_slice(&message)?))
    }
}

fn bind(path: &Path, privileges: &Privileges) -> io::Result<AsyncPassing> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = AsyncPassing::listen(path)?;
    if let Some((user, group)) = privileges.owner() {
        lchown(path, Some(user), Some(group))?;
    }
    Ok(listener)
}
