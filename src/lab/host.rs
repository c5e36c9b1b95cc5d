//! Hosts of the lab and their addresses.

use super::layout::Layout;
use crate::wire::MacAddr;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Address of the virtual service.
pub const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 150);
/// TCP port of the virtual service.
pub const PORT: u16 = 80;
/// Address of the client, behind the router; /24.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
/// Address of the router towards the client; /24.
pub const ROUTER_CLIENT_SIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// Address of the router on the segment, in the VIP's subnet; /24.
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 2);
/// Second address of the router on the segment, for private real servers; /24.
pub const PRIVATE_GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 195, 0, 2);

/// IPv6 address of the virtual service.
pub const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x195, 0, 0, 0, 0, 0x150);
/// IPv6 address of the client, behind the router; /64.
pub const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0, 0x10);
/// IPv6 address of the router towards the client; /64.
pub const ROUTER_CLIENT_SIDE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0, 1);
/// IPv6 address of the router on the segment, in the VIP's subnet; /64.
pub const ROUTER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x195, 0, 0, 0, 0, 2);
/// Second IPv6 address of the router on the segment, for private real servers; /64.
pub const PRIVATE_GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x195, 0, 0, 0, 0, 0, 2);

/// A host of the lab, in a network namespace of its own.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum LabHost {
    /// The client, which connects to the VIP.
    Client,
    /// The router between the client's network and the segment.
    Router,
    /// The switch of the segment: a bridge with one port for each host.
    Switch,
    /// The director, which runs directrix.
    Director,
    /// Real server of weight 1.
    Rs1,
    /// Real server of weight 2.
    Rs2,
}

impl LabHost {
    /// All hosts, in build order.
    pub const ALL: [LabHost; 6] =
        [Self::Client, Self::Router, Self::Switch, Self::Director, Self::Rs1, Self::Rs2];
    /// Hosts connected to the switch; its ports are named after them.
    pub const ON_SEGMENT: [LabHost; 4] = [Self::Router, Self::Director, Self::Rs1, Self::Rs2];
    /// Real servers, in the order of the configuration.
    pub const REAL_SERVERS: [LabHost; 2] = [Self::Rs1, Self::Rs2];

    /// Name on the command line and in namespace names.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Router => "router",
            Self::Switch => "switch",
            Self::Director => "director",
            Self::Rs1 => "rs1",
            Self::Rs2 => "rs2",
        }
    }

    /// Host by name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|host| host.name() == name)
    }

    /// Fixed MAC address of its `eth0`, for readable captures. The switch has none.
    #[must_use]
    pub fn mac(self) -> MacAddr {
        match self {
            Self::Client => MacAddr([2, 0, 0, 0, 0, 0x10]),
            Self::Router => MacAddr([2, 0, 0, 0, 0, 0x02]),
            Self::Switch => MacAddr::ZERO,
            Self::Director => MacAddr([2, 0, 0, 0, 0, 0x05]),
            Self::Rs1 => MacAddr([2, 0, 0, 0, 0x01, 0x70]),
            Self::Rs2 => MacAddr([2, 0, 0, 0, 0x01, 0x71]),
        }
    }

    /// Host on the segment by the MAC address of its `eth0`.
    #[must_use]
    pub fn with_mac(mac: MacAddr) -> Option<Self> {
        Self::ON_SEGMENT.into_iter().find(|host| host.mac() == mac)
    }

    /// Weight in the virtual service; 0 for other hosts than real servers.
    #[must_use]
    pub fn weight(self) -> u16 {
        match self {
            Self::Rs1 => 1,
            Self::Rs2 => 2,
            _ => 0,
        }
    }

    /// Address of its `eth0`: the DIP, a RIP, or the router's address in the VIP's subnet.
    #[must_use]
    pub fn address(self, layout: Layout) -> Option<Ipv4Addr> {
        let inside = |last| match layout {
            Layout::OneSubnet => Ipv4Addr::new(192, 168, 195, last),
            Layout::TwoSubnets => Ipv4Addr::new(10, 195, 0, last),
        };
        match self {
            Self::Client => Some(CLIENT),
            Self::Router => Some(ROUTER),
            Self::Switch => None,
            Self::Director => Some(inside(5)),
            Self::Rs1 => Some(inside(170)),
            Self::Rs2 => Some(inside(171)),
        }
    }
}

impl LabHost {
    /// IPv6 address of its `eth0`, with the last group of [`LabHost::address`] in hexadecimal digits.
    #[must_use]
    pub fn ipv6_address(self, layout: Layout) -> Option<Ipv6Addr> {
        let inside = |last| match layout {
            Layout::OneSubnet => Ipv6Addr::new(0x2001, 0xdb8, 0x195, 0, 0, 0, 0, last),
            Layout::TwoSubnets => Ipv6Addr::new(0xfd00, 0x195, 0, 0, 0, 0, 0, last),
        };
        match self {
            Self::Client => Some(CLIENT6),
            Self::Router => Some(ROUTER6),
            Self::Switch => None,
            Self::Director => Some(inside(0x5)),
            Self::Rs1 => Some(inside(0x170)),
            Self::Rs2 => Some(inside(0x171)),
        }
    }

    /// Address of its `eth0` of the family of `vip`.
    #[must_use]
    pub fn address_beside(self, vip: IpAddr, layout: Layout) -> Option<IpAddr> {
        match vip {
            IpAddr::V4(_) => self.address(layout).map(IpAddr::V4),
            IpAddr::V6(_) => self.ipv6_address(layout).map(IpAddr::V6),
        }
    }
}

/// Default gateway for IPv6 of director and real servers.
#[must_use]
pub fn ipv6_gateway(layout: Layout) -> Ipv6Addr {
    match layout {
        Layout::OneSubnet => ROUTER6,
        Layout::TwoSubnets => PRIVATE_GATEWAY6,
    }
}

/// Default gateway of director and real servers: the router, never the director.
#[must_use]
pub fn gateway(layout: Layout) -> Ipv4Addr {
    match layout {
        Layout::OneSubnet => ROUTER,
        Layout::TwoSubnets => PRIVATE_GATEWAY,
    }
}

impl fmt::Display for LabHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_found_by_name_and_mac() {
        for host in LabHost::ALL {
            assert_eq!(LabHost::named(host.name()), Some(host));
        }
        for host in LabHost::ON_SEGMENT {
            assert_eq!(LabHost::with_mac(host.mac()), Some(host));
        }
        assert_eq!(LabHost::named("rs3"), None);
        assert_eq!(LabHost::with_mac(LabHost::Client.mac()), None);
    }

    #[test]
    fn private_layout_has_no_address_in_the_vip_subnet() {
        assert_eq!(LabHost::Director.address(Layout::OneSubnet).unwrap().octets()[..3], VIP.octets()[..3]);
        for host in [LabHost::Director, LabHost::Rs1, LabHost::Rs2] {
            assert_eq!(host.address(Layout::TwoSubnets).unwrap().octets()[..3], [10, 195, 0]);
        }
        assert_eq!(gateway(Layout::TwoSubnets).octets()[..3], [10, 195, 0]);
    }
}
