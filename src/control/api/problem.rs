//! The body of an error response.

use crate::model::{Diagnostic, DiagnosticKind};
use serde::{Deserialize, Serialize};

/// The body of every error response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Error message.
    pub error: String,
    /// Class of the error, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<ErrorCode>,
    /// Index of the request at fault in a list, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<usize>,
}

impl Problem {
    /// A problem without code and index.
    pub(in crate::control) fn new(error: impl Into<String>) -> Self {
        Self { error: error.into(), code: None, at: None }
    }
}

impl From<&Diagnostic> for Problem {
    fn from(diagnostic: &Diagnostic) -> Self {
        let (code, at) = (ErrorCode::of(diagnostic.kind), diagnostic.request());
        Self { error: diagnostic.to_string(), code, at }
    }
}

/// Class of a [`Problem`]: "service-exists" and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// [`DiagnosticKind::ReadOnly`]. Status 403.
    ReadOnly,
    /// [`DiagnosticKind::NoAccess`]. Status 403.
    NoAccess,
    /// [`DiagnosticKind::ServiceExists`].
    ServiceExists,
    /// [`DiagnosticKind::NoSuchService`].
    NoSuchService,
    /// [`DiagnosticKind::UnknownMark`].
    UnknownMark,
    /// [`DiagnosticKind::ServerExists`].
    ServerExists,
    /// [`DiagnosticKind::NoSuchServer`].
    NoSuchServer,
    /// [`DiagnosticKind::NoSuchScheduler`].
    NoSuchScheduler,
    /// [`DiagnosticKind::OutOfRange`].
    OutOfRange,
    /// [`DiagnosticKind::InvalidRules`].
    InvalidRules,
    /// A code of a newer director. Never sent.
    #[serde(other)]
    Unknown,
}

impl ErrorCode {
    /// Each code that is sent, with its kind of diagnostic.
    const KINDS: [(Self, DiagnosticKind); 10] = [
        (Self::ReadOnly, DiagnosticKind::ReadOnly),
        (Self::NoAccess, DiagnosticKind::NoAccess),
        (Self::ServiceExists, DiagnosticKind::ServiceExists),
        (Self::NoSuchService, DiagnosticKind::NoSuchService),
        (Self::UnknownMark, DiagnosticKind::UnknownMark),
        (Self::ServerExists, DiagnosticKind::ServerExists),
        (Self::NoSuchServer, DiagnosticKind::NoSuchServer),
        (Self::NoSuchScheduler, DiagnosticKind::NoSuchScheduler),
        (Self::OutOfRange, DiagnosticKind::OutOfRange),
        (Self::InvalidRules, DiagnosticKind::InvalidRules),
    ];

    /// The code for a kind of diagnostic; `None` for kinds without one.
    #[must_use]
    pub fn of(kind: DiagnosticKind) -> Option<Self> {
        Self::KINDS.iter().find(|(_, of)| *of == kind).map(|(code, _)| *code)
    }

    /// The kind of a diagnostic with this code.
    #[must_use]
    pub fn kind(self) -> DiagnosticKind {
        let known = Self::KINDS.iter().find(|(code, _)| *code == self);
        known.map_or(DiagnosticKind::RequestRefused, |(_, kind)| *kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Subject;

    #[test]
    fn codes_are_kebab_case() {
        let exists = Diagnostic::new(DiagnosticKind::ServiceExists, "it is there");
        let problem = Problem::from(&exists.about([Subject::Request(3)]));
        let text = r#"{"error":"it is there","code":"service-exists","at":3}"#;
        assert_eq!(serde_json::to_string(&problem).unwrap(), text);
        assert_eq!(serde_json::from_str::<Problem>(text).unwrap(), problem);
    }

    #[test]
    fn codes_and_kinds_correspond() {
        for code in [
            "read-only",
            "no-access",
            "service-exists",
            "no-such-service",
            "unknown-mark",
            "server-exists",
            "no-such-server",
            "no-such-scheduler",
            "out-of-range",
            "invalid-rules",
        ] {
            let parsed: ErrorCode = serde_json::from_value(code.into()).unwrap();
            assert_eq!(serde_json::to_value(ErrorCode::of(parsed.kind())).unwrap(), code);
        }
        assert_eq!(ErrorCode::of(ErrorCode::Unknown.kind()), None);
    }

    #[test]
    fn absent_and_newer_codes_are_accepted() {
        let parse = |text: &str| serde_json::from_str::<Problem>(text).unwrap();
        assert_eq!(parse(r#"{"error":"x"}"#), Problem::new("x"));
        assert_eq!(parse(r#"{"error":"x","code":"too-hot"}"#).code, Some(ErrorCode::Unknown));
    }
}
