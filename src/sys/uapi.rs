//! Constants of the kernel's UAPI headers that the libc crate lacks, as of Linux 6.18.

/// linux/sockios.h: any ethtool command.
pub(super) const SIOCETHTOOL: libc::c_ulong = 0x8946;

/// linux/ethtool.h: driver information.
pub(super) const ETHTOOL_GDRVINFO: u32 = 0x03;
/// linux/ethtool.h: receive checksum offload.
pub(super) const ETHTOOL_GRXCSUM: u32 = 0x14;
/// linux/ethtool.h: transmit checksum offload.
pub(super) const ETHTOOL_GTXCSUM: u32 = 0x16;
/// linux/ethtool.h: reads GRO.
/// ETHTOOL_GFLAGS of linux/ethtool.h, and its bit for the removal of received VLAN tags.
pub(super) const ETHTOOL_GFLAGS: u32 = 0x25;
pub(super) const ETH_FLAG_RXVLAN: u32 = 1 << 8;
pub(super) const ETHTOOL_GGRO: u32 = 0x2b;
/// linux/ethtool.h: sets GRO.
pub(super) const ETHTOOL_SGRO: u32 = 0x2c;
/// linux/ethtool.h: queue counts.
pub(super) const ETHTOOL_GCHANNELS: u32 = 0x3c;

/// linux/if_link.h, within IFLA_XDP: ids of programs attached to an interface, in any mode.
pub(super) const IFLA_XDP_PROG_IDS: std::ops::RangeInclusive<u16> = 4..=7;
/// linux/if_link.h, within IFLA_XDP: the program to attach, as a descriptor.
pub(super) const IFLA_XDP_FD: u16 = 1;
/// linux/if_link.h, within IFLA_XDP: how to attach it.
pub(super) const IFLA_XDP_FLAGS: u16 = 3;

/// linux/net_namespace.h: attributes of RTM_GETNSID.
pub(super) const NETNSA_NSID: u16 = 1;
/// linux/net_namespace.h.
pub(super) const NETNSA_FD: u16 = 3;

/// linux/netlink.h: the text of an extended acknowledgement.
pub(super) const NLMSGERR_ATTR_MSG: u16 = 1;
