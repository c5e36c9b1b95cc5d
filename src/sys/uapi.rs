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
/// linux/ethtool.h: the number of strings in sets, and the strings of one set.
pub(super) const ETHTOOL_GSSET_INFO: u32 = 0x37;
/// linux/ethtool.h.
pub(super) const ETHTOOL_GSTRINGS: u32 = 0x1b;
/// linux/ethtool.h: features, by their positions in the set of their names.
pub(super) const ETHTOOL_GFEATURES: u32 = 0x3a;
/// linux/ethtool.h: the set of names of features, and the length of a name in bytes.
pub(super) const ETH_SS_FEATURES: u32 = 4;
/// linux/ethtool.h.
pub(super) const ETH_GSTRING_LEN: usize = 32;
/// linux/ethtool.h: queue counts.
pub(super) const ETHTOOL_GCHANNELS: u32 = 0x3c;

/// linux/if_link.h, within IFLA_XDP: ids of programs attached to an interface, in any mode.
pub(super) const IFLA_XDP_PROG_IDS: std::ops::RangeInclusive<u16> = 4..=7;
/// linux/if_link.h, within IFLA_XDP: the program to attach, as a descriptor.
pub(super) const IFLA_XDP_FD: u16 = 1;
/// linux/if_link.h, within IFLA_XDP: how to attach it.
pub(super) const IFLA_XDP_FLAGS: u16 = 3;

/// linux/if_link.h, within IFLA_INFO_DATA of a VLAN device: its identifier, and the protocol of its tag in network order.
pub(super) const IFLA_VLAN_ID: u16 = 1;
/// linux/if_link.h.
pub(super) const IFLA_VLAN_PROTOCOL: u16 = 5;

/// linux/if_link.h, within IFLA_INFO_DATA of a bond.
pub(super) const IFLA_BOND_MODE: u16 = 1;
/// linux/if_link.h.
pub(super) const IFLA_BOND_FAIL_OVER_MAC: u16 = 13;
/// linux/if_link.h, within IFLA_INFO_DATA of a macvlan.
pub(super) const IFLA_MACVLAN_MODE: u16 = 1;

/// linux/if_link.h, within IFLA_AF_SPEC of IPv6: how the kernel makes addresses, and the mode in which it makes none.
pub(super) const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
/// linux/if_link.h.
pub(super) const IN6_ADDR_GEN_MODE_NONE: u8 = 1;

/// linux/netdev.h, family "netdev" of generic netlink: the request for one device, and its attributes.
pub(super) const NETDEV_CMD_DEV_GET: u8 = 1;
/// linux/netdev.h.
pub(super) const NETDEV_A_DEV_IFINDEX: u16 = 1;
/// linux/netdev.h.
pub(super) const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;

/// linux/net_namespace.h: attributes of RTM_GETNSID.
pub(super) const NETNSA_NSID: u16 = 1;
/// linux/net_namespace.h.
pub(super) const NETNSA_FD: u16 = 3;

/// linux/netlink.h: the text of an extended acknowledgement.
pub(super) const NLMSGERR_ATTR_MSG: u16 = 1;

/// linux/ethtool.h: interrupt coalescing, ring sizes, pause frames.
pub(super) const ETHTOOL_GCOALESCE: u32 = 0x0e;
/// linux/ethtool.h.
pub(super) const ETHTOOL_GRINGPARAM: u32 = 0x10;
/// linux/ethtool.h.
pub(super) const ETHTOOL_GPAUSEPARAM: u32 = 0x12;
/// linux/ethtool.h: the fields of a flow that choose its receive queue, and the number of rules that choose one.
pub(super) const ETHTOOL_GRXFH: u32 = 0x29;
/// linux/ethtool.h.
pub(super) const ETHTOOL_GRXCLSRLCNT: u32 = 0x2e;
