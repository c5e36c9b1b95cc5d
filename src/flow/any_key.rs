//! Flow key of either type.

use super::key::{Flow, FlowKey, V4Key};
use super::wide::WideKey;

/// Flow key of either type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AnyKey {
    /// Of a flow of IPv4 to a match of one port.
    Compact(V4Key),
    /// Of any other flow.
    Wide(WideKey),
}

impl AnyKey {
    /// The flow.
    #[must_use]
    pub fn flow(self) -> Flow {
        match self {
            Self::Compact(key) => key.flow(),
            Self::Wide(key) => key.flow(),
        }
    }
}

impl From<V4Key> for AnyKey {
    #[inline]
    fn from(key: V4Key) -> Self {
        Self::Compact(key)
    }
}

impl From<WideKey> for AnyKey {
    #[inline]
    fn from(key: WideKey) -> Self {
        Self::Wide(key)
    }
}
