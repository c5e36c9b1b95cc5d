//! Address families of a lab.

use super::host::{VIP, VIP6};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Address families of the hosts and of the virtual services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum Family {
    /// IPv4 alone
    #[default]
    #[value(name = "4")]
    V4,
    /// IPv6 alone
    #[value(name = "6")]
    V6,
    /// Both, with a service of each, measured one after the other
    Both,
}

impl Family {
    /// Whether hosts have IPv4 addresses.
    #[must_use]
    pub fn has_ipv4(self) -> bool {
        self != Self::V6
    }

    /// Whether hosts have IPv6 addresses.
    #[must_use]
    pub fn has_ipv6(self) -> bool {
        self != Self::V4
    }

    /// VIPs, in the order of the runs.
    #[must_use]
    pub fn vips(self) -> &'static [IpAddr] {
        const BOTH: [IpAddr; 2] = [IpAddr::V4(VIP), IpAddr::V6(VIP6)];
        match self {
            Self::V4 => &BOTH[..1],
            Self::V6 => &BOTH[1..],
            Self::Both => &BOTH,
        }
    }
}
