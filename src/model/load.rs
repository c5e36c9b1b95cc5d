//! From a configuration file on disk to a checked configuration.

use super::parse::parse_all;
use super::{Config, Diagnostics, SourceFile, Sources};
use std::iter;
use std::path::Path;

impl Config {
    /// Reads and checks the configuration file at `path`, with the files that it includes.
    ///
    /// # Errors
    /// Errors of [`Sources::read`] and [`Sources::parse`].
    pub fn load(path: &Path) -> Result<Self, Diagnostics> {
        Sources::read(path)?.parse()
    }
}

impl Sources {
    /// Parses the whole configuration.
    ///
    /// # Errors
    /// Every error in it, file by file.
    pub fn parse(&self) -> Result<Config, Diagnostics> {
        let included = self.included.iter().map(|SourceFile { file, text }| (file.as_str(), text.as_str()));
        let files: Vec<_> = iter::once((self.file.as_str(), self.text.as_str())).chain(included).collect();
        parse_all(&files)
    }
}
