//! Places in configuration files, for diagnostics.

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
    /// `interface` of the director.
    pub interface: usize,
    /// `control_group`, if it is there.
    pub control_group: usize,
    /// `server_interface`, or the `[director]` table if there is none.
    pub server_interface: usize,
    /// The address of each service, in file order.
    pub services: Vec<Place>,
    /// The address of each real server, of all services in file order.
    pub servers: Vec<Place>,
    /// The files that it includes, as errors call them.
    pub included: Vec<String>,
    /// `user`, or the `[director]` table if there is none.
    pub user: usize,
}
