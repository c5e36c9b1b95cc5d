//! Places in configuration files, for diagnostics.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A line of a file. Displayed as "FILE:LINE", or as "FILE" for the file as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file as errors call it.
    pub file: Arc<str>,
    /// 1-based; 0 for the file as a whole.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}", self.file),
        }
    }
}

/// Lines of a configuration file, 1-based, for diagnostics of values that are invalid on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The file as named by the user.
    pub file: String,
    /// The `[director]` table.
    pub director: usize,
    /// The keys that the `[director]` table has.
    pub director_keys: BTreeMap<String, usize>,
    /// The address of each service, in file order.
    pub services: Vec<Place>,
    /// The address of each real server, of all services in file order.
    pub servers: Vec<Place>,
    /// The files that it includes, as errors call them.
    pub included: Vec<String>,
}

impl Places {
    /// Place of a key of the `[director]` table, or of the table if it does not have the key.
    #[must_use]
    pub fn director_key(&self, key: &str) -> Place {
        let line = self.director_keys.get(key).copied().unwrap_or(self.director);
        Place { file: self.file.as_str().into(), line }
    }
}
