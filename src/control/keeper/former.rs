//! Tables of a process before with other capacities.

use crate::flow::{V4Key, WideKey};
use crate::shadow::ShadowWriter;

/// Tables of connections of the process before, whose entries are to be moved.
pub struct FormerConnections {
    /// Connections with compact keys.
    pub compact: ShadowWriter<V4Key>,
    /// Connections with wide keys.
    pub wide: ShadowWriter<WideKey>,
    /// Persistence templates.
    pub templates: ShadowWriter<WideKey>,
}
