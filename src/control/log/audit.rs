//! The audit trail: one log line for each change with its origin, and one for each refused request.

use crate::control::api::COMMAND_AGENT;
use crate::control::host::access::PeerUser;
use crate::control::log::limit::LogLimiter;
use crate::model::{Diagnostics, ServiceIdentity};
use crate::schedule::ServerLoad;
use axum::http::{HeaderMap, Method, StatusCode, header};
use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Differences that one log line names; the rest is a number.
const LINES_MAX: usize = 10;
/// Longest text from a client in a log line, in characters.
const WORDS_MAX: usize = 300;
/// Longest name of a client's program, in characters.
const AGENT_MAX: usize = 64;

/// The origin of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    via: String,
    /// `User-Agent` of another program; `None` for this program's commands and for signals.
    program: Option<String>,
    client: Option<PeerProcess>,
}

/// A client of the control socket, by the kernel's credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PeerProcess {
    peer: PeerUser,
    process: i32,
}

impl Origin {
    /// Returns the origin SIGHUP, whose sender is unknown.
    #[must_use]
    pub fn hangup() -> Self {
        Self { via: "SIGHUP".into(), program: None, client: None }
    }

    /// Returns the origin of a request at the control socket by `process` of `peer`.
    #[must_use]
    pub fn request(peer: PeerUser, process: i32, headers: &HeaderMap) -> Self {
        let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        let (via, program) = match agent.and_then(command) {
            Some(command) => (format!("directrix {command}"), None),
            None => ("API".into(), agent.map(|agent| bounded(agent, AGENT_MAX))),
        };
        Self { via, program, client: Some(PeerProcess { peer, process }) }
    }

    fn uid(&self) -> Option<u32> {
        self.client.as_ref().map(|client| client.peer.user)
    }

    fn user(&self) -> Option<&str> {
        self.client.as_ref()?.peer.name.as_deref()
    }

    fn pid(&self) -> Option<i32> {
        self.client.as_ref().map(|client| client.process)
    }
}

impl Display for Origin {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.via)?;
        match &self.client {
            Some(PeerProcess { peer, process }) => write!(f, " ({peer}, pid {process})"),
            None => Ok(()),
        }
    }
}

/// Returns the command in a `User-Agent` of this program.
fn command(agent: &str) -> Option<&str> {
    let name = agent.strip_prefix(COMMAND_AGENT)?.split('/').next()?;
    let is_word = name.bytes().all(|byte| byte.is_ascii_lowercase()) && (1..=AGENT_MAX).contains(&name.len());
    is_word.then_some(name)
}

/// Logs a change of the running configuration.
pub(in crate::control) fn changed(origin: &Origin, lines: &[String]) {
    let Origin { via, program, .. } = origin;
    let (uid, user, pid, program) = (origin.uid(), origin.user(), origin.pid(), program.as_deref());
    let (changes, what) = (lines.len(), summary(lines));
    lines.iter().for_each(|change| tracing::debug!(change, "change applied"));
    if changes == 0 {
        tracing::debug!(via, uid, user, pid, program, "request changed nothing");
    } else {
        tracing::info!(via, uid, user, pid, program, changes, what, "configuration changed");
    }
}

/// Logs that a drain has ended with the removal of its server, which had `load` connections left.
pub(in crate::control) fn drained(service: ServiceIdentity, rip: IpAddr, load: ServerLoad) {
    let ServerLoad { active, inactive } = load;
    if load == ServerLoad::default() {
        tracing::info!(via = "drain", %service, %rip, "real server drained and removed");
    } else {
        tracing::warn!(
            via = "drain", %service, %rip, active, inactive,
            "real server removed at the deadline of its drain: its connections are cut"
        );
    }
}

/// Logs the outcome of a reload.
pub(in crate::control) fn reloaded(origin: &Origin, outcome: &Result<Vec<String>, Diagnostics>) {
    let Origin { via, program, .. } = origin;
    let (uid, user, pid, program) = (origin.uid(), origin.user(), origin.pid(), program.as_deref());
    match outcome {
        Ok(lines) => {
            lines.iter().for_each(|change| tracing::debug!(change, "change applied"));
            let (changes, what) = (lines.len(), Some(summary(lines)).filter(|what| !what.is_empty()));
            tracing::info!(via, uid, user, pid, program, changes, what, "configuration reloaded");
        }
        Err(errors) => {
            tracing::error!(
                via,
                uid,
                user,
                pid,
                program,
                error = errors.to_string(),
                "the configuration stays as it was"
            );
        }
    }
}

