//! Errors of requests to a director.

use crate::control::api::{self, BODY_MAX, ErrorCode, Problem};
use crate::model::{Diagnostic, DiagnosticKind, Subject};
use hyper::StatusCode;
use std::path::Path;
use std::time::Duration;

/// Timeout of each step of an exchange: connection, start of the response, each further part of it.
pub const STEP_TIMEOUT: Duration = Duration::from_secs(20);

const NAME_SOCKET: &str = "name the director's with --socket or DIRECTRIX_SOCKET";
const SEE_LOG: &str = "see its log";

/// There is no socket, or no process listens on it.
pub(super) fn not_running(socket: &Path) -> Diagnostic {
    unreachable(format!("no director is running at {}", socket.display()))
        .remedy("start one with `directrix run`, or name its socket with --socket or DIRECTRIX_SOCKET")
}

/// No process listens on the socket, but this host has a director.
pub(super) fn elsewhere(socket: &Path) -> Diagnostic {
    let socket = socket.display();
    unreachable(format!("no director answers at {socket}, though one serves an interface of this host")).remedy(
        "name its socket with --socket or DIRECTRIX_SOCKET; if the file was deleted, the director makes it again \
         within seconds",
    )
}

/// The file is not a socket.
pub(super) fn not_a_socket(socket: &Path) -> Diagnostic {
    unreachable(format!("{} is not a socket", socket.display())).remedy(NAME_SOCKET)
}

/// The file's mode forbids access to the socket.
pub(super) fn permission_denied(socket: &Path) -> Diagnostic {
    unreachable(format!("Permission denied (you must be root) for {}", socket.display()))
}

/// The path is longer than a Unix socket's may be.
pub(super) fn path_too_long(socket: &Path) -> Diagnostic {
    api::path_too_long(socket).remedy(NAME_SOCKET)
}

/// A request of `size` bytes is larger than [`BODY_MAX`].
pub(super) fn request_too_large(size: usize) -> Diagnostic {
    let max = BODY_MAX >> 20;
    let what = format!("this is {size} bytes of changes, and a director takes at most {max} MiB at once");
    Diagnostic::new(DiagnosticKind::RequestTooLarge, what).remedy("divide it")
}

/// The director ended during the request.
pub(super) fn ended(socket: &Path) -> Diagnostic {
    let what = format!("the director at {} has ended before its answer was whole", socket.display());
    Diagnostic::new(DiagnosticKind::ExchangeFailed, what).remedy(SEE_LOG)
}

/// A step took longer than [`STEP_TIMEOUT`].
pub(super) fn timed_out(socket: &Path) -> Diagnostic {
    let (socket, seconds) = (socket.display(), STEP_TIMEOUT.as_secs());
    let what = format!("the director at {socket} did not answer for {seconds} s");
    Diagnostic::new(DiagnosticKind::ExchangeFailed, what).remedy(SEE_LOG)
}

/// The response is malformed or incomplete.
pub(super) fn invalid_response(socket: &Path, defect: impl Into<String>) -> Diagnostic {
    let what = format!("the answer of the director at {} cannot be used", socket.display());
    Diagnostic::new(DiagnosticKind::ExchangeFailed, what).cause(defect).remedy(SEE_LOG)
}

/// The versions differ, with this consequence. `theirs` is the `Server` header: "directrix/0.1.0".
pub(super) fn incompatible_version(socket: &Path, theirs: &str, consequence: &str) -> Diagnostic {
    let (socket, ours) = (socket.display(), api::SERVER);
    let what = format!("the director at {socket} is {theirs}, this is {ours}, and {consequence}");
    Diagnostic::new(DiagnosticKind::IncompatibleVersion, what)
        .remedy("use the binary that it was started from, or restart it if it has been upgraded")
}

/// The director refused the request; its message is the cause.
pub(super) fn refused(socket: &Path, status: StatusCode, problem: Problem) -> Diagnostic {
    let kind = match (status, problem.code) {
        (StatusCode::FORBIDDEN, code) if code != Some(ErrorCode::ReadOnly) => DiagnosticKind::NoAccess,
        (_, code) => code.map_or(DiagnosticKind::RequestRefused, ErrorCode::kind),
    };
    let what = format!("the director at {} refused", socket.display());
    let subjects: Vec<_> = problem.at.map(Subject::Request).into_iter().collect();
    Diagnostic::new(kind, what).cause(problem.error).about(subjects)
}

fn unreachable(what: String) -> Diagnostic {
    Diagnostic::new(DiagnosticKind::DirectorUnreachable, what)
}
