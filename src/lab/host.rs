//! Who is who: the hosts, their addresses and their cables.

use super::options::Layout;
use crate::wire::MacAddr;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::Ipv4Addr;

/// The virtual service's address.
pub const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 150);
/// The virtual service's port, TCP.
pub const PORT: u16 = 80;
/// Where the client is, behind the router; /24.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
/// The router towards the client; /24.
pub const ROUTER_CLIENT_LEG: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// The router on the segment, in the VIP's subnet; /24.
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 2);
/// The router's second address on the segment where real servers are private; /24.
pub const PRIVATE_GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 195, 0, 2);

/// One host of the lab, each a network namespace.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Host {
    /// Asks for the VIP.
    Client,
    /// Between the client's network and the segment.
    Router,
    /// The segment: a bridge, one port for each host.
    Switch,
    /// Runs directrix.
    Director,
    /// Real server of weight 1.
    Rs1,
    /// Real server of weight 2.
    Rs2,
}

impl Host {
    /// Every host, in the order in which they are built.
    pub const ALL: [Host; 6] =
        [Self::Client, Self::Router, Self::Switch, Self::Director, Self::Rs1, Self::Rs2];
    /// The hosts with a cable to the switch; its ports are named after them.
    pub const ON_SEGMENT: [Host; 4] = [Self::Router, Self::Director, Self::Rs1, Self::Rs2];
    /// The real servers, in the order of the configuration.
    pub const REAL_SERVERS: [Host; 2] = [Self::Rs1, Self::Rs2];

    /// The host's name, as on the command line and in namespace names.
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

    /// The host called `name`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|host| host.name() == name)
    }

    /// MAC address of its `eth0`; fixed, so that captures read well. The switch has none.
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

    /// The host on the segment whose `eth0` has address `mac`.
    #[must_use]
    pub fn with_mac(mac: MacAddr) -> Option<Self> {
        Self::ON_SEGMENT.into_iter().find(|host| host.mac() == mac)
    }

    /// Weight in the virtual service; 0 for hosts that are no real server.
    #[must_use]
    pub fn weight(self) -> u16 {
        match self {
            Self::Rs1 => 1,
            Self::Rs2 => 2,
            _ => 0,
        }
    }

    /// Address of its `eth0`: the DIP, a RIP, or the router's leg in the VIP's subnet.
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

/// The default gateway of director and real servers: the router, never the director.
#[must_use]
pub fn gateway(layout: Layout) -> Ipv4Addr {
    match layout {
        Layout::OneSubnet => ROUTER,
        Layout::TwoSubnets => PRIVATE_GATEWAY,
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_macs_lead_back_to_the_host() {
        for host in Host::ALL {
            assert_eq!(Host::named(host.name()), Some(host));
        }
        for host in Host::ON_SEGMENT {
            assert_eq!(Host::with_mac(host.mac()), Some(host));
        }
        assert_eq!(Host::named("rs3"), None);
        assert_eq!(Host::with_mac(Host::Client.mac()), None);
    }

    #[test]
    fn a_private_layout_leaves_the_director_without_an_address_in_the_vips_subnet() {
        assert_eq!(Host::Director.address(Layout::OneSubnet).unwrap().octets()[..3], VIP.octets()[..3]);
        for host in [Host::Director, Host::Rs1, Host::Rs2] {
            assert_eq!(host.address(Layout::TwoSubnets).unwrap().octets()[..3], [10, 195, 0]);
        }
        assert_eq!(gateway(Layout::TwoSubnets).octets()[..3], [10, 195, 0]);
    }
}