/// Logs a further request for a reload that is pending.
pub(in crate::control) fn reload_shared(origin: &Origin) {
    let Origin { via, program, .. } = origin;
    let (uid, user, pid, program) = (origin.uid(), origin.user(), origin.pid(), program.as_deref());
    tracing::info!(via, uid, user, pid, program, "reload merged with another one");
}

/// Joins the first differences to one line.
fn summary(lines: &[String]) -> String {
    let first = lines.iter().take(LINES_MAX).map(|line| bounded(line, WORDS_MAX)).collect::<Vec<_>>();
    let rest = lines.len() - first.len();
    let rest = if rest > 0 { format!("; and {rest} more") } else { String::new() };
    first.join("; ") + &rest
}

/// Truncates a text to `max` characters, with an ellipsis.
fn bounded(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Logs refused requests, rate-limited for each user.
#[derive(Clone, Debug, Default)]
pub(in crate::control) struct RefusalLog(Arc<Mutex<LogLimiter<ByUser>>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ByUser(u32);

impl Display for ByUser {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "refused requests of user {}", self.0)
    }
}

impl RefusalLog {
    /// Logs one refusal.
    pub(in crate::control) fn log(
        &self,
        origin: &Origin,
        request: (&Method, &str),
        status: StatusCode,
        reason: &str,
    ) {
        let Origin { via, program, .. } = origin;
        let (uid, user, pid, program) = (origin.uid(), origin.user(), origin.pid(), program.as_deref());
        let request = bounded(&format!("{} {}", request.0, request.1), WORDS_MAX);
        let (status, reason) = (status.as_u16(), bounded(reason, WORDS_MAX));
        self.throttled(uid.unwrap_or_default(), || {
            tracing::warn!(via, uid, user, pid, program, request, status, reason, "request refused");
        });
    }

    /// Logs that a client of `user` was rejected since all places are taken.
    pub(in crate::control) fn log_busy(&self, user: u32, process: i32, places: usize) {
        self.throttled(user, || {
            tracing::warn!(
                uid = user,
                pid = process,
                places,
                "control socket busy: all places of clients that may not change are taken; the client was turned away"
            );
        });
    }

    /// Logs the number of suppressed lines. To be called at intervals.
    pub(in crate::control) fn report_suppressed(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).report_suppressed(Instant::now());
    }

    fn throttled(&self, user: u32, write: impl FnOnce()) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).log(ByUser(user), Instant::now(), write);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::log::capture::logged;
    use axum::http::HeaderValue;

    fn origin(agent: &str) -> Origin {
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, HeaderValue::from_str(agent).unwrap());
        Origin::request(PeerUser { user: 7, name: None }, 1, &headers)
    }

    #[test]
    fn commands_are_distinguished_from_other_programs() {
        let of = |agent: &str| {
            let Origin { via, program, .. } = origin(agent);
            (via, program)
        };
        assert_eq!(of(&crate::control::api::user_agent("ipvsadm")), ("directrix ipvsadm".into(), None));
        for other in ["curl/7.88.1", "directrix-", "directrix-A B/1", "directrix/0.1.0"] {
            assert_eq!(of(other), ("API".into(), Some(other.into())), "{other}");
        }
        let (_, program) = of(&"x".repeat(1000));
        assert_eq!(program.map(|name| name.chars().count()), Some(AGENT_MAX + 1));
    }

    #[test]
    fn rejected_clients_are_logged_for_each_user() {
        let text = logged("info", || {
            let refusals = RefusalLog::default();
            (0..1000).for_each(|process| refusals.log_busy(65534, process, 32));
            refusals.log_busy(7, 1, 32);
        });
        let lines = |part: &str| text.lines().filter(|line| line.contains(part)).count();
        assert!((1..=30).contains(&lines("control socket busy")), "{text}");
        assert_eq!((lines("uid=7 pid=1 places=32"), lines("uid=65534 pid=0 ")), (1, 1), "{text}");
    }

    #[test]
    fn summary_lists_the_first_differences() {
        let lines: Vec<_> = (0..25).map(|n| format!("+ {n}")).collect();
        assert_eq!(summary(&lines[..2]), "+ 0; + 1");
        assert!(summary(&lines).ends_with("; + 9; and 15 more"), "{}", summary(&lines));
        assert_eq!(summary(&[]), "");
        let long = summary(&["ä".repeat(5000)]);
        assert_eq!(long.chars().count(), WORDS_MAX + 1);
    }
}
