//! Copy mode of an AF_XDP socket.

use xsk_rs::config::BindFlags;

/// Copy mode: zero-copy if the driver itself accesses the UMEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::io) enum CopyMode {
    /// XDP_ZEROCOPY.
    Zero,
    /// XDP_COPY.
    Copy,
}

impl CopyMode {
    /// The flag of bind(2).
    pub(in crate::io) fn flag(self) -> BindFlags {
        match self {
            Self::Zero => BindFlags::XDP_ZEROCOPY,
            Self::Copy => BindFlags::XDP_COPY,
        }
    }
}
