//! Modes of an XDP program.

/// XDP mode: the place of the steering program in the receive path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver, before the kernel has built a packet buffer.
    Native,
    /// In the network stack: slower, for drivers without XDP.
    Generic,
}

impl XdpMode {
    /// XDP_FLAGS_DRV_MODE and XDP_FLAGS_SKB_MODE of linux/if_link.h.
    pub(super) fn flags(self) -> u32 {
        match self {
            Self::Native => 1 << 2,
            Self::Generic => 1 << 1,
        }
    }
}

/// The modes in which a program may be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllowedModes {
    /// Native only.
    Native,
    /// Native, or generic where the driver refuses it.
    Any,
}

/// Number of buffers that a frame may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buffers {
    /// One, which every driver with XDP supports.
    One,
    /// Several, for frames longer than a page; since Linux 6.6, with some drivers.
    Several,
}
