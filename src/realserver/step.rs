//! Steps of setup and undo.

use std::fmt;

/// A change of the host, or a remark about an unchanged part. Displayed as a line of shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupStep {
    /// Equivalent shell command; empty for a remark.
    pub command: String,
    /// Explanation.
    pub remark: String,
}

impl SetupStep {
    /// A step without a change.
    pub(super) fn remark(remark: String) -> Self {
        Self { command: String::new(), remark }
    }
}

impl fmt::Display for SetupStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, remark } = self;
        match command.as_str() {
            "" => write!(f, "# {remark}"),
            _ => write!(f, "{command:<62} # {remark}"),
        }
    }
}
