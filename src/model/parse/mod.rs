//! From TOML text to a checked [`Config`].
//!
//! The text is taken apart once, with the place of every key and value kept. Small readers turn
//! values into the model's types; what they object to is collected, so that one run shows
//! everything that is wrong with a file.

mod director;
mod readers;
mod report;
mod section;
mod service;

use super::file::read_file;
use super::{Config, Places};
pub use readers::SECONDS_MAX;

use report::Report;
use section::Section;
use std::fmt;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One thing wrong with a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file as named by the user.
    pub file: String,
    /// 1-based line; 0 if it is the file as a whole.
    pub line: usize,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub remedy: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, what, remedy } = self;
        match line {
            0 => write!(f, "{file}: {what}; {remedy}"),
            _ => write!(f, "{file}:{line}: {what}; {remedy}"),
        }
    }
}

/// Everything wrong with a configuration file, in file order; never empty. Shown one per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.0.iter().map(ConfigError::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for ConfigErrors {}

impl Config {
    /// Reads and checks the configuration file at `path`.
    ///
    /// # Errors
    /// What [`read_file`] or [`parse_bytes`] objects to.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        let bytes = read_file(path).map_err(|unreadable| unreadable.of(path))?;
        parse_bytes(path, &bytes)
    }
}

/// Checks a whole configuration file as it was read. `file` is only named in errors.
///
/// # Errors
/// It is not UTF-8, or what [`parse`] objects to.
pub fn parse_bytes(file: &Path, bytes: &[u8]) -> Result<Config, ConfigErrors> {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(file, text),
        Err(end) => Err(not_utf8(file, &bytes[..end.valid_up_to()])),
    }
}

/// Checks a whole configuration file. `file` is only named in errors.
///
/// # Errors
/// Every error in it, in file order.
pub fn parse(file: &Path, text: &str) -> Result<Config, ConfigErrors> {
    let (root, syntax) = DeTable::parse_recoverable(text);
    let report = Report::new(file, text);
    // A broken header puts the keys below it into the wrong table: what could be said of them
    // would only lead astray.
    let sound = syntax.iter().filter(|error| report.syntax(error)).count() == 0;
    let config = if sound { read(root, &report) } else { None };
    report.verdict(config)
}

fn read(root: Spanned<DeTable<'_>>, report: &Report<'_>) -> Option<Config> {
    let span = root.span();
    let root = Spanned::new(span, DeValue::Table(root.into_inner()));
    let root = Section::open("the file", &root, report)?;
    let mut places = Places { file: report.file().into(), ..Places::default() };
    let director = director::read(&root, &mut places);
    let services = service::read(&root, &mut places);
    root.close();
    Some(Config { director: director?, services, places })
}

fn not_utf8(path: &Path, good: &[u8]) -> ConfigErrors {
    let line = 1 + good.iter().filter(|&&byte| byte == b'\n').count();
    whole_file(path, line, "this is not UTF-8 text".into(), "save the file in UTF-8")
}

fn whole_file(path: &Path, line: usize, what: String, remedy: &str) -> ConfigErrors {
    let file = path.display().to_string();
    ConfigErrors(vec![ConfigError { file, line, what, remedy: remedy.into() }])
}

#[cfg(test)]
mod tests;
