//! Errors of requests to a director, with messages for the user.

use crate::control::api::{self, BODY_MAX, ErrorCode, SOCKET_PATH_MAX};
use std::path::PathBuf;
use std::time::Duration;

/// Timeout of each step of an exchange: connection, start of the response, each further part of it.
pub const STEP_TIMEOUT: Duration = Duration::from_secs(20);

/// Failure of a request to a director.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no socket, or no process listens on it.
    #[error(
        "no director is running at {}; start one with `directrix run`, or name its socket with --socket or \
         DIRECTRIX_SOCKET", .0.display()
    )]
    NotRunning(PathBuf),
    /// No process listens on the socket, but this host has a director.
    #[error(
        "no director answers at {}, though one serves an interface of this host: name its socket with --socket or \
         DIRECTRIX_SOCKET; if the file was deleted, the director makes it again within seconds", .0.display()
    )]
    Elsewhere(PathBuf),
    /// The file is not a socket.
    #[error(
        "{} is not a socket; name the director's with --socket or DIRECTRIX_SOCKET", .0.display()
    )]
    NoSocket(PathBuf),
    /// The director ended during the request.
    #[error("the director at {} has ended before its answer was whole; see its log", .0.display())]
    Ended(PathBuf),
    /// The request is larger than [`BODY_MAX`].
    #[error(
        "this is {} bytes of changes, and a director takes at most {} MiB at once; divide it", .0, BODY_MAX >> 20
    )]
    TooMuch(usize),
    /// The path is longer than [`SOCKET_PATH_MAX`].
    #[error(
        "the socket path {} has {} bytes, the system allows {SOCKET_PATH_MAX}; name the director's with --socket or \
         DIRECTRIX_SOCKET", .0.display(), .0.as_os_str().len()
    )]
    TooLong(PathBuf),
    /// The file's mode forbids access to the socket.
    #[error("Permission denied (you must be root) for {}", .0.display())]
    Permission(PathBuf),
    /// The director's version is incompatible with the client's.
    #[error(
        "the director at {} is {theirs}, this is {}, and {what}; use the binary that it was started from, or \
         restart it if it has been upgraded", .socket.display(), api::SERVER
    )]
    Version {
        /// The director's socket.
        socket: PathBuf,
        /// Its `Server` header: "directrix/0.1.0".
        theirs: String,
        /// Incompatibility.
        what: String,
    },
    /// A step took longer than [`STEP_TIMEOUT`].
    #[error("the director at {} did not answer for {} s; see its log", .0.display(), STEP_TIMEOUT.as_secs())]
    Timeout(PathBuf),
    /// The director refused the request for lack of permission.
    #[error("the director at {} refused: {error}", .socket.display())]
    Forbidden {
        /// The director's socket.
        socket: PathBuf,
        /// Message of the response: the client's user, the users with access, the remedy.
        error: String,
        /// True if this user has read access.
        may_read: bool,
    },
    /// The director refused the request.
    #[error("the director at {} refused: {error}", .socket.display())]
    Refused {
        /// The director's socket.
        socket: PathBuf,
        /// HTTP status.
        status: u16,
        /// Message of the response.
        error: String,
        /// Error code: see [`api::Problem::code`].
        code: Option<ErrorCode>,
        /// Index of the request at fault in a list, from 0.
        at: Option<usize>,
    },
    /// The response is malformed or incomplete.
    #[error("the answer of the director at {} cannot be used: {what}; see its log", .socket.display())]
    Broken {
        /// The director's socket.
        socket: PathBuf,
        /// Defect of the response.
        what: String,
    },
}
