//! Findings of the doctor.

use serde::Serialize;
use std::fmt;

/// Level of a finding, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingLevel {
    /// A director does not work with it.
    Error,
    /// It works for a part of the traffic, or until something changes.
    Warn,
    /// It could not be examined, mostly for lack of permission.
    Unknown,
    /// It works, and could be faster or plainer.
    Hint,
    /// Examined and sound.
    Ok,
}

impl FindingLevel {
    /// Its name in every output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Unknown => "unknown",
            Self::Hint => "hint",
            Self::Ok => "ok",
        }
    }
}

/// Remedy of a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Remedy {
    /// A line to type in a shell of this host.
    Command(String),
    /// An action that is no command.
    Advice(String),
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Command(text) | Self::Advice(text)) = self;
        f.write_str(text)
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable name of the trap: the anchor of its section in docs/doctor.md.
    pub id: &'static str,
    /// Level.
    pub level: FindingLevel,
    /// State of the host.
    pub what: String,
    /// Consequence. Empty if the level is [`FindingLevel::Ok`].
    pub effect: String,
    /// The action to take, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<Remedy>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<7} {}: {}", self.level.name(), self.id, self.what)?;
        if !self.effect.is_empty() {
            write!(f, "\n        effect: {}", self.effect)?;
        }
        match &self.remedy {
            Some(remedy) => write!(f, "\n        remedy: {remedy}"),
            None => Ok(()),
        }
    }
}
