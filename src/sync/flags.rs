//! Flags of a record (`IP_VS_CONN_F_*` in include/uapi/linux/ip_vs.h).

use std::ops::BitOr;

/// Flags of a record that mean something outside a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SyncFlags(u32);

impl SyncFlags {
    /// By direct routing, and without a reply through the director (`DROUTE`, `NOOUTPUT`).
    pub const DIRECT: Self = Self(0x83);
    /// The entry has itself come by sync.
    pub const SYNCED: Self = Self(0x20);
    /// Counted as inactive: every UDP flow, and a TCP connection that closes.
    pub const INACTIVE: Self = Self(0x100);
    /// A template.
    pub const TEMPLATE: Self = Self(0x1000);

    /// Two sequence numbers follow a record of version 0 that has one of these. Direct routing changes none.
    pub(super) const SEQUENCES: u32 = 0x600;
    /// Method, SYNC, NOOUTPUT, INACTIVE, NO_CPORT and TEMPLATE.
    const KEPT: u32 = 0x7 | 0x20 | 0x80 | 0x100 | 0x800 | 0x1000;

    /// The known flags in `bits`.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits & Self::KEPT)
    }

    /// As in a record.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// True with all flags of `other`.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for SyncFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
