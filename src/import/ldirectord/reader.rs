//! Settings of one `virtual` of ldirectord.cf.

use super::lines::{Setting, Virtual, last};
use crate::import::environment::Environment;
use crate::model::Diagnostic;

/// Reader of one `virtual`.
#[derive(Clone, Copy)]
pub(super) struct ServiceReader<'f> {
    pub(super) of: &'f Virtual,
    pub(super) globals: &'f [Setting],
    pub(super) host: &'f dyn Environment,
}

impl<'f> ServiceReader<'f> {
    /// Finds a setting of the service, else of the file.
    pub(super) fn find(&self, keyword: &str) -> Option<&'f Setting> {
        last(&self.of.settings, keyword).or_else(|| last(self.globals, keyword))
    }

    /// Finds a setting of the service.
    pub(super) fn own(&self, keyword: &str) -> Option<&'f Setting> {
        last(&self.of.settings, keyword)
    }

    /// Reads "yes" or "no".
    pub(super) fn is_yes(&self, setting: &Setting) -> Result<bool, Diagnostic> {
        match setting.text() {
            "yes" => Ok(true),
            "no" => Ok(false),
            _ => Err(setting.error("it is neither yes nor no", "write one of the two")),
        }
    }
}

/// A whole number from `min` to `max`.
pub(super) fn number(setting: &Setting, min: u32, max: u32) -> Result<u32, Diagnostic> {
    let number = setting.text().parse().ok().filter(|number| (min..=max).contains(number));
    number.ok_or_else(|| setting.error("it has no number", &format!("write one from {min} to {max}")))
}
