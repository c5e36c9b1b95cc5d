//! What can go wrong when a director is asked, in a user's words.

use crate::control::api::{self, BODY_MAX, SOCKET_PATH_MAX};
use std::path::PathBuf;
use std::time::Duration;

/// Timeout of each step of an exchange: connection, start of the response, each further part of it.
pub const STEP_TIMEOUT: Duration = Duration::from_secs(20);

/// Why the director's answer could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No socket there, or nobody listens on it.
    #[error(
        "no director is running at {}; start one with `directrix run`, or name its socket with --socket or \
         DIRECTRIX_SOCKET", .0.display()
    )]
    NotRunning(PathBuf),
    /// Nobody listens there, and yet this host has a director.
    #[error(
        "no director answers at {}, though one serves an interface of this host: name its socket with --socket or \
         DIRECTRIX_SOCKET; if the file was deleted, the director makes it again within seconds", .0.display()
    )]
    Elsewhere(PathBuf),
    /// What is there is something else.
    #[error(
        "{} is not a socket; name the director's with --socket or DIRECTRIX_SOCKET", .0.display()
    )]
    NoSocket(PathBuf),
    /// The director ended while it was asked.
    #[error("the director at {} has ended before its answer was whole; see its log", .0.display())]
    Ended(PathBuf),
    /// More at once than a director takes.
    #[error(
        "this is {} bytes of changes, and a director takes at most {} MiB at once; divide it", .0, BODY_MAX >> 20
    )]
    TooMuch(usize),
    /// No socket can have that path.
    #[error(
        "the socket path {} has {} bytes, the system allows {SOCKET_PATH_MAX}; name the director's with --socket or \
         DIRECTRIX_SOCKET", .0.display(), .0.as_os_str().len()
    )]
    TooLong(PathBuf),
    /// The socket is there for others.
    #[error("Permission denied (you must be root) for {}", .0.display())]
    Permission(PathBuf),
    /// The director is of another version, and this one does not understand it, or is not understood.
    #[error(
        "the director at {} is {theirs}, this is {}, and {what}; use the binary that it was started from, or start \
         it anew if it has been upgraded", .socket.display(), api::SERVER
    )]
    Version {
        /// The director's socket.
        socket: PathBuf,
        /// What it calls itself: "directrix/0.1.0".
        theirs: String,
        /// What does not fit.
        what: String,
    },
    /// A step took longer than [`STEP_TIMEOUT`].
    #[error("the director at {} did not answer for {} s; see its log", .0.display(), STEP_TIMEOUT.as_secs())]
    Timeout(PathBuf),
    /// The director answered that this user may not do that.
    #[error("the director at {} refused: {error}", .socket.display())]
    Forbidden {
        /// The director's socket.
        socket: PathBuf,
        /// Its words: who this is, who may, what to do.
        error: String,
        /// Whether this user may read.
        may_read: bool,
    },
    /// The director answered that it cannot.
    #[error("the director at {} refused: {error}", .socket.display())]
    Refused {
        /// The director's socket.
        socket: PathBuf,
        /// HTTP status.
        status: u16,
        /// Its words.
        error: String,
        /// What it is, for programs: see [`crate::control::api::request::Refused::code`].
        code: Option<String>,
        /// Which of several requests it was, counted from 0.
        at: Option<usize>,
    },
    /// What arrived is no answer, or not a whole one.
    #[error("the answer of the director at {} cannot be used: {what}; see its log", .socket.display())]
    Broken {
        /// The director's socket.
        socket: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}
