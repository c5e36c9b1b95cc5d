//! Result of one check.

use super::finding::{FindingLevel, Remedy};

/// A finding before it has the id of its check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) level: FindingLevel,
    pub(super) what: String,
    pub(super) effect: String,
    pub(super) remedy: Option<Remedy>,
}

impl Fault {
    pub(super) fn new(level: FindingLevel, what: impl Into<String>, effect: impl Into<String>) -> Self {
        Self { level, what: what.into(), effect: effect.into(), remedy: None }
    }

    /// A property that could not be examined, for this reason.
    pub(super) fn unknown(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::new(FindingLevel::Unknown, what, reason)
    }

    /// The same with this line as its remedy.
    pub(super) fn command(self, line: impl Into<String>) -> Self {
        Self { remedy: Some(Remedy::Command(line.into())), ..self }
    }

    /// The same with this action as its remedy.
    pub(super) fn advice(self, action: impl Into<String>) -> Self {
        Self { remedy: Some(Remedy::Advice(action.into())), ..self }
    }
}

/// Result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// There is nothing to examine: the configuration has no VIP, or uses another backend.
    Moot,
    /// Everything was examined; sound without a fault.
    Examined(Vec<Fault>),
}

impl From<Vec<Fault>> for Judgement {
    fn from(faults: Vec<Fault>) -> Self {
        Self::Examined(faults)
    }
}

impl From<Option<Fault>> for Judgement {
    fn from(fault: Option<Fault>) -> Self {
        Self::Examined(Vec::from_iter(fault))
    }
}

impl From<Fault> for Judgement {
    fn from(fault: Fault) -> Self {
        Self::Examined(vec![fault])
    }
}
