//! Diagnostics: one type for every error that has a remedy.

use super::{Place, ServiceIdentity};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::Path;

/// An error as an operator reads it: "at: what: cause; remedy" on one line.
///
/// This is the only place that renders it, for terminal, log and control socket alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Its class, for callers.
    pub kind: DiagnosticKind,
    /// The fault, or the step that failed: "attaching the steering program to eth0".
    pub what: String,
    /// The reason, with the errno's name where there is one. Empty if `what` is complete.
    pub cause: String,
    /// The action to take. Empty if there is none.
    pub remedy: String,
    /// The objects at fault; several if they conflict. Empty if none in particular is.
    pub subjects: Box<[Subject]>,
    /// File and line, for an error in a file.
    pub place: Option<Box<Place>>,
}

/// Class of a [`Diagnostic`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiagnosticKind {
    /// A file cannot be read.
    UnreadableFile,
    /// A file is not of its format: TOML, or the format of an import.
    Syntax,
    /// A key that its table does not have.
    UnknownKey,
    /// A value of a configuration file that is missing, out of range or of the wrong type.
    InvalidValue,
    /// A virtual service is there already.
    ServiceExists,
    /// There is no such virtual service.
    NoSuchService,
    /// No matches are known for the firewall mark of a service.
    UnknownMark,
    /// A real server is in the service already.
    ServerExists,
    /// The service has no such real server.
    NoSuchServer,
    /// There is no such scheduler.
    NoSuchScheduler,
    /// A number is out of range: ERANGE in IPVS.
    OutOfRange,
    /// Services and servers that cannot be served together, or not on this host.
    InvalidRules,
    /// Keys of `[director]` differ that only a restart applies.
    RestartRequired,
    /// A path that can name no socket, on any host.
    InvalidSocketPath,
    /// No director can be reached at the socket's path: none listens, or the file is no socket or forbids access.
    DirectorUnreachable,
    /// The user may read the director's state, but not change it.
    ReadOnly,
    /// The user may neither read nor change the director's state.
    NoAccess,
    /// The director refused a request for another reason.
    RequestRefused,
    /// A request is larger than a director accepts.
    RequestTooLarge,
    /// The director ended, did not respond in time, or sent a response that cannot be used.
    ExchangeFailed,
    /// Client and director are of versions that do not understand each other.
    IncompatibleVersion,
    /// An argument of a command cannot be used, or not where the command was started.
    InvalidArgument,
    /// SIGINT, SIGTERM or SIGHUP ended a command.
    Interrupted,
    /// Another director listens at the socket's path, or another kind of file is there.
    SocketPathInUse,
    /// An interface is missing or down. It may come, as at boot.
    InterfaceAbsent,
    /// The system refuses, or the host lacks something.
    System,
}

/// The object that a [`Diagnostic`] is about: a part of the rules, or a request for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A service by its identity.
    Service(ServiceIdentity),
    /// The settings of a service.
    ServiceSettings(ServiceIdentity),
    /// A real server of a service by its address.
    Server(ServiceIdentity, IpAddr),
    /// The settings of a real server of a service.
    ServerSettings(ServiceIdentity, IpAddr),
    /// A request of a list by its index, from 0.
    Request(usize),
}

impl Diagnostic {
    /// A diagnostic with neither cause nor remedy yet.
    pub fn new(kind: DiagnosticKind, what: impl Into<String>) -> Self {
        let (what, subjects) = (what.into(), Box::default());
        Self { kind, what, cause: String::new(), remedy: String::new(), subjects, place: None }
    }

    /// A failed step of the kind [`DiagnosticKind::System`].
    pub fn system(what: impl Into<String>) -> Self {
        Self::new(DiagnosticKind::System, what)
    }

    /// A failed step of the kind [`DiagnosticKind::System`], with the error of the system call.
    pub fn io(what: impl Into<String>, error: &io::Error) -> Self {
        Self::system(what).cause(error.to_string())
    }

    /// A fault of the kind [`DiagnosticKind::InvalidArgument`].
    pub fn invalid_argument(what: impl Into<String>) -> Self {
        Self::new(DiagnosticKind::InvalidArgument, what)
    }

    /// A fault of the kind [`DiagnosticKind::InvalidRules`], with its remedy.
    pub fn invalid_rules(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(DiagnosticKind::InvalidRules, what).remedy(remedy)
    }

    /// The same with this cause.
    #[must_use]
    pub fn cause(self, cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), ..self }
    }

    /// The same with this remedy.
    #[must_use]
    pub fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: remedy.into(), ..self }
    }

    /// The same with these objects at fault.
    #[must_use]
    pub fn about(self, subjects: impl Into<Box<[Subject]>>) -> Self {
        Self { subjects: subjects.into(), ..self }
    }

    /// The same with another kind.
    #[must_use]
    pub fn of_kind(self, kind: DiagnosticKind) -> Self {
        Self { kind, ..self }
    }

    /// The same with a file and a line of it.
    #[must_use]
    pub fn at(self, place: Place) -> Self {
        Self { place: Some(Box::new(place)), ..self }
    }

    /// The same, about a file as a whole.
    #[must_use]
    pub fn in_file(self, file: &Path) -> Self {
        self.at(Place { file: file.display().to_string().into(), line: 0 })
    }

    /// 1-based line; 0 without a place, or if the file as a whole is at fault.
    #[must_use]
    pub fn line(&self) -> usize {
        self.place.as_ref().map_or(0, |place| place.line)
    }

    /// Index of the request at fault in a list, from 0; `None` if none in particular is.
    #[must_use]
    pub fn request(&self) -> Option<usize> {
        self.subjects.iter().find_map(|subject| match subject {
            Subject::Request(index) => Some(*index),
            _ => None,
        })
    }

    /// The fault with its cause, without place and remedy: "what: cause".
    #[must_use]
    pub fn fault(&self) -> String {
        let Self { what, cause, .. } = self;
        if cause.is_empty() { what.clone() } else { format!("{what}: {cause}") }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.fault())?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, "; {}", self.remedy) }
    }
}

impl std::error::Error for Diagnostic {}

/// All errors of a configuration, in file order; never empty. Rendered one per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.0.iter().map(Diagnostic::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Diagnostics {}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_are_there_are_rendered() {
        let plain = Diagnostic::system("binding to eth0");
        assert_eq!(plain.to_string(), "binding to eth0");
        let whole = plain.cause("EPERM").remedy("run as root");
        assert_eq!(whole.to_string(), "binding to eth0: EPERM; run as root");
        let at = |line| whole.clone().at(Place { file: "d.toml".into(), line }).to_string();
        assert_eq!(at(7), "d.toml:7: binding to eth0: EPERM; run as root");
        assert_eq!(at(0), "d.toml: binding to eth0: EPERM; run as root");
    }
}
