//! Checks without a probe over the network: the operator's scripts, files and programs.

use crate::time::Span;
use std::fmt;

/// A script whose exit status is the result.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScriptCheck {
    /// Absolute path of the program, and its arguments. No shell reads them.
    pub command: Vec<String>,
    /// Whether exit status 2 to 255 is good and sets the weight to 0 to 253, as keepalived's `misc_dynamic` does.
    pub dynamic_weight: bool,
}

/// A file whose content or existence is the result.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileCheck {
    /// Absolute path, in which [`FileCheck::RIP`] stands for the address of the real server.
    pub path: String,
    /// State of the file that is good.
    pub good: GoodFile,
    /// With [`GoodFile::Zero`]: any number is good, and so many times it is added to the weight, as by keepalived's
    /// `FILE_CHECK` with a weight. -254..=254, not 0.
    pub weight: Option<i16>,
}

impl FileCheck {
    /// Placeholder of the real server's address in the path.
    pub const RIP: &'static str = "{rip}";
}

/// State of a file that is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GoodFile {
    /// It has the number 0; any other number is bad.
    Zero,
    /// It exists.
    Present,
    /// It does not exist.
    Absent,
}

impl GoodFile {
    /// Every state with its name.
    pub const NAMES: [(&'static str, Self); 3] =
        [("zero", Self::Zero), ("present", Self::Present), ("absent", Self::Absent)];

    /// The name in the configuration file.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize].0
    }
}

/// A check whose result a program of the operator reports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExternalCheck {
    /// Name in the reports.
    pub name: String,
    /// Age from which on a report says nothing.
    pub max_age: Span,
}

impl ExternalCheck {
    /// Age unless configured: a minute.
    pub const MAX_AGE: Span = Span::from_secs(60);
}

impl fmt::Display for ScriptCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.command.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_of_a_file_has_its_name() {
        GoodFile::NAMES.iter().for_each(|(name, good)| assert_eq!(good.name(), *name));
    }
}
