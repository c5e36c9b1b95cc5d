//! From TOML text to a checked [`Config`].

use super::Config;
use std::path::Path;

/// One thing wrong with a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {what}; {remedy}")]
pub struct ConfigError {
    /// The file as named by the user.
    pub file: String,
    /// 1-based line.
    pub line: usize,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub remedy: String,
}

/// Everything wrong with a configuration file; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

/// Checks a whole configuration file.
///
/// # Errors
/// Every error in it, in file order.
pub fn parse(_file: &Path, _text: &str) -> Result<Config, ConfigErrors> {
    todo!()
}
