//! Copy mode of an AF_XDP socket.

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
    pub(in crate::io) fn flag(self) -> u16 {
        match self {
            Self::Zero => libc::XDP_ZEROCOPY,
            Self::Copy => libc::XDP_COPY,
        }
    }
}
